"""What a cardiograph prints beside the curves: rate, intervals, axes, sizes of the waves.

Pure array functions, made as side inputs of a network: every figure is squeezed to the order of 1,
and 0 where it cannot be measured. Beats and their limits are found in leads I and II, which every
lead set has, so that a record's rhythm comes out the same whichever other leads there are. The
method and its numbers are ours.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.signal import find_peaks

from ecg.signals import Preparation, clean

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

FS = 100.0  # Hz, at which everything is measured: a sample is 10 ms
_CLEANED = Preparation(fs=FS, band_hz=(0.05, 35.0), band_order=3)

# Lengths and windows in samples. A beat reaches from before its P wave to behind its T wave; the
# middle of its QRS is sample _BEFORE.
_BEFORE, _AFTER = 35, 55
_CLOSEST = 27  # between the middles of two beats: 222 a minute
_PIECE = 150  # in which a beat is expected: 40 a minute
_QRS = 9  # a usual one, over which steepness is averaged
_QRS_NEAR = slice(_BEFORE - 12, _BEFORE + 12)  # in which the QRS's limits are looked for
_WIDENED = 2  # by that average, at either limit
_LEVEL = 4  # before the QRS: the PR segment, which is taken as 0 mV
_MARGIN = 4  # of the QRS on either side where beats are compared
_P_SIZE, _P_LIKENESS, _P_PEAK = (24, 2), (22, 2), (26, 3)  # from, to; before the QRS
_ST, _T = (2, 8), (6, 40)  # from, to; behind the QRS
_PAUSE_END, _SHORTEST_PAUSE = 8, 20  # before the middle of the next beat; 5 Hz is a wave in it

# Thresholds, as shares.
_BEAT_LEVEL = 0.35  # of the usual piece's steepest: a beat is as steep as that,
_BEAT_SHARE = 0.4  # and steeper than this much of the usual beat, where there are three
_QRS_LEVEL = 0.35  # of the steepest: the QRS is steeper
_T_LEVEL = 0.3  # of the peak: the T wave ends below
_PAUSE_START = 0.55  # of the interval: the T wave is over
_EARLY = 0.85  # of the usual interval: a beat behind a shorter one is early
_ODD = 0.8  # correlation with the average beat: one with less is odd
_LEAST_ENERGY = 1e-12  # mV^4, product of two sums of squares: below it nothing is alike

_PAUSE_BANDS_HZ = {  # flutter and coarse fibrillation, fine fibrillation, muscles
    "activity between beats, 2-6 Hz": (2.0, 6.0),
    "activity between beats, 6-12 Hz": (6.0, 12.0),
    "activity between beats, above 12 Hz": (12.0, 35.0),
}

# The sizes that `_squeeze` makes 0.44, and the usual values, which come out as 0.
_WAVE_MV, _ACTIVITY_MV, _INTERVAL_SHARE, _INTERVAL_S = 0.1, 0.01, 0.05, 0.05
_USUAL_RR_S, _USUAL_QRS_S, _USUAL_PR_S, _USUAL_QT_S, _USUAL_QTC_S = 0.8, 0.1, 0.12, 0.4, 0.42


@dataclass(frozen=True)
class _Beats:
    """middles: (n_found,), samples of the record's QRS complexes, ascending. each: (n_leads,
    n_beats, _BEFORE + _AFTER), mV, those beats that lie whole within the record. average:
    (n_leads, _BEFORE + _AFTER), mV, their median, 0 before the QRS, which takes up the samples
    from `onset` to before `offset`."""

    middles: np.ndarray
    each: np.ndarray
    average: np.ndarray
    onset: int
    offset: int

    @property
    def limbs(self) -> "_Beats":
        """The same beats in leads I and II alone."""
        return replace(self, each=self.each[:2], average=self.average[:2])

    @property
    def qrs(self) -> np.ndarray:
        return self.average[:, self.onset : self.offset]

    def before_qrs(self, window) -> slice:
        return slice(max(self.onset - window[0], 0), self.onset - window[1])

    def behind_qrs(self, window) -> slice:
        return slice(self.offset + window[0], self.offset + window[1])


def measure(signal, fs) -> tuple[np.ndarray, np.ndarray]:
    """Figures of the rhythm (N_RHYTHM,) and of each lead's waves (n_leads, N_WAVES), float32.

    signal: mV, (n_leads, n_samples), NaN where samples are missing, of any length from 1 sample;
    leads I and II come first. fs: Hz, a rate that `ecg.signals.prepare` takes. Every figure is
    finite; a record without a whole beat has zeros apart from the leads' deviations.
    """
    signal = clean(signal, fs, _CLEANED)
    rhythm = dict.fromkeys(RHYTHM, 0.0)
    waves = dict.fromkeys(WAVES, np.zeros(len(signal)))
    waves |= {"deviation": _squeeze(signal.std(axis=1), _WAVE_MV)}
    beats = _read_beats(signal)
    if beats is not None:
        rr_s = np.diff(beats.middles) / FS
        rhythm |= {"beats found": 1.0}
        rhythm |= _interval_figures(rr_s)
        rhythm |= _likeness_figures(beats.limbs)
        rhythm |= _pause_figures(signal[:2], beats.middles)
        rhythm |= _length_figures(beats.limbs, rr_s)
        rhythm |= _axis_figures(beats.limbs)
        waves |= _wave_figures(beats)
    # A figure under a name that is none of the tuple's would lengthen these arrays.
    return (
        np.array(list(rhythm.values()), np.float32),
        np.stack(list(waves.values()), axis=1).astype(np.float32),
    )


def n_measurements(n_leads: int) -> int:
    """Length of what `join_measurements` makes of so many leads."""
    return N_RHYTHM + n_leads * N_WAVES


def join_measurements(rhythm, waves) -> np.ndarray:
    """Rhythm (…, N_RHYTHM) and waves (…, n_leads, N_WAVES) in one row each, (…, n_measurements)."""
    return np.concatenate([rhythm, waves.reshape(*waves.shape[:-2], -1)], axis=-1)


def _read_beats(signal) -> _Beats | None:
    """The beats of a conditioned signal; None where none lies whole within it."""
    length = signal.shape[1]
    if length < _BEFORE + _AFTER:
        return None
    middles = _find_beats(_steepness(signal[:2]))
    whole = middles[(middles >= _BEFORE) & (middles + _AFTER <= length)]
    if not len(whole):
        return None
    each = np.take(signal, whole[:, None] + np.arange(-_BEFORE, _AFTER), axis=1)
    average = np.median(each, axis=1)
    steepness = _steepness(average[:2])
    if not steepness[_QRS_NEAR].any():  # beats that have nothing in common
        return None
    onset, offset = _qrs_limits(steepness)
    level = np.median(average[:, onset - _LEVEL : onset], axis=1, keepdims=True)
    return _Beats(middles, each, average - level, onset, offset)


def _find_beats(steepness) -> np.ndarray:
    """Samples of the QRS complexes' middles, ascending."""
    pieces = np.array_split(steepness, max(len(steepness) // _PIECE, 1))
    usual_top = np.median([piece.max() for piece in pieces])
    if usual_top <= 0:
        return np.empty(0, int)
    middles, found = find_peaks(steepness, height=_BEAT_LEVEL * usual_top, distance=_CLOSEST)
    heights = found["peak_heights"]
    if len(middles) > 2:
        middles = middles[heights > _BEAT_SHARE * np.median(heights)]
    return middles


def _steepness(signal) -> np.ndarray:
    """Root mean square change (n_samples,), mV/s, of all leads over the length of a QRS."""
    change = np.gradient(signal, axis=1) * FS
    power = uniform_filter1d((change**2).sum(axis=0), _QRS)
    return np.sqrt(np.maximum(power, 0.0))  # its running sum may end a little below 0


def _qrs_limits(steepness) -> tuple[int, int]:
    """First sample of the average beat's QRS, at least 25, and the one behind its last, at most 50:
    the windows before and behind the QRS are never empty.

    steepness: (_BEFORE + _AFTER,), of the average beat.
    """
    near = steepness[_QRS_NEAR]
    steep = _QRS_NEAR.start + np.flatnonzero(near > _QRS_LEVEL * near.max())
    # Of the unbroken stretches the one that is nearest to the middle.
    stretches = np.split(steep, np.flatnonzero(np.diff(steep) > 1) + 1)
    own = min(stretches, key=lambda stretch: np.abs(stretch - _BEFORE).min())
    onset = int(own[0]) + _WIDENED
    return onset, max(int(own[-1]) + 1 - _WIDENED, onset + 2)


def _interval_figures(rr_s) -> dict[str, float]:
    """rr_s: (n_found - 1,), s, from each beat to the next."""
    if not len(rr_s):
        return {}
    usual = np.median(rr_s)
    figures = {
        "rate": 2 * np.log(_USUAL_RR_S / usual),
        "shortest interval": 2 * np.log(rr_s.min() / usual),
        "longest interval": 2 * np.log(rr_s.max() / usual),
        "deviation of intervals": _squeeze(rr_s.std() / usual, _INTERVAL_SHARE),
        "range of intervals": _squeeze(np.ptp(rr_s), _INTERVAL_S),
        "share of early beats": 3 * np.mean(rr_s < _EARLY * usual),
    }
    if len(rr_s) > 1:
        changes = np.sqrt(np.mean(np.diff(rr_s) ** 2))
        figures["deviation of successive intervals"] = _squeeze(changes / usual, _INTERVAL_SHARE)
    return figures


def _likeness_figures(limbs) -> dict[str, float]:
    """How far the single beats look like the average one."""
    likeness = _correlation(limbs, slice(limbs.onset - _MARGIN, limbs.offset + _MARGIN))
    p_likeness = _correlation(limbs, limbs.before_qrs(_P_LIKENESS))
    p_wave = limbs.average[:, limbs.before_qrs(_P_LIKENESS)]
    return {
        "share of odd beats": 3 * np.mean(likeness < _ODD),
        "oddest beat": 1 - likeness.min(),
        "likeness of P waves": np.mean(p_likeness),
        "size of P waves": _squeeze(np.ptp(p_wave, axis=1).max(), _WAVE_MV),
    }


def _correlation(beats, window) -> np.ndarray:
    """Correlation (n_beats,) of each beat with the average one in a window, over all leads."""
    own, usual = beats.each[:, :, window], beats.average[:, None, window]
    own = own - own.mean(axis=2, keepdims=True)
    usual = usual - usual.mean(axis=2, keepdims=True)
    energy = (own**2).sum(axis=(0, 2)) * (usual**2).sum(axis=(0, 2))
    return (own * usual).sum(axis=(0, 2)) / np.sqrt(np.maximum(energy, _LEAST_ENERGY))


def _pause_figures(signal, middles) -> dict[str, float]:
    """Activity in what lies between the T wave and the next QRS."""
    powers = []
    for here, following in pairwise(middles.tolist()):
        pause = slice(here + round(_PAUSE_START * (following - here)), following - _PAUSE_END)
        if pause.stop - pause.start >= _SHORTEST_PAUSE:
            powers.append(_band_powers(signal[:, pause]))
    if not powers:
        return {}
    sizes = _squeeze(np.sqrt(np.mean(powers, axis=0)), _ACTIVITY_MV)
    return dict(zip(_PAUSE_BANDS_HZ, sizes, strict=True))


def _band_powers(pause) -> list[float]:
    """Power in each of the bands, of all leads together, about the straight line of each lead."""
    time, taper, bands = _pause_tables(pause.shape[1])
    pause = pause - pause.mean(axis=1, keepdims=True)
    pause = pause - (pause @ time / (time @ time))[:, None] * time
    power = (np.abs(np.fft.rfft(pause * taper, axis=1)) ** 2).sum(axis=0) / len(time) ** 2
    return [power[band].sum() for band in bands]


@lru_cache
def _pause_tables(length) -> tuple[np.ndarray, np.ndarray, list[slice]]:
    """Time from -1 to 1, a taper, and the places of the bands in the spectrum."""
    frequency = np.fft.rfftfreq(length, 1 / FS)
    bands = [slice(*np.searchsorted(frequency, limits)) for limits in _PAUSE_BANDS_HZ.values()]
    return np.linspace(-1, 1, length), np.hanning(length), bands


def _length_figures(limbs, rr_s) -> dict[str, float]:
    """Lengths within the average beat: PR from the P wave's peak, QT to the T wave's foot."""
    size = np.sqrt((limbs.average**2).sum(axis=0))
    before = limbs.before_qrs(_P_PEAK)
    p_peak = before.start + int(size[before].argmax())
    behind = limbs.offset + _T[0]
    t_peak = behind + int(size[behind:].argmax())
    low = np.flatnonzero(size[t_peak:] < _T_LEVEL * size[t_peak])
    t_end = t_peak + int(low[0]) if len(low) else len(size) - 1
    qt_s = (t_end - limbs.onset) / FS
    usual_rr_s = np.median(rr_s) if len(rr_s) else _USUAL_RR_S
    return {
        "QRS duration": 10 * ((limbs.offset - limbs.onset) / FS - _USUAL_QRS_S),
        "PR interval": 5 * ((limbs.onset - p_peak) / FS - _USUAL_PR_S),
        "QT interval": 5 * (qt_s - _USUAL_QT_S),
        "QTc interval": 5 * (qt_s / np.sqrt(usual_rr_s) - _USUAL_QTC_S),  # Bazett's
    }


def _axis_figures(limbs) -> dict[str, float]:
    """Directions of the mean QRS and T vectors in the frontal plane; 0 where a lead is dead."""
    figures = {"largest limb QRS": _squeeze(np.ptp(limbs.qrs, axis=1).max(), _WAVE_MV)}
    if limbs.average.any(axis=1).all():
        for name, wave in (("QRS", limbs.qrs), ("T", limbs.average[:, limbs.behind_qrs(_T)])):
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
    p_wave = beats.average[:, beats.before_qrs(_P_SIZE)]
    t_wave = beats.average[:, beats.behind_qrs(_T)]
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
        "ST": beats.average[:, beats.behind_qrs(_ST)].mean(axis=1),
        "T, largest": t_wave.max(axis=1),
        "T, least": t_wave.min(axis=1),
        "T area": t_wave.mean(axis=1),
    }
    return {name: _squeeze(height, _WAVE_MV) for name, height in millivolts.items()}


def _squeeze(value, unit):
    """Nearly `value` in units where it is small, its logarithm where it is large, both halved."""
    return np.arcsinh(value / unit) / 2
