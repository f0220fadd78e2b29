from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.signal import butter, resample_poly, sosfiltfilt

from ecg.signals.preprocessing import (
    Preparation,
    band_pass,
    centre,
    clean,
    fill_missing,
    fit_length,
    lead_deviation,
    prepare,
    resample,
    standardise,
    window_starts,
)
from tests.synthetic import beats

PREPARATION = Preparation()
WINDOWS = Preparation(fs=100, band_hz=None, window_s=2, max_windows=4, scale="mV")


def prepare_one(signal, fs):
    """The only window of a signal as the default preparation makes it."""
    (window,) = prepare(signal, fs, PREPARATION)
    return window


def test_a_prepared_signal_has_the_published_shape_and_scale():
    out = prepare_one(beats(5000, 500), 500)
    assert out.shape == (12, 1000)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(out.std(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("fs", [100, 250, 257, 300, 1000, 4000])
def test_the_same_heart_at_another_rate_stays_near(fs):
    seconds = 10
    reference = prepare_one(beats(seconds * 500, 500, noise_mv=0), 500)
    other = prepare_one(beats(seconds * fs, fs, noise_mv=0), fs)
    for one, two in zip(reference, other, strict=True):
        assert np.corrcoef(one, two)[0, 1] > 0.98


@pytest.mark.parametrize("n_samples", [1, 2, 60, 101, 1000])
def test_the_filter_is_scipys_forwards_and_backwards(n_samples):
    signal = beats(n_samples, 100)
    sections = butter(3, (0.05, 35.0), "bandpass", fs=100, output="sos")
    pad = min(100, n_samples - 1)
    expected = sosfiltfilt(sections, signal, axis=1, padtype="even", padlen=pad)
    out = band_pass(signal, 100, (0.05, 35.0), 3)
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-9)


def test_drift_and_mains_are_removed_and_the_beat_stays():
    time = np.arange(5000) / 500
    still = beats(5000, 500)[[0, 1, 5, 9]]
    noisy = still + 0.5 * np.sin(2 * np.pi * 0.01 * time) + 0.2 * np.sin(2 * np.pi * 50 * time)
    for one, two in zip(prepare_one(still, 500), prepare_one(noisy, 500), strict=True):
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
    out = prepare_one(signal, 500)
    assert np.isfinite(out).all()
    assert not out[[3, 7]].any()
    assert (out[[0, 1, 2, 4, 5, 6, 8, 9, 10, 11]].std(axis=1) > 0.9).all()


def test_a_short_record_is_padded_with_zeros_at_its_end():
    out = prepare_one(beats(2500, 500), 500)
    assert out.shape == (12, 1000)
    assert not out[:, 500:].any()
    assert out[:, :500].std() > 0.9


def test_only_the_first_ten_seconds_count():
    signal = beats(20_000, 500)
    changed = signal.copy()
    changed[:, 5000:] = 9.0
    np.testing.assert_array_equal(prepare_one(signal, 500), prepare_one(changed, 500))


@pytest.mark.parametrize("n_samples", [1, 2, 3, 20, 50, 900_000])
def test_any_length_from_one_sample_to_thirty_minutes_is_read(n_samples):
    out = prepare_one(beats(n_samples, 500)[:2], 500)
    assert out.shape == (2, 1000)
    assert np.isfinite(out).all()


@pytest.mark.parametrize("fs", [49, 4001, 0, -500, float("nan")])
def test_rates_that_no_ecg_has_are_refused(fs):
    with pytest.raises(ValueError, match="expected a sampling rate of 50 to 4000 Hz"):
        prepare_one(beats(100, 500), fs)


@pytest.mark.parametrize("largest_mv", [1e30, 1e200, 1e308])
@pytest.mark.parametrize("preparation", [Preparation(), Preparation(scale="mV")])
def test_a_signal_that_overflows_comes_out_finite(largest_mv, preparation):
    signal = np.where(np.arange(5000) % 7, largest_mv, -largest_mv) * np.ones((2, 1))
    with np.errstate(all="ignore"):
        assert np.isfinite(prepare(signal, 500, preparation)).all()


ANY_SIGNAL = arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.integers(1, 300)),
    elements=st.floats(-1e6, 1e6, width=32) | st.just(np.nan) | st.just(np.inf),
)


@settings(deadline=None, max_examples=60)
@given(ANY_SIGNAL, st.floats(50, 4000))
def test_no_signal_at_any_rate_comes_out_as_nan(signal, fs):
    out = prepare_one(signal, fs)
    assert out.shape == (len(signal), 1000)
    assert np.isfinite(out).all()


@settings(deadline=None, max_examples=60)
@given(ANY_SIGNAL, st.floats(50, 4000))
def test_windows_in_millivolts_stay_within_what_a_heart_can_reach(signal, fs):
    out = prepare(signal, fs, WINDOWS)
    assert 1 <= len(out) <= 4
    assert out.shape[1:] == (len(signal), 200)
    assert (np.abs(out) <= 20).all()


# Windows ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_samples", "max_windows", "spread", "followed"),
    [
        (1, 9, [0], [0]),
        (10, 9, [0], [0]),
        (11, 9, [0, 1], [0]),
        (20, 9, [0, 10], [0, 10]),
        (26, 9, [0, 8, 16], [0, 10]),
        (39, 9, [0, 10, 19, 29], [0, 10, 20]),
        (39, 2, [0, 10], [0, 10]),
        (39, 1, [0], [0]),
    ],
)
def test_windows_of_ten_samples_start_where_they_should(n_samples, max_windows, spread, followed):
    assert window_starts(n_samples, 10, max_windows, drop_tail=False) == spread
    assert window_starts(n_samples, 10, max_windows, drop_tail=True) == followed


@given(st.integers(1, 2000), st.integers(1, 300), st.integers(1, 20), st.booleans())
def test_windows_cover_the_record_but_for_a_dropped_tail(n_samples, length, max_windows, drop_tail):
    starts = window_starts(n_samples, length, max_windows, drop_tail)
    assert 1 <= len(starts) <= max_windows
    assert starts == sorted(set(starts))
    assert 0 <= starts[0] <= starts[-1] <= max(n_samples - length, 0)
    covered = {i for start in starts for i in range(start, min(start + length, n_samples))}
    used = min(n_samples, max_windows * length)
    assert covered == set(range(len(covered)))
    assert used - len(covered) in (range(length) if drop_tail else (0,))


def test_a_long_record_gives_windows_prepared_each_by_itself():
    signal = beats(1250, 250)
    out = prepare(signal, 250, WINDOWS)
    assert out.shape == (3, 12, 200)
    assert out.dtype == np.float32
    for window, start in zip(out, (0, 375, 750), strict=True):
        (alone,) = prepare(signal[:, start : start + 500], 250, WINDOWS)
        np.testing.assert_array_equal(window, alone)


def test_a_dropped_tail_does_not_count():
    signal = beats(999, 100)
    changed = signal.copy()
    changed[:, 800:] = 9.0
    followed = replace(WINDOWS, max_windows=180, drop_tail=True)
    out = prepare(signal, 100, followed)
    assert len(out) == 4
    np.testing.assert_array_equal(out, prepare(changed, 100, followed))


def test_a_lead_is_zero_in_the_windows_where_it_is_dead_and_in_no_other():
    signal = beats(600, 100)
    signal[4, :200] = 0.3
    signal[5, 400:] = np.nan
    alive = prepare(signal, 100, WINDOWS).any(axis=2)
    assert not alive[0, 4]
    assert not alive[2, 5]
    assert np.count_nonzero(alive) == 3 * 12 - 2


def test_millivolts_stay_as_they_are_but_for_the_mean_of_each_lead():
    signal = beats(200, 100) * 3 + 1.5
    (out,) = prepare(signal, 100, WINDOWS)
    np.testing.assert_allclose(out, signal - signal.mean(axis=1, keepdims=True), atol=1e-6)


def test_millivolts_that_no_heart_reaches_are_clipped():
    signal = beats(200, 100)
    signal[0, 50], signal[1, 60] = 400.0, -400.0
    (out,) = prepare(signal, 100, WINDOWS)
    assert (out[0].max(), out[1].min()) == (20.0, -20.0)
    others = np.arange(200) != 50
    assert np.ptp(out[0, others]) == pytest.approx(np.ptp(signal[0, others]))


# The record as a whole -------------------------------------------------------------------------


@pytest.mark.parametrize("band_hz", [None, (0.05, 35.0)])
@pytest.mark.parametrize(("n_samples", "fs"), [(1, 500), (700, 257), (5000, 500), (2500, 250)])
def test_a_cleaned_record_is_its_window_in_millivolts_before_padding(n_samples, fs, band_hz):
    signal = beats(n_samples, fs) * 3 + 1.5
    signal[2, n_samples // 2 :] = np.nan
    preparation = Preparation(band_hz=band_hz, scale="mV")
    cleaned = clean(signal, fs, preparation)
    assert cleaned.shape == (12, -(-n_samples * 100 // fs))
    assert cleaned.dtype == np.float64
    (window,) = prepare(signal, fs, preparation)
    np.testing.assert_array_equal(window[:, : cleaned.shape[1]], cleaned.astype(np.float32))
    assert not window[:, cleaned.shape[1] :].any()
    # It keeps no window and knows no scale.
    z_score = replace(preparation, scale="z_score", window_s=1)
    np.testing.assert_array_equal(clean(signal, fs, z_score), cleaned)


def test_a_long_record_is_cleaned_to_its_end():
    signal = beats(12_000, 500)
    assert clean(signal, 500, PREPARATION).shape == (12, 2400)


def test_constant_and_absent_leads_are_cleaned_to_zeros():
    signal = beats(5000, 500)
    signal[3], signal[7] = 0.7, np.nan
    cleaned = clean(signal, 500, PREPARATION)
    assert np.flatnonzero(~cleaned.any(axis=1)).tolist() == [3, 7]


@settings(deadline=None, max_examples=60)
@given(ANY_SIGNAL, st.floats(50, 4000))
def test_no_signal_is_cleaned_to_what_no_heart_reaches(signal, fs):
    cleaned = clean(signal, fs, PREPARATION)
    assert len(cleaned) == len(signal)
    assert (np.abs(cleaned) <= 20).all()


@pytest.mark.parametrize("fs", [100, 257, 500])
def test_a_lead_is_cleaned_alike_whichever_others_there_are(fs):
    signal = beats(10 * fs, fs)
    whole = clean(signal, fs, PREPARATION)
    for leads in ([0, 1], [0, 1, 7], list(range(6))):
        np.testing.assert_array_equal(clean(signal[leads], fs, PREPARATION), whole[leads])


# Steps -----------------------------------------------------------------------------------------


def test_centred_leads_have_mean_zero_and_constant_ones_are_zeros():
    out = centre(np.array([[1.0, 2.0, 6.0], [7.0, 7.0, 7.0]]))
    np.testing.assert_array_equal(out, [[-2.0, -1.0, 3.0], [0.0, 0.0, 0.0]])


def test_the_deviation_of_a_lead_leaves_out_missing_samples():
    signal = np.array(
        [[1.0, 3.0, np.nan, np.nan], [2.0, 2.0, 2.0, 2.0], [np.nan] * 4, [0.0, 3e30, 0.0, 3e30]],
        np.float32,
    )
    np.testing.assert_allclose(lead_deviation(signal), [1.0, 0.0, 0.0, 1.5e30], rtol=1e-6)


def test_missing_samples_lie_on_the_line_between_their_neighbours():
    signal = np.array([[np.nan, 1.0, np.nan, np.nan, 4.0, np.nan], [np.nan] * 6])
    expected = np.array([[1.0, 1.0, 2.0, 3.0, 4.0, 4.0], [0.0] * 6])
    np.testing.assert_array_equal(fill_missing(signal), expected)


@pytest.mark.parametrize(
    ("fs", "n_samples", "expected"), [(500, 5000, 1000), (257, 2570, 1000), (300, 7, 3), (50, 3, 6)]
)
def test_resampling_gives_the_length_that_the_rates_say(fs, n_samples, expected):
    assert resample(np.zeros((2, n_samples)), fs, 100).shape == (2, expected)


@pytest.mark.parametrize(
    ("fs", "target_fs", "up", "down"),
    [
        (500, 100, 1, 5),
        (1000, 100, 1, 10),
        (4000, 50, 1, 80),
        (250, 100, 2, 5),
        (257, 100, 100, 257),
        (360, 100, 5, 18),
        (128, 100, 25, 32),
        (50, 100, 2, 1),
        (50, 500, 10, 1),
        (257, 500, 500, 257),
        (909, 100, 100, 909),
        (101, 500, 500, 101),
    ],
)
def test_resampling_is_scipys_by_the_ratio_of_the_rates(fs, target_fs, up, down):
    signal = np.random.default_rng(0).standard_normal((3, 2570))
    expected = resample_poly(signal, up, down, axis=1)
    np.testing.assert_array_equal(resample(signal, fs, target_fs), expected)


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
    "wrong",
    [
        {"fs": 10},
        {"band_hz": (5, 1)},
        {"band_hz": (0.05, 50)},
        {"window_s": 0},
        {"max_windows": 0},
        {"scale": "volts"},
    ],
)
def test_impossible_preparations_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name}: expected"):
        Preparation(**wrong)
