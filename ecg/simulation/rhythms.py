"""When a simulated heart beats, and what starts each beat."""

from dataclasses import dataclass

import numpy as np

RHYTHMS = ("sinus", "fibrillation", "flutter", "junctional", "paced")
PACING_MODES = ("atrial pacing", "ventricular pacing", "ventricular pacing, no P", "dual pacing")

_JITTER = 0.012  # standard deviation of a regular heart's intervals, share of the interval
# Prematurity: coupling interval as a share of the basic one. A premature atrial beat resets the
# sinus node, so that the pause is little more than one interval; a ventricular one does not reach
# it, so that the next sinus beat comes when it was due (full compensatory pause).
_ATRIAL_COUPLING = (0.55, 0.75)
_ATRIAL_PAUSE = (1.0, 1.2)
_VENTRICULAR_COUPLING = (0.50, 0.70)
_SEEN_S = 10.0  # a forced premature beat lies within the seconds that most recorders keep


@dataclass(frozen=True)
class Rhythm:
    """What drives the heart.

    kind: of RHYTHMS. rate_bpm: mean ventricular rate without premature beats. variation_s: of the
    sinus interval with breathing, longest less shortest, s; breath_hz: of the breathing.
    irregularity: of a fibrillating heart's intervals, standard deviation as a share of the mean.
    premature_atrial, premature_ventricular: chance of such a beat after each other beat; where it
    is not 0 and the recording is long enough, one occurs at least. atrial_hz: of fibrillation or
    flutter waves. ratios: atrial beats per ventricular beat in flutter, drawn anew for each.
    pacing: of PACING_MODES. refractory_s: no fibrillating or premature beat comes sooner than that
    after another.
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
    """Onsets (n_beats,) of the QRS complexes, s, and the kind of each beat (heart.BEAT_KINDS).

    They start before 0 and end after `duration_s`, so that partial beats lie at both ends.
    """
    usual_kind = {"sinus": "sinus", "paced": rhythm.pacing}.get(rhythm.kind, "no P")
    interval = _intervals(rhythm, rng)
    chances = {
        "premature atrial": rhythm.premature_atrial,
        "premature ventricular": rhythm.premature_ventricular,
    }
    latest_s = max(1.0, min(duration_s, _SEEN_S) - 3.5)
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
    """Which premature beat follows, "" for none; one that is due comes first, and is so once."""
    due = [kind for kind, due_time in due_s.items() if time >= due_time]
    by_chance = [kind for kind, chance in chances.items() if rng.random() < chance]
    kind = next(iter(due + by_chance), "")
    if time > 0:
        due_s.pop(kind, None)
    return kind


def _intervals(rhythm, rng):
    """A function from the time to the next basic interval, s."""
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
