from dataclasses import fields

import numpy as np
import pytest

from ecg.records.diagnoses import DIAGNOSES
from ecg.simulation.heart import Heart
from ecg.simulation.patients import Limits, Patient, corrected_qt, diagnose
from ecg.simulation.populations import Population, draw_patient
from ecg.simulation.recordings import visible_beat_kinds
from ecg.simulation.rhythms import AV_BLOCKS, Rhythm, beat_times

SINUS = {"NSR", "SB", "STach", "SA"}


def found(sex="Male", rhythm=None, **heart) -> set[str]:
    return diagnose(Patient(60, sex, rhythm or Rhythm(), Heart(**heart)))


def drawn(n=1500, **shares):
    population = Population(**shares)
    return [draw_patient(population, np.random.default_rng([1, seed])) for seed in range(n)]


def test_a_normal_heart_has_only_sinus_rhythm():
    assert found() == {"NSR"}
    assert found(sex="Female") == {"NSR"}


@pytest.mark.parametrize(
    ("rhythm", "diagnoses"),
    [
        (Rhythm(rate_bpm=59.9), {"SB"}),
        (Rhythm(rate_bpm=60.0), {"NSR"}),
        (Rhythm(rate_bpm=100.1), {"STach"}),
        (Rhythm(variation_s=0.13), {"SA"}),
        (Rhythm(rate_bpm=50, variation_s=0.2), {"SA", "SB"}),
        (Rhythm("fibrillation", 90), {"AF"}),
        (Rhythm("fibrillation", 50), {"AF", "Brady"}),
        (Rhythm("flutter", 150), {"AFL"}),
        (Rhythm("junctional", 45), {"Brady"}),
        (Rhythm("paced", 70), {"PR"}),
        (Rhythm(rate_bpm=40, av_block="complete"), {"Brady"}),
        (Rhythm(rate_bpm=64, av_block="Mobitz I", av_cycle=5), set()),
    ],
)
def test_rhythm_diagnoses_follow_from_the_rhythm(rhythm, diagnoses):
    assert found(rhythm=rhythm, qt_s=0.42 * (60 / rhythm.rate_bpm) ** (1 / 3)) == diagnoses


@pytest.mark.parametrize(
    ("heart", "diagnoses"),
    [
        ({"pr_s": 0.21}, {"IAVB", "LPR"}),
        ({"conduction": "left", "qrs_s": 0.14, "axis_deg": 10}, {"LBBB", "BBB"}),
        ({"conduction": "right", "qrs_s": 0.14}, {"RBBB", "BBB"}),
        ({"conduction": "incomplete right", "qrs_s": 0.115}, {"IRBBB"}),
        ({"conduction": "nonspecific", "qrs_s": 0.125}, {"NSIVCB"}),
        ({"axis_deg": -40}, {"LAD"}),
        ({"axis_deg": -60, "fascicle_blocked": True}, {"LAD", "LAnFB"}),
        ({"axis_deg": -60, "fascicle_blocked": True, "qrs_s": 0.13}, {"LAD"}),
        ({"conduction": "left", "qrs_s": 0.11, "axis_deg": 10}, set()),
        ({"conduction": "incomplete right", "qrs_s": 0.1}, set()),
        ({"conduction": "nonspecific", "qrs_s": 0.109}, set()),
        ({"axis_deg": 120, "septal_mv": 0.4}, {"RAD"}),
        ({"qrs_mv": 0.3, "septal_mv": 0.1, "back_mv": 0.2, "t_mv": 0.1}, {"LQRSV"}),
        ({"septal_mv": 0.08, "main_back_mv": 0.7}, {"PRWP"}),
        ({"infarct": "inferior", "qrs_s": 0.1}, {"QAb"}),
        ({"infarct": "lateral", "qrs_s": 0.1}, {"QAb"}),
        ({"t_mv": 0.02, "t_back_mv": 0.0}, {"TAb"}),
        ({"t_axis_deg": 220, "t_back_mv": 0.2}, {"TAb", "TInv"}),
        ({"qt_s": 0.48}, {"LQT"}),
    ],
)
def test_other_diagnoses_follow_from_the_heart(heart, diagnoses):
    assert found(**heart) - {"NSR"} == diagnoses


def test_annotators_may_have_limits_of_their_own():
    limits = Limits(slow_bpm=50.0, left_axis_deg=-5.0, incomplete_right_s=0.085)
    heart = Heart(axis_deg=-20, conduction="incomplete right", qrs_s=0.095)
    patient = Patient(60, "Male", Rhythm(rate_bpm=55), heart)
    assert diagnose(patient) == {"SB"}
    assert diagnose(patient, limits=limits) == {"NSR", "LAD", "IRBBB"}


def test_with_an_av_block_neither_the_rhythm_of_the_sinus_nor_a_first_degree_block_is_diagnosed():
    patients = drawn(300, av_block=1.0, fibrillation=0, flutter=0, junctional=0, paced=0)
    assert {patient.rhythm.av_block for patient in patients} == set(AV_BLOCKS)
    for patient in patients:
        assert not diagnose(patient) & (SINUS | {"IAVB", "LPR"})
        assert ("Brady" in diagnose(patient)) == (patient.rhythm.rate_bpm < 60)


def test_premature_beats_are_diagnosed_only_if_visible():
    patient = Patient(60, "Male", Rhythm(premature_atrial=0.1, premature_ventricular=0.1))
    assert diagnose(patient) == {"NSR"}
    assert diagnose(patient, {"sinus", "premature atrial"}) == {"NSR", "PAC"}
    assert diagnose(patient, {"sinus", "premature ventricular"}) == {"NSR", "PVC"}


def test_low_voltage_is_not_poor_r_wave_progression():
    assert found(qrs_mv=0.25, septal_mv=0.05, back_mv=0.2, t_mv=0.1) == {"NSR", "LQRSV"}


def test_an_anterior_infarct_causes_q_waves():
    assert {"QAb"} <= found(infarct="anterior", qrs_s=0.1, back_mv=0.8)


def test_the_limit_of_the_qtc_depends_on_sex():
    qt_s = 0.455 * (60 / 70) ** (1 / 3)
    assert corrected_qt(qt_s, 70) == pytest.approx(0.455)
    assert "LQT" in found(sex="Male", qt_s=qt_s)
    assert "LQT" not in found(sex="Female", qt_s=qt_s)


def test_findings_secondary_to_a_wide_qrs_or_pacing_are_not_diagnosed():
    assert found(conduction="left", qrs_s=0.16, axis_deg=10, t_axis_deg=190, qt_s=0.5) == {
        "NSR",
        "LBBB",
        "BBB",
    }
    assert found(rhythm=Rhythm("paced", 60), axis_deg=-60, qt_s=0.6, pr_s=0.3) == {"PR"}


def test_combinations_are_physically_possible():
    for patient in drawn():
        rhythm, heart = patient.rhythm, patient.heart
        diagnoses = diagnose(patient)
        if diagnoses & {"AF", "AFL", "PR", "Brady"}:
            assert not diagnoses & (SINUS | {"IAVB", "LPR"})
            assert not rhythm.premature_atrial
        if "LBBB" in diagnoses:
            assert not diagnoses & {"QAb", "LAnFB", "LQT", "TAb", "PRWP"}
        # All waves fit between two beats.
        assert heart.qt_s < 60 / rhythm.rate_bpm
        assert heart.qt_s <= rhythm.refractory_s
        if rhythm.kind == "sinus":
            assert heart.qrs_s + heart.pr_s < 60 / rhythm.rate_bpm - rhythm.variation_s / 2
            assert rhythm.rate_bpm <= max(220 - patient.age, 110)


def test_every_diagnosis_occurs_and_none_is_in_most_records():
    counts = dict.fromkeys((diagnosis.abbreviation for diagnosis in DIAGNOSES), 0)
    patients = drawn()
    for patient in patients:
        onsets, kinds = beat_times(patient.rhythm, 10.0, np.random.default_rng(0))
        for abbreviation in diagnose(patient, visible_beat_kinds(onsets, kinds, 10.0)):
            counts[abbreviation] += 1
    assert min(counts.values()) >= 15, counts
    assert max(counts.values()) < 0.8 * len(patients), counts


def test_patients_without_mechanisms_are_within_normal_limits():
    rare = [field.name for field in fields(Population) if not field.name.startswith("age")]
    patients = drawn(400, **dict.fromkeys(rare, 0.0))
    healthy = [diagnose(patient) for patient in patients]
    assert np.mean([diagnoses == {"NSR"} for diagnoses in healthy]) > 0.85
    for patient in patients:
        assert patient.rhythm.kind == "sinus"
    # 2nd and 98th centiles of Mason et al. 2007.
    for low, high, of in (
        (0.113, 0.212, lambda p: p.heart.pr_s),
        (0.069, 0.109, lambda p: p.heart.qrs_s),
        (-40, 91, lambda p: p.heart.axis_deg),
        (0.359, 0.445, lambda p: corrected_qt(p.heart.qt_s, p.rhythm.rate_bpm)),
    ):
        assert np.mean([low <= of(patient) <= high for patient in patients]) > 0.95


def test_mechanisms_are_as_common_as_in_the_population():
    patients = drawn(fibrillation=0.3, left_block=0.2, slow=0.5)
    assert np.mean([p.rhythm.kind == "fibrillation" for p in patients]) == pytest.approx(
        0.3, abs=0.04
    )
    assert np.mean([p.heart.conduction == "left" for p in patients]) == pytest.approx(0.2, abs=0.04)
    sinus = [p for p in patients if p.rhythm.kind == "sinus"]
    assert np.mean([p.rhythm.rate_bpm < 60 for p in sinus]) == pytest.approx(0.5, abs=0.05)


def test_measurements_depend_on_age_and_sex():
    patients = [
        p for p in drawn(3000) if p.rhythm.kind == "sinus" and p.heart.conduction == "normal"
    ]
    by_sex = {sex: [p for p in patients if p.sex == sex] for sex in ("Male", "Female")}
    usual = {
        sex: [p for p in group if 60 <= p.rhythm.rate_bpm <= 100] for sex, group in by_sex.items()
    }

    def mean(group, of):
        return np.mean([of(p) for p in group])

    def rate(p):
        return p.rhythm.rate_bpm

    def qtc(p):
        return corrected_qt(p.heart.qt_s, p.rhythm.rate_bpm)

    assert mean(usual["Female"], rate) > mean(usual["Male"], rate) + 1
    assert mean(usual["Female"], qtc) > mean(usual["Male"], qtc) + 0.005
    assert mean(by_sex["Female"], lambda p: p.heart.qrs_mv) < mean(
        by_sex["Male"], lambda p: p.heart.qrs_mv
    )
    young = [p for p in patients if p.age < 45]
    old = [p for p in patients if p.age > 70]
    assert mean(old, lambda p: p.heart.axis_deg) < mean(young, lambda p: p.heart.axis_deg) - 10
    assert mean(old, lambda p: p.heart.qrs_mv) < mean(young, lambda p: p.heart.qrs_mv)


def test_impossible_shares_are_refused():
    with pytest.raises(ValueError, match="sum to at most 1"):
        Population(fibrillation=0.7, flutter=0.5)
    with pytest.raises(ValueError, match="sum to at most 1"):
        Population(slow=-0.1)
