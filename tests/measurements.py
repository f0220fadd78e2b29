"""Measure an ECG by criteria that are independent of the simulation.

Beats are peaks of the slope over all leads; intervals and waves are measured on the median beat.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d, median_filter
from scipy.signal import find_peaks

from ecg.records.leads import TWELVE_LEADS
from ecg.signals.preprocessing import resample

FS = 500.0  # Hz, of all measurements
_BEFORE, _AFTER = round(0.36 * FS), round(0.60 * FS)
_MAX_HALF_QRS = round(0.14 * FS)  # from the steepest point of a QRS to its onset or offset
LEAD = {lead: i for i, lead in enumerate(TWELVE_LEADS)}
_INDEPENDENT = [0, 1, 6, 7, 8, 9, 10, 11]


@dataclass(frozen=True)
class Measurements:
    """Measurements of a signal.

    signal: (12, n_samples), mV, at FS, without baseline wander. peaks: (n_beats,), sample of each
    beat. beats: (n_complete_beats, 12, n_samples), aligned. beat: (12, n_samples), mV, their
    median, 0 before the QRS complex, which lies between samples `onset` and `offset`.
    """

    signal: np.ndarray
    peaks: np.ndarray
    beats: np.ndarray
    beat: np.ndarray
    onset: int
    offset: int

    @property
    def rr_s(self) -> np.ndarray:
        return np.diff(self.peaks) / FS

    @property
    def rate_bpm(self) -> float:
        return 60 / np.median(self.rr_s)

    @property
    def irregularity(self) -> float:
        """Root mean square of successive RR differences, relative to the mean interval."""
        return np.sqrt(np.mean(np.diff(self.rr_s) ** 2)) / self.rr_s.mean()

    @property
    def qrs_s(self) -> float:
        return (self.offset - self.onset) / FS

    @property
    def qrs(self) -> np.ndarray:
        return self.beat[:, self.onset : self.offset + 1]

    @property
    def axis_deg(self) -> float:
        area = self.qrs.sum(axis=1)
        return np.degrees(np.arctan2(2 / np.sqrt(3) * area[5], area[0]))

    @property
    def qrs_mv(self) -> np.ndarray:
        return np.ptp(self.qrs, axis=1)

    @property
    def r_mv(self) -> np.ndarray:
        return self.qrs.max(axis=1).clip(0)

    @property
    def t_mv(self) -> np.ndarray:
        """Largest deflection of the T wave, (12,), mV, with its sign."""
        # Within the longest QT interval, so that the next P wave is not taken for a flat T wave.
        longest = self.onset + round(0.5 * np.median(self.rr_s) ** (1 / 3) * FS)
        wave = self.beat[:, self.offset + round(0.06 * FS) : min(self.t_end, longest)]
        return wave[np.arange(12), np.abs(wave).argmax(axis=1)]

    @property
    def t_end(self) -> int:
        """Sample at which the slope of the T wave over all leads has fallen to a quarter."""
        until = _BEFORE + min(_AFTER, round(0.75 * np.median(self.rr_s) * FS))
        start = self.offset + round(0.08 * FS)
        until = max(until, start + round(0.1 * FS))
        energy = gaussian_filter1d(np.linalg.norm(np.diff(self.beat[_INDEPENDENT]), axis=0), 5)
        window = energy[start:until]
        fall = start + window.argmax()
        below = np.flatnonzero(energy[fall:until] < 0.25 * window.max())
        return fall + below[0] if len(below) else until

    @property
    def qt_s(self) -> float:
        return (self.t_end - self.onset) / FS

    @property
    def p_steadiness(self) -> float:
        """Median correlation of the signal before each QRS with that of the other beats.

        1 for P waves, near 0 without them or for f waves.
        """
        before = slice(max(self.onset - round(0.25 * FS), 0), self.onset - round(0.02 * FS))
        waves = self.beats[:, _INDEPENDENT, before]
        waves = waves - waves.mean(axis=2, keepdims=True)
        return np.median(
            [
                np.corrcoef(wave.ravel(), np.delete(waves, i, axis=0).mean(axis=0).ravel())[0, 1]
                for i, wave in enumerate(waves)
            ]
        )

    @property
    def pr_s(self) -> float:
        """Interval from the first steep rise of the P wave to the QRS onset."""
        slope = gaussian_filter1d(np.linalg.norm(np.diff(self.beat[_INDEPENDENT]), axis=0), 4)
        usual_rr = np.median(self.rr_s)
        since_t = round((usual_rr - 0.43 * usual_rr ** (1 / 3)) * FS)
        start = max(0, self.onset - max(since_t, round(0.15 * FS)))
        before = slope[start : max(self.onset - round(0.03 * FS), start + 10)]
        large = np.flatnonzero(before > 0.6 * before[round(0.02 * FS) :].max())
        return (self.onset - start - large[0]) / FS


def measure(signal, fs) -> Measurements | None:
    """Measure a signal (12, n_samples), mV; None with fewer than three complete beats."""
    signal = resample(np.nan_to_num(signal.astype(float)), fs, FS)
    coarse = median_filter(signal[:, ::10], (1, 31))
    time = np.arange(signal.shape[1])
    wander = np.array([np.interp(time, time[::10], lead) for lead in coarse])
    signal = signal - gaussian_filter1d(wander, 20, axis=1)
    found = find_beats(signal)
    peaks = found[(found >= _BEFORE + 25) & (found < signal.shape[1] - _AFTER - 25)]
    if len(peaks) < 3:
        return None
    beats = _aligned_beats(signal, peaks)
    beat = np.median(beats, axis=0)
    onset, offset = _qrs_limits(beat)
    level = np.median(beat[:, max(onset - 12, 0) : onset - 2], axis=1, keepdims=True)
    return Measurements(signal, found, beats, beat - level, onset, offset)


def find_beats(signal) -> np.ndarray:
    """Return the samples (n_beats,) of the QRS complexes.

    They are peaks of the slope over all leads, smoothed over about 50 ms, of at least a third of
    the usual maximum, or of an eighth in gaps, where there may be a wide beat.
    """
    slope = np.linalg.norm(np.gradient(signal[_INDEPENDENT], axis=1), axis=0)
    energy = gaussian_filter1d(slope, 0.025 * FS)
    two_seconds = energy[: len(energy) // 1000 * 1000].reshape(-1, 1000)  # a beat in each
    usual = np.median(two_seconds.max(axis=1))
    peaks = find_peaks(energy, height=usual / 3, distance=round(0.25 * FS))[0]
    gaps = np.diff(peaks)
    searched = []
    for start, gap in zip(peaks, gaps, strict=False):
        if gap > 1.5 * np.median(gaps):
            inside = slice(start + round(0.3 * FS), start + gap - round(0.3 * FS))
            low = find_peaks(energy[inside], height=usual / 8)[0] + inside.start
            searched += [low[energy[low].argmax()]] if len(low) else []
    return np.sort(np.append(peaks, searched).astype(int))


def _aligned_beats(signal, peaks):
    """Return the beats (n_beats, 12, n_samples) around the peaks, aligned to their median."""

    def beats_at(samples):
        return np.stack([signal[:, sample - _BEFORE : sample + _AFTER] for sample in samples])

    middle = np.median(beats_at(peaks), axis=0)[_INDEPENDENT, _BEFORE - 40 : _BEFORE + 60]

    def fit(sample):
        return (middle * signal[_INDEPENDENT, sample - 40 : sample + 60]).sum()

    return beats_at([max(range(peak - 20, peak + 21), key=fit) for peak in peaks])


def _qrs_limits(beat):
    speed = np.linalg.norm(np.diff(beat[_INDEPENDENT]), axis=0)
    speed = gaussian_filter1d(speed, 1.5)
    near = slice(_BEFORE - 60, _BEFORE + 60)
    peak = near.start + speed[near].argmax()
    quiet = np.quantile(speed, 0.3)
    calm = speed < quiet + 0.07 * (speed[peak] - quiet)
    onset = offset = peak
    while onset > peak - _MAX_HALF_QRS and not calm[onset - 9 : onset].all():
        onset -= 1
    while offset < peak + _MAX_HALF_QRS and not calm[offset : offset + 9].all():
        offset += 1
    return onset, offset
