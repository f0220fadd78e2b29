"""The beats of a record: their R peaks, and what the median beat looks like in each lead.

Pure array functions on a signal at FS, conditioned as `ecg.signals.measurements` conditions it.
Beats and the limits of their QRS are found in leads I and II, which come first and which every lead
set has: they are the same whichever other leads there are. The limits, on a grid of 10 ms, serve as
windows; `ecg.signals.delineation` has those that people read. The method and its numbers are ours.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.signal import find_peaks

FS = 100.0  # Hz, at which everything is measured: a sample is 10 ms

# Lengths and windows in samples. A beat reaches from before its P wave to after its T wave; its R
# peak is sample BEFORE.
BEFORE, AFTER = 35, 55
_CLOSEST = 27  # between two R peaks: 222 beats a minute
_PIECE = 150  # in which a beat is expected: 40 a minute
_QRS = 9  # a usual one, over which the velocity is averaged
_QRS_NEAR = slice(BEFORE - 12, BEFORE + 12)  # in which the QRS's limits are looked for
_WIDENED = 2  # by that average, at either limit
_LEVEL = 4  # before the QRS: the PR segment, which is taken as 0 mV

# Thresholds, as shares.
_BEAT_LEVEL = 0.35  # of the usual piece's largest velocity: a beat is as fast as that,
_BEAT_SHARE = 0.4  # and faster than this much of the usual beat, where there are three
_QRS_LEVEL = 0.35  # of the largest velocity: the QRS is faster
_LEAST_ENERGY = 1e-12  # mV^4, product of two sums of squares: below it nothing is alike


@dataclass(frozen=True)
class Beats:
    """The beats of a record, each and their median, and the limits of the median beat's QRS.

    r_peaks: (n_found,), samples, ascending, about the middle of each QRS. each: (n_leads, n_beats,
    BEFORE + AFTER), mV, those beats that lie whole within the record. median_beat: (n_leads,
    BEFORE + AFTER), mV, their median, 0 before the QRS, which takes up the samples from `onset` to
    before `offset`.
    """

    r_peaks: np.ndarray
    each: np.ndarray
    median_beat: np.ndarray
    onset: int
    offset: int

    @property
    def limb_leads(self) -> "Beats":
        """The same beats in leads I and II alone."""
        return replace(self, each=self.each[:2], median_beat=self.median_beat[:2])

    @property
    def qrs(self) -> np.ndarray:
        """The median beat's QRS (n_leads, offset - onset), mV."""
        return self.median_beat[:, self.onset : self.offset]

    def before_qrs(self, window) -> slice:
        """Return samples of the beat in a window before its QRS, cut at the beat's first.

        window: (from, to), samples before `onset`, the farther first.
        """
        return slice(max(self.onset - window[0], 0), self.onset - window[1])

    def after_qrs(self, window) -> slice:
        """Return samples of the beat in a window after its QRS.

        window: (from, to), samples after `offset`, the nearer first.
        """
        return slice(self.offset + window[0], self.offset + window[1])


def find_beats(signal) -> Beats | None:
    """Return the beats of a conditioned signal; None where none lies whole within it.

    signal: mV at FS, (n_leads, n_samples), finite, of any length from 1 sample. None, too, where
    the beats have nothing in common.
    """
    length = signal.shape[1]
    if length < BEFORE + AFTER:
        return None
    r_peaks = find_r_peaks(spatial_velocity(signal[:2]))
    whole = r_peaks[(r_peaks >= BEFORE) & (r_peaks + AFTER <= length)]
    if not len(whole):
        return None
    each = np.stack([signal[:, i - BEFORE : i + AFTER] for i in whole.tolist()], axis=1)
    median_beat = median(each, axis=1)
    velocity = spatial_velocity(median_beat[:2])
    if not velocity[_QRS_NEAR].any():  # beats that have nothing in common
        return None
    onset, offset = qrs_limits(velocity)
    level = median(median_beat[:, onset - _LEVEL : onset], axis=1)
    return Beats(r_peaks, each, median_beat - level[:, None], onset, offset)


def find_r_peaks(velocity, piece=_PIECE, closest=_CLOSEST) -> np.ndarray:
    """Return samples of the R peaks, ascending; empty where nothing moves.

    An R peak is taken where the velocity, averaged over a QRS, is largest: about its middle.

    velocity: (n_samples,), of the record, as `spatial_velocity` gives it. piece: samples in which a
    beat is expected. closest: samples between two R peaks, at least.
    """
    n_pieces = max(len(velocity) // piece, 1)
    length, n_longer = divmod(len(velocity), n_pieces)  # the first ones are longer by a sample
    starts = length * np.arange(n_pieces) + np.minimum(np.arange(n_pieces), n_longer)
    usual_top = median(np.maximum.reduceat(velocity, starts))
    if usual_top <= 0:
        return np.empty(0, int)
    r_peaks, found = find_peaks(velocity, height=_BEAT_LEVEL * usual_top, distance=closest)
    heights = found["peak_heights"]
    if len(r_peaks) > 2:
        r_peaks = r_peaks[heights > _BEAT_SHARE * median(heights)]
    return r_peaks


def spatial_velocity(signal) -> np.ndarray:
    """Spatial velocity (n_samples,), mV/s: root of the summed squared slopes of all leads, averaged
    over the length of a QRS.

    signal: mV at FS, (n_leads, n_samples), of at least 2 samples.
    """
    change = np.empty(signal.shape)  # as numpy.gradient has it
    change[:, 1:-1] = (signal[:, 2:] - signal[:, :-2]) / 2
    change[:, 0] = signal[:, 1] - signal[:, 0]
    change[:, -1] = signal[:, -1] - signal[:, -2]
    power = uniform_filter1d((change**2).sum(axis=0) * FS**2, _QRS)
    return np.sqrt(np.maximum(power, 0.0))  # its running sum may end a little below 0


def qrs_limits(velocity) -> tuple[int, int]:
    """First sample of the median beat's QRS, at least 25, and the one after its last, at most 50:
    the windows before and after the QRS are never empty.

    velocity: (BEFORE + AFTER,), of the median beat, above 0 somewhere near its middle.
    """
    near = velocity[_QRS_NEAR]
    fast = _QRS_NEAR.start + np.flatnonzero(near > _QRS_LEVEL * near.max())
    # Of the unbroken stretches the one that is nearest to the middle.
    stretches = np.split(fast, np.flatnonzero(np.diff(fast) > 1) + 1)
    qrs = min(stretches, key=lambda stretch: np.abs(stretch - BEFORE).min())
    onset = int(qrs[0]) + _WIDENED
    return onset, max(int(qrs[-1]) + 1 - _WIDENED, onset + 2)


def likeness(beats, median_beat) -> np.ndarray:
    """Return the correlation (n_beats,) of each beat with the median beat, over all leads together.

    beats: (n_leads, n_beats, n_samples), mV; median_beat: (n_leads, n_samples).
    """
    usual = median_beat[:, None]
    centred = beats - beats.mean(axis=2, keepdims=True)
    usual = usual - usual.mean(axis=2, keepdims=True)
    energy = np.einsum("lbt,lbt->b", centred, centred) * (usual**2).sum()
    product = np.einsum("lbt,lkt->b", centred, usual)
    return product / np.sqrt(np.maximum(energy, _LEAST_ENERGY))


@lru_cache
def straight_lines(length: int) -> np.ndarray:
    """Return an orthonormal basis (length, 2) of all straight lines over `length` samples."""
    line = np.stack([np.ones(length), np.linspace(-1, 1, length)], axis=1)
    return line / np.sqrt((line**2).sum(axis=0))


def median(values, axis=0) -> np.ndarray:
    """Return what numpy.median gives, which takes several times as long on values as few as
    these."""
    middle = values.shape[axis] // 2
    ordered = np.sort(values, axis=axis)
    upper = ordered.take(middle, axis)
    return upper if values.shape[axis] % 2 else (ordered.take(middle - 1, axis) + upper) / 2
