import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.intervals import simulated_records
from ecg.signals.delineation import AFTER, BEFORE, FS, Delineation, align_beats, delineate
from ecg.signals.measurements import beats_of
from ecg.signals.preprocessing import resample
from ecg.signals.qrs import FS as COARSE_FS

RANDOM = np.random.default_rng(0)
# A beat: centre and standard deviation, s from its R peak, and size, mV, of P, Q, R, S and T.
P, Q, R, S, T = (
    (-0.16, 0.018, 0.12),
    (-0.025, 0.008, -0.15),
    (0.0, 0.010, 1.2),
    (0.028, 0.008, -0.25),
    (0.27, 0.040, 0.35),
)
GAINS = np.array([0.6, 1.0, -0.8, 0.5])  # of the leads


def ecg(waves=(P, Q, R, S, T), rr_s=0.9, noise_mv=0.003, fs=FS, seconds=10.0, seed=0):
    """Signal (4, n_samples), mV, and its R peaks, s: the same beat again and again, with noise."""
    time = np.arange(round(seconds * fs)) / fs
    r_peaks_s = np.arange(0.3, seconds, rr_s)
    since = time - r_peaks_s[:, None]
    beat = sum(
        size * np.exp(-0.5 * ((since - centre) / width) ** 2) for centre, width, size in waves
    ).sum(axis=0)
    noise = noise_mv * np.random.default_rng(seed).standard_normal((len(GAINS), len(time)))
    return GAINS[:, None] * beat + noise, r_peaks_s


def delineated(signal, r_peaks_s, fs=FS) -> Delineation:
    return delineate(align_beats(signal, fs, r_peaks_s))


def intervals(found: Delineation) -> list[float]:
    return [found.pr_ms, found.qrs_ms, found.qt_ms]


# What comes out --------------------------------------------------------------------------------


def test_waves_last_about_five_standard_deviations_at_both_sides_of_the_r_peak():
    found = delineated(*ecg())
    assert found.p_onset_ms == pytest.approx(-160 - 2.5 * 18, abs=10)
    assert found.qrs_onset_ms == pytest.approx(-25 - 2.5 * 8, abs=8)
    assert found.qrs_end_ms == pytest.approx(28 + 2.5 * 8, abs=8)
    assert found.t_end_ms == pytest.approx(270 + 2.5 * 40, abs=15)


def test_intervals_lie_between_onsets_and_ends():
    found = Delineation(-200.0, -40.0, 50.0, 360.0)
    assert intervals(found) == [160.0, 90.0, 400.0]
    assert all(map(math.isnan, intervals(Delineation())))


@pytest.mark.parametrize(("moved", "place"), [(0, "p_onset_ms"), (4, "t_end_ms")])
def test_only_the_end_of_a_wave_that_moves_is_moved(moved, place):
    waves = [P, Q, R, S, T]
    before = delineated(*ecg(waves))
    centre, *shape = waves[moved]
    waves[moved] = (centre - 0.03, *shape)
    change = {
        name: value - getattr(before, name) for name, value in vars(delineated(*ecg(waves))).items()
    }
    assert change.pop(place) == pytest.approx(-30, abs=4)
    assert list(change.values()) == pytest.approx([0, 0, 0], abs=4)


@pytest.mark.parametrize("spike_mv", [0.5, 1.0, 4.0, 8.0])
def test_a_pacing_spike_of_any_size_is_not_taken_for_the_qrs(spike_mv):
    wide = [(-0.02, 0.016, 0.8), (0.03, 0.018, 1.0), (0.07, 0.016, 0.5), (0.33, 0.045, -0.5)]
    signal, r_peaks_s = ecg(wide)
    for peak in np.rint(r_peaks_s * FS).astype(int):
        signal[:, peak - 34 : peak - 32] += spike_mv
    assert delineated(signal, r_peaks_s).qrs_ms == pytest.approx(180, abs=20)


@pytest.mark.parametrize(
    ("name", "measured", "median_ms", "largest_ms"),
    [("pr", "pr_ms", 12, 25), ("qrs", "qrs_ms", 16, 30), ("qt", "qt_ms", 16, 40)],
)
@pytest.mark.parametrize("lead_set", [2, 12])
def test_errors_on_simulated_records_are_small(name, measured, median_ms, largest_ms, lead_set):
    errors, n_missed = [], 0
    for signal, fs, truth in simulated_records(56, lead_set, seed=1):
        r_peaks_s = beats_of(signal, fs).r_peaks / COARSE_FS
        value = getattr(delineated(signal[signal.any(axis=1)], r_peaks_s, fs), measured)
        n_missed += math.isnan(value) and not math.isnan(truth[name])
        errors.append(abs(value - truth[name]))
    assert np.nanmedian(errors) <= median_ms
    assert np.nanpercentile(errors, 85) <= largest_ms
    assert n_missed <= 0.25 * len(errors)


# What is not clear is not told -----------------------------------------------------------------


def test_without_a_p_wave_there_is_no_pr_interval():
    found = delineated(*ecg((Q, R, S, T)))
    assert math.isnan(found.p_onset_ms)
    assert found.qt_ms == pytest.approx(delineated(*ecg()).qt_ms, abs=6)


def test_fibrillation_waves_are_no_p_wave():
    signal, r_peaks_s = ecg((Q, R, S, T))
    time = np.arange(signal.shape[1]) / FS
    signal += 0.08 * np.sin(2 * np.pi * 5.7 * time + np.sin(3 * time))
    assert math.isnan(delineated(signal, r_peaks_s).p_onset_ms)


def test_flutter_waves_are_no_p_wave():
    signal, r_peaks_s = ecg((Q, R, S, T), rr_s=0.9)
    time = np.arange(signal.shape[1]) / FS
    signal += 0.08 * np.sin(2 * np.pi * 5 / 0.9 * time)  # five to a beat, each at its place
    assert math.isnan(delineated(signal, r_peaks_s).p_onset_ms)


def test_a_flat_t_wave_has_no_end():
    found = delineated(*ecg((P, Q, R, S)))
    assert math.isnan(found.t_end_ms)
    assert found.pr_ms == pytest.approx(delineated(*ecg()).pr_ms, abs=6)


def test_a_p_wave_within_the_noise_has_no_onset():
    assert math.isnan(delineated(*ecg(noise_mv=0.4)).p_onset_ms)


def test_noise_alone_has_neither_onsets_nor_ends():
    signal = RANDOM.standard_normal((4, 5000))
    found = delineated(signal, np.arange(0.5, 9.5, 0.9))
    assert all(map(math.isnan, vars(found).values()))


def test_a_single_beat_has_a_qrs_alone():
    signal, r_peaks_s = ecg()
    found = delineated(signal, r_peaks_s[3:4])
    assert found.qrs_ms == pytest.approx(delineated(signal, r_peaks_s).qrs_ms, abs=10)
    assert math.isnan(found.p_onset_ms)
    assert math.isnan(found.t_end_ms)


def test_where_no_beat_lies_whole_within_the_signal_there_is_none():
    signal, r_peaks_s = ecg()
    assert align_beats(signal, FS, r_peaks_s[:0]) is None
    assert align_beats(signal[:, : round(0.9 * FS)], FS, r_peaks_s[:1]) is None


# What it depends on ----------------------------------------------------------------------------

SIGNAL, R_PEAKS_S = ecg()
FOUND = vars(delineated(SIGNAL, R_PEAKS_S))


def same(signal, r_peaks_s=R_PEAKS_S, within_ms=0.0) -> bool:
    return vars(delineated(signal, r_peaks_s)) == pytest.approx(FOUND, abs=within_ms)


@settings(deadline=None, max_examples=30)
@given(st.floats(0.05, 8.0), st.lists(st.sampled_from([-1.0, 1.0]), min_size=4, max_size=4))
def test_neither_size_nor_polarity_matters(size, signs):
    assert same(size * np.array(signs)[:, None] * SIGNAL)


@settings(deadline=None, max_examples=30)
@given(st.permutations(range(4)), st.lists(st.floats(-3, 3), min_size=4, max_size=4))
def test_neither_the_order_of_leads_nor_their_offsets_matter(order, offsets):
    assert same(SIGNAL[order] + np.array(offsets)[:, None], within_ms=2.0)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 400), st.floats(-0.02, 0.02))
def test_neither_where_the_record_starts_nor_a_shift_of_the_r_peaks_matters(cut, shift_s):
    r_peaks_s = R_PEAKS_S - cut / FS
    later = r_peaks_s[r_peaks_s > 0]
    assert same(SIGNAL[:, cut:], later + shift_s, within_ms=4.0)


@pytest.mark.parametrize("fs", [100, 250, 257, 300, 1000])
def test_the_sampling_rate_hardly_matters(fs):
    found = delineated(resample(SIGNAL, FS, fs), R_PEAKS_S, fs)
    assert intervals(found) == pytest.approx(intervals(Delineation(**FOUND)), abs=8)


@pytest.mark.parametrize("n_leads", [1, 2, 3])
def test_any_number_of_leads_will_do(n_leads):
    assert same(SIGNAL[:n_leads], within_ms=8.0)


def test_a_loose_electrode_is_left_out():
    noisy = np.concatenate([SIGNAL, 2.0 * RANDOM.standard_normal((1, SIGNAL.shape[1]))])
    assert align_beats(noisy, FS, R_PEAKS_S).median_beat.shape == (4, BEFORE + AFTER)
    assert same(noisy)


def test_a_few_odd_beats_change_nothing():
    signal = SIGNAL.copy()
    for peak in np.rint(R_PEAKS_S[3:9:3] * FS).astype(int):
        signal[:, peak - 100 : peak + 200] = np.hanning(300)
    assert same(signal, within_ms=4.0)
    aligned = align_beats(signal, FS, R_PEAKS_S)
    assert aligned.beats.shape[1] == align_beats(SIGNAL, FS, R_PEAKS_S).beats.shape[1] - 2


def test_of_a_long_record_a_hundred_beats_are_aligned():
    signal, r_peaks_s = ecg(seconds=120.0)
    assert align_beats(signal, FS, r_peaks_s).beats.shape[1] == 100


def test_a_signal_is_left_as_it_was():
    signal = SIGNAL.copy()
    signal[1, 100:200] = np.nan
    before = signal.copy()
    delineated(signal, R_PEAKS_S)
    np.testing.assert_array_equal(signal, before)
