"""Independent measurements of the textbook criteria separate records with each of the 26 diagnoses
from records without it."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from scipy.signal import periodogram
from wfdb.processing import xqrs_detect

from ecg.records.diagnoses import DIAGNOSES
from ecg.simulation.patients import diagnose
from ecg.simulation.populations import Population, draw_patient
from ecg.simulation.recorders import Recorder, record_signal
from ecg.simulation.recordings import heart_signal, visible_beat_kinds
from ecg.simulation.rhythms import beat_times
from tests.measurements import FS, LEAD, Measurements, measure

SECONDS = 10.0
N_LABELLED, N_UNLABELLED = 45, 60  # recordings measured per diagnosis
WIDE = {"LBBB", "RBBB", "NSIVCB", "PR"}
ECTOPIC = {"PAC", "PVC"}
NO_P = {"AF", "AFL", "Brady", "PR"}


def early_beats(found: Measurements) -> list[tuple[float, float]]:
    """Return (similarity to the median beat, sum of the two intervals around it) of early beats.

    The sum is relative to the usual interval.
    """
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
    """Return the share of power at one frequency between 3.8 and 6 Hz and its first harmonic.

    Measured in the inferior leads, between QRS complexes.
    """
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
    """Return the mean of the last 40 ms of the QRS in a lead, relative to its amplitude."""
    qrs = found.qrs[LEAD[lead]]
    return qrs[-20:].mean() / np.ptp(qrs)


def blocked_left(found):
    return (
        found.qrs[LEAD["V1"]].mean() < 0 < found.qrs[LEAD["V6"]].mean() and late_in(found, "V1") < 0
    )


def blocked_right(found):
    return late_in(found, "V1") > 0.08 and late_in(found, "I") < 0


def q_waves(found) -> np.ndarray:
    """Return whether the QRS starts with a negative wave of 25 ms and 0.1 mV, (12,), bool."""
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
    """Return the largest second difference over 4 ms, relative to the recording's range."""
    bend = np.abs(found.signal[:, 4:] - 2 * found.signal[:, 2:-2] + found.signal[:, :-4])
    return (bend.max(axis=1) / np.ptp(found.signal, axis=1)).max()


def anterior_fascicle(found):
    up_first = (
        found.qrs[LEAD["III"], : len(found.qrs[0]) // 2].argmax() < found.qrs[LEAD["III"]].argmin()
    )
    return -92 < found.axis_deg < -43 and found.qrs_s < 0.13 and up_first


@dataclass(frozen=True)
class Check:
    """A criterion, and the recordings on which it can be measured.

    meets: whether a recording meets the criterion. without: recordings with one of these diagnoses
    are left out. among: recordings need one of these diagnoses.
    """

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
def patients() -> list:
    """Return (patient, beats, diagnoses) of a population in which every mechanism is common."""
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
        drawn.append((patient, beats, diagnose(patient, visible_beat_kinds(*beats, SECONDS))))
    return drawn


@cache
def measured(seed: int) -> Measurements | None:
    patient, beats, _ = patients()[seed]
    rng = np.random.default_rng([8, seed])
    recorder = Recorder(loose_electrode=0.0, swapped_electrodes=0.0)
    signal = heart_signal(patient, *beats, SECONDS, recorder.fs, rng)
    recording = record_signal(signal, recorder, rng)
    return measure(recording / recorder.adc_gain, recorder.fs)


def results(labelled: bool, abbreviation: str, check: Check, count: int) -> list[bool]:
    seeds = [
        seed
        for seed, (_, _, diagnoses) in enumerate(patients())
        if (abbreviation in diagnoses) == labelled
        and not diagnoses & (check.without - {abbreviation})
        and (not check.among or diagnoses & check.among)
    ][:count]
    assert len(seeds) == count
    return [bool(check.meets(found)) for seed in seeds if (found := measured(seed)) is not None]


def test_every_diagnosis_has_a_check():
    assert set(CHECKS) == {diagnosis.abbreviation for diagnosis in DIAGNOSES}


def test_the_detector_of_wfdb_finds_the_same_rate():
    by_wfdb, by_us = [], []
    for seed, (patient, _, diagnoses) in enumerate(patients()[:60]):
        found = measured(seed)
        if patient.rhythm.kind != "sinus" or diagnoses & ECTOPIC or found is None:
            continue
        peaks = xqrs_detect(found.signal[found.qrs_mv.argmax()], FS, verbose=False)
        rate = 60 * FS / np.median(np.diff(peaks)) if len(peaks) > 2 else 0.0
        by_wfdb.append(abs(rate / patient.rhythm.rate_bpm - 1) < 0.06)
        by_us.append(abs(found.rate_bpm / patient.rhythm.rate_bpm - 1) < 0.06)
    assert len(by_us) > 30
    assert np.mean(by_wfdb) > 0.85
    assert np.mean(by_us) > 0.95


@pytest.mark.parametrize("abbreviation", CHECKS)
def test_independent_measurements_separate_labelled_from_unlabelled(abbreviation):
    check = CHECKS[abbreviation]
    labelled = results(True, abbreviation, check, N_LABELLED)
    unlabelled = results(False, abbreviation, check, N_UNLABELLED)
    assert len(labelled) > 0.9 * N_LABELLED
    assert np.mean(labelled) >= 0.85, f"{abbreviation}: met by {np.mean(labelled):.0%} of labelled"
    assert np.mean(unlabelled) <= 0.15, f"{abbreviation}: by {np.mean(unlabelled):.0%} of others"
