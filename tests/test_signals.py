import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ecg.signals import (
    Preparation,
    band_pass,
    fill_missing,
    fit_length,
    prepare,
    resample,
    standardise,
)
from tests.synthetic import beats

PREPARATION = Preparation()


def test_a_prepared_signal_has_the_published_shape_and_scale():
    out = prepare(beats(5000, 500), 500, PREPARATION)
    assert out.shape == (12, 1000)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(out.std(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("fs", [100, 250, 257, 300, 1000, 4000])
def test_the_same_heart_at_another_rate_stays_near(fs):
    seconds = 10
    reference = prepare(beats(seconds * 500, 500, noise_mv=0), 500, PREPARATION)
    other = prepare(beats(seconds * fs, fs, noise_mv=0), fs, PREPARATION)
    for one, two in zip(reference, other, strict=True):
        assert np.corrcoef(one, two)[0, 1] > 0.98


def test_drift_and_mains_are_removed_and_the_beat_stays():
    time = np.arange(5000) / 500
    clean = beats(5000, 500)[[0, 1, 5, 9]]
    noisy = clean + 0.5 * np.sin(2 * np.pi * 0.01 * time) + 0.2 * np.sin(2 * np.pi * 50 * time)
    for one, two in zip(
        prepare(clean, 500, PREPARATION), prepare(noisy, 500, PREPARATION), strict=True
    ):
        assert np.corrcoef(one, two)[0, 1] > 0.97


def test_the_pass_band_is_the_published_one():
    time = np.arange(60_000) / 100
    gains = [
        np.std(band_pass(np.sin(2 * np.pi * hz * time)[None], 100, (0.05, 35.0), 3)) * np.sqrt(2)
        for hz in (0.01, 1.0, 20.0, 49.5)
    ]
    assert gains[0] < 0.01
    np.testing.assert_allclose(gains[1:3], 1, atol=0.01)
    assert gains[3] < 0.01


def test_dead_and_absent_leads_are_zero_and_never_nan():
    signal = beats(5000, 500)
    signal[3] = 0.7
    signal[7] = np.nan
    out = prepare(signal, 500, PREPARATION)
    assert np.isfinite(out).all()
    assert not out[[3, 7]].any()
    assert (out[[0, 1, 2, 4, 5, 6, 8, 9, 10, 11]].std(axis=1) > 0.9).all()


def test_a_short_record_is_padded_with_zeros_at_its_end():
    out = prepare(beats(2500, 500), 500, PREPARATION)
    assert out.shape == (12, 1000)
    assert not out[:, 500:].any()
    assert out[:, :500].std() > 0.9


def test_only_the_first_ten_seconds_count():
    signal = beats(20_000, 500)
    changed = signal.copy()
    changed[:, 5000:] = 9.0
    np.testing.assert_array_equal(
        prepare(signal, 500, PREPARATION), prepare(changed, 500, PREPARATION)
    )


@pytest.mark.parametrize("n_samples", [1, 2, 3, 20, 50, 900_000])
def test_any_length_from_one_sample_to_thirty_minutes_is_read(n_samples):
    out = prepare(beats(n_samples, 500)[:2], 500, PREPARATION)
    assert out.shape == (2, 1000)
    assert np.isfinite(out).all()


@pytest.mark.parametrize("fs", [49, 4001, 0, -500, float("nan")])
def test_rates_that_no_ecg_has_are_refused(fs):
    with pytest.raises(ValueError, match="expected a sampling rate of 50 to 4000 Hz"):
        prepare(beats(100, 500), fs, PREPARATION)


@settings(deadline=None, max_examples=60)
@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 3), st.integers(1, 300)),
        elements=st.floats(-1e6, 1e6, width=32) | st.just(np.nan) | st.just(np.inf),
    ),
    st.floats(50, 4000),
)
def test_no_signal_at_any_rate_comes_out_as_nan(signal, fs):
    out = prepare(signal, fs, PREPARATION)
    assert out.shape == (len(signal), 1000)
    assert np.isfinite(out).all()


def test_missing_samples_lie_on_the_line_between_their_neighbours():
    signal = np.array([[np.nan, 1.0, np.nan, np.nan, 4.0, np.nan], [np.nan] * 6])
    expected = np.array([[1.0, 1.0, 2.0, 3.0, 4.0, 4.0], [0.0] * 6])
    np.testing.assert_array_equal(fill_missing(signal), expected)


@pytest.mark.parametrize(
    ("fs", "n_samples", "expected"), [(500, 5000, 1000), (257, 2570, 1000), (300, 7, 3), (50, 3, 6)]
)
def test_resampling_gives_the_length_that_the_rates_say(fs, n_samples, expected):
    assert resample(np.zeros((2, n_samples)), fs, 100).shape == (2, expected)


def test_resampling_keeps_a_slow_wave():
    slow = np.sin(2 * np.pi * np.arange(2570) / 257)[None]
    np.testing.assert_allclose(
        resample(slow, 257, 100)[0, 50:-50],
        np.sin(2 * np.pi * np.arange(1000) / 100)[50:-50],
        atol=2e-3,
    )


def test_resampling_refuses_rates_that_are_not_positive():
    with pytest.raises(ValueError, match="expected positive sampling rates"):
        resample(np.zeros((1, 5)), 0, 100)


def test_z_scores_do_not_depend_on_gain_or_offset():
    signal = beats(1000, 100)
    np.testing.assert_allclose(standardise(signal), standardise(5 * signal - 3), atol=1e-9)


def test_fitting_a_length_cuts_or_pads():
    signal = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(fit_length(signal, 2), [[0, 1], [3, 4]])
    np.testing.assert_array_equal(fit_length(signal, 4), [[0, 1, 2, 0], [3, 4, 5, 0]])


@pytest.mark.parametrize(
    "wrong", [{"fs": 10}, {"band_hz": (5, 1)}, {"band_hz": (0.05, 50)}, {"window_s": 0}]
)
def test_impossible_preparations_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        Preparation(**wrong)
