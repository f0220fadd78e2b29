"""Draw simulated patients from a population.

Mechanisms (a blocked bundle branch, an infarct, a flutter circuit) and their extent are drawn at
random; `patients.diagnose` derives the diagnoses.
"""

from dataclasses import dataclass, replace

import numpy as np

from ecg.simulation.heart import Heart
from ecg.simulation.patients import FAST_BPM, LONG_QTC_S, SLOW_BPM, Patient
from ecg.simulation.rhythms import PACING_MODES, Rhythm

_MAX_RATE_BPM = 220.0  # less the age in years: the usual estimate of the maximum sinus rate
# Of V1 to V6, relative to Dower's lead field: with these, amplitudes agree with those of records.
_CHEST_GAINS = (0.76, 1.12, 0.97, 0.92, 0.88, 0.95)
_MIN_QRS_TO_P_S = 0.12  # from a QRS onset to the onset of the next P wave


@dataclass(frozen=True)
class Population:
    """How common each mechanism is among the patients of a source.

    fibrillation, flutter, junctional, paced: shares of all patients; the rest have sinus rhythm.
    slow, fast, sinus_arrhythmia, premature_atrial, long_pr, av_block: shares of those in sinus
    rhythm; av_block: of second or third degree.
    premature_ventricular: share of those in sinus rhythm or atrial fibrillation.
    long_qt, flat_t, inverted_t, st_depressed, st_elevated: shares of those without bundle branch
    block.
    Other shares are of all patients. age_mean, age_sd: years.
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
    av_block: float = 0.012
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
    st_depressed: float = 0.05
    st_elevated: float = 0.03
    age_mean: float = 59.0
    age_sd: float = 17.0

    def __post_init__(self):
        for group in (
            (self.fibrillation, self.flutter, self.junctional, self.paced),
            (self.slow, self.fast),
            (self.left_block, self.right_block, self.incomplete_right, self.nonspecific_block),
            (self.left_anterior, self.left_axis, self.right_axis),
            (self.flat_t, self.inverted_t),
            (self.st_depressed, self.st_elevated),
        ):
            if min(group) < 0 or sum(group) > 1:
                raise ValueError(f"expected shares that sum to at most 1, found {group}")


def draw_patient(population: Population, rng) -> Patient:
    """Draw a patient from the population.

    Unless a mechanism changes them, nearly all measurements lie within the normal limits of 46,129
    healthy people (2nd to 98th percentile: PR .113-.212 s, QRS .069-.109 s, axis -40 to 91 degrees,
    QTc by Fridericia .359-.445 s; Mason et al., J Electrocardiol 2007). They depend on sex and age
    as in Rijnbeek et al., J Electrocardiol 2014: women have a higher rate, a longer QTc, a shorter
    QRS and lower voltage; with age the axis turns left and voltage falls.
    """
    age = float(
        round(_draw_within(18, 95, lambda: rng.normal(population.age_mean, population.age_sd)))
    )
    sex = "Male" if rng.random() < 0.53 else "Female"
    rhythm = _draw_rhythm(population, age, sex, rng)
    heart = _draw_heart(population, age, sex, rhythm, rng)
    # A beat, with its P wave, comes after the T wave of the previous beat.
    refractory_s = max(heart.qt_s, heart.pr_s + _MIN_QRS_TO_P_S)
    return Patient(age, sex, replace(rhythm, refractory_s=refractory_s), heart)


def _draw_rhythm(population, age, sex, rng) -> Rhythm:
    kinds = ("fibrillation", "flutter", "junctional", "paced")
    kind = _choose(kinds, [getattr(population, kind) for kind in kinds], "sinus", rng)
    ventricular = _premature_share(population.premature_ventricular, rng)
    if kind == "fibrillation":
        return Rhythm(
            kind,
            _draw_within(42, 165, lambda: rng.normal(92, 24)),
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
        rate = float(rng.choice([60, 65, 70, 75, 80]))
        return Rhythm(kind, rate, pacing=mode, atrial_hz=rng.uniform(5, 8))
    if rng.random() < population.av_block:
        return _draw_av_block(rng)
    rate = _draw_sinus_rate(population, age, sex, rng)
    youth = (95 - age) / 77  # respiratory variation decreases with age
    usual_s = (0.02 + 0.05 * youth) * min(1.0, 70 / rate)
    variation = min(rng.lognormal(np.log(usual_s), 0.8), 0.115)
    if rate <= FAST_BPM and rng.random() < population.sinus_arrhythmia:
        variation = rng.uniform(0.14, max(0.2, min(0.40, 24 / rate)))
    return Rhythm(
        kind,
        rate,
        jitter=min(rng.lognormal(np.log(0.011), 0.8) * min(1.0, 70 / rate) ** 1.5, 0.06),
        variation_s=variation,
        breath_hz=rng.uniform(0.18, 0.32),
        premature_atrial=_premature_share(population.premature_atrial, rng),
        premature_ventricular=ventricular,
    )


def _draw_av_block(rng) -> Rhythm:
    block, cycle = (("Mobitz I", 0), ("Mobitz II", 2), ("Mobitz II", 0), ("complete", 2))[
        rng.choice(4, p=(0.4, 0.25, 0.1, 0.25))
    ]
    atrial_bpm = _draw_within(60, 100, lambda: rng.normal(78, 11))
    if block == "complete":
        rate_bpm = rng.uniform(33, 52)
    else:
        cycle = cycle or int(rng.integers(3, 6))
        rate_bpm = atrial_bpm * (cycle - 1) / cycle
    return Rhythm("sinus", rate_bpm, av_block=block, av_cycle=cycle or 2, atrial_hz=atrial_bpm / 60)


def _draw_sinus_rate(population, age, sex, rng) -> float:
    speed = _choose(("slow", "fast"), (population.slow, population.fast), "usual", rng)
    if speed == "slow":
        return SLOW_BPM - _draw_within(0, 25, lambda: rng.gamma(1.8, 3.5))
    if speed == "fast":
        max_excess = max(_MAX_RATE_BPM - age - FAST_BPM, 10)
        return FAST_BPM + _draw_within(0, max_excess, lambda: rng.gamma(1.7, 10))
    mean = 71 if sex == "Female" else 68
    return _draw_within(SLOW_BPM, FAST_BPM, lambda: rng.normal(mean, 11.5))


def _premature_share(share, rng) -> float:
    """Draw the probability of a premature beat after each beat: 0, low, or 1 (bigeminy)."""
    if rng.random() >= share:
        return 0.0
    return 1.0 if rng.random() < 0.06 else rng.uniform(0.04, 0.25)


def _draw_heart(population, age, sex, rhythm, rng) -> Heart:
    conduction, qrs_s = _draw_conduction(population, sex, rng)
    fascicle_blocked, axis = _draw_axis(population, age, conduction, rng)
    infarct = ""
    if conduction != "left" and rng.random() < population.infarct:
        infarct = ("inferior", "anterior", "lateral")[rng.choice(3, p=(0.45, 0.4, 0.15))]
        qrs_s = max(qrs_s, rng.uniform(0.095, 0.107))
    if fascicle_blocked:
        qrs_s = max(qrs_s, rng.uniform(0.088, 0.1095))
    ectopic_mv = rng.lognormal(np.log(1.3), 0.2)
    return Heart(
        pr_s=_draw_pr(population, age, rhythm, rng),
        qrs_s=qrs_s,
        qt_s=_draw_qtc(population, sex, conduction, rhythm, rng)
        * (60 / rhythm.rate_bpm) ** (1 / 3),
        axis_deg=axis,
        infarct=infarct,
        conduction=conduction,
        fascicle_blocked=fascicle_blocked,
        **_draw_voltages(population, age, sex, conduction, axis, rhythm, rng),
        **_draw_qrs_loop(rng),
        **_draw_p_wave(rng),
        ectopic_axis_deg=rng.uniform(-90, 130),
        ectopic_mv=ectopic_mv,
        ectopic_back_mv=ectopic_mv * rng.choice([-1, 1]) * rng.uniform(0.3, 0.6),
        ectopic_qrs_s=rng.uniform(0.135, 0.18),
        spike_mv=rng.lognormal(np.log(4.0), 0.5),
        respiration=min(rng.lognormal(np.log(0.04), 0.5), 0.15),
        **_draw_chest(rng),
    )


def _draw_qrs_loop(rng) -> dict[str, float]:
    """Draw how the QRS vectors differ from the main one, as fields of `Heart`."""
    return {
        "main_width": rng.uniform(0.066, 0.09),
        "first_share": min(rng.lognormal(np.log(0.09), 0.5), 0.4),
        "late_share": min(rng.lognormal(np.log(0.5), 0.4), 1.0),
        "last_share": min(rng.lognormal(np.log(0.07), 0.7), 0.4),
        "first_turn_deg": rng.normal(135, 30),
        "late_turn_deg": rng.normal(0, 48),
        "last_turn_deg": rng.normal(-150, 30),
    }


def _draw_p_wave(rng) -> dict[str, float]:
    p_mv = _draw_within(0.03, 0.21, lambda: rng.lognormal(np.log(0.088), 0.42))
    return {
        "p_s": _draw_within(0.08, 0.135, lambda: rng.normal(0.105, 0.011)),
        "p_mv": p_mv,
        "p_axis_deg": _draw_within(10, 88, lambda: rng.normal(65, 18)),
        "p_forward_mv": p_mv * rng.uniform(0.3, 1.3),
        "p_back_mv": p_mv * rng.uniform(0.08, 0.55),
    }


def _draw_chest(rng) -> dict[str, object]:
    """Draw where the chest electrodes lie, as fields of `Heart`."""
    gains = np.array(_CHEST_GAINS) * rng.lognormal(0, 0.22) * rng.lognormal(0, 0.15, 6)
    return {
        "chest_gains": tuple(gains.tolist()),
        "chest_shift": float(np.clip(rng.normal(0, 0.3), -0.9, 0.9)),
    }


def _draw_conduction(population, sex, rng) -> tuple[str, float]:
    conduction = _choose(
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
    if conduction == "normal":
        mean = 0.0925 if sex == "Male" else 0.088
        return conduction, _draw_within(0.066, 0.1095, lambda: rng.normal(mean, 0.008))
    if conduction == "incomplete right" and rng.random() < 0.5:
        return conduction, rng.uniform(0.085, 0.11)
    low, high = {
        "left": (0.122, 0.158),
        "right": (0.12, 0.148),
        "incomplete right": (0.11, 0.119),
        "nonspecific": (0.111, 0.145),
    }[conduction]
    return conduction, rng.uniform(low, high)


def _draw_axis(population, age, conduction, rng) -> tuple[bool, float]:
    """Draw whether the left anterior fascicle is blocked, and the axis of the main QRS vector."""
    turn = _choose(
        ("fascicle", "left", "right"),
        (population.left_anterior, population.left_axis, population.right_axis),
        "usual",
        rng,
    )
    if conduction == "left":
        return False, _draw_within(-70, 80, lambda: rng.normal(15, 33))
    if turn == "fascicle":
        return True, rng.uniform(-75, -45)
    if turn == "left":
        return False, rng.uniform(-45, -28)
    if turn == "right":
        return False, rng.uniform(90, 150)
    return False, _draw_within(-30, 84, lambda: rng.normal(53 - 0.5 * (age - 50), 31))


def _draw_voltages(population, age, sex, conduction, axis, rhythm, rng) -> dict[str, float]:
    """Draw the amplitudes of QRS and T vectors, mV, and the T axis, as fields of `Heart`."""
    median = (0.97 if sex == "Male" else 0.85) * (1 - 0.003 * (age - 50))
    size = _draw_within(0.6, 3.0, lambda: rng.lognormal(np.log(median), 0.36))
    t_axis, t_mv, t_back_mv = _draw_t_wave(population, sex, conduction, axis, rng)
    slower = min(1.0, 75 / rhythm.rate_bpm)  # T waves are lower at high rates
    if rhythm.kind in ("fibrillation", "flutter"):
        slower *= 0.7
    st_axis, st_mv, st_back_mv = _draw_st_segment(population, conduction, axis, t_axis, rng)
    shares = {
        "qrs_mv": 1.0,
        "septal_mv": min(rng.lognormal(np.log(0.2), 0.45), 0.6),
        "main_back_mv": rng.normal(-0.13, 0.11),
        "back_mv": rng.uniform(0.6, 1.6),
        "t_mv": t_mv * slower,
        "t_back_mv": t_back_mv * slower,
        "st_mv": st_mv,
        "st_back_mv": st_back_mv,
    }
    if rng.random() < population.poor_progression:
        shares["septal_mv"] = rng.uniform(0.05, 0.15)
        shares["main_back_mv"] = rng.uniform(0.75, 1.0)
    if rng.random() < population.low_voltage:
        size = rng.uniform(0.25, 0.38)
    directions = {"t_axis_deg": t_axis, "st_axis_deg": st_axis}
    return {name: size * share for name, share in shares.items()} | directions


def _draw_t_wave(population, sex, conduction, axis, rng) -> tuple[float, float, float]:
    """Draw the T axis, and amplitude and backward part of the T wave as shares of the QRS.

    The T wave is concordant with a narrow QRS and discordant with bundle branch block.
    """
    share = _draw_within(0.16, 0.65, lambda: rng.lognormal(np.log(0.315), 0.28))
    share *= 1.0 if sex == "Male" else 0.85
    if conduction == "left":
        return axis + rng.normal(130, 40), rng.uniform(0.12, 0.3), -rng.uniform(0.15, 0.45)
    if conduction == "right":
        return float(np.clip(axis, 0, 60)), share, rng.uniform(-0.1, 0.15)
    t_axis = float(np.clip(0.5 * axis + 20 + rng.normal(0, 14), -8, 80))
    kind = _choose(("flat", "inverted"), (population.flat_t, population.inverted_t), "usual", rng)
    if kind == "flat":
        return t_axis, rng.uniform(0.0, 0.06), -rng.uniform(0.0, 0.15)
    if kind == "inverted":
        return t_axis + 180, rng.uniform(0.12, 0.3), rng.uniform(0.03, 0.2)
    return t_axis, share, -rng.uniform(0.0, 0.46)


def _draw_st_segment(population, conduction, axis, t_axis, rng) -> tuple[float, float, float]:
    """Draw the axis of the ST segment, and its amplitude and backward part as shares of the QRS.

    Usually it is slightly raised in the direction of the T wave, most of all in V2 and V3.
    """
    kind = _choose(
        ("depressed", "elevated"), (population.st_depressed, population.st_elevated), "usual", rng
    )
    if conduction in ("left", "right") or kind == "usual":
        return t_axis, rng.normal(0.012, 0.03), rng.normal(-0.052, 0.035)
    if kind == "depressed":  # of the inner layer of the left ventricle
        return axis + 180, rng.uniform(0.06, 0.2), rng.uniform(0.0, 0.1)
    if rng.random() < 0.5:  # of the inferior wall, else of the anterior wall
        return rng.uniform(75, 110), rng.uniform(0.1, 0.3), rng.uniform(0.0, 0.15)
    return rng.uniform(-30, 30), rng.uniform(0.03, 0.12), -rng.uniform(0.12, 0.3)


def _draw_pr(population, age, rhythm, rng) -> float:
    usual = _draw_within(0.11, 0.2, lambda: rng.normal(0.15 + 0.0004 * (age - 50), 0.022))
    if rhythm.rate_bpm > FAST_BPM:
        return min(usual, 0.16)
    if rhythm.kind == "sinus" and rng.random() < population.long_pr:
        return 0.203 + min(rng.gamma(1.3, 0.02), 0.14)
    return usual


def _draw_qtc(population, sex, conduction, rhythm, rng) -> float:
    limit = LONG_QTC_S[sex]
    usual = _draw_within(0.345, limit, lambda: rng.normal(limit - 0.058, 0.018))
    if conduction in ("left", "right", "nonspecific"):
        return usual + 0.03
    # At higher rates the T wave would overlap the next beat.
    if rhythm.rate_bpm < 105 and rng.random() < population.long_qt:
        return limit + rng.uniform(0.0, 0.09)
    return usual


def _draw_within(low, high, draw) -> float:
    """Draw until the value lies between `low` and `high`."""
    while not low <= (value := draw()) <= high:
        pass
    return float(value)


def _choose(names, shares, default, rng) -> str:
    """Draw one of `names` with probabilities `shares`, or `default` with the remaining one."""
    draw = rng.random()
    for name, edge in zip(names, np.cumsum(shares), strict=True):
        if draw < edge:
            return name
    return default
