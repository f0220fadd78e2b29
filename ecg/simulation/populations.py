"""Who is recorded: people drawn from a population, each with the measures of a heart.

What is drawn is a mechanism (a blocked branch, a silent wall, a flutter circuit) and its size;
`patients.diagnose` says which diagnoses follow.
"""

from dataclasses import dataclass

import numpy as np

from ecg.simulation.heart import Heart
from ecg.simulation.patients import FAST_BPM, LONG_QTC_S, Patient
from ecg.simulation.rhythms import PACING_MODES, Rhythm


@dataclass(frozen=True)
class Population:
    """How common each mechanism is among the people of a source.

    fibrillation, flutter, junctional, paced: shares of all, the others being in sinus rhythm; slow
    to premature_atrial and long_pr: of those in sinus rhythm; long_qt, flat_t, inverted_t: of
    those whose ventricles are conducted to in the usual way; the rest: of all.
    age_mean, age_sd: years.
    """

    fibrillation: float = 0.08
    flutter: float = 0.06
    junctional: float = 0.01
    paced: float = 0.02
    slow: float = 0.20
    fast: float = 0.12
    sinus_arrhythmia: float = 0.05
    premature_atrial: float = 0.05
    premature_ventricular: float = 0.04
    long_pr: float = 0.06
    left_block: float = 0.02
    right_block: float = 0.06
    incomplete_right: float = 0.03
    nonspecific_block: float = 0.025
    left_anterior: float = 0.03
    left_axis: float = 0.07
    right_axis: float = 0.03
    low_voltage: float = 0.03
    poor_progression: float = 0.02
    infarct: float = 0.04
    long_qt: float = 0.04
    flat_t: float = 0.10
    inverted_t: float = 0.06
    age_mean: float = 59.0
    age_sd: float = 17.0

    def __post_init__(self):
        for group in (
            (self.fibrillation, self.flutter, self.junctional, self.paced),
            (self.slow, self.fast),
            (self.left_block, self.right_block, self.incomplete_right, self.nonspecific_block),
            (self.left_anterior, self.left_axis, self.right_axis),
            (self.flat_t, self.inverted_t),
        ):
            if min(group) < 0 or sum(group) > 1:
                raise ValueError(f"expected shares that sum to at most 1, found {group}")


def draw_patient(population: Population, rng) -> Patient:
    """A person of the population.

    Where no mechanism says otherwise, measures lie within the limits of 46,129 healthy people
    (2nd to 98th centile: PR .113-.212 s, QRS .069-.109 s, axis -40 to 91 degrees, QTc after
    Fridericia .359-.445 s; Mason et al., J Electrocardiol 2007). They shift in the directions that
    Rijnbeek et al., J Electrocardiol 2014, describe: women have a faster rate, a longer QTc, a
    shorter QRS and less voltage; with age the axis turns left and voltage falls.
    """
    age = float(np.clip(rng.normal(population.age_mean, population.age_sd), 18, 95).round())
    sex = "Male" if rng.random() < 0.53 else "Female"
    rhythm = _draw_rhythm(population, age, sex, rng)
    return Patient(age, sex, rhythm, *_draw_heart(population, age, sex, rhythm, rng))


def _draw_rhythm(population, age, sex, rng) -> Rhythm:
    kinds = ("fibrillation", "flutter", "junctional", "paced")
    kind = _one_of(kinds, [getattr(population, kind) for kind in kinds], "sinus", rng)
    breath_hz = rng.uniform(0.18, 0.32)
    ventricular = _premature_share(population.premature_ventricular, rng)
    if kind == "fibrillation":
        rate = float(np.clip(rng.normal(92, 24), 42, 165))
        return Rhythm(
            kind,
            rate,
            irregularity=rng.uniform(0.18, 0.3),
            premature_ventricular=ventricular,
            atrial_hz=rng.uniform(4.5, 8.5),
        )
    if kind == "flutter":
        atrial_hz = rng.uniform(4.0, 5.7)
        ratios = ((2,), (3,), (4,), (2, 4), (3, 4), (5, 6))[
            rng.choice(6, p=(0.35, 0.1, 0.25, 0.15, 0.1, 0.05))
        ]
        return Rhythm(kind, 60 * atrial_hz / np.mean(ratios), atrial_hz=atrial_hz, ratios=ratios)
    if kind == "junctional":
        return Rhythm(kind, rng.uniform(38, 58))
    if kind == "paced":
        mode = PACING_MODES[rng.choice(4, p=(0.2, 0.35, 0.25, 0.2))]
        return Rhythm(
            kind, float(rng.choice([60, 65, 70, 75, 80])), pacing=mode, atrial_hz=rng.uniform(5, 8)
        )
    speed = _one_of(("slow", "fast"), (population.slow, population.fast), "usual", rng)
    if speed == "slow":
        rate = 59 - min(rng.gamma(1.6, 3.2), 24)
    elif speed == "fast":
        rate = 101.5 + min(rng.gamma(1.5, 10), 60)
    else:
        # Women's hearts are some 3 beats a minute faster.
        rate = np.clip(rng.normal(74 + (3 if sex == "Female" else 0), 9.5), 60.5, 98.5)
    youth = (95 - age) / 77  # breathing shifts a young heart more
    variation = rng.uniform(0.01, 0.04 + 0.05 * youth) * min(1.0, 70 / rate)
    if speed != "fast" and rng.random() < population.sinus_arrhythmia:
        variation = rng.uniform(0.18, min(0.40, 24 / rate))
    return Rhythm(
        kind,
        float(rate),
        variation_s=variation,
        breath_hz=breath_hz,
        premature_atrial=_premature_share(population.premature_atrial, rng),
        premature_ventricular=ventricular,
    )


def _premature_share(share, rng) -> float:
    """Chance of a premature beat after each other: mostly few, at times every second beat."""
    if rng.random() >= share:
        return 0.0
    return 1.0 if rng.random() < 0.08 else rng.uniform(0.04, 0.25)


def _draw_heart(population, age, sex, rhythm, rng) -> tuple[Heart, bool]:
    conduction = _one_of(
        ("left", "right", "incomplete right", "nonspecific"),
        (
            population.left_block,
            population.right_block,
            population.incomplete_right,
            population.nonspecific_block,
        ),
        "normal",
        rng,
    )
    turn = _one_of(
        ("fascicle", "left", "right"),
        (population.left_anterior, population.left_axis, population.right_axis),
        "usual",
        rng,
    )
    if conduction == "left":
        turn = "usual"
    qrs_s = {
        "normal": np.clip(rng.normal(0.091 if sex == "Male" else 0.084, 0.008), 0.068, 0.107),
        "left": rng.uniform(0.128, 0.17),
        "right": rng.uniform(0.124, 0.165),
        "incomplete right": rng.uniform(0.1115, 0.118),
        "nonspecific": rng.uniform(0.114, 0.145),
    }[conduction]
    usual_axis = np.clip(rng.normal(50 - 0.6 * (age - 50), 20), -15, 75)
    axis = {
        "usual": usual_axis,
        "fascicle": rng.uniform(-72, -52),
        "left": rng.uniform(-44, -34),
        "right": rng.uniform(105, 150),
    }[turn]
    if conduction == "left":
        axis = rng.uniform(-45, 50)
    # Voltage falls with age, in men more.
    size = max(rng.lognormal(np.log(1.0 if sex == "Male" else 0.9), 0.33), 0.65)
    size *= 1 - 0.003 * (age - 50)
    septal, main_back, back = size * np.array([0.34, 0.05, rng.uniform(0.7, 1.4)])
    infarct = ""
    if conduction != "left" and rng.random() < population.infarct:
        infarct = ("inferior", "anterior", "lateral")[rng.choice(3, p=(0.45, 0.4, 0.15))]
        qrs_s = max(qrs_s, rng.uniform(0.095, 0.107))
    if rng.random() < population.poor_progression:
        septal, main_back = size * rng.uniform([0.05, 0.75], [0.15, 1.0])
    t_mv, t_axis, t_back = _draw_t_wave(population, sex, conduction, axis, size, rng)
    if rng.random() < population.low_voltage:
        shrink = rng.uniform(0.28, 0.36) / size
        voltages = np.array([size, septal, main_back, back, t_mv, t_back])
        size, septal, main_back, back, t_mv, t_back = shrink * voltages
    rr_s = 60 / rhythm.rate_bpm
    ectopic = rng.lognormal(np.log(1.3), 0.2)
    heart = Heart(
        pr_s=_draw_pr(population, age, rhythm, rng),
        qrs_s=float(qrs_s),
        qt_s=_draw_qtc(population, sex, conduction, rhythm, rng) * rr_s ** (1 / 3),
        axis_deg=axis,
        qrs_mv=size,
        septal_mv=septal,
        main_back_mv=main_back,
        back_mv=back,
        infarct=infarct,
        conduction=conduction,
        t_mv=t_mv,
        t_axis_deg=t_axis,
        t_back_mv=t_back,
        p_mv=rng.uniform(0.06, 0.13),
        ectopic_axis_deg=rng.uniform(-90, 130),
        ectopic_mv=ectopic,
        ectopic_back_mv=ectopic * rng.choice([-1, 1]) * rng.uniform(0.3, 0.6),
        ectopic_qrs_s=rng.uniform(0.135, 0.18),
        spike_mv=rng.lognormal(np.log(4.0), 0.5),
    )
    return heart, turn == "fascicle"


def _draw_pr(population, age, rhythm, rng) -> float:
    usual = np.clip(rng.normal(0.155 + 0.0004 * (age - 50), 0.017), 0.118, 0.195)
    if rhythm.rate_bpm > FAST_BPM:
        return float(min(usual, 0.16))
    if rng.random() < population.long_pr:
        return rng.uniform(0.215, 0.33)
    return float(usual)


def _draw_qtc(population, sex, conduction, rhythm, rng) -> float:
    limit = LONG_QTC_S[sex]
    usual = np.clip(rng.normal(limit - 0.045, 0.015), 0.36, limit - 0.01)
    narrow = conduction in ("normal", "incomplete right")
    # Above, the T wave would run into the next beat.
    if narrow and rhythm.rate_bpm < 105 and rng.random() < population.long_qt:
        return limit + rng.uniform(0.02, 0.09)
    return float(usual) if narrow else float(usual) + 0.03


def _draw_t_wave(population, sex, conduction, axis, size, rng) -> tuple[float, float, float]:
    """Size, axis and backward part: with the QRS where that is narrow, against it where a branch
    is blocked."""
    share = rng.uniform(0.18, 0.36) * (1.0 if sex == "Male" else 0.85)
    if conduction == "left":
        return 0.35 * size, axis + 170, -0.35 * size
    if conduction == "right":
        return share * size, np.clip(axis, 0, 60), 0.12 * size
    t_axis = np.clip(0.5 * axis + 26 + rng.normal(0, 10), 5, 78)
    t_back = -rng.uniform(0.15, 0.4) * size
    kind = _one_of(("flat", "inverted"), (population.flat_t, population.inverted_t), "usual", rng)
    if kind == "flat":
        return rng.uniform(0.0, 0.06) * size, t_axis, -rng.uniform(0.0, 0.15) * size
    if kind == "inverted":
        return rng.uniform(0.28, 0.5) * size, t_axis + 180, rng.uniform(0.1, 0.4) * size
    return share * size, t_axis, t_back


def _one_of(names, shares, otherwise, rng) -> str:
    """One of the names, each by its share; `otherwise` by what the shares leave."""
    draw = rng.random()
    for name, edge in zip(names, np.cumsum(shares), strict=True):
        if draw < edge:
            return name
    return otherwise
