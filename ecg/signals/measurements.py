"""What a cardiograph prints beside the curves: rate, intervals, axes, sizes of the waves.

Pure array functions, made as side inputs of a network: every figure is squeezed to the order of 1,
and 0 where it cannot be measured. Beats are found in leads I and II (`ecg.signals.qrs`) and the
rhythm is measured there, so that it comes out the same whichever other leads there are. The method
and its numbers are ours.
"""

from collections import defaultdict
from functools import lru_cache
from itertools import pairwise

import numpy as np

from ecg.signals.preprocessing import (
    Preparation,
    bound,
    clean,
    condition_windows,
    scale_windows,
    window_length,
)
from ecg.signals.qrs import FS, Beats, median, read_beats

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
    "P, largest", "P, least", "Q", "R", "S", "R behind S",
    "QRS area", "first third of QRS", "last third of QRS", "ST",
    "T, largest", "T, least", "T area",
)  # fmt: skip
N_RHYTHM, N_WAVES = len(RHYTHM), len(WAVES)

_CLEANED = Preparation(fs=FS, band_hz=(0.05, 35.0), band_order=3)

# Lengths and windows in samples, of 10 ms.
_MARGIN = 4  # of the QRS on either side where beats are compared
_P_SIZE, _P_LIKENESS, _P_PEAK = (24, 2), (22, 2), (26, 3)  # from, to; before the QRS
_ST, _T = (2, 8), (6, 40)  # from, to; behind the QRS
_PAUSE_END, _SHORTEST_PAUSE = 8, 20  # before the middle of the next beat; 5 Hz is a wave in it

# Thresholds, as shares.
_T_LEVEL = 0.3  # of the peak: the T wave ends below
_PAUSE_START = 0.55  # of the interval: the T wave is over
_EARLY = 0.85  # of the usual interval: a beat behind a shorter one is early
_ODD = 0.8  # correlation with the average beat: one with less is odd
_LEAST_ENERGY = 1e-12  # mV^4, product of two sums of squares: below it nothing is alike

_PAUSE_LIMITS_HZ = (2.0, 6.0, 12.0, 35.0)  # of three bands, one after another:
_PAUSE_BANDS = (  # flutter and coarse fibrillation, fine fibrillation, muscles
    "activity between beats, 2-6 Hz",
    "activity between beats, 6-12 Hz",
    "activity between beats, above 12 Hz",
)

# The sizes that `_squeeze` makes 0.44, and the usual values, which come out as 0.
_WAVE_MV, _ACTIVITY_MV, _INTERVAL_SHARE, _INTERVAL_S = 0.1, 0.01, 0.05, 0.05
_USUAL_RR_S, _USUAL_QRS_S, _USUAL_PR_S, _USUAL_QT_S, _USUAL_QTC_S = 0.8, 0.1, 0.12, 0.4, 0.42


def measure(signal, fs) -> tuple[np.ndarray, np.ndarray]:
    """Figures of the rhythm (N_RHYTHM,) and of each lead's waves (n_leads, N_WAVES), float32.

    signal: mV, (n_leads, n_samples), NaN where samples are missing, of any length from 1 sample;
    leads I and II come first. fs: Hz, a rate that `ecg.signals.preprocessing.prepare` takes. Every
    figure is finite; a record without a whole beat has zeros apart from the leads' deviations.
    """
    return _measure_cleaned(clean(signal, fs, _CLEANED))


def beats_of(signal, fs) -> Beats | None:
    """The beats that are measured in a signal, given as to `measure`; None where none is found."""
    return read_beats(clean(signal, fs, _CLEANED))


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
    return scale_windows(conditioned, preparation), *_measure_cleaned(cleaned)


def _conditioning(preparation) -> tuple:
    return preparation.fs, preparation.band_hz, preparation.band_order


def _measure_cleaned(signal) -> tuple[np.ndarray, np.ndarray]:
    rhythm = dict.fromkeys(RHYTHM, 0.0)
    waves = dict.fromkeys(WAVES, np.zeros(len(signal)))
    waves |= {"deviation": _squeeze(signal.std(axis=1), _WAVE_MV)}
    beats = read_beats(signal)
    if beats is not None:
        rr_s = np.diff(beats.middles) / FS
        limbs = beats.limbs
        rhythm |= {"beats found": 1.0}
        rhythm |= _interval_figures(rr_s)
        rhythm |= _likeness_figures(limbs)
        rhythm |= _pause_figures(signal[:2], beats.middles)
        rhythm |= _length_figures(limbs, rr_s)
        rhythm |= _axis_figures(limbs)
        waves |= _wave_figures(beats)
    # A figure under a name that is none of the tuple's would lengthen these arrays.
    return (
        np.array(list(rhythm.values()), np.float32),
        np.array(list(waves.values()), np.float32).T,
    )


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
        "rate": 2 * np.log(_USUAL_RR_S / usual),
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


def _likeness_figures(limbs) -> dict[str, float]:
    """How far the single beats look like the average one."""
    likeness = _correlation(limbs, slice(limbs.onset - _MARGIN, limbs.offset + _MARGIN))
    p_likeness = _correlation(limbs, limbs.before_qrs(_P_LIKENESS))
    p_wave = limbs.median_beat[:, limbs.before_qrs(_P_LIKENESS)]
    return {
        "share of odd beats": 3 * (likeness < _ODD).mean(),
        "oddest beat": 1 - likeness.min(),
        "likeness of P waves": p_likeness.mean(),
        "size of P waves": _squeeze(np.ptp(p_wave, axis=1).max(), _WAVE_MV),
    }


def _correlation(beats, window) -> np.ndarray:
    """Correlation (n_beats,) of each beat with the average one in a window, over all leads."""
    own, usual = beats.each[:, :, window], beats.median_beat[:, None, window]
    own = own - own.mean(axis=2, keepdims=True)
    usual = usual - usual.mean(axis=2, keepdims=True)
    energy = np.einsum("lbt,lbt->b", own, own) * (usual**2).sum()
    likeness = np.einsum("lbt,lkt->b", own, usual)
    return likeness / np.sqrt(np.maximum(energy, _LEAST_ENERGY))


def _pause_figures(signal, middles) -> dict[str, float]:
    """Activity in what lies between the T wave and the next QRS."""
    starts = defaultdict(list)  # of the pauses of one length
    for here, following in pairwise(middles.tolist()):
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
    line = np.stack([np.ones(length), np.linspace(-1, 1, length)], axis=1)
    line /= np.sqrt((line**2).sum(axis=0))
    taper = np.hanning(length)
    limits = np.searchsorted(np.fft.rfftfreq(length, 1 / FS), _PAUSE_LIMITS_HZ)
    return line, taper * line.T, taper, limits


def _length_figures(limbs, rr_s) -> dict[str, float]:
    """Lengths within the average beat: PR from the P wave's peak, QT to the T wave's foot."""
    size = np.sqrt((limbs.median_beat**2).sum(axis=0))
    before = limbs.before_qrs(_P_PEAK)
    p_peak = before.start + int(size[before].argmax())
    behind = limbs.offset + _T[0]
    t_peak = behind + int(size[behind:].argmax())
    low = np.flatnonzero(size[t_peak:] < _T_LEVEL * size[t_peak])
    t_end = t_peak + int(low[0]) if len(low) else len(size) - 1
    qt_s = (t_end - limbs.onset) / FS
    usual_rr_s = median(rr_s) if len(rr_s) else _USUAL_RR_S
    return {
        "QRS duration": 10 * ((limbs.offset - limbs.onset) / FS - _USUAL_QRS_S),
        "PR interval": 5 * ((limbs.onset - p_peak) / FS - _USUAL_PR_S),
        "QT interval": 5 * (qt_s - _USUAL_QT_S),
        "QTc interval": 5 * (qt_s / np.sqrt(usual_rr_s) - _USUAL_QTC_S),  # Bazett's
    }


def _axis_figures(limbs) -> dict[str, float]:
    """Directions of the mean QRS and T vectors in the frontal plane; 0 where a lead is dead."""
    figures = {"largest limb QRS": _squeeze(np.ptp(limbs.qrs, axis=1).max(), _WAVE_MV)}
    if limbs.median_beat.any(axis=1).all():
        for name, wave in (("QRS", limbs.qrs), ("T", limbs.median_beat[:, limbs.behind_qrs(_T)])):
            lead_i, lead_ii = wave.sum(axis=1)
            downwards = (2 * lead_ii - lead_i) / np.sqrt(3)  # by Einthoven's triangle
            length = max(np.hypot(lead_i, downwards), 1e-9)
            figures[f"frontal {name} axis, cosine"] = lead_i / length
            figures[f"frontal {name} axis, sine"] = downwards / length
    return figures


def _wave_figures(beats) -> dict[str, np.ndarray]:
    """Heights and mean heights (n_leads,) of the average beat's waves."""
    qrs = beats.qrs
    third = max(qrs.shape[1] // 3, 1)
    time = np.arange(qrs.shape[1])
    peak = qrs.argmax(axis=1)[:, None]
    # No S wave follows an R wave at the very end: what is behind it is then the R wave itself.
    trough = np.where(time > peak, qrs, np.inf).argmin(axis=1)[:, None]
    p_wave = beats.median_beat[:, beats.before_qrs(_P_SIZE)]
    t_wave = beats.median_beat[:, beats.behind_qrs(_T)]
    millivolts = {
        "P, largest": p_wave.max(axis=1),
        "P, least": p_wave.min(axis=1),
        "Q": np.where(time <= peak, qrs, 0).min(axis=1),
        "R": qrs.max(axis=1),
        "S": np.where(time >= peak, qrs, 0).min(axis=1),
        "R behind S": np.where(time > trough, qrs, 0).max(axis=1),
        "QRS area": qrs.mean(axis=1),
        "first third of QRS": qrs[:, :third].mean(axis=1),
        "last third of QRS": qrs[:, -third:].mean(axis=1),
        "ST": beats.median_beat[:, beats.behind_qrs(_ST)].mean(axis=1),
        "T, largest": t_wave.max(axis=1),
        "T, least": t_wave.min(axis=1),
        "T area": t_wave.mean(axis=1),
    }
    squeezed = _squeeze(np.array(list(millivolts.values())), _WAVE_MV)
    return dict(zip(millivolts, squeezed, strict=True))


def _squeeze(value, unit):
    """Nearly `value` in units where it is small, its logarithm where it is large, both halved."""
    return np.arcsinh(value / unit) / 2
