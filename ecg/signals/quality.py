"""Whether a recording can be judged as an ECG at all, and what is doubtful about it.

Pure array functions. Each lead is measured by itself, at 100 Hz and regardless of its size: a heart
shows QRS complexes, which are short, rise and fall steeply, stand out from what lies between them,
resemble each other and come at a heart's rate. A recording is usable where a quarter of its leads
show that, at a heart's size. The limits lie between the figures of real leads and those of signals
that are no ECG; `python -m benchmarks.quality RECORDS --figures` prints both, and without the
option the shares that the limits refuse. The method and its numbers are ours.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from scipy.ndimage import uniform_filter1d

from ecg.signals.preprocessing import MAX_FS, MIN_FS, Preparation, check_fs, clean, fill_missing
from ecg.signals.qrs import find_r_peaks

_CLEANED = Preparation(fs=100.0, band_hz=(0.5, 40.0), band_order=2)
_FS = _CLEANED.fs

# A recording is examined in windows; of a long one, six that are spread over all of it.
_WINDOW_S, _MOST_WINDOWS = 10.0, 6
_SHORTEST_S = 2.0  # shorter recordings rarely contain two whole beats
_LEAST_BEATS = 2  # whole beats; a single one cannot be compared with another
_LEAST_LEADS, _LEAST_WINDOWS = 0.25, 0.5  # least shares of leads and windows that show beats

# Lengths in samples, of 10 ms.
_QRS = 9  # steepness is averaged over the length of a QRS
_CLOSEST = 17  # least distance of two beats: 350 a minute
_PIECE = 200  # a beat is expected in every piece of this length: 30 a minute
_REACH = 20  # length of a beat before and after its middle
_CORE = slice(_REACH - 12, _REACH + 13)  # the part of a beat that holds a QRS of any length
_BEFORE, _AFTER = slice(8, 13), slice(28, 33)  # the parts that give the levels about the QRS
_SHARPEST = 4  # number of the core's steepest samples that make its sharpness
_BUSY_LEVEL = 0.4  # share of the usual beat's steepness from which a sample is busy
_SPECTRUM_SIZE = 128
_SLOW_HZ, _FAST_HZ, _MUSCLE_HZ = 8.0, 25.0, 15.0

# Limits of `BeatFigures`: the share of the real leads, cut to 10 s, that lies beyond, and what the
# signals that are no ECG have.
_LEAST_PROMINENCE = 1.8  # 0.4 %; noise and oscillations 1 to 1.6, fast saws up to 2
_MOST_BUSY = 0.65  # 0.5 %; noise 0.75 and more
_MOST_SLOW = 0.95  # none, they reach 0.77, simulated bundle branch blocks 0.88; pulse waves 0.99
_LEAST_RETURN_SLOPE = 0.35  # 0.13 %; steps and saws 0.04 to 0.2
# 0.14 %; steps and arterial pressure 0.52 and more, and they rise or fall: a broad paced QRS after
# its spike may end as far from where it began, but does both.
_MOST_LEVEL_SHIFT, _MOST_LEVEL_SHIFT_OF_RETURNING, _RETURNING = 0.5, 0.75, 0.85
# 0.14 % are sharper and not regular. Impulses have 0.5 to 0.75; amid noise, or too close to each
# other, they have less, and differ. Narrow QRS complexes in a small lead are as sharp: 5 of them
# that come regularly are believed, which impulses at random times do not.
_MOST_SHARPNESS, _MOST_SHARPNESS_OF_UNLIKE, _LIKE = 0.6, 0.5, 0.8
_MOST_IRREGULARITY, _LEAST_REGULAR_BEATS = 0.1, 5
# By the number of whole beats, since few beats resemble each other by chance; 0.5 %, and 1.0 %
# of what is cut to 5 s.
_LEAST_LIKENESS = ((4, 0.8), (8, 0.5), (math.inf, 0.4))
_RATES_BPM = (20.0, 300.0)  # 0.04 %
_SIZES_MV = (0.03, 25.0)  # of a QRS complex; real ones 0.07 to 8 in any lead
_UNIT_STEP = 1000.0  # from uV to mV, from mV to V

_FLAT = "no ECG: flat"
_NO_BEATS = "no ECG: fewer than two heartbeats were found"
_NOISE = "no ECG: no heartbeats stand out; this looks like noise or a steady oscillation"
_SLOW = "no ECG: its waves are too slow for heartbeats; this looks like a pulse or breathing"
_STEPS = "no ECG: it has steps or one-sided edges in place of heartbeats"
_SPIKES = "no ECG: its spikes are too narrow for heartbeats, and irregular"
_UNLIKE = "no ECG that can be judged: what stands out has no common shape, as heartbeats have"
_RATE = (
    f"no ECG: its rate is not that of a heart, {_RATES_BPM[0]:g} to {_RATES_BPM[1]:g} beats a "
    "minute"
)
_AT_OTHER_RATES = (_NOISE, _SLOW, _STEPS, _RATE)  # what an ECG at a wrong sampling rate shows
_RATE_FACTORS = (4.0, 0.25, 5.0, 0.2)  # twice or half the true rate gives what hearts do as well

# From here on a usable recording is doubtful. Of the real records, first 10 s, so many are beyond.
_TOLD_MISSING = 0.05  # share of a lead's samples
_FLAT_SHARE = 0.01  # of the usual lead's range: a lead with less is flat; 0.3 %
_FLAT_S = 0.2  # in which nothing changes at all: no recorder's noise is that low
_TOLD_FLAT = 0.1  # share of a lead's time that is flat; 0.3 %, those with flat leads
_TOLD_AT_LIMIT = 0.02  # share of a lead's samples that are its highest or lowest; none
_AT_LIMIT = 1e-3  # of the range
_TOLD_JUMP = 4.0  # QRS sizes, from the level of 0.2 s to the next; 1.2 %
_LEVEL_S = 0.2
_TOLD_HUM = 0.05  # root mean square over QRS size, in the usual lead; none
_MAINS_HZ, _MAINS_WIDTH_HZ, _MAINS_NEAR_HZ = (50.0, 60.0), 0.6, (1.5, 6.0)
_TOLD_MUSCLE = 0.025  # as `BeatFigures.muscle`, in the usual lead; 0.5 %
_TOLD_BUSY = 0.8  # as `BeatFigures.busy`: such a lead shows noise, no small beats; 2 %
_FEW_BEATS = 4
_USUAL_RATES_BPM = (30.0, 220.0)  # none


@dataclass(frozen=True)
class Quality:
    """Whether a recording can be judged as an ECG.

    reasons: sentences that say why it is not usable; empty where it is. warnings: sentences about
    what is doubtful, of a usable recording alone.
    """

    usable: bool
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class BeatFigures:
    """What is measured of the beats in a lead, to tell a heart's from other signals.

    Steepness is the root mean square slope over 90 ms; a beat is a peak of it, with 200 ms on
    either side. prominence: the usual beat's steepness over the lead's median one. busy: share of
    the time that is 0.4 times as steep as the usual beat. likeness: correlation of the usual beat
    with those that resemble it most, a half of all. return_slope: the lesser of the steepest rise
    and fall of the usual beat over the greater one. level_shift: from before the QRS to after it,
    over its size. slow: share of the slope's power below 8 Hz. sharpness: share of the slope's
    power above 25 Hz, times the share of its energy that falls into 40 ms. rate_bpm: beats a
    minute. irregularity: third quartile of the intervals' deviation from the usual one, over that
    one. size: the usual beat's, from its lowest to its highest sample, mV. muscle: root mean
    square above 15 Hz midway between beats, over that size. n_beats: whole ones.
    """

    prominence: float
    busy: float
    likeness: float
    return_slope: float
    level_shift: float
    slow: float
    sharpness: float
    rate_bpm: float
    irregularity: float
    size: float
    muscle: float
    n_beats: int


@dataclass(frozen=True)
class _Window:
    """A stretch of the recording: its leads, as `fill_missing` leaves them, and their beats.

    signal: mV, (n_leads, n_samples), float64. missing: (n_leads,), share of a lead's samples.
    flat: (n_leads,), whether a lead carries nothing. figures: see `beat_figures`.
    """

    signal: np.ndarray
    fs: float
    missing: np.ndarray
    flat: np.ndarray
    figures: list[BeatFigures | None]

    @cached_property
    def faults(self) -> list[str | None]:
        """Why each lead is none of an ECG; None where it is."""
        pairs = zip(self.figures, self.flat, strict=True)
        return [_FLAT if flat else _fault(figures) for figures, flat in pairs]

    @property
    def beats(self) -> list[BeatFigures]:
        """The figures of the leads that show beats."""
        pairs = zip(self.figures, self.faults, strict=True)
        return [figures for figures, fault in pairs if fault is None]

    @property
    def shows_beats(self) -> bool:
        """Whether enough of the leads that are not flat do."""
        return len(self.beats) >= max(1, _LEAST_LEADS * np.sum(~self.flat))


FIGURES = tuple(field.name for field in fields(BeatFigures))


def assess_quality(signal, fs, leads: Sequence[str]) -> Quality:
    """Whether a recording can be judged as an ECG, why not, and what is doubtful about it.

    signal: mV, (n_leads, n_samples) with at least 1 sample, NaN where samples are missing; fs: Hz;
    leads: names of the rows, for the sentences alone. Of a long recording six windows of 10 s are
    looked at, spread over all of it. Raises ValueError for a sampling rate outside MIN_FS..MAX_FS.
    """
    check_fs(fs)
    signal = np.asarray(signal)
    starts, length = _window_starts(signal.shape[1], fs)
    windows = [_look_at(signal[:, start : start + length], fs) for start in starts]
    reason = _reason(windows, signal.shape[1] / fs)
    if reason is not None:
        return Quality(False, (reason,))
    return Quality(True, (), tuple(_warnings(windows, starts, leads)))


def _window_starts(n_samples, fs) -> tuple[list[int], int]:
    length = math.ceil(_WINDOW_S * fs)
    count = min(math.ceil(n_samples / length), _MOST_WINDOWS)
    last = max(n_samples - length, 0)
    return np.linspace(0, last, count).round().astype(int).tolist(), length


def _look_at(signal, fs) -> _Window:
    signal = np.array(signal, np.float64)
    missing = (~np.isfinite(signal)).mean(axis=1)
    signal = fill_missing(signal)
    size = np.ptp(signal, axis=1)
    # Of two leads the smaller one is the usual one, so that an artefact makes no other lead flat.
    usual = np.quantile(size[size > 0], 0.5, method="lower") if size.any() else 0.0
    flat = size <= _FLAT_SHARE * usual
    return _Window(signal, fs, missing, flat, beat_figures(signal, fs))


def _reason(windows, duration_s) -> str | None:
    """Why the recording is not usable; None where it is."""
    if duration_s < _SHORTEST_S:
        return f"too short: expected at least {_SHORTEST_S:g} s, found {duration_s:.2g} s"
    if all(window.flat.all() for window in windows):
        return "no ECG: every lead is flat or missing"
    if np.mean([window.shows_beats for window in windows]) < _LEAST_WINDOWS:
        faults = Counter(
            fault
            for window in windows
            if not window.shows_beats
            for fault in window.faults
            if fault not in (None, _FLAT)
        )
        if not faults:
            return "no ECG: nearly every lead is flat"
        fault = faults.most_common(1)[0][0]
        return fault + _rate_hint(windows[len(windows) // 2]) if fault in _AT_OTHER_RATES else fault
    return _size_reason(np.median([beats.size for window in windows for beats in window.beats]))


def _rate_hint(window) -> str:
    """Return the end of a reason: at which other sampling rate the window would show heartbeats."""
    n_samples = window.signal.shape[1]
    for fs in (window.fs * factor for factor in _RATE_FACTORS):
        can_be_read = MIN_FS <= fs <= MAX_FS and n_samples >= _SHORTEST_S * fs
        if can_be_read and _look_at(window.signal, fs).shows_beats:
            return f"; sampled at {fs:.0f} Hz instead of {window.fs:g} Hz it would look like one"
    return ""


def _size_reason(size) -> str | None:
    """Why QRS complexes of this size, mV, are no heart's; None where they may be."""
    least, most = _SIZES_MV
    if least <= size <= most:
        return None
    found = f"no heart's amplitudes: QRS complexes of {least:g} to {most:g} mV expected, "
    found += f"{size:.2g} mV found"
    if least <= size / _UNIT_STEP <= most:
        return f"{found}; this looks like microvolts read as millivolts (give --unit uV)"
    if least <= size * _UNIT_STEP <= most:
        return f"{found}; this looks like volts read as millivolts (give --unit V)"
    return found


def _fault(figures: BeatFigures | None) -> str | None:
    """Return what sets a lead apart from an ECG; None where nothing does."""
    if figures is None:
        return _NO_BEATS
    if figures.slow > _MOST_SLOW:
        return _SLOW
    returns = figures.return_slope >= _RETURNING
    most_shift = _MOST_LEVEL_SHIFT_OF_RETURNING if returns else _MOST_LEVEL_SHIFT
    if figures.return_slope < _LEAST_RETURN_SLOPE or figures.level_shift > most_shift:
        return _STEPS
    if figures.prominence < _LEAST_PROMINENCE or figures.busy > _MOST_BUSY:
        return _NOISE
    most_sharpness = _MOST_SHARPNESS if figures.likeness >= _LIKE else _MOST_SHARPNESS_OF_UNLIKE
    if figures.sharpness > most_sharpness and not _is_regular(figures):
        return _SPIKES
    least = next(least for n_beats, least in _LEAST_LIKENESS if figures.n_beats < n_beats)
    if figures.likeness < least:
        return _UNLIKE
    if not _RATES_BPM[0] <= figures.rate_bpm <= _RATES_BPM[1]:
        return _RATE
    return None


def _is_regular(figures: BeatFigures) -> bool:
    return figures.n_beats >= _LEAST_REGULAR_BEATS and figures.irregularity < _MOST_IRREGULARITY


def _warnings(windows, starts, leads) -> list[str]:
    beating = [window for window in windows if window.shows_beats]
    beats = [figures for window in beating for figures in window.beats]
    size, rate, muscle = np.median([(f.size, f.rate_bpm, f.muscle) for f in beats], axis=0)
    flat = np.all([window.flat for window in windows], axis=0)
    missing = np.mean([window.missing for window in windows], axis=0)
    silent = np.all([_is_silent(window) for window in beating], axis=0)
    flat_time = np.mean([_flat_time(window) for window in windows], axis=0)
    at_limit = np.mean([_at_limit(window) for window in windows], axis=0)
    jump = np.max([_jump(window) for window in windows], axis=0)
    by_lead = (
        (missing == 1, "missing"),
        (flat & (missing < 1), "flat; the electrode may be off"),
        (~flat & (missing > _TOLD_MISSING), "samples are missing"),
        (~flat & (flat_time > _TOLD_FLAT), "flat for a part of the time"),
        (~flat & (at_limit > _TOLD_AT_LIMIT), "cut off at the recorder's limit"),
        (~flat & silent, "heartbeats are lost in noise"),
        (jump > _TOLD_JUMP * size, "the baseline jumps"),
    )
    told = [
        f"{', '.join(name for name, here in zip(leads, where, strict=True) if here)}: {sentence}"
        for where, sentence in by_lead
        if where.any()
    ]
    hum = np.median(np.concatenate([_hum(window)[~window.flat] for window in beating]))
    if hum > _TOLD_HUM * size:
        told.append(f"mains hum of {hum:.2g} mV (root mean square)")
    if muscle > _TOLD_MUSCLE:
        told.append(f"noise of {muscle * size:.2g} mV between heartbeats, as muscles make it")
    if not _USUAL_RATES_BPM[0] <= rate <= _USUAL_RATES_BPM[1]:
        told.append(f"{rate:.0f} heartbeats a minute; the sampling rate may be another than stated")
    n_beats = max(f.n_beats for f in beats)
    if n_beats < _FEW_BEATS:
        told.append(f"only {n_beats} whole heartbeats: rate and rhythm are uncertain")
    if len(beating) < len(windows):
        pairs = zip(windows, starts, strict=True)
        without = [start for window, start in pairs if not window.shows_beats]
        places = ", ".join(f"{start / windows[0].fs:.0f} s" for start in without)
        told.append(f"no heartbeats to be seen in the {_WINDOW_S:g} s from {places}")
    return told


def _is_silent(window) -> np.ndarray:
    """Whether each lead shows noise where others show beats."""
    return np.array([f is None or f.busy > _TOLD_BUSY for f in window.figures])


def _flat_time(window) -> np.ndarray:
    """Share of the time (n_leads,) in which nothing changes."""
    return (np.ptp(_blocks(window, _FLAT_S), axis=2) == 0).mean(axis=1)


def _at_limit(window) -> np.ndarray:
    """Share of the samples (n_leads,) that are the highest, or the lowest, of their lead."""
    lowest, highest = window.signal.min(axis=1), window.signal.max(axis=1)
    near = _AT_LIMIT * (highest - lowest)
    at_highest = (window.signal >= (highest - near)[:, None]).mean(axis=1)
    at_lowest = (window.signal <= (lowest + near)[:, None]).mean(axis=1)
    return np.maximum(at_highest, at_lowest)


def _jump(window) -> np.ndarray:
    """Return the largest step (n_leads,), mV, of the level from one stretch of time to the next."""
    levels = np.median(_blocks(window, _LEVEL_S), axis=2)
    return np.abs(np.diff(levels, axis=1)).max(axis=1, initial=0.0)


def _blocks(window, duration_s) -> np.ndarray:
    """Return the signal in pieces (n_leads, n_blocks, length) of equal length; the rest is left
    out."""
    n_leads, n_samples = window.signal.shape
    length = math.ceil(duration_s * window.fs)
    n_blocks = n_samples // length
    return window.signal[:, : n_blocks * length].reshape(n_leads, n_blocks, length)


def _hum(window) -> np.ndarray:
    """Mains hum (n_leads,), mV, root mean square, above what the frequencies about it have."""
    n_samples = window.signal.shape[1]
    taper = np.hanning(n_samples)
    centred = window.signal - window.signal.mean(axis=1, keepdims=True)
    power = 2 * np.abs(np.fft.rfft(centred * taper)) ** 2 / (n_samples * (taper**2).sum())
    frequency = np.fft.rfftfreq(n_samples, 1 / window.fs)
    found = np.zeros(len(power))
    for mains_hz in _MAINS_HZ:
        if mains_hz + _MAINS_NEAR_HZ[1] > window.fs / 2:
            continue
        away = np.abs(frequency - mains_hz)
        near = (away > _MAINS_NEAR_HZ[0]) & (away < _MAINS_NEAR_HZ[1])
        hum = power[:, away < _MAINS_WIDTH_HZ] - np.median(power[:, near], axis=1, keepdims=True)
        found = np.maximum(found, np.sqrt(np.maximum(hum.sum(axis=1), 0.0)))
    return found


def beat_figures(signal, fs) -> list[BeatFigures | None]:
    """Return the figures of each lead; None where it shows fewer than two whole beats.

    signal: mV, (n_leads, n_samples), NaN where samples are missing; fs: Hz.
    """
    signal = fill_missing(np.array(signal, np.float64))
    size = np.ptp(signal, axis=1, keepdims=True)
    size[size == 0] = 1.0
    cleaned = clean(signal / size, fs, _CLEANED)
    if cleaned.shape[1] <= 2 * _REACH:
        return [None] * len(signal)
    slope = np.gradient(cleaned, axis=1)
    power = uniform_filter1d(slope**2, _QRS, axis=1)
    steepness = np.sqrt(np.maximum(power, 0.0))  # its running sum may end a little below 0
    return [_figures(*lead) for lead in zip(cleaned, steepness, size[:, 0].tolist(), strict=True)]


def _figures(lead, steepness, size) -> BeatFigures | None:
    middles = find_r_peaks(steepness, _PIECE, _CLOSEST)
    whole = middles[(middles >= _REACH) & (middles + _REACH < len(lead))]
    if len(whole) < _LEAST_BEATS:
        return None
    usual = np.median(steepness[middles])
    beats = _cut(lead, whole)
    between = _cut(lead, (whole[1:] + whole[:-1]) // 2)
    slope = np.gradient(beats, axis=1)[:, _CORE]
    rise, fall = np.maximum(slope.max(axis=1), 0), np.maximum(-slope.min(axis=1), 0)
    energy = np.sort(slope**2, axis=1)
    heights = np.ptp(beats[:, _CORE], axis=1)
    shift = np.abs(beats[:, _AFTER].mean(axis=1) - beats[:, _BEFORE].mean(axis=1))
    frequency, power = _spectrum(beats)
    slopes_power = power * frequency**2
    total = _positive(slopes_power.sum())
    _, power_between = _spectrum(between)
    height = _positive(np.median(heights))
    rr = np.diff(middles)
    usual_rr = np.median(rr)
    sharpest = energy[:, -_SHARPEST:].sum(axis=1) / _positive(energy.sum(axis=1))
    return BeatFigures(
        prominence=float(usual / _positive(np.median(steepness))),
        busy=float(np.mean(steepness > _BUSY_LEVEL * usual)),
        likeness=_likeness(beats),
        return_slope=float(np.median(np.minimum(rise, fall) / _positive(np.maximum(rise, fall)))),
        level_shift=float(np.median(shift / _positive(heights))),
        slow=float(slopes_power[frequency < _SLOW_HZ].sum() / total),
        sharpness=float(slopes_power[frequency > _FAST_HZ].sum() / total * np.median(sharpest)),
        rate_bpm=float(60 * _FS / usual_rr),
        irregularity=float(np.quantile(np.abs(rr / usual_rr - 1), 0.75)),
        size=float(height * size),
        muscle=float(np.sqrt(power_between[frequency > _MUSCLE_HZ].sum()) / height),
        n_beats=len(whole),
    )


def _cut(lead, middles) -> np.ndarray:
    """Beats (n_beats, 2 * _REACH + 1) about their middles, each with mean 0."""
    beats = lead[middles[:, None] + np.arange(-_REACH, _REACH + 1)]
    return beats - beats.mean(axis=1, keepdims=True)


def _likeness(beats) -> float:
    """Median over the beats of each one's mean correlation with the half that it is most like."""
    n_others = len(beats) - 1
    normed = beats / _positive(np.sqrt((beats**2).sum(axis=1, keepdims=True)))
    correlation = normed @ normed.T
    np.fill_diagonal(correlation, -np.inf)
    others = np.sort(correlation, axis=1)[:, 1:]
    return float(np.median(others[:, n_others // 2 :].mean(axis=1)))


def _spectrum(beats) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies, Hz, and the beats' mean power at each: what it adds to their mean square."""
    taper = np.hanning(beats.shape[1])
    transformed = np.fft.rfft(beats * taper, _SPECTRUM_SIZE)
    power = 2 * (np.abs(transformed) ** 2).mean(axis=0) / (_SPECTRUM_SIZE * (taper**2).sum())
    return np.fft.rfftfreq(_SPECTRUM_SIZE, 1 / _FS), power


def _positive(value):
    return np.maximum(value, 1e-12)
