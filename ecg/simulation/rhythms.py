"""Simulate the rhythm of a heart: the time and kind of each beat."""

from dataclasses import dataclass

import numpy as np

RHYTHMS = ("sinus", "fibrillation", "flutter", "junctional", "paced")
PACING_MODES = ("atrial pacing", "ventricular pacing", "ventricular pacing, no P", "dual pacing")

# Second-degree block: conduction times grow before a P wave is not conducted (Mobitz I, Wenckebach)
# or do not (Mobitz II, and 2:1). Third-degree block: a junctional rhythm beside that of the sinus.
AV_BLOCKS = ("Mobitz I", "Mobitz II", "complete")
_WENCKEBACH_S = 0.11  # by which the second PR interval of a cycle exceeds the first one,
_WENCKEBACH_DECAY = 0.45  # and each further increment relative to the one before

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
    jitter: standard deviation of the intervals of a regular rhythm, relative to their mean.
    variation_s: range of the sinus interval over a breath. breath_hz: respiratory rate.
    irregularity: standard deviation of the intervals in fibrillation, relative to their mean.
    premature_atrial, premature_ventricular: probability of a premature beat after each beat; if not
    0, at least one occurs in a recording that is long enough.
    av_block: "" or, in sinus rhythm, one of AV_BLOCKS; then there are no premature beats.
    av_cycle: of so many P waves the last one is not conducted in a second-degree block.
    atrial_hz: rate of fibrillation or flutter waves, or of P waves with an AV block.
    ratios: atrial beats per ventricular beat in flutter, drawn for each ventricular beat.
    pacing: one of PACING_MODES.
    refractory_s: minimum interval before a premature beat or a beat in fibrillation.
    """

    kind: str = "sinus"
    rate_bpm: float = 70.0
    jitter: float = 0.012
    variation_s: float = 0.03
    breath_hz: float = 0.25
    irregularity: float = 0.2
    premature_atrial: float = 0.0
    premature_ventricular: float = 0.0
    av_block: str = ""
    av_cycle: int = 3
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
        if self.av_block not in ("", *AV_BLOCKS):
            raise ValueError(
                f"av_block: expected '' or one of {', '.join(AV_BLOCKS)}; found '{self.av_block}'"
            )
        if self.av_cycle < 2:
            raise ValueError(f"av_cycle: expected at least 2 P waves, found {self.av_cycle}")


def beat_times(rhythm: Rhythm, duration_s: float, rng) -> tuple[np.ndarray, list[str]]:
    """Return the QRS onsets (n_beats,), s, and the kind (heart.BEAT_KINDS) of each beat.

    The first beat is before 0 and the last one after `duration_s`, so that there are partial beats
    at both ends.
    """
    if rhythm.kind == "sinus" and rhythm.av_block:
        return _blocked_beats(rhythm, duration_s, rng)
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


def _blocked_beats(rhythm, duration_s, rng) -> tuple[np.ndarray, list[str]]:
    """Return what `beat_times` does, with an AV block.

    A QRS complex that does not follow its P wave by the usual PR interval is a beat of its own.
    """
    end_s = duration_s + 1.0

    def regular(mean_s) -> list[float]:
        times = [-0.5 - rng.uniform(0.0, 1.0) * mean_s]
        while times[-1] < end_s:
            times.append(times[-1] + mean_s * (1 + rhythm.jitter * rng.standard_normal()))
        return times

    p_waves = regular(1 / rhythm.atrial_hz)
    if rhythm.av_block == "complete":
        beats = [(time, "P alone") for time in p_waves]
        beats += [(time, "no P") for time in regular(60 / rhythm.rate_bpm)]
    else:
        beats, place = [], rng.integers(rhythm.av_cycle)
        for i, time in enumerate(p_waves, place):
            n_conducted = i % rhythm.av_cycle  # since the last P wave that was not
            if n_conducted == rhythm.av_cycle - 1:
                beats.append((time, "P alone"))
            elif n_conducted and rhythm.av_block == "Mobitz I":
                # The sum of the geometric series of increments.
                grown = (1 - _WENCKEBACH_DECAY**n_conducted) / (1 - _WENCKEBACH_DECAY)
                beats += [(time, "P alone"), (time + _WENCKEBACH_S * grown, "no P")]
            else:
                beats.append((time, "sinus"))
    beats.sort()
    return np.array([time for time, _ in beats]), [kind for _, kind in beats]


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
        return mean * (1 + rhythm.jitter * rng.standard_normal()) + swing * wave

    return breathing
