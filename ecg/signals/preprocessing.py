"""Pure array functions from a signal in mV to a network's input windows.

Everywhere: signal is (n_leads, n_samples), time runs along the last axis, rates are in Hz.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
from scipy.signal import butter, resample_poly, sosfilt, sosfilt_zi

MIN_FS, MAX_FS = 50.0, 4000.0  # Hz, the sampling rates that are accepted
_LONGEST_WINDOW_S = 3600.0
_HIGHEST_ORDER = 8  # of the band-pass; much higher orders are numerically unstable at 0.05 Hz
# A lead whose standard deviation is below this carries no ECG: the Challenge's files resolve
# 1e-3 mV, and the filter leaves about 1e-12 mV of a constant.
_DEAD_MV = 1e-6
# No ECG reaches this amplitude; one with a wrong gain does, and would drive a network to NaN.
_LARGEST_MV = 20.0


@dataclass(frozen=True)
class Preparation:
    """How a signal becomes a network input; the defaults are AIRCAS_MEL1's (2021, section 2.1).

    fs: sampling rate of the input, Hz.
    band_hz: pass band; None for no filter.
    band_order: of the Butterworth filter, run forwards and backwards (the paper gives none).
    window_s: length of a window.
    max_windows: the most windows taken of a record, from its start.
    drop_tail: whether windows follow each other without overlap and the rest at the end is dropped;
    otherwise they are spread evenly to the end and overlap where necessary.
    scale: "z_score" for mean 0 and standard deviation 1 in each lead and window, or "mV" for each
    lead with its mean removed.
    """

    fs: float = 100.0
    band_hz: tuple[float, float] | None = (0.05, 35.0)
    band_order: int = 3
    window_s: float = 10.0
    max_windows: int = 1
    drop_tail: bool = False
    scale: str = "z_score"

    def __post_init__(self):
        if not MIN_FS <= self.fs <= MAX_FS:
            raise ValueError(f"fs: expected {MIN_FS:g} to {MAX_FS:g} Hz, found {self.fs}")
        if not 1 <= self.band_order <= _HIGHEST_ORDER:
            raise ValueError(f"band_order: expected 1 to {_HIGHEST_ORDER}, found {self.band_order}")
        if self.band_hz is not None and not 0 < self.band_hz[0] < self.band_hz[1] < self.fs / 2:
            raise ValueError(
                f"band_hz: expected 0 < low < high < {self.fs / 2}, found {self.band_hz}"
            )
        if not 0 < self.window_s <= _LONGEST_WINDOW_S:
            raise ValueError(
                f"window_s: expected a positive length of at most {_LONGEST_WINDOW_S:g} s, found "
                f"{self.window_s}"
            )
        if self.max_windows < 1:
            raise ValueError(f"max_windows: expected at least 1, found {self.max_windows}")
        if self.scale not in ("z_score", "mV"):
            raise ValueError(f"scale: expected z_score or mV, found {self.scale}")

    @property
    def n_samples(self) -> int:
        """Length of a window of the input."""
        return round(self.window_s * self.fs)

    @property
    def duration_s(self) -> float:
        """How much of a record is used at most, from its start, in seconds."""
        return self.window_s * self.max_windows


def prepare(signal, fs, preparation) -> np.ndarray:
    """Return the record's windows: resampled, band-passed, scaled per lead, zero-padded at the end.

    signal: mV, NaN where samples are missing, at least 1 sample long.
    Returns (n_windows, n_leads, preparation.n_samples), float32. A lead that is missing or constant
    in a whole window becomes zeros; the result contains no NaN.
    Raises ValueError for a sampling rate outside MIN_FS..MAX_FS.
    """
    return scale_windows(condition_windows(signal, fs, preparation), preparation)


def condition_windows(signal, fs, preparation) -> list[np.ndarray]:
    """Return the record's windows, mV, float64, at the preparation's sampling rate and within its
    band.

    The first step of `prepare`; `scale_windows` is the second.
    """
    check_fs(fs)
    length = window_length(fs, preparation.window_s)
    starts = window_starts(signal.shape[1], length, preparation.max_windows, preparation.drop_tail)
    return [_condition(signal[:, i : i + length], fs, preparation) for i in starts]


def scale_windows(windows, preparation) -> np.ndarray:
    """Return the network input of `prepare`, from the windows of `condition_windows`."""
    scale = standardise if preparation.scale == "z_score" else bound
    fitted = [fit_length(scale(window), preparation.n_samples) for window in windows]
    return np.stack(fitted, dtype=np.float32, casting="same_kind")


def window_starts(n_samples, length, max_windows, drop_tail) -> list[int]:
    """Return the first sample of each window of `length` samples; see `Preparation`.

    There is at least one window; a record shorter than it has just one.
    """
    if drop_tail:
        count = min(max(n_samples // length, 1), max_windows)
        return [i * length for i in range(count)]
    used = min(n_samples, max_windows * length)
    last = max(used - length, 0)
    return np.linspace(0, last, math.ceil(used / length)).round().astype(int).tolist()


def clean(signal, fs, preparation) -> np.ndarray:
    """Return the whole signal, mV, float64, at the preparation's sampling rate and within its band.

    It is finite, within 20 mV, and has mean 0 in each lead; a constant lead becomes zeros.
    """
    return bound(_condition(signal, fs, preparation))


def _condition(signal, fs, preparation) -> np.ndarray:
    # One memory layout, so that a lead's sums do not depend on how many leads there are.
    signal = fill_missing(np.array(signal, np.float64, order="C"))
    # Resampling assumes zeros beyond the ends, so the offset is removed first.
    signal -= signal.mean(axis=1, keepdims=True)
    signal = resample(signal, fs, preparation.fs)
    if preparation.band_hz is None:
        return signal
    return band_pass(signal, preparation.fs, preparation.band_hz, preparation.band_order)


def check_fs(fs) -> None:
    """Raise ValueError for a sampling rate outside MIN_FS..MAX_FS."""
    if not MIN_FS <= fs <= MAX_FS:
        raise ValueError(f"expected a sampling rate of {MIN_FS:g} to {MAX_FS:g} Hz, found {fs:g}")


def bound(signal) -> np.ndarray:
    """Return the signal, mV, with mean 0 per lead and within 20 mV; zeros for a constant lead."""
    return np.clip(centre(signal), -_LARGEST_MV, _LARGEST_MV)


def window_length(fs, window_s) -> int:
    """Return the number of samples in a window; a rate above MAX_FS counts as MAX_FS."""
    return math.ceil(window_s * min(max(fs, 0.0), MAX_FS))


def lead_deviation(signal) -> np.ndarray:
    """Return the standard deviation (n_leads,) of each lead, in the signal's unit; 0 for a missing
    lead."""
    # In float64, since squared amplitudes overflow float32 where a gain is wrong.
    signal = np.asarray(signal, np.float64)
    mean = signal.mean(axis=1, keepdims=True)
    if not np.isnan(mean).any():
        return _root_mean_square(signal - mean)
    missing = np.isnan(signal).all(axis=1, keepdims=True)
    return np.nanstd(np.where(missing, 0.0, signal), axis=1)


def fill_missing(signal) -> np.ndarray:
    """Return the signal with every sample that is not finite replaced.

    Between finite samples by linear interpolation, at the ends by the nearest one; a lead without
    any becomes zeros.
    """
    missing = ~np.isfinite(signal)
    if not missing.any():
        return signal
    filled = np.where(missing, 0.0, signal)
    time = np.arange(signal.shape[1])
    for lead in np.flatnonzero(missing.any(axis=1) & ~missing.all(axis=1)):
        gaps = missing[lead]
        filled[lead, gaps] = np.interp(time[gaps], time[~gaps], signal[lead, ~gaps])
    return filled


def resample(signal, fs, target_fs) -> np.ndarray:
    """Resample `signal` to `target_fs` by polyphase filtering along time.

    Returns (n_leads, ceil(n_samples * target_fs / fs)); the input itself where the rates agree.
    Raises ValueError for a rate that is not positive.
    """
    if fs <= 0 or target_fs <= 0:
        raise ValueError(f"expected positive sampling rates, found {fs} and {target_fs} Hz")
    up, down = _ratio(fs, target_fs)
    if up == down:
        return signal
    return resample_poly(signal, up, down, axis=1)


@lru_cache
def _ratio(fs, target_fs) -> tuple[int, int]:
    # Finer than the clock of any recorder; the limit keeps the filter short.
    return (Fraction(target_fs) / Fraction(fs)).limit_denominator(1000).as_integer_ratio()


def band_pass(signal, fs, band_hz, order) -> np.ndarray:
    """Band-pass the signal to `band_hz` = (low, high) by a zero-phase Butterworth filter."""
    # The signal is mirrored for a second at both ends: records start and end anywhere in a beat,
    # and the usual odd reflection would turn an R wave there into a step that decays over seconds.
    pad = min(round(fs), signal.shape[1] - 1)
    before, after = signal[:, pad:0:-1], signal[:, -2 : -pad - 2 : -1]
    padded = np.concatenate([before, signal, after], axis=1)
    # Like scipy's sosfiltfilt, which computes the filter's steady state anew in each call.
    sections, steady = _band_pass_filter(fs, band_hz, order)
    for _ in range(2):
        padded, _ = sosfilt(sections, padded, axis=1, zi=steady * padded[:, :1])
        padded = padded[:, ::-1]
    return padded[:, pad : pad + signal.shape[1]]


def standardise(signal) -> np.ndarray:
    """Return the signal with mean 0 and standard deviation 1 per lead; a constant lead becomes
    zeros."""
    centred = centre(signal)
    deviation = _root_mean_square(centred)[:, None]
    return centred / np.where(deviation > 0, deviation, 1.0)


def centre(signal) -> np.ndarray:
    """Return the signal with mean 0 per lead; a constant lead becomes zeros."""
    centred = signal - signal.mean(axis=1, keepdims=True)
    return np.where(_root_mean_square(centred)[:, None] > _DEAD_MV, centred, 0.0)


def _root_mean_square(signal) -> np.ndarray:
    """Root mean square (n_leads,) of each lead: its standard deviation where its mean is 0."""
    return np.sqrt(np.vecdot(signal, signal) / signal.shape[1])


def fit_length(signal, n_samples) -> np.ndarray:
    """Return the signal at exactly `n_samples`, cut or zero-padded at its end."""
    signal = signal[:, :n_samples]
    n_short = n_samples - signal.shape[1]
    return np.pad(signal, ((0, 0), (0, n_short))) if n_short else signal


@lru_cache
def _band_pass_filter(fs, band_hz, order) -> tuple[np.ndarray, np.ndarray]:
    """Second-order sections, and their steady state (n_sections, 1, 2) for an input of ones."""
    sections = butter(order, band_hz, "bandpass", fs=fs, output="sos")
    return sections, sosfilt_zi(sections)[:, None]
