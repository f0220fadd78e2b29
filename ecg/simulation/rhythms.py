"""Simulate the rhythm of a heart: the time and kind of each beat."""

from dataclasses import dataclass

import numpy as np

RHYTHMS = ("sinus", "fibrillation", "flutter", "junctional", "paced")
PACING_MODES = ("atrial pacing", "ventricular pacing", "ventricular pacing, no P", "dual pacing")

_JITTER = 0.012  # standard deviation of the intervals of a regular rhythm, relative
# Coupling intervals and pauses as shares of the basic interval. A premature atrial beat resets the
# sinus node, so that the pause is little longer than one interval; a premature ventricular beat
# does not, so that the next sinus beat comes when it was due (full compensatory pause).
_ATRIAL_COUPLING = (0.55, 0.75)
_ATRIAL_PAUSE = (1.0, 1.2)
_VENTRICULAR_COUPLING = (0.50, 0.70)
_USUAL_DURATION_S = 10.0  # of a recording; a guaranteed premature beat occurs within it


@dataclass(frozen=True)
class Rhythm:
    """Parameters of a heart rhythm.

    kind: one of RHYTHMS.
    rate_bpm: mean ventricular rate without premature beats.
    variation_s: range of the sinus interval over a breath. breath_hz: respiratory rate.
    irregularity: standard deviation of the intervals in fibrillation, relative to their mean.
    premature_atrial, premature_ventricular: probability of a premature beat after each beat; if not
    0, at least one occurs in a recording that is long enough.
    atrial_hz: rate of fibrillation or flutter waves.
    ratios: atrial beats per ventricular beat in flutter, drawn for each ventricular beat.
    pacing: one of PACING_MODES.
    refractory_s: minimum interval before a premature beat or a beat in fibrillation.
    """

    kind: str = "sinus"
    rate_bpm: float = 70.0
    variation_s: float = 0.03
    breath_hz: float = 0.25
    irregularity: float = 0.2
    premature_atrial: float = 0.0
    premature_ventricular: float = 0.0
    atrial_hz: float = 5.0
    ratios: tuple[int, ...] = (2,)
    pacing: str = "ventricular pacing"
    refractory_s: float = 0.3

    def __post_init__(self):
        if self.kind not in RHYTHMS:
            raise ValueError(f"kind: expected one of {', '.join(RHYTHMS)}; found '{self.kind}'")
        if self.pacing not in PACING_MODES:
            raise ValueError(
                f"pacing: expected one of {', '.join(PACING_MODES)}; found '{self.pacing}'"
            )


def beat_times(rhythm: Rhythm, duration_s: float, rng) -> tuple[np.ndarray, list[str]]:
    """Return the QRS onsets (n_beats,), s, and the kind (heart.BEAT_KINDS) of each beat.

    The first beat is before 0 and the last one after `duration_s`, so that there are partial beats
    at both ends.
    """
    usual_kind = {"sinus": "sinus", "paced": rhythm.pacing}.get(rhythm.kind, "no P")
    interval = _intervals(rhythm, rng)
    chances = {
        "premature atrial": rhythm.premature_atrial,
        "premature ventricular": rhythm.premature_ventricular,
    }
    latest_s = max(1.0, min(duration_s, _USUAL_DURATION_S) - 3.5)
    due_s = {kind: rng.uniform(0.8, latest_s) for kind, chance in chances.items() if chance}
    time = -rng.uniform(0.0, 1.0) * 60 / rhythm.rate_bpm - 0.5
    onsets, kinds = [time], [usual_kind]
    while time < duration_s + 1.0:
        basic = interval(time)
        kind = _premature_kind(chances, due_s, time, rng)
        if kind == "premature atrial":
            onsets.append(time + max(rhythm.refractory_s, basic * rng.uniform(*_ATRIAL_COUPLING)))
            time = onsets[-1] + basic * rng.uniform(*_ATRIAL_PAUSE)
        elif kind == "premature ventricular":
            onsets.append(
                time + max(rhythm.refractory_s, basic * rng.uniform(*_VENTRICULAR_COUPLING))
            )
            time = max(time + 2 * basic, onsets[-1] + rhythm.refractory_s)
        else:
            time += basic
        kinds += [kind] if kind else []
        onsets.append(time)
        kinds.append(usual_kind)
    return np.array(onsets), kinds


def _premature_kind(chances, due_s, time, rng) -> str:
    """Draw the kind of premature beat that follows, "" for none.

    A guaranteed beat that is due has precedence, once.
    """
    due = [kind for kind, due_time in due_s.items() if time >= due_time]
    by_chance = [kind for kind, chance in chances.items() if rng.random() < chance]
    kind = next(iter(due + by_chance), "")
    if time > 0:
        due_s.pop(kind, None)
    return kind


def _intervals(rhythm, rng):
    """Return a function from the time, s, to the next basic interval, s."""
    mean = 60 / rhythm.rate_bpm
    if rhythm.kind == "fibrillation":
        spread = np.sqrt(np.log1p(rhythm.irregularity**2))
        return lambda _: max(rhythm.refractory_s, mean * rng.lognormal(-(spread**2) / 2, spread))
    if rhythm.kind == "flutter":
        return lambda _: rng.choice(rhythm.ratios) / rhythm.atrial_hz
    if rhythm.kind == "paced":
        return lambda _: mean
    swing = rhythm.variation_s / 2 if rhythm.kind == "sinus" else 0.0
    phase = rng.uniform(0, 2 * np.pi)

    def breathing(time):
        wave = np.sin(2 * np.pi * rhythm.breath_hz * time + phase)
        return mean * (1 + _JITTER * rng.standard_normal()) + swing * wave

    return breathing
