"""What a cardiograph prints beside the curves: rate, intervals, axes, sizes of the waves.

Pure array functions. `measure_globally` gives what people read, from all leads there are, each
value in its unit or None.

`measure` gives the side inputs of a network: every figure is squeezed to the order of 1, and 0
where it cannot be measured. Beats are found in leads I and II (`ecg.signals.qrs`) and the rhythm is
measured there, so that it comes out the same whichever other leads there are. The method and its
numbers are ours; the intervals of both are those of `ecg.signals.delineation`.
"""

import math
from collections import defaultdict
from functools import lru_cache
from itertools import pairwise

import numpy as np

from ecg.signals.delineation import Delineation, align_beats, delineate
from ecg.signals.global_measurements import NOT_MEASURED, GlobalMeasurements
from ecg.signals.preprocessing import (
    Preparation,
    bound,
    clean,
    condition_windows,
    scale_windows,
    window_length,
)
from ecg.signals.qrs import (
    FS,
    Beats,
    find_beats,
    find_r_peaks,
    likeness,
    median,
    spatial_velocity,
    straight_lines,
)

# Row by row as the functions below measure them.
RHYTHM = (
    "beats found",
    "rate", "shortest interval", "longest interval", "deviation of intervals",
    "deviation of successive intervals", "range of intervals", "share of early beats",
    "share of odd beats", "oddest beat", "likeness of P waves", "size of P waves",
    "activity between beats, 2-6 Hz", "activity between beats, 6-12 Hz",
    "activity between beats, above 12 Hz",
    "QRS duration", "PR interval", "QT interval", "QTc interval",
    "frontal QRS axis, cosine", "frontal QRS axis, sine",
    "frontal T axis, cosine", "frontal T axis, sine", "largest limb QRS",
)  # fmt: skip
WAVES = (
    "deviation",
    "P, largest", "P, least", "Q", "R", "S", "R after S",
    "QRS area", "first third of QRS", "last third of QRS", "ST",
    "T, largest", "T, least", "T area",
)  # fmt: skip
N_RHYTHM, N_WAVES = len(RHYTHM), len(WAVES)

_CLEANED = Preparation(fs=FS, band_hz=(0.05, 35.0), band_order=3)

# Lengths and windows in samples, of 10 ms.
_MARGIN = 4  # of the QRS on either side where beats are compared
_P_SIZE, _P_LIKENESS = (24, 2), (22, 2)  # from, to; before the QRS
_ST, _T = (2, 8), (6, 40)  # from, to; after the QRS
_PAUSE_END, _SHORTEST_PAUSE = 8, 20  # before the next R peak; 5 Hz is a wave in it

# Thresholds, as shares.
_PAUSE_START = 0.55  # of the interval: the T wave is over
_EARLY = 0.85  # of the usual interval: a beat after a shorter one is early
_ODD = 0.8  # correlation with the median beat: one with less is odd

_PAUSE_LIMITS_HZ = (2.0, 6.0, 12.0, 35.0)  # of three bands, one after another:
_PAUSE_BANDS = (  # flutter and coarse fibrillation, fine fibrillation, muscles
    "activity between beats, 2-6 Hz",
    "activity between beats, 6-12 Hz",
    "activity between beats, above 12 Hz",
)

# The sizes that `_squeeze` makes 0.44, and the usual values, which come out as 0.
_WAVE_MV, _ACTIVITY_MV, _INTERVAL_SHARE, _INTERVAL_S = 0.1, 0.01, 0.05, 0.05
_USUAL_RR_S, _USUAL_QRS_S, _USUAL_PR_S, _USUAL_QT_S, _USUAL_QTC_S = 0.8, 0.09, 0.16, 0.4, 0.42
# What comes out as 1 beyond the usual. Training adds noise to it, so it must be small
# where a diagnosis has a sharp limit: 200 ms of PR, 60 beats a minute.
_QRS_UNIT_S, _PR_UNIT_S, _QT_UNIT_S, _QTC_UNIT_S = 0.03, 0.05, 0.1, 0.06
_RATE_UNIT = 0.2  # of the logarithm


def measure_globally(signal, fs) -> GlobalMeasurements:
    """Measure rate, intervals and axis of an ECG of any leads.

    The rate is that of the mean interval from R peak to R peak, the intervals are of the median
    beat, and QTc follows Bazett's formula.

    signal: mV, (n_leads, n_samples), NaN where samples are missing, of any length from 1 sample;
    leads I and II, which the axis needs, come first: a lead that is wholly missing is left out,
    and may stand for one that the recording lacks. fs: Hz, a rate that
    `ecg.signals.preprocessing.prepare` takes.
    """
    cleaned = clean(signal, fs, _CLEANED)
    alive = cleaned.any(axis=1)
    if not alive.any() or cleaned.shape[1] < 2:
        return NOT_MEASURED
    beats = find_beats(cleaned)
    if beats is not None:
        r_peaks_s = beats.r_peaks / FS
    else:  # leads I and II are dead, or too short for a whole beat
        limb_leads = cleaned[:2]
        r_peaks_s = find_r_peaks(spatial_velocity(limb_leads if limb_leads.any() else cleaned)) / FS
    intervals = _delineate(signal[alive], fs, r_peaks_s)
    rr_s = np.diff(r_peaks_s).mean() if len(r_peaks_s) > 1 else math.nan
    axis = _axis_figures(beats.limb_leads) if beats is not None else {}
    axis_deg = math.nan
    if "frontal QRS axis, sine" in axis:
        sine, cosine = axis["frontal QRS axis, sine"], axis["frontal QRS axis, cosine"]
        axis_deg = math.degrees(math.atan2(sine, cosine))
    values = (
        60 / rr_s,
        intervals.pr_ms,
        intervals.qrs_ms,
        intervals.qt_ms,
        intervals.qt_ms / math.sqrt(rr_s),
        axis_deg,
    )
    return GlobalMeasurements(*(None if math.isnan(value) else float(value) for value in values))


def measure(signal, fs) -> tuple[np.ndarray, np.ndarray]:
    """Figures of the rhythm (N_RHYTHM,) and of each lead's waves (n_leads, N_WAVES), float32.

    signal: mV, (n_leads, n_samples), NaN where samples are missing, of any length from 1 sample;
    leads I and II come first. fs: Hz, a rate that `ecg.signals.preprocessing.prepare` takes. Every
    figure is finite; a record without a whole beat has zeros apart from the leads' deviations.
    """
    return _measure_cleaned(clean(signal, fs, _CLEANED), signal, fs)


def beats_of(signal, fs) -> Beats | None:
    """Return the beats that are measured in a signal, given as to `measure`; None where none is
    found."""
    return find_beats(clean(signal, fs, _CLEANED))


def prepare_and_measure(signal, fs, preparation) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Windows, as `preprocessing.prepare` makes them, and the rhythm and waves of `measure`.

    What both begin with is done once where it is the same: where all of the signal is one window,
    at the rate and in the band of the measurements.
    """
    conditioned = condition_windows(signal, fs, preparation)
    is_whole = signal.shape[1] <= window_length(fs, preparation.window_s)
    if is_whole and _conditioning(preparation) == _conditioning(_CLEANED):
        cleaned = bound(conditioned[0])
    else:
        cleaned = clean(signal, fs, _CLEANED)
    return scale_windows(conditioned, preparation), *_measure_cleaned(cleaned, signal, fs)


def _conditioning(preparation) -> tuple:
    return preparation.fs, preparation.band_hz, preparation.band_order


def _measure_cleaned(cleaned, signal, fs) -> tuple[np.ndarray, np.ndarray]:
    """Return what `measure` gives.

    cleaned: the signal at FS; signal: the same as recorded, at fs.
    """
    rhythm = dict.fromkeys(RHYTHM, 0.0)
    waves = dict.fromkeys(WAVES, np.zeros(len(cleaned)))
    waves |= {"deviation": _squeeze(cleaned.std(axis=1), _WAVE_MV)}
    beats = find_beats(cleaned)
    if beats is not None:
        rr_s = np.diff(beats.r_peaks) / FS
        limb_leads = beats.limb_leads
        alive = cleaned[:2].any(axis=1)
        intervals = _delineate(signal[:2][alive], fs, beats.r_peaks / FS)
        rhythm |= {"beats found": 1.0}
        rhythm |= _interval_figures(rr_s)
        rhythm |= _likeness_figures(limb_leads)
        rhythm |= _pause_figures(cleaned[:2], beats.r_peaks)
        rhythm |= _length_figures(intervals, rr_s)
        rhythm |= _axis_figures(limb_leads)
        waves |= _wave_figures(beats)
    # A figure under a name that is none of the tuple's would lengthen these arrays.
    return (
        np.array(list(rhythm.values()), np.float32),
        np.array(list(waves.values()), np.float32).T,
    )


def _delineate(signal, fs, r_peaks_s) -> Delineation:
    aligned = align_beats(signal, fs, r_peaks_s)
    return Delineation() if aligned is None else delineate(aligned)


def n_measurements(n_leads: int) -> int:
    """Length of what `join_measurements` makes of so many leads."""
    return N_RHYTHM + n_leads * N_WAVES


def join_measurements(rhythm, waves) -> np.ndarray:
    """Rhythm (…, N_RHYTHM) and waves (…, n_leads, N_WAVES) in one row each, (…, n_measurements)."""
    return np.concatenate([rhythm, waves.reshape(*waves.shape[:-2], -1)], axis=-1)


def _interval_figures(rr_s) -> dict[str, float]:
    """rr_s: (n_found - 1,), s, from each beat to the next."""
    if not len(rr_s):
        return {}
    usual, shortest, longest = median(rr_s), rr_s.min(), rr_s.max()
    figures = {
        "rate": np.log(_USUAL_RR_S / usual) / _RATE_UNIT,
        "shortest interval": 2 * np.log(shortest / usual),
        "longest interval": 2 * np.log(longest / usual),
        "deviation of intervals": _squeeze(rr_s.std() / usual, _INTERVAL_SHARE),
        "range of intervals": _squeeze(longest - shortest, _INTERVAL_S),
        "share of early beats": 3 * (rr_s < _EARLY * usual).mean(),
    }
    if len(rr_s) > 1:
        changes = np.sqrt((np.diff(rr_s) ** 2).mean())
        figures["deviation of successive intervals"] = _squeeze(changes / usual, _INTERVAL_SHARE)
    return figures


def _likeness_figures(limb_leads) -> dict[str, float]:
    """How far the single beats look like the median one."""
    each, median_beat = limb_leads.each, limb_leads.median_beat
    qrs = slice(limb_leads.onset - _MARGIN, limb_leads.offset + _MARGIN)
    before_qrs = limb_leads.before_qrs(_P_LIKENESS)
    qrs_likeness = likeness(each[:, :, qrs], median_beat[:, qrs])
    p_wave = median_beat[:, before_qrs]
    p_likeness = likeness(each[:, :, before_qrs], p_wave)
    return {
        "share of odd beats": 3 * (qrs_likeness < _ODD).mean(),
        "oddest beat": 1 - qrs_likeness.min(),
        "likeness of P waves": p_likeness.mean(),
        "size of P waves": _squeeze(np.ptp(p_wave, axis=1).max(), _WAVE_MV),
    }


def _pause_figures(signal, r_peaks) -> dict[str, float]:
    """Activity in what lies between the T wave and the next QRS."""
    starts = defaultdict(list)  # of the pauses of one length
    for here, following in pairwise(r_peaks.tolist()):
        start = here + round(_PAUSE_START * (following - here))
        starts[following - _PAUSE_END - start].append(start)
    alike = [
        np.stack([signal[:, start : start + length] for start in places])
        for length, places in starts.items()
        if length >= _SHORTEST_PAUSE
    ]
    if not alike:
        return {}
    power = sum(map(_band_powers, alike)) / sum(map(len, alike))
    sizes = _squeeze(np.sqrt(power), _ACTIVITY_MV)
    return dict(zip(_PAUSE_BANDS, sizes, strict=True))


def _band_powers(pauses) -> np.ndarray:
    """Power in each of the bands, of all pauses and leads together, about each one's straight line.

    pauses: (n_pauses, n_leads, length), mV.
    """
    line, tapered_line, taper, limits = _pause_tables(pauses.shape[2])
    tapered = pauses * taper - (pauses @ line) @ tapered_line
    spectrum = np.fft.rfft(tapered)
    power = (spectrum * spectrum.conj()).real.sum(axis=(0, 1)) / len(taper) ** 2
    return np.add.reduceat(power[: limits[-1]], limits[:-1])


@lru_cache
def _pause_tables(length) -> tuple[np.ndarray, ...]:
    """All straight lines' orthonormal basis (length, 2), the same tapered (2, length), the taper,
    and the places in the spectrum at which bands begin and the last one ends."""
    line, taper = straight_lines(length), np.hanning(length)
    limits = np.searchsorted(np.fft.rfftfreq(length, 1 / FS), _PAUSE_LIMITS_HZ)
    return line, taper * line.T, taper, limits


def _length_figures(intervals: Delineation, rr_s) -> dict[str, float]:
    """Intervals within the median beat; those that are not clear are left out."""
    usual_rr_s = median(rr_s) if len(rr_s) else _USUAL_RR_S
    pr_s, qrs_s, qt_s = intervals.pr_ms / 1000, intervals.qrs_ms / 1000, intervals.qt_ms / 1000
    figures = {
        "QRS duration": (qrs_s - _USUAL_QRS_S) / _QRS_UNIT_S,
        "PR interval": (pr_s - _USUAL_PR_S) / _PR_UNIT_S,
        "QT interval": (qt_s - _USUAL_QT_S) / _QT_UNIT_S,
        "QTc interval": (qt_s / math.sqrt(usual_rr_s) - _USUAL_QTC_S) / _QTC_UNIT_S,  # Bazett's
    }
    return {name: figure for name, figure in figures.items() if not math.isnan(figure)}


def _axis_figures(limb_leads) -> dict[str, float]:
    """Directions of the mean QRS and T vectors in the frontal plane; 0 where a lead is dead."""
    figures = {"largest limb QRS": _squeeze(np.ptp(limb_leads.qrs, axis=1).max(), _WAVE_MV)}
    if len(limb_leads.median_beat) == 2 and limb_leads.median_beat.any(axis=1).all():
        for name, wave in (
            ("QRS", limb_leads.qrs),
            ("T", limb_leads.median_beat[:, limb_leads.after_qrs(_T)]),
        ):
            lead_i, lead_ii = wave.sum(axis=1)
            downwards = (2 * lead_ii - lead_i) / np.sqrt(3)  # by Einthoven's triangle
            length = max(np.hypot(lead_i, downwards), 1e-9)
            figures[f"frontal {name} axis, cosine"] = lead_i / length
            figures[f"frontal {name} axis, sine"] = downwards / length
    return figures


def _wave_figures(beats) -> dict[str, np.ndarray]:
    """Heights and mean heights (n_leads,) of the median beat's waves."""
    qrs = beats.qrs
    third = max(qrs.shape[1] // 3, 1)
    time = np.arange(qrs.shape[1])
    peak = qrs.argmax(axis=1)[:, None]
    # No S wave follows an R wave at the very end: what is after it is then the R wave itself.
    trough = np.where(time > peak, qrs, np.inf).argmin(axis=1)[:, None]
    p_wave = beats.median_beat[:, beats.before_qrs(_P_SIZE)]
    t_wave = beats.median_beat[:, beats.after_qrs(_T)]
    millivolts = {
        "P, largest": p_wave.max(axis=1),
        "P, least": p_wave.min(axis=1),
        "Q": np.where(time <= peak, qrs, 0).min(axis=1),
        "R": qrs.max(axis=1),
        "S": np.where(time >= peak, qrs, 0).min(axis=1),
        "R after S": np.where(time > trough, qrs, 0).max(axis=1),
        "QRS area": qrs.mean(axis=1),
        "first third of QRS": qrs[:, :third].mean(axis=1),
        "last third of QRS": qrs[:, -third:].mean(axis=1),
        "ST": beats.median_beat[:, beats.after_qrs(_ST)].mean(axis=1),
        "T, largest": t_wave.max(axis=1),
        "T, least": t_wave.min(axis=1),
        "T area": t_wave.mean(axis=1),
    }
    squeezed = _squeeze(np.array(list(millivolts.values())), _WAVE_MV)
    return dict(zip(millivolts, squeezed, strict=True))


def _squeeze(value, unit):
    """Nearly `value` in units where it is small, its logarithm where it is large, both halved."""
    return np.arcsinh(value / unit) / 2
