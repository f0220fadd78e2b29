"""The beats of a record: where they are, and what the median beat looks like in each lead.

Pure array functions on a signal at FS, conditioned as `ecg.signals.measurements` conditions it.
Beats and their limits are found in leads I and II, which come first and which every lead set has:
they are the same whichever other leads there are. The method and its numbers are ours.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.signal import find_peaks

FS = 100.0  # Hz, at which everything is measured: a sample is 10 ms

# Lengths and windows in samples. A beat reaches from before its P wave to behind its T wave; the
# middle of its QRS is sample BEFORE.
BEFORE, AFTER = 35, 55
_CLOSEST = 27  # between the middles of two beats: 222 a minute
_PIECE = 150  # in which a beat is expected: 40 a minute
_QRS = 9  # a usual one, over which steepness is averaged
_QRS_NEAR = slice(BEFORE - 12, BEFORE + 12)  # in which the QRS's limits are looked for
_WIDENED = 2  # by that average, at either limit
_LEVEL = 4  # before the QRS: the PR segment, which is taken as 0 mV

# Thresholds, as shares.
_BEAT_LEVEL = 0.35  # of the usual piece's steepest: a beat is as steep as that,
_BEAT_SHARE = 0.4  # and steeper than this much of the usual beat, where there are three
_QRS_LEVEL = 0.35  # of the steepest: the QRS is steeper


@dataclass(frozen=True)
class Beats:
    """The beats of a record, each and their median, and the limits of the median beat's QRS.

    middles: (n_found,), samples of the record's QRS complexes, ascending. each: (n_leads, n_beats,
    BEFORE + AFTER), mV, those beats that lie whole within the record. median_beat: (n_leads,
    BEFORE + AFTER), mV, their median, 0 before the QRS, which takes up the samples from `onset` to
    before `offset`.
    """

    middles: np.ndarray
    each: np.ndarray
    median_beat: np.ndarray
    onset: int
    offset: int

    @property
    def limbs(self) -> "Beats":
        """The same beats in leads I and II alone."""
        return replace(self, each=self.each[:2], median_beat=self.median_beat[:2])

    @property
    def qrs(self) -> np.ndarray:
        """The median beat's QRS (n_leads, offset - onset), mV."""
        return self.median_beat[:, self.onset : self.offset]

    def before_qrs(self, window) -> slice:
        """Samples of the beat in a window before its QRS, cut at the beat's first.

        window: (from, to), samples before `onset`, the farther first.
        """
        return slice(max(self.onset - window[0], 0), self.onset - window[1])

    def behind_qrs(self, window) -> slice:
        """Samples of the beat in a window behind its QRS.

        window: (from, to), samples behind `offset`, the nearer first.
        """
        return slice(self.offset + window[0], self.offset + window[1])


def read_beats(signal) -> Beats | None:
    """The beats of a conditioned signal; None where none lies whole within it.

    signal: mV at FS, (n_leads, n_samples), finite, of any length from 1 sample. None, too, where
    the beats have nothing in common.
    """
    length = signal.shape[1]
    if length < BEFORE + AFTER:
        return None
    middles = find_beats(steepness_of(signal[:2]))
    whole = middles[(middles >= BEFORE) & (middles + AFTER <= length)]
    if not len(whole):
        return None
    each = np.stack([signal[:, i - BEFORE : i + AFTER] for i in whole.tolist()], axis=1)
    median_beat = median(each, axis=1)
    steepness = steepness_of(median_beat[:2])
    if not steepness[_QRS_NEAR].any():  # beats that have nothing in common
        return None
    onset, offset = qrs_limits(steepness)
    level = median(median_beat[:, onset - _LEVEL : onset], axis=1)
    return Beats(middles, each, median_beat - level[:, None], onset, offset)


def find_beats(steepness) -> np.ndarray:
    """Samples of the QRS complexes' middles, ascending; empty where nothing is steep.

    steepness: (n_samples,), of the record, as `steepness_of` gives it.
    """
    n_pieces = max(len(steepness) // _PIECE, 1)
    length, n_longer = divmod(len(steepness), n_pieces)  # the first ones are longer by a sample
    starts = length * np.arange(n_pieces) + np.minimum(np.arange(n_pieces), n_longer)
    usual_top = median(np.maximum.reduceat(steepness, starts))
    if usual_top <= 0:
        return np.empty(0, int)
    middles, found = find_peaks(steepness, height=_BEAT_LEVEL * usual_top, distance=_CLOSEST)
    heights = found["peak_heights"]
    if len(middles) > 2:
        middles = middles[heights > _BEAT_SHARE * median(heights)]
    return middles


def steepness_of(signal) -> np.ndarray:
    """Root mean square change (n_samples,), mV/s, of all leads over the length of a QRS.

    signal: mV at FS, (n_leads, n_samples), of at least 2 samples.
    """
    change = np.empty(signal.shape)  # as numpy.gradient has it
    change[:, 1:-1] = (signal[:, 2:] - signal[:, :-2]) / 2
    change[:, 0] = signal[:, 1] - signal[:, 0]
    change[:, -1] = signal[:, -1] - signal[:, -2]
    power = uniform_filter1d((change**2).sum(axis=0) * FS**2, _QRS)
    return np.sqrt(np.maximum(power, 0.0))  # its running sum may end a little below 0


def qrs_limits(steepness) -> tuple[int, int]:
    """First sample of the median beat's QRS, at least 25, and the one behind its last, at most 50:
    the windows before and behind the QRS are never empty.

    steepness: (BEFORE + AFTER,), of the median beat, above 0 somewhere near its middle.
    """
    near = steepness[_QRS_NEAR]
    steep = _QRS_NEAR.start + np.flatnonzero(near > _QRS_LEVEL * near.max())
    # Of the unbroken stretches the one that is nearest to the middle.
    stretches = np.split(steep, np.flatnonzero(np.diff(steep) > 1) + 1)
    own = min(stretches, key=lambda stretch: np.abs(stretch - BEFORE).min())
    onset = int(own[0]) + _WIDENED
    return onset, max(int(own[-1]) + 1 - _WIDENED, onset + 2)


def median(values, axis=0) -> np.ndarray:
    """What numpy.median gives, which takes several times as long on values as few as these."""
    middle = values.shape[axis] // 2
    ordered = np.sort(values, axis=axis)
    upper = ordered.take(middle, axis)
    return upper if values.shape[axis] % 2 else (ordered.take(middle - 1, axis) + upper) / 2
