"""Where the waves of a record's median beat begin and end: P onset, QRS onset and end, T end.

Global intervals, as cardiographs print them: beats are aligned, their median is taken, and each
onset and end is what all leads show together (Kligfield et al., AHA/ACC/HRS recommendations for the
standardization and interpretation of the electrocardiogram, part I, Circulation 115 (2007) 1306).
Sizes are root mean squares over the leads, so that neither their polarity nor their order matters.
The sizes of windows and the thresholds below are ours.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import gaussian_filter1d

from ecg.signals.preprocessing import bound, fill_missing, resample
from ecg.signals.qrs import likeness, median, straight_lines

FS = 500.0  # Hz, at which beats are aligned and delineated


def _samples(seconds: float) -> int:
    return round(seconds * FS)


# Length of a beat before and after its R peak: room for PR intervals of 0.34 s and QT of 0.6 s.
BEFORE, AFTER = _samples(0.45), _samples(0.65)
_MOST_BEATS = 100  # beats that are aligned, spread over a long record
_ALIGNED = _samples(0.08)  # beats are aligned by these samples on either side of the R peak
_FARTHEST = _samples(0.03)  # a beat is moved by at most this
_MOST_NOISE = 3.0  # a lead with more times the noise of the usual lead is left out
_LEAST_LIKENESS = 0.8  # a beat whose QRS correlates less with the median QRS is left out
_TINY = 1e-12  # in place of 0 where it would divide

# Standard deviations, samples, of the Gaussians that smooth the beat.
_QRS_SMOOTHING, _P_SMOOTHING, _T_SMOOTHING = 1.5, 4.0, 6.0

# Samples among which the steepest of the QRS is looked for.
_STEEPEST = np.arange(BEFORE - _samples(0.08), BEFORE + _samples(0.08), 2)
_STEADY = _samples(0.04)  # the velocity about a sample is the median over this stretch
_STRETCHES = _STEEPEST[:, None] + np.arange(_STEADY) - _STEADY // 2
_SHORTEST_QRS = _samples(0.05)  # of a human heart
_LONGEST_QRS = _samples(0.16), _samples(0.20)  # the QRS begins and ends this near its steepest
# Within the QRS the velocity exceeds this share of its peak, and this many times the noise.
_QRS_LEVEL, _QUIET_FACTOR = 0.06, 3.0
_QUIET_SHARE = 0.2  # the noise's velocity is exceeded in all but this share of the beat
_HIGHEST_QRS_LEVEL = 0.25  # share of the peak; a QRS that needs a higher level is not clear
_RAISED = 1.5  # factor by which the level is raised from one try to the next
_CALM = _samples(0.016)  # the QRS is over when the velocity stays below the level for this long
_PR_SEGMENT = _samples(0.02)  # the stretch before the QRS that is taken as 0 mV

# A wave is a bump: it rises above what lies so far before and so far after its peak.
_P_HALF, _T_HALF = _samples(0.055), _samples(0.10)
_LEAST_P, _LEAST_T = 0.005, 0.01  # least size of a P and T wave, as a share of the QRS
_LEAST_T_OF_P = 0.3  # least size of a T wave, as a share of the P wave
_BLOCK, _FEWEST_BLOCKS = _samples(0.016), 4  # noise is compared in means over blocks, at least 4
_BLOCK_STARTS = np.arange(0, BEFORE + AFTER - _BLOCK + 1, _BLOCK)
_LEAST_SNR = 3.0  # least size of a wave, in multiples of the noise of the median beat
_LATER_P = 0.8  # of bumps that are this large relative to the largest, the last is the P wave

_FLUTTER = 0.75  # a wave before the P wave that is this large beside it makes both flutter waves
_FIRST_P = _samples(0.02)  # the first sample that has a side before it

# Peak of the P wave before QRS onset, at most and at least; of the T wave after QRS onset, usually
# and at most, at 60 beats a minute: they grow with the cube root of RR (Fridericia).
_EARLIEST_P_S, _LAST_P = 0.34, _samples(0.035)
_USUAL_T_S, _LATEST_T_S = 0.30, 0.50
_USUAL_T_END_S = 0.40
_LONGEST_RR_S, _USUAL_RR_S = 1.5, 1.0
_BETWEEN_T_AND_P_S = 0.06  # from a T wave's peak to a P wave's
_FIRST_T = _samples(0.05)  # from QRS end to the T wave's peak, at least
_FROM_T_TO_P = _samples(0.05)  # from the T wave's peak to that of the next P wave, at least
_NO_P = _samples(0.06)  # before the next QRS: where the T wave ends at the latest without a P wave
_T_FALL = _samples(0.16)  # after the T wave's peak, in which it falls most steeply
_T_TAIL = _samples(0.17)  # from there to where the T wave is over
_SHORTEST_TAIL = _samples(0.04)
_P_RISE = _samples(0.08)  # before the P wave's peak, in which it rises most steeply
_P_LEAD = _samples(0.065)  # from there back to where the P wave has not begun
_NEAR = _samples(0.008)  # on either side, over which a level is averaged
_SHORTEST_LEAD = _samples(0.02)
_P_LEVEL = _samples(0.06), _samples(0.13)  # before its peak: where the level before it is taken


@dataclass(frozen=True)
class Delineation:
    """Onsets and ends of a beat's waves, ms from its R peak; NaN where one is not clear.

    The R peak is where the QRS is largest over all leads: onsets are negative.
    """

    p_onset_ms: float = math.nan
    qrs_onset_ms: float = math.nan
    qrs_end_ms: float = math.nan
    t_end_ms: float = math.nan

    @property
    def pr_ms(self) -> float:
        """From P onset to QRS onset."""
        return self.qrs_onset_ms - self.p_onset_ms

    @property
    def qrs_ms(self) -> float:
        """From QRS onset to QRS end."""
        return self.qrs_end_ms - self.qrs_onset_ms

    @property
    def qt_ms(self) -> float:
        """From QRS onset to T end."""
        return self.t_end_ms - self.qrs_onset_ms


@dataclass(frozen=True)
class AlignedBeats:
    """Beats of one shape, aligned at their QRS.

    beats: (n_leads, n_beats, BEFORE + AFTER), mV at FS; the QRS lies about sample BEFORE.
    median_beat: (n_leads, BEFORE + AFTER), mV. rr_s: usual interval from beat to beat, s.
    """

    beats: np.ndarray
    median_beat: np.ndarray
    rr_s: float


@dataclass(frozen=True)
class _Wave:
    """A bump of the median beat, or of a part of it.

    peak: its sample there. size: mV, root mean square over the leads, above the higher of the two
    sides. direction: (n_leads,), of length 1, in which it points.
    """

    peak: int
    size: float
    direction: np.ndarray


def align_beats(signal, fs, r_peaks_s) -> AlignedBeats | None:
    """Return the beats at these R peaks, aligned, without those that look unlike most, and without
    leads that are far noisier than most; None where no beat lies whole within the signal.

    signal: (n_leads, n_samples), mV, NaN where samples are missing. fs: Hz. r_peaks_s: (n_found,),
    s, ascending, to within 30 ms: no beat is moved farther.
    """
    # With mean 0, since resampling takes what lies beyond the ends as that.
    signal = resample(bound(fill_missing(np.array(signal, np.float64, order="C"))), fs, FS)
    peaks = np.rint(r_peaks_s * FS).astype(int)
    inside = (peaks >= BEFORE + _FARTHEST) & (peaks + AFTER + _FARTHEST <= signal.shape[1])
    peaks = peaks[inside]
    if not len(peaks):
        return None
    if len(peaks) > _MOST_BEATS:
        peaks = peaks[np.linspace(0, len(peaks) - 1, _MOST_BEATS).round().astype(int)]
    if len(signal) > 2:
        signal = signal[_has_clear_beats(signal, peaks)]
    peaks = peaks + _delays(signal, peaks)
    beats = _cut(signal, peaks, BEFORE, AFTER)
    median_beat = median(beats, axis=1)
    qrs = slice(BEFORE - _ALIGNED, BEFORE + _ALIGNED)
    alike = likeness(beats[:, :, qrs], median_beat[:, qrs]) > _LEAST_LIKENESS
    if alike.any() and not alike.all():
        beats = beats[:, alike]
        median_beat = median(beats, axis=1)
    rr_s = float(median(np.diff(r_peaks_s))) if len(r_peaks_s) > 1 else _USUAL_RR_S
    return AlignedBeats(beats, median_beat, rr_s)


def _has_clear_beats(signal, peaks) -> np.ndarray:
    """(n_leads,) bool: whether what is left of a lead without its median beat is no larger than in
    most leads. It is far larger where an electrode is loose."""
    beats = _cut(signal, peaks, BEFORE, AFTER)
    rest = beats - median(beats, axis=1)[:, None]
    # From sample to sample, so that a wandering baseline does not count.
    noise = np.abs(rest[:, :, 1:] - rest[:, :, :-1]).mean(axis=(1, 2))
    return noise <= _MOST_NOISE * median(noise)


def _delays(signal, peaks) -> np.ndarray:
    """Return samples (n_beats,) to move each beat by, to where it correlates best with the
    median."""
    reach = _ALIGNED + _FARTHEST
    beats = _cut(signal, peaks, reach, reach)
    template = median(beats[:, :, _FARTHEST:-_FARTHEST], axis=1)
    template -= template.mean(axis=1, keepdims=True)
    # Every other sample tells as much.
    moved = sliding_window_view(beats, 2 * _ALIGNED, axis=2)[..., ::2]
    return np.einsum("lbst,lt->bs", moved, template[:, ::2]).argmax(axis=1) - _FARTHEST


def _cut(signal, peaks, before, after) -> np.ndarray:
    """(n_leads, n_beats, before + after), mV, about the peaks."""
    return np.stack([signal[:, i - before : i + after] for i in peaks.tolist()], axis=1)


def delineate(aligned: AlignedBeats) -> Delineation:
    """Onsets and ends of the waves of the median beat.

    QRS: where the spatial velocity, the root mean square slope over all leads, first and last is
    above a share of its peak (van Bemmel, Kors and van Herpen, Methods Inf Med 29 (1990) 346). T
    end: the largest trapezium under the fall (Vazquez-Seisdedos et al., BioMed Eng OnLine 10
    (2011) 77). P onset: farthest below the chord from the level before to the steepest rise (the
    triangle of Zack, Rogers and Latt, J Histochem Cytochem 25 (1977) 741).

    All are NaN where the QRS does not stand out of the noise. P onset or T end alone are where the
    wave is less than three times the noise of the median of so many beats, so always in a single
    beat; where it is small beside the QRS, or the T wave beside the P wave; and where it cannot be
    told from its neighbour at a fast rate.
    """
    beat = gaussian_filter1d(aligned.median_beat, _QRS_SMOOTHING, axis=1)
    limits = _qrs_limits(beat)
    if limits is None:
        return Delineation()
    onset, end = limits
    beat -= beat[:, onset - _PR_SEGMENT : onset].mean(axis=1, keepdims=True)
    qrs = _root_mean_square(beat[:, onset:end])
    r_peak, qrs_size = onset + int(qrs.argmax()), float(qrs.max())
    blocks = _Blocks.of(aligned)

    before_qrs = beat[:, : onset + _PR_SEGMENT].copy()
    before_qrs[:, onset:] = 0.0  # the QRS would reach into what lies before it
    before_qrs = gaussian_filter1d(before_qrs, _P_SMOOTHING, axis=1)[:, : onset + 1]
    bumps = _bumps(before_qrs, (_FIRST_P, onset - _LAST_P), _P_HALF, (0, onset))
    p_wave = _find_p(bumps, aligned.rr_s, blocks, onset, qrs_size)
    rr = round(aligned.rr_s * FS)
    next_p = onset + rr - (onset - p_wave.peak if p_wave else _NO_P)
    t_wave, t_end = _find_t(beat, aligned.rr_s, limits, next_p)

    p_onset = None
    t_over = (t_end or onset + _samples(_USUAL_T_END_S * _stretch(aligned.rr_s))) - rr
    if p_wave and _is_alone(bumps, p_wave, t_over):
        p_onset = _find_p_onset(before_qrs, p_wave, t_over)
    if t_end is not None:
        least = max(_LEAST_T * qrs_size, _LEAST_T_OF_P * (p_wave.size if p_wave else 0.0))
        ratio = blocks.signal_to_noise(end + _SHORTEST_TAIL, t_end + _SHORTEST_TAIL)
        if t_wave.size < least or ratio < _LEAST_SNR:
            t_end = None
    found = (math.nan if i is None else i - r_peak for i in (p_onset, onset, end, t_end))
    return Delineation(*(1000 / FS * place for place in found))


def _qrs_limits(beat) -> tuple[int, int] | None:
    """First sample of the QRS and the one after its last; None where they are not clear."""
    velocity = np.empty(beat.shape[1])
    velocity[1:-1] = _root_mean_square(beat[:, 2:] - beat[:, :-2])
    velocity[0], velocity[-1] = velocity[1], velocity[-2]
    # The median of a stretch, since a pacing spike is steeper than the QRS, but short.
    steady = np.sort(velocity[_STRETCHES], axis=1)[:, _STEADY // 2]
    steepest, peak = _STEEPEST[steady.argmax()], steady.max()
    n_quiet = int(_QUIET_SHARE * len(velocity))
    quiet = np.partition(velocity, n_quiet)[n_quiet]
    level = max(_QRS_LEVEL * peak, _QUIET_FACTOR * quiet)
    first, last = steepest - _LONGEST_QRS[0], steepest + _LONGEST_QRS[1]
    # A slow QRS between steep waves is never calm at the usual level.
    while level < _HIGHEST_QRS_LEVEL * peak:
        fast = np.flatnonzero(velocity[first:last] >= level) + first
        edges = np.concatenate([[first], fast, [last]])
        gaps = np.flatnonzero(edges[1:] - edges[:-1] > _CALM)
        middle = int(np.searchsorted(edges, steepest))
        before, after = gaps[gaps < middle], gaps[gaps >= middle]
        if len(before) and len(after):
            onset, end = int(edges[before[-1] + 1]), int(edges[after[0]]) + 1
            return (onset, end) if end - onset >= _SHORTEST_QRS else None
        level *= _RAISED
    return None


def _find_p(bumps: "_Bumps", rr_s, blocks: "_Blocks", onset, qrs_size) -> _Wave | None:
    """Return the P wave; None where there is none above the noise.

    bumps: of what lies before the QRS, which starts at sample `onset`.
    """
    # Not so early that it would be the T wave of the beat before.
    since_t = rr_s - _USUAL_T_S * _stretch(rr_s) - _BETWEEN_T_AND_P_S
    wave = bumps.largest(onset - _samples(min(_EARLIEST_P_S, since_t)), later=_LATER_P)
    if wave is None or wave.size < _LEAST_P * qrs_size:
        return None
    ratio = blocks.signal_to_noise(wave.peak - _P_RISE, onset)
    return wave if ratio > _LEAST_SNR else None


def _find_t(beat, rr_s, qrs, next_p) -> tuple[_Wave | None, int | None]:
    """Return the T wave and its last sample; None where there is no room for it before the next P
    wave.

    qrs: its first sample and the one after its last; next_p: sample of the next P wave's peak.
    """
    onset, end = qrs
    latest = onset + _samples(_LATEST_T_S * _stretch(rr_s))
    first, last = _FIRST_T, min(latest, next_p - _FROM_T_TO_P, beat.shape[1] - _FIRST_T) - end
    if last - first < _SHORTEST_TAIL:
        return None, None
    after_qrs = gaussian_filter1d(beat[:, end:], _T_SMOOTHING, axis=1)
    limit = min(beat.shape[1] - 1, next_p) - end
    wave = _bumps(after_qrs, (first, last), _T_HALF, (0, limit)).largest()
    height = wave.direction @ after_qrs
    falling = height[wave.peak : min(wave.peak + _T_FALL, limit) + 1]
    fall = wave.peak + int((falling[1:] - falling[:-1]).argmin())
    over = min(fall + _T_TAIL, len(height) - 1, next_p - _SHORTEST_TAIL - end)
    if over - fall < _SHORTEST_TAIL:
        return wave, None
    # Twice the area of the trapezium between the steepest place, the end and where it is over.
    place = np.arange(fall, over + 1)
    area = (height[fall] - height[place]) * (2 * over - place - fall)
    return wave, end + fall + int(area.argmax())


def _find_p_onset(before_qrs, wave: _Wave, t_over: int) -> int | None:
    """First sample of the P wave; None where it does not rise from a level of its own.

    before_qrs: (n_leads, onset + 1), the beat up to its QRS. t_over: sample at which the T wave of
    the beat before ends.
    """
    onset = before_qrs.shape[1] - 1
    nearest, farthest = wave.peak - _P_LEVEL[0], wave.peak - _P_LEVEL[1]
    reference = max(farthest, min(t_over, nearest), 0)
    near = slice(max(reference - _NEAR, 0), reference + _NEAR + 1)
    level = before_qrs[:, near].mean(axis=1, keepdims=True)
    # The level may have moved until the QRS, as by the end of a T wave.
    place = np.arange(reference, wave.peak + 1)
    line = level * ((onset - place) / (onset - reference))
    height = _root_mean_square(before_qrs[:, reference : wave.peak + 1] - line)
    first = max(wave.peak - reference - _P_RISE, 0)
    rise = first + int((height[first + 1 :] - height[first:-1]).argmax())
    start = max(rise - _P_LEAD, 0)
    if rise - start < _SHORTEST_LEAD:
        return None
    chord = np.linspace(height[start], height[rise], rise - start + 1)
    return reference + start + int((chord - height[start : rise + 1]).argmax())


def _is_alone(bumps: "_Bumps", wave: _Wave, t_over: int) -> bool:
    """Whether no wave of about its size lies between the T wave of the beat before and the P wave,
    as flutter waves do."""
    other = bumps.largest(t_over, wave.peak - 2 * _P_HALF)
    return other is None or other.size < _FLUTTER * wave.size


@dataclass(frozen=True)
class _Bumps:
    """Every sample of a stretch taken for a wave's peak. first: the stretch's first sample; sizes:
    (n_samples,), mV; directions: (n_leads, n_samples), see `_Wave`."""

    first: int
    sizes: np.ndarray
    directions: np.ndarray

    def largest(self, first=0, after=None, later=1.0) -> _Wave | None:
        """Return the largest one between two samples; of all peaks of at least `later` times its
        size the last. None where there is no sample between."""
        start = max(first - self.first, 0)
        sizes = self.sizes[start : None if after is None else max(after - self.first, 0)]
        if not len(sizes):
            return None
        found = int(sizes.argmax())
        if later < 1:
            inner = sizes[1:-1]
            large = (inner >= sizes[:-2]) & (inner > sizes[2:]) & (inner > later * sizes[found])
            peaks = np.flatnonzero(large)
            found = 1 + int(peaks[-1]) if len(peaks) else found
        return _Wave(
            self.first + start + found, float(sizes[found]), self.directions[:, start + found]
        )


def _bumps(beat, window, half, limits) -> _Bumps:
    """How far each sample rises above what lies before and after it, in the direction of both.

    window: the first sample and the one after the last; half: samples to either side; limits:
    first and last sample, beyond which a side does not lie.
    """
    place = np.arange(*window)
    peak = beat[:, window[0] : window[1]]
    before = peak - beat[:, np.maximum(place - half, limits[0])]
    after = peak - beat[:, np.minimum(place + half, limits[1])]
    directions = before + after
    length = np.sqrt(np.einsum("lt,lt->t", directions, directions))
    directions /= np.maximum(length, _TINY)
    rises = (np.einsum("lt,lt->t", directions, side) for side in (before, after))
    return _Bumps(window[0], np.minimum(*rises) / math.sqrt(len(beat)), directions)


@dataclass(frozen=True)
class _Blocks:
    """Means over blocks of _BLOCK samples: beats (n_leads, n_beats, n_blocks), and of the median
    beat (n_leads, n_blocks), mV."""

    beats: np.ndarray
    median_beat: np.ndarray

    @classmethod
    def of(cls, aligned: AlignedBeats) -> "_Blocks":
        whole = slice(_BLOCK_STARTS[-1] + _BLOCK)
        return cls(
            *(
                np.add.reduceat(signal[..., whole], _BLOCK_STARTS, axis=-1) / _BLOCK
                for signal in (aligned.beats, aligned.median_beat)
            )
        )

    def signal_to_noise(self, first: int, after: int) -> float:
        """Root mean square of the median beat between two samples over the noise that the
        differences between the beats leave in it, both about straight lines; 0 for a single beat.
        """
        window = slice(max(first, 0) // _BLOCK, after // _BLOCK)
        usual = self.median_beat[:, window]
        noise = self.beats[:, :, window] - usual[:, None]
        n_beats, n_blocks = noise.shape[1:]
        if n_beats < 2 or n_blocks < _FEWEST_BLOCKS:
            return 0.0
        line = straight_lines(n_blocks)
        noise -= (noise @ line) @ line.T
        usual = usual - (usual @ line) @ line.T
        spread = median(np.sqrt(np.einsum("lbt,lbt->b", noise, noise) / usual.size))
        # Of normal noise a median has so much more than a mean has.
        noise_of_median = math.sqrt(math.pi / 2 / (n_beats - 1)) * spread
        return math.sqrt(np.einsum("lt,lt->", usual, usual) / usual.size) / max(
            noise_of_median, _TINY
        )


def _stretch(rr_s: float) -> float:
    """Return what QT intervals at this rate are a multiple of, 1 at 60 beats a minute
    (Fridericia)."""
    return min(rr_s, _LONGEST_RR_S) ** (1 / 3)


def _root_mean_square(signal) -> np.ndarray:
    """(n_samples,), over the leads of (n_leads, n_samples)."""
    return np.sqrt(np.einsum("lt,lt->t", signal, signal) / len(signal))
