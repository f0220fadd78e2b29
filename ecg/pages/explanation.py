"""Which parts of a recording spoke for a diagnosis: each taken out in turn, and the answer again.

A part is a beat in every lead, or a wave (P, QRS, ST and T) of every beat in one lead; a straight
line takes its place. What the log-odds of a diagnosis lose by that is the part's own contribution.
What no part explains alone is shared among all evenly, so that the contributions add up to the
whole change of the log-odds: the ENSC value of a cooperative game (Driessen and Funaki, OR Spektrum
13 (1991) 15). It asks nothing but answers: measurements of the signal, which have no gradient, are
explained with it.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.ndimage import uniform_filter1d

from ecg.records.record import Record
from ecg.signals.measurements import beats_of
from ecg.signals.qrs import BEFORE, FS

WAVES = ("P wave", "QRS complex", "ST and T wave")
_PAUSE = (0.4, 0.8)  # of the interval between two beats: the part in which it is quietest
_QRS_MARGIN_S = 0.02  # a pacing spike stands before the QRS
_PIECE_S = 1.0  # of a recording without beats
_QUIET_S = 0.06  # over which quiet is judged
_LEAST_PROBABILITY = 1e-6  # its log-odds are finite

Answers = Callable[[Iterable[Record]], Iterator[np.ndarray | Exception]]


@dataclass(frozen=True)
class Part:
    """What is taken out together: the spans (start, end), in s, of the leads."""

    name: str
    leads: tuple[str, ...]
    spans_s: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Explanation:
    """What spoke for each class in a record.

    own: (n_parts, n_classes), what the log-odds lose without each part. whole, empty: (n_classes,),
    the log-odds of the record, and of one without a signal. contributions: `own`, and an even share
    of what that leaves of whole - empty, so that they add up to it. without_lead: probabilities
    (n_leads, n_classes) where that one of `leads` is missing.
    """

    parts: tuple[Part, ...]
    own: np.ndarray
    whole: np.ndarray
    empty: np.ndarray
    leads: tuple[str, ...]
    without_lead: np.ndarray

    @property
    def contributions(self) -> np.ndarray:
        """(n_parts, n_classes), in log-odds."""
        unexplained = self.whole - self.empty - self.own.sum(axis=0)
        return self.own + unexplained / len(self.parts)


def explain(answers: Answers, record: Record, leads, prevalence) -> Explanation:
    """Contributions to the record's answer.

    answers: probabilities (n_classes,) of each of many records, or why there are none. leads: those
    that the answers depend on; others of the record stay as they are. prevalence: (n_classes,), the
    answer for a record without a signal.
    Raises the error that the record itself is answered with.
    """
    leads = tuple(lead for lead in leads if lead in record.leads)
    parts = parts_of(record, leads)
    asked = [record, *(take_out(record, part) for part in parts)]
    asked += [_without(record, lead) for lead in leads]
    found = list(answers(asked))
    if isinstance(found[0], Exception):
        raise found[0]
    probabilities = np.array([prevalence if isinstance(one, Exception) else one for one in found])
    whole, *without_part = _log_odds(probabilities[: 1 + len(parts)])
    return Explanation(
        parts=parts,
        own=whole - np.array(without_part),
        whole=whole,
        empty=_log_odds(prevalence),
        leads=leads,
        without_lead=probabilities[1 + len(parts) :],
    )


def parts_of(record: Record, leads: tuple[str, ...]) -> tuple[Part, ...]:
    """The beats of a record and their waves; pieces of a second where it has none."""
    length_s = record.signal.shape[1] / record.fs
    beats = beats_of(record.signal, record.fs)
    if beats is None:
        edges = np.linspace(0, length_s, max(round(length_s / _PIECE_S), 1) + 1)
        return tuple(
            Part(f"{start:.1f} to {end:.1f} s", leads, ((start, end),))
            for start, end in pairwise(edges.tolist())
        )
    middles_s = beats.middles / FS
    edges = [0.0, *_quiet_places(record, middles_s), length_s]
    starts = middles_s + (beats.onset - BEFORE) / FS - _QRS_MARGIN_S
    ends = middles_s + (beats.offset - BEFORE) / FS + _QRS_MARGIN_S
    whole = tuple(
        Part(f"beat at {middle:.1f} s", leads, (span,))
        for middle, span in zip(middles_s.tolist(), pairwise(edges), strict=True)
    )
    limits = zip(edges, starts, ends, edges[1:], strict=False)
    of_waves = zip(*(pairwise(np.clip(one, one[0], one[-1])) for one in limits), strict=True)
    waves = tuple(
        Part(f"{name} in {lead}", (lead,), spans)
        for name, spans in zip(WAVES, of_waves, strict=True)
        for lead in leads
    )
    return whole + waves


def take_out(record: Record, part: Part) -> Record:
    """The record with straight lines, from end to end, in place of the part."""
    signal = record.signal.copy()
    out = np.zeros(signal.shape[1], bool)
    for start, end in part.spans_s:
        out[round(start * record.fs) : round(end * record.fs)] = True
    samples = np.arange(len(out))
    for lead in part.leads:
        row = signal[record.leads.index(lead)]
        known = ~out & np.isfinite(row)
        row[out] = np.interp(samples[out], samples[known], row[known]) if known.any() else np.nan
    return replace(record, signal=signal)


def _without(record: Record, lead: str) -> Record:
    signal = record.signal.copy()
    signal[record.leads.index(lead)] = np.nan
    return replace(record, signal=signal)


def _quiet_places(record: Record, middles_s) -> list[float]:
    """The quietest time, s, between each two beats, past the first one's T wave."""
    signal = np.where(np.isfinite(record.signal), record.signal, 0.0)
    distance = np.abs(signal - np.median(signal, axis=1, keepdims=True))
    activity = uniform_filter1d(distance.sum(axis=0), max(round(_QUIET_S * record.fs), 1))
    places = []
    for before, behind in pairwise(middles_s):
        first, last = ((before + share * (behind - before)) * record.fs for share in _PAUSE)
        first = round(first)
        places.append((first + int(np.argmin(activity[first : round(last) + 1]))) / record.fs)
    return places


def _log_odds(probabilities) -> np.ndarray:
    inside = np.clip(probabilities, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    return np.log(inside / (1 - inside))
