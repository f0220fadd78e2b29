"""Each of the 26 diagnoses: what an independent reader measures on the recordings separates the
labelled from the unlabelled as the textbook's criterion says."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from scipy.signal import periodogram
from wfdb.processing import xqrs_detect

from ecg.records.diagnoses import DIAGNOSES
from ecg.simulation.patients import diagnose
from ecg.simulation.populations import Population, draw_patient
from ecg.simulation.recorders import Recorder, record
from ecg.simulation.recordings import heart_signal, shown_kinds
from ecg.simulation.rhythms import beat_times
from tests.measurements import FS, LEAD, Measurements, measure

SECONDS = 10.0
N_LABELLED, N_UNLABELLED = 30, 60  # recordings read for each diagnosis
WIDE = {"LBBB", "RBBB", "NSIVCB", "PR"}
ECTOPIC = {"PAC", "PVC"}
NO_P = {"AF", "AFL", "Brady", "PR"}


def early_beats(found: Measurements) -> list[tuple[float, float]]:
    """(likeness to the median beat, interval around it in usual intervals) of each early beat."""
    usual = np.quantile(found.rr_s, 0.7)  # every second beat may be early
    before, after = round(0.08 * FS), round(0.12 * FS)
    found_early = []
    for i in range(1, len(found.peaks) - 1):
        peak = found.peaks[i]
        if found.rr_s[i - 1] > 0.82 * usual or not before <= peak < found.signal.shape[1] - after:
            continue
        likeness = max(
            np.corrcoef(
                found.signal[:, peak + s - before : peak + s + after].ravel(),
                found.beat[:, 180 - before : 180 + after].ravel(),
            )[0, 1]
            for s in range(-25, 26, 3)
            if before <= peak + s < found.signal.shape[1] - after
        )
        found_early.append((likeness, (found.rr_s[i - 1] + found.rr_s[i]) / usual))
    return found_early


def flutter_line(found: Measurements) -> float:
    """Share of one frequency and its first harmonic between 3.8 and 6 Hz in what the inferior
    leads do between the QRS complexes."""
    lead = found.signal[LEAD["II"]] + found.signal[LEAD["III"]]
    keep = np.ones(len(lead), bool)
    for peak in found.peaks:
        keep[max(0, peak - 40) : peak + 50] = False
    time = np.arange(len(lead))
    lead = np.interp(time, time[keep], lead[keep])
    frequencies, power = periodogram(lead, FS, "hann")
    band = (frequencies > 3.8) & (frequencies < 6.0)
    line = frequencies[band][power[band].argmax()]
    near = (np.abs(frequencies - line) < 0.25) | (np.abs(frequencies - 2 * line) < 0.25)
    return power[near].sum() / power[(frequencies > 0.8) & (frequencies < 14)].sum()


def late_in(found: Measurements, lead: str) -> float:
    """Mean of the last 40 ms of the QRS, as a share of its size in that lead."""
    qrs = found.qrs[LEAD[lead]]
    return qrs[-20:].mean() / np.ptp(qrs)


def blocked_left(found):
    return (
        found.qrs[LEAD["V1"]].mean() < 0 < found.qrs[LEAD["V6"]].mean() and late_in(found, "V1") < 0
    )


def blocked_right(found):
    return late_in(found, "V1") > 0.08 and late_in(found, "I") < 0


def q_waves(found) -> np.ndarray:
    """(12,) bool: the QRS starts with a negative wave of 25 ms and 0.1 mV."""
    result = []
    for lead in found.qrs:
        up = np.flatnonzero(lead > max(0.05, 0.1 * lead.max()))
        q_wave = lead[: up[0] if len(up) else len(lead)]
        wide = np.count_nonzero(q_wave < -0.03) >= 0.025 * FS
        result.append(wide and -q_wave.min() > max(0.1, 0.25 * lead.max()))
    return np.array(result)


def two_of(leads, *walls) -> bool:
    return any(all(leads[LEAD[lead]] for lead in wall) for wall in walls)


def inverted(found):
    walls = ("I", "aVL"), ("II", "aVF"), ("V3", "V4"), ("V4", "V5"), ("V5", "V6")
    return two_of(found.t_mv < -0.08, *walls)


def flat(found):
    rows = [LEAD[lead] for lead in ("I", "II", "V4", "V5", "V6")]
    tall = found.r_mv[rows] > 0.3
    return np.count_nonzero(tall & (found.t_mv[rows] < 0.115 * found.r_mv[rows])) >= 2


def spike(found):
    """Sharpest bend within 4 ms, as a share of the recording's range."""
    bend = np.abs(found.signal[:, 4:] - 2 * found.signal[:, 2:-2] + found.signal[:, :-4])
    return (bend.max(axis=1) / np.ptp(found.signal, axis=1)).max()


def anterior_fascicle(found):
    up_first = (
        found.qrs[LEAD["III"], : len(found.qrs[0]) // 2].argmax() < found.qrs[LEAD["III"]].argmin()
    )
    return -92 < found.axis_deg < -43 and found.qrs_s < 0.13 and up_first


@dataclass(frozen=True)
class Check:
    """meets: whether the criterion is met. without: diagnoses that hide what is measured, so that
    recordings with one of them are not asked; among: one of these must be there."""

    meets: object
    without: frozenset = frozenset()
    among: frozenset = frozenset()


SINUS = frozenset({"NSR", "SB", "STach", "SA"})
NOT_REGULAR = frozenset(ECTOPIC)
NOT_NARROW = frozenset(WIDE | ECTOPIC)
CHECKS = {
    "AF": Check(
        lambda m: m.irregularity > 0.12 and m.p_steadiness < 0.6,
        frozenset({"AFL", "SA"} | ECTOPIC),
    ),
    "AFL": Check(lambda m: flutter_line(m) > 0.22, NOT_REGULAR),
    "BBB": Check(lambda m: m.qrs_s > 0.118, frozenset({"NSIVCB", "PR", "PVC"})),
    "Brady": Check(
        lambda m: m.rate_bpm < 60 and m.p_steadiness < 0.6, frozenset(ECTOPIC | {"AFL", "PR"})
    ),
    "LBBB": Check(
        lambda m: m.qrs_s > 0.118 and blocked_left(m), frozenset({"NSIVCB", "PR", "PVC"})
    ),
    "RBBB": Check(lambda m: m.qrs_s > 0.118 and blocked_right(m), frozenset({"PVC"})),
    "IAVB": Check(lambda m: m.pr_s > 0.202, among=SINUS),
    "IRBBB": Check(
        lambda m: 0.09 < m.qrs_s < 0.132 and blocked_right(m), frozenset({"RBBB", "PVC"})
    ),
    "LAD": Check(lambda m: -92 < m.axis_deg < -28, frozenset({"PR", "AFL"})),
    "LAnFB": Check(anterior_fascicle, frozenset(WIDE | {"AFL"})),
    "LPR": Check(lambda m: m.pr_s > 0.202, among=SINUS),
    "LQRSV": Check(lambda m: m.qrs_mv[:6].max() < 0.53 or m.qrs_mv[6:].max() < 1.05, NOT_REGULAR),
    "LQT": Check(
        lambda m: m.qt_s / (60 / m.rate_bpm) ** (1 / 3) > 0.455,
        frozenset(WIDE | ECTOPIC | NO_P | {"TAb", "STach", "LQRSV"}),
    ),
    "NSIVCB": Check(lambda m: m.qrs_s > 0.112, frozenset({"BBB", "IRBBB", "PR", "PVC"})),
    "NSR": Check(
        lambda m: 59.5 < m.rate_bpm < 100.5 and m.irregularity < 0.1 and m.p_steadiness > 0.6,
        frozenset(ECTOPIC | {"PR"}),
    ),
    "PAC": Check(
        lambda m: any(like > 0.85 and around < 1.97 for like, around in early_beats(m)),
        frozenset({"AF", "AFL", "SA", "PVC", "PR"}),
    ),
    "PR": Check(lambda m: spike(m) > 0.6),
    "PRWP": Check(
        lambda m: m.r_mv[LEAD["V3"]] < min(0.33, m.qrs_mv[LEAD["V3"]] / 2), NOT_NARROW | {"AFL"}
    ),
    "PVC": Check(
        lambda m: any(like < 0.8 for like, _ in early_beats(m)),
        frozenset({"AF", "AFL", "PAC", "PR", "LBBB"}),
    ),
    "QAb": Check(
        lambda m: two_of(
            q_waves(m),
            ("I", "aVL"),
            ("II", "aVF"),
            ("III", "aVF"),
            ("V2", "V3"),
            ("V3", "V4"),
            ("V5", "V6"),
        ),
        frozenset({"LBBB", "PR", "AFL"} | ECTOPIC),
    ),
    "RAD": Check(lambda m: 88 < m.axis_deg < 182, frozenset({"PR"})),
    "SA": Check(lambda m: np.ptp(m.rr_s) > 0.13, NOT_REGULAR, SINUS),
    "SB": Check(lambda m: m.rate_bpm < 60.5, NOT_REGULAR, SINUS),
    "STach": Check(lambda m: m.rate_bpm > 99.5, NOT_REGULAR, SINUS),
    "TAb": Check(
        lambda m: flat(m) or inverted(m), frozenset(NOT_NARROW | NO_P | {"STach", "IAVB", "RAD"})
    ),
    "TInv": Check(inverted, frozenset(NOT_NARROW | NO_P | {"STach"})),
}


@cache
def people() -> list:
    """(patient, beats, diagnoses) of many people in whom every mechanism is common."""
    population = Population(
        junctional=0.05,
        paced=0.06,
        sinus_arrhythmia=0.1,
        long_pr=0.1,
        left_block=0.06,
        nonspecific_block=0.06,
        left_anterior=0.08,
        infarct=0.08,
    )
    drawn = []
    for seed in range(4000):
        rng = np.random.default_rng([7, seed])
        patient = draw_patient(population, rng)
        beats = beat_times(patient.rhythm, SECONDS, rng)
        drawn.append((patient, beats, diagnose(patient, shown_kinds(*beats, SECONDS))))
    return drawn


@cache
def reading(seed: int) -> Measurements | None:
    patient, beats, _ = people()[seed]
    rng = np.random.default_rng([8, seed])
    recorder = Recorder(loose_electrode=0.0)
    signal = heart_signal(patient, *beats, SECONDS, recorder.fs, rng)
    recording = record(signal, recorder, rng)
    return measure(recording / recorder.adc_gain, recorder.fs)


def readings(labelled: bool, abbreviation: str, check: Check, count: int) -> list[bool]:
    asked = [
        seed
        for seed, (_, _, diagnoses) in enumerate(people())
        if (abbreviation in diagnoses) == labelled
        and not diagnoses & (check.without - {abbreviation})
        and (not check.among or diagnoses & check.among)
    ][:count]
    assert len(asked) == count
    return [bool(check.meets(found)) for seed in asked if (found := reading(seed)) is not None]


def test_every_diagnosis_has_a_check():
    assert set(CHECKS) == {diagnosis.abbreviation for diagnosis in DIAGNOSES}


def test_a_librarys_detector_finds_the_same_rate():
    by_library, by_us = [], []
    for seed, (patient, _, diagnoses) in enumerate(people()[:60]):
        found = reading(seed)
        if patient.rhythm.kind != "sinus" or diagnoses & ECTOPIC or found is None:
            continue
        peaks = xqrs_detect(found.signal[found.qrs_mv.argmax()], FS, verbose=False)
        rate = 60 * FS / np.median(np.diff(peaks)) if len(peaks) > 2 else 0.0
        by_library.append(abs(rate / patient.rhythm.rate_bpm - 1) < 0.06)
        by_us.append(abs(found.rate_bpm / patient.rhythm.rate_bpm - 1) < 0.06)
    assert len(by_us) > 30
    assert np.mean(by_library) > 0.85
    assert np.mean(by_us) > 0.95


@pytest.mark.parametrize("abbreviation", CHECKS)
def test_a_readers_measurement_separates_labelled_from_unlabelled(abbreviation):
    check = CHECKS[abbreviation]
    labelled = readings(True, abbreviation, check, N_LABELLED)
    unlabelled = readings(False, abbreviation, check, N_UNLABELLED)
    assert len(labelled) > 0.9 * N_LABELLED
    assert np.mean(labelled) >= 0.85, f"{abbreviation}: met by {np.mean(labelled):.0%} of labelled"
    assert np.mean(unlabelled) <= 0.15, f"{abbreviation}: by {np.mean(unlabelled):.0%} of others"
