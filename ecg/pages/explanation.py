"""Explain a diagnosis by occlusion: remove each part of the ECG in turn and predict again.

A part is one beat in all leads, or one wave (P, QRS, ST and T) of all beats in one lead; it is
replaced by a straight line. The drop of a diagnosis's log-odds is the part's separable
contribution. The remainder, which no single part explains, is divided equally, so that the
contributions add up to the whole change of the log-odds: the ENSC value of a cooperative game
(Driessen and Funaki, OR Spektrum 13 (1991) 15). The model is treated as a black box, since its
measurements of the signal have no gradient.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.special import logit

from ecg.records.record import Record
from ecg.signals.measurements import beats_of
from ecg.signals.qrs import BEFORE, FS

WAVES = ("P wave", "QRS complex", "ST and T wave")
BEAT, SEGMENT = "beat", "segment"  # the kinds of part that extend over all leads
_PAUSE = (0.4, 0.8)  # share of the RR interval within which two beats are divided
_QRS_MARGIN_S = 0.02  # the QRS complex includes a pacing spike before it
_SEGMENT_S = 1.0  # length of a part where no beats are found
_SMOOTHING_S = 0.06  # moving average by which the quietest time is found
_MIN_PROBABILITY = 1e-6  # keeps log-odds finite

PredictProba = Callable[[Iterable[Record]], Iterator[np.ndarray | Exception]]


@dataclass(frozen=True)
class Part:
    """Stretches of the signal that are removed together: `spans_s` (start, end), s, of `leads`.

    kind: BEAT, SEGMENT or one of WAVES.
    """

    name: str
    kind: str
    leads: tuple[str, ...]
    spans_s: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Explanation:
    """What each part of a record contributes to each class.

    separable: (n_parts, n_classes), drop of the log-odds when a part is removed.
    log_odds, baseline: (n_classes,), log-odds of the record, and of a record without a signal.
    leads: those that were removed one at a time.
    without_lead: (n_leads, n_classes), probabilities without each of `leads`.
    """

    parts: tuple[Part, ...]
    separable: np.ndarray
    log_odds: np.ndarray
    baseline: np.ndarray
    leads: tuple[str, ...]
    without_lead: np.ndarray

    @property
    def contributions(self) -> np.ndarray:
        """Contributions (n_parts, n_classes) in log-odds, which add up to log_odds - baseline."""
        remainder = self.log_odds - self.baseline - self.separable.sum(axis=0)
        return self.separable + remainder / len(self.parts)


def explain(predict_proba: PredictProba, record: Record, leads, prevalence) -> Explanation:
    """Return the contributions of the record's parts to the model's probabilities.

    predict_proba: yields the probabilities (n_classes,) of each record, or the error that it fails
    with. leads: those that the model uses; other leads are left alone. prevalence: (n_classes,),
    the probabilities of a record without a signal.
    Raises the error of the unchanged record, if it cannot be predicted.
    """
    leads = tuple(lead for lead in leads if lead in record.leads)
    parts = split_into_parts(record, leads)
    variants = [record, *(remove_part(record, part) for part in parts)]
    variants += [_remove_lead(record, lead) for lead in leads]
    results = list(predict_proba(variants))
    if isinstance(results[0], Exception):
        raise results[0]
    probabilities = np.array([prevalence if isinstance(r, Exception) else r for r in results])
    log_odds, *without_part = _log_odds(probabilities[: 1 + len(parts)])
    return Explanation(
        parts=parts,
        separable=log_odds - np.array(without_part),
        log_odds=log_odds,
        baseline=_log_odds(prevalence),
        leads=leads,
        without_lead=probabilities[1 + len(parts) :],
    )


def split_into_parts(record: Record, leads: tuple[str, ...]) -> tuple[Part, ...]:
    """Return the beats of a record and their waves, or 1 s segments where no beats are found."""
    length_s = record.signal.shape[1] / record.fs
    beats = beats_of(record.signal, record.fs)
    if beats is None:
        edges = np.linspace(0, length_s, max(round(length_s / _SEGMENT_S), 1) + 1)
        return tuple(
            Part(f"{start:.1f} to {end:.1f} s", SEGMENT, leads, ((start, end),))
            for start, end in pairwise(edges.tolist())
        )
    middles_s = beats.r_peaks / FS
    edges = [0.0, *_quietest_times(record, middles_s), length_s]
    starts = middles_s + (beats.onset - BEFORE) / FS - _QRS_MARGIN_S
    ends = middles_s + (beats.offset - BEFORE) / FS + _QRS_MARGIN_S
    beat_parts = tuple(
        Part(f"beat at {middle:.1f} s", BEAT, leads, (span,))
        for middle, span in zip(middles_s.tolist(), pairwise(edges), strict=True)
    )
    limits = np.array(list(zip(edges, starts, ends, edges[1:], strict=False)))
    limits = np.clip(limits, limits[:, :1], limits[:, -1:])  # (n_beats, n_waves + 1)
    wave_parts = tuple(
        Part(f"{wave} in {lead}", wave, (lead,), tuple(map(tuple, limits[:, i : i + 2].tolist())))
        for i, wave in enumerate(WAVES)
        for lead in leads
    )
    return beat_parts + wave_parts


def remove_part(record: Record, part: Part) -> Record:
    """Return the record with each span of the part replaced by a straight line."""
    signal = record.signal.copy()
    removed = np.zeros(signal.shape[1], bool)
    for start, end in part.spans_s:
        removed[round(start * record.fs) : round(end * record.fs)] = True
    kept, gaps = ~removed, np.flatnonzero(removed)
    for lead in part.leads:
        row = signal[record.leads.index(lead)]
        known = np.flatnonzero(kept & np.isfinite(row))
        row[gaps] = np.interp(gaps, known, row[known]) if len(known) else np.nan
    return replace(record, signal=signal)


def _remove_lead(record: Record, lead: str) -> Record:
    signal = record.signal.copy()
    signal[record.leads.index(lead)] = np.nan
    return replace(record, signal=signal)


def _quietest_times(record: Record, middles_s) -> list[float]:
    """Return the quietest time, s, between each two beats, after the T wave of the first."""
    signal = np.where(np.isfinite(record.signal), record.signal, 0.0)
    distance = np.abs(signal - np.median(signal, axis=1, keepdims=True))
    activity = uniform_filter1d(distance.sum(axis=0), max(round(_SMOOTHING_S * record.fs), 1))
    times = []
    for this, following in pairwise(middles_s):
        first, last = (round((this + share * (following - this)) * record.fs) for share in _PAUSE)
        times.append((first + int(np.argmin(activity[first : last + 1]))) / record.fs)
    return times


def _log_odds(probabilities) -> np.ndarray:
    return logit(np.clip(probabilities, _MIN_PROBABILITY, 1 - _MIN_PROBABILITY))
