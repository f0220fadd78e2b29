import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import uniform_filter1d

from ecg.signals.qrs import (
    AFTER,
    BEFORE,
    FS,
    find_beats,
    find_r_peaks,
    median,
    qrs_limits,
    spatial_velocity,
)
from tests.synthetic import beats


def conditioned(n_samples=1000, **options) -> np.ndarray:
    """Signal (12, n_samples), mV, whose QRS complexes lie at 0, 0.8, 1.6 s and so on."""
    return beats(n_samples, round(FS), qrs_s=0.02, **options)


# What comes out --------------------------------------------------------------------------------


def test_beats_are_found_where_the_qrs_complexes_are():
    r_peaks = find_r_peaks(spatial_velocity(conditioned()[:2, 40:]))
    np.testing.assert_allclose(r_peaks, np.arange(40, 960, 80), atol=2)


def test_only_beats_that_lie_whole_within_the_record_have_a_part_in_the_median():
    found = find_beats(conditioned()[:, 60:])  # the first QRS is then at 20, the last at 900
    assert len(found.r_peaks) == 12
    assert found.each.shape == (12, 10, BEFORE + AFTER)
    assert found.median_beat.shape == (12, BEFORE + AFTER)


def test_the_median_beat_has_its_qrs_in_the_middle_and_starts_from_zero():
    found = find_beats(conditioned(noise_mv=0.0))
    assert found.onset < BEFORE < found.offset
    assert abs(int(found.median_beat[1].argmax()) - BEFORE) <= 1
    level = found.median_beat[:, found.onset - 4 : found.onset]
    np.testing.assert_allclose(np.median(level, axis=1), 0, atol=1e-12)


def test_limb_leads_are_the_same_beats_in_the_first_two_leads():
    found = find_beats(conditioned())
    assert (found.limb_leads.onset, found.limb_leads.offset) == (found.onset, found.offset)
    np.testing.assert_array_equal(found.limb_leads.each, found.each[:2])
    np.testing.assert_array_equal(found.limb_leads.qrs, found.qrs[:2])


@pytest.mark.parametrize("signal", [np.zeros((2, 1000)), conditioned(BEFORE + AFTER - 1)])
def test_where_no_whole_beat_is_there_is_none(signal):
    assert find_beats(signal) is None


@given(
    arrays(np.float64, BEFORE + AFTER, elements=st.floats(0, 1e6)),
    st.integers(BEFORE - 12, BEFORE + 11),
)
def test_windows_before_and_after_the_qrs_are_never_empty(velocity, fastest):
    velocity[fastest] = 2e6
    onset, offset = qrs_limits(velocity)
    assert 25 <= onset < offset <= 50


# Steps that numpy takes one by one -------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1,), (2,), (7,), (8,), (3, 5, 4), (2, 6, 3)])
def test_the_median_is_numpys(shape):
    values = np.random.default_rng(0).standard_normal(shape)
    for axis in range(len(shape)):
        np.testing.assert_array_equal(median(values, axis), np.median(values, axis=axis))


def test_the_spatial_velocity_is_the_size_of_numpys_gradient():
    signal = conditioned()[:2]
    power = uniform_filter1d((100 * np.gradient(signal, axis=1) ** 2).sum(axis=0) * 100, 9)
    np.testing.assert_allclose(spatial_velocity(signal), np.sqrt(power), rtol=1e-6)
