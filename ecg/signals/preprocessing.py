"""Pure array functions from a signal in mV to a network's input windows.

Everywhere: signal is (n_leads, n_samples), time runs along the last axis, rates are in Hz.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
from scipy.signal import butter, resample_poly, sosfilt, sosfilt_zi

MIN_FS, MAX_FS = 50.0, 4000.0  # Hz, the sampling rates that are read
_LONGEST_WINDOW_S = 3600.0
_HIGHEST_ORDER = 8  # of the band-pass; rounding spoils much higher ones at .05 Hz
# A lead whose standard deviation is below this carries no ECG: the Challenge's files resolve
# 1e-3 mV, and the filter leaves some 1e-12 mV of a constant.
_DEAD_MV = 1e-6
# No heart reaches this at the skin; a wrong gain does, and would drive a network to NaN.
_LARGEST_MV = 20.0


@dataclass(frozen=True)
class Preparation:
    """How a signal becomes an input; the defaults are AIRCAS_MEL1's (2021, section 2.1).

    fs: Hz of the input. band_hz: pass band; None leaves the band as it is. band_order: of the
    Butterworth filter, run forwards and backwards (the paper gives none). window_s: length of a
    window. max_windows: the record's first so many are used. drop_tail: windows follow one
    another and what is left at the end is dropped; otherwise they are spread over all of the
    record, overlapping as they must. scale: "z_score" per lead and window, or "mV" with each
    lead's mean removed.
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
        """The first seconds of a record that can be used."""
        return self.window_s * self.max_windows


def prepare(signal, fs, preparation) -> np.ndarray:
    """Network input (n_windows, n_leads, preparation.n_samples), float32.

    The record's windows, each resampled, band-passed, scaled per lead, zero-padded at the end.
    signal: mV, NaN where samples are missing, of any length from 1 sample. A lead that is wholly
    missing or constant in a window comes out as zeros; nothing comes out as NaN.
    Raises ValueError for a sampling rate outside MIN_FS..MAX_FS.
    """
    return scale_windows(condition_windows(signal, fs, preparation), preparation)


def condition_windows(signal, fs, preparation) -> list[np.ndarray]:
    """The record's windows, mV, float64, each at the preparation's rate and within its band.

    What `prepare` makes first; `scale_windows` does the rest.
    """
    check_fs(fs)
    length = window_length(fs, preparation.window_s)
    starts = window_starts(signal.shape[1], length, preparation.max_windows, preparation.drop_tail)
    return [_condition(signal[:, i : i + length], fs, preparation) for i in starts]


def scale_windows(windows, preparation) -> np.ndarray:
    """Network input, as `prepare` makes it, of what `condition_windows` gives."""
    scale = standardise if preparation.scale == "z_score" else bound
    fitted = [fit_length(scale(window), preparation.n_samples) for window in windows]
    return np.stack(fitted, dtype=np.float32, casting="same_kind")


def window_starts(n_samples, length, max_windows, drop_tail) -> list[int]:
    """First samples of the windows of `length` samples that a record is cut into, at least one.

    See `Preparation`; a record shorter than a window has one.
    """
    if drop_tail:
        count = min(max(n_samples // length, 1), max_windows)
        return [i * length for i in range(count)]
    used = min(n_samples, max_windows * length)
    last = max(used - length, 0)
    return np.linspace(0, last, math.ceil(used / length)).round().astype(int).tolist()


def clean(signal, fs, preparation) -> np.ndarray:
    """Signal, mV, float64, as a whole: at the preparation's rate and within its band.

    Finite, with mean 0 per lead, within 20 mV; a constant lead becomes zeros.
    """
    return bound(_condition(signal, fs, preparation))


def _condition(signal, fs, preparation) -> np.ndarray:
    # One memory layout, so that a lead's sums do not depend on how many leads there are.
    signal = fill_missing(np.array(signal, np.float64, order="C"))
    # Resampling takes what lies beyond the ends as 0, so the offset has to go first.
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
    """Signal, mV, with mean 0 per lead and within 20 mV; a constant lead becomes zeros."""
    return np.clip(centre(signal), -_LARGEST_MV, _LARGEST_MV)


def window_length(fs, window_s) -> int:
    """Samples of a window; a rate above MAX_FS, which no signal has, counts as that."""
    return math.ceil(window_s * min(max(fs, 0.0), MAX_FS))


def lead_deviation(signal) -> np.ndarray:
    """Standard deviation (n_leads,) of each lead, in the signal's unit; 0 in a missing one."""
    # In float64, since the squares of what a wrong gain makes overflow float32.
    signal = np.asarray(signal, np.float64)
    mean = signal.mean(axis=1, keepdims=True)
    if not np.isnan(mean).any():
        return _lead_size(signal - mean)
    missing = np.isnan(signal).all(axis=1, keepdims=True)
    return np.nanstd(np.where(missing, 0.0, signal), axis=1)


def fill_missing(signal) -> np.ndarray:
    """Signal with samples that are not finite replaced: by the line between their neighbours, by
    the nearest sample at the ends, by zeros in a lead that has no sample at all."""
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
    """Signal at `target_fs`, by polyphase filtering along time.

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
    # A thousandth is finer than any recorder's clock, and bounds the filter's length.
    return (Fraction(target_fs) / Fraction(fs)).limit_denominator(1000).as_integer_ratio()


def band_pass(signal, fs, band_hz, order) -> np.ndarray:
    """Signal within `band_hz` = (low, high): Butterworth, zero phase, same shape."""
    # Mirrored at its ends for a second: records start and end anywhere in a beat, and the usual
    # point reflection would turn an R wave at the end into a step that takes seconds to decay.
    pad = min(round(fs), signal.shape[1] - 1)
    before, behind = signal[:, pad:0:-1], signal[:, -2 : -pad - 2 : -1]
    padded = np.concatenate([before, signal, behind], axis=1)
    # As scipy's sosfiltfilt does it, which works out the filter's steady state at each call.
    sections, steady = _band_pass_filter(fs, band_hz, order)
    for _ in range(2):
        padded, _ = sosfilt(sections, padded, axis=1, zi=steady * padded[:, :1])
        padded = padded[:, ::-1]
    return padded[:, pad : pad + signal.shape[1]]


def standardise(signal) -> np.ndarray:
    """Signal with mean 0 and standard deviation 1 per lead; a constant lead becomes zeros."""
    centred = centre(signal)
    deviation = _lead_size(centred)[:, None]
    return centred / np.where(deviation > 0, deviation, 1.0)


def centre(signal) -> np.ndarray:
    """Signal with mean 0 per lead; a constant lead becomes zeros."""
    centred = signal - signal.mean(axis=1, keepdims=True)
    return np.where(_lead_size(centred)[:, None] > _DEAD_MV, centred, 0.0)


def _lead_size(signal) -> np.ndarray:
    """Root mean square (n_leads,) of each lead: its standard deviation, where its mean is 0."""
    return np.sqrt(np.vecdot(signal, signal) / signal.shape[1])


def fit_length(signal, n_samples) -> np.ndarray:
    """Signal of exactly `n_samples`: cut, or padded with zeros at its end."""
    signal = signal[:, :n_samples]
    n_short = n_samples - signal.shape[1]
    return np.pad(signal, ((0, 0), (0, n_short))) if n_short else signal


@lru_cache
def _band_pass_filter(fs, band_hz, order) -> tuple[np.ndarray, np.ndarray]:
    """Second-order sections, and their state (n_sections, 1, 2) after a long time of ones."""
    sections = butter(order, band_hz, "bandpass", fs=fs, output="sos")
    return sections, sosfilt_zi(sections)[:, None]
