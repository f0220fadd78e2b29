"""Say in plain words which parts of an ECG a finding rests on, and mark them on its tracing."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from ecg.pages.ecg_sheet import Mark
from ecg.pages.explanation import BEAT, WAVES, Explanation

_N_LISTED = 4  # strongest parts listed of each group
_MIN_SHARE = 0.02  # weaker parts are neither listed nor marked
_MIN_MARK = 0.25  # weaker parts, relative to the strongest one marked, are not marked
_STANDS_OUT = 2.0  # times the median beat's effect, from which a beat is marked
_MOST = 0.5  # share from which a part is "most of the evidence"
_PERCENT = "\N{NO-BREAK SPACE}%"
_NEGLIGIBLE = 0.02  # change of the probability that decides nothing


@dataclass(frozen=True)
class PartShare:
    """How much a part counted.

    share: of what all parts of its group counted, -1 to 1; negative if it speaks against the
    finding. probability: of the finding without the part.
    """

    name: str
    share: float
    probability: float


@dataclass(frozen=True)
class Evidence:
    """What a finding rests on.

    headline: a sentence or two. probability: of the finding in the stretch that was explained.
    waves: the strongest, in all beats. beats: those that stand out; where no beats were found, the
    strongest segments, and no waves. by_wave: the share, 0 to 1, of each kind of wave in all leads.
    """

    headline: str
    probability: float
    waves: tuple[PartShare, ...]
    beats: tuple[PartShare, ...]
    by_wave: tuple[tuple[str, float], ...]


def weigh_parts(explanation: Explanation, i: int) -> Evidence:
    """Return what class `i` rests on.

    Waves and beats are two divisions of the same signal, so that the shares of either group add up
    to 1, regardless of sign.
    """
    is_wave = _is_wave(explanation)
    shares = _shares(explanation, i, is_wave) + _shares(explanation, i, ~is_wave)
    without = expit(explanation.log_odds[i] - explanation.separable[:, i])
    parts = [
        PartShare(_plural(part.name), float(share), float(probability))
        for part, share, probability in zip(explanation.parts, shares, without, strict=True)
    ]
    probability = float(expit(explanation.log_odds[i]))
    waves = _strongest(parts, np.flatnonzero(is_wave))
    special = _standing_out(explanation, i) if is_wave.any() else np.arange(len(parts))
    beats = _strongest(parts, special)
    return Evidence(
        headline=_headline(waves, beats, probability, without),
        probability=probability,
        waves=waves,
        beats=beats,
        by_wave=_shares_by_wave(explanation, shares),
    )


def marks_for(explanation: Explanation, i: int) -> list[Mark]:
    """Return marks on the parts that matter most for class `i`, relative to the strongest of them.

    Of the beats, only those that stand out are marked: where all count alike, marking every one
    would say nothing.
    """
    is_wave = _is_wave(explanation)
    chosen = is_wave & (np.abs(_shares(explanation, i, is_wave)) >= _MIN_SHARE)
    chosen[_standing_out(explanation, i)] = True
    drops = np.where(chosen, explanation.separable[:, i], 0.0)
    largest = np.abs(drops).max(initial=0.0)
    return [
        Mark(lead, start, end, float(drop / largest))
        for part, drop in zip(explanation.parts, drops, strict=True)
        if largest and abs(drop) >= _MIN_MARK * largest
        for lead in part.leads
        for start, end in part.spans_s
    ]


def percent(share: float) -> str:
    """Return a share or probability in whole percent, never rounded to 0 % or 100 %."""
    if 0 < share < 0.005:
        return f"<1{_PERCENT}"
    if 0.995 <= share < 1:
        return f">99{_PERCENT}"
    return f"{100 * share:.0f}{_PERCENT}"


def _is_wave(explanation: Explanation) -> np.ndarray:
    return np.array([part.kind in WAVES for part in explanation.parts])


def _shares(explanation: Explanation, i: int, group: np.ndarray) -> np.ndarray:
    """Return the shares (n_parts,) of the parts in `group`, a mask; 0 for other parts."""
    drops = np.where(group, explanation.separable[:, i], 0.0)
    total = np.abs(drops).sum()
    return drops / total if total else drops


def _standing_out(explanation: Explanation, i: int) -> np.ndarray:
    """Return the indices of the beats or segments that count far more than the median one."""
    indices = np.flatnonzero(~_is_wave(explanation))
    drops = explanation.separable[indices, i]
    shares = np.abs(_shares(explanation, i, ~_is_wave(explanation))[indices])
    median = np.median(np.abs(drops)) if len(drops) else 0.0
    return indices[(np.abs(drops) > _STANDS_OUT * median) & (shares >= _MIN_SHARE)]


def _strongest(parts: Sequence[PartShare], indices: np.ndarray) -> tuple[PartShare, ...]:
    ordered = sorted((parts[k] for k in indices), key=lambda part: -abs(part.share))
    return tuple(part for part in ordered[:_N_LISTED] if abs(part.share) >= _MIN_SHARE)


def _shares_by_wave(explanation: Explanation, shares) -> tuple[tuple[str, float], ...]:
    totals = dict.fromkeys(WAVES, 0.0)
    for part, share in zip(explanation.parts, shares, strict=True):
        if part.kind in WAVES:
            totals[part.kind] += abs(float(share))
    return tuple((_plural(wave), total) for wave, total in totals.items() if any(totals.values()))


def _headline(waves, beats, probability: float, without: np.ndarray) -> str:
    """Return one or two sentences that name the strongest wave, and the strongest beat if any.

    without: (n_parts,), probabilities without each part.
    """
    if not len(without) or np.abs(without - probability).max() < _NEGLIGIBLE:
        return (
            "No single wave or beat decides: without any one of them, the probability changes by "
            f"less than {100 * _NEGLIGIBLE:.0f} percentage points."
        )
    sentences = []
    supporting = [part for part in waves if part.share > 0]
    if supporting:
        first, *others = supporting
        begin = "Most of the evidence" if first.share >= _MOST else "The strongest evidence"
        text = f"{begin}: the {first.name} ({percent(first.share)})"
        if first.share < _MOST and others:
            text += f", then the {others[0].name} ({percent(others[0].share)})"
        sentences.append(f"{text}.")
    if any(part.share > 0 for part in beats):
        strongest = next(part for part in beats if part.share > 0)
        name = strongest.name
        if not name.startswith(BEAT):
            name = f"stretch from {name}"
        sentences.append(f"The {name} counts more than the others ({percent(strongest.share)}).")
    elif waves:
        sentences.append("No beat stands out.")
    return " ".join(sentences) or "No part of the tracing supports it."


def _plural(name: str) -> str:
    """Return the name of a wave of all beats in the plural; other names unchanged."""
    for wave, waves in zip(WAVES, ("P waves", "QRS complexes", "ST and T waves"), strict=True):
        if name.startswith(wave):
            return waves + name.removeprefix(wave)
    return name
