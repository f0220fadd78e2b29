import numpy as np
import pytest

from ecg.records.diagnoses import CLASS_OF_CODE, DIAGNOSES
from ecg.simulation.patients import diagnose
from ecg.simulation.populations import draw_patient
from ecg.simulation.recordings import visible_beat_kinds
from ecg.simulation.rhythms import beat_times
from ecg.simulation.sources import ABNORMAL_CODE, SOURCES, Habits, annotate


class Always:
    """A random generator that always draws 0: any event with a positive probability happens."""

    def random(self):
        return 0.0


def written(diagnoses, **habits) -> set[str]:
    """Return the abbreviations of the annotated diagnoses."""
    codes = annotate(diagnoses, Habits(**habits), Always())
    return {DIAGNOSES[CLASS_OF_CODE[code]].abbreviation for code in codes}


def test_sources_differ_and_are_named_as_simulated():
    assert len(SOURCES) >= 5
    assert all(name.startswith("simulated-") for name in SOURCES)
    assert len({source.letter for source in SOURCES.values()}) == len(SOURCES)
    rates = {source.recorder.fs for source in SOURCES.values()}
    assert {250.0, 300.0, 500.0, 1000.0} <= rates
    assert len({source.recorder for source in SOURCES.values()}) == len(SOURCES)
    assert {source.physionet for source in SOURCES.values()} == {True, False}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_exactly_the_annotated_diagnoses_of_a_source_occur(source):
    found = set()
    for seed in range(2500):
        rng = np.random.default_rng([3, seed])
        patient = draw_patient(source.population, rng)
        onsets, kinds = beat_times(patient.rhythm, 10.0, rng)
        codes = annotate(
            diagnose(patient, visible_beat_kinds(onsets, kinds, 10.0), source.habits.limits),
            source.habits,
            rng,
        )
        found |= {DIAGNOSES[CLASS_OF_CODE[c]].abbreviation for c in codes if c != ABNORMAL_CODE}
    assert found == source.habits.annotated


def test_annotators_without_special_habits_use_all_diagnoses():
    assert written({"NSR", "LAD", "TInv", "TAb"}, inverted_t_alone=False) == {
        "NSR",
        "LAD",
        "TInv",
        "TAb",
    }


def test_diagnoses_that_are_not_annotated_are_left_out():
    assert written({"NSR", "PVC"}, annotated=frozenset({"NSR"})) == {"NSR"}
    assert annotate({"PVC"}, Habits(annotated=frozenset({"NSR"})), Always()) == (ABNORMAL_CODE,)
    assert ABNORMAL_CODE not in CLASS_OF_CODE


def test_a_finding_with_two_names_is_annotated_once():
    assert written({"LBBB", "BBB"}, unspecified_block=0.0) == {"LBBB"}
    assert written({"LBBB", "BBB"}, unspecified_block=1.0) == {"BBB"}
    assert written({"IAVB", "LPR"}, prolonged_pr=0.0) == {"IAVB"}
    assert written({"IAVB", "LPR"}, prolonged_pr=1.0) == {"LPR"}
    assert written({"TInv", "TAb"}) == {"TInv"}
    assert written({"SB"}, unspecified_bradycardia=True) == {"Brady"}


def test_sinus_rhythm_may_be_annotated_only_alone():
    assert written({"NSR", "PAC"}, sinus_rhythm_alone=True) == {"PAC"}
    assert written({"NSR"}, sinus_rhythm_alone=True) == {"NSR"}
    # Diagnoses that are not annotated do not count.
    assert written({"NSR", "LAD"}, annotated=frozenset({"NSR"}), sinus_rhythm_alone=True) == {"NSR"}


def test_a_source_may_use_the_second_of_equivalent_codes():
    rng = np.random.default_rng(0)
    assert annotate({"PAC"}, Habits(), rng) == ("284470004",)
    assert annotate({"PAC"}, Habits(second_code=frozenset({"PAC"})), rng) == ("63593006",)


def test_unknown_abbreviations_are_refused():
    with pytest.raises(ValueError, match="found Xyz"):
        Habits(annotated=frozenset({"Xyz"}))


# Label errors -----------------------------------------------------------------------------------


def read_by(diagnoses, n_records=4000, **habits) -> list[set[str]]:
    """What annotators with these habits write for so many patients with the same diagnoses."""
    return [
        {
            DIAGNOSES[CLASS_OF_CODE[code]].abbreviation
            for code in annotate(diagnoses, Habits(**habits), np.random.default_rng([8, i]))
        }
        for i in range(n_records)
    ]


def share(records, *findings) -> float:
    """Share of the records that are annotated with exactly these findings."""
    return np.mean([written == set(findings) for written in records])


@pytest.mark.parametrize("label_errors", [0.05, 0.3])
def test_annotators_get_the_given_share_of_findings_wrong(label_errors):
    half = label_errors / 2
    records = read_by({"LAD", "LQT", "RBBB"}, label_errors=label_errors)
    for finding in ("LAD", "LQT", "RBBB"):
        wrong = np.mean([finding not in written for written in records])
        assert wrong == pytest.approx(label_errors, abs=0.02)
    # Half of the errors are mistakes for a similar finding; a long QT is only overlooked.
    for similar in ("LAnFB", "IRBBB"):
        assert np.mean([similar in written for written in records]) == pytest.approx(half, abs=0.02)
    assert set().union(*records) - {"NSR"} == {"LAD", "LAnFB", "LQT", "RBBB", "IRBBB"}


def test_what_is_overlooked_altogether_reads_as_sinus_rhythm():
    records = read_by({"PR"}, label_errors=0.2)
    assert share(records, "PR") + share(records, "NSR") == 1
    assert share(records, "NSR") == pytest.approx(0.2, abs=0.03)
    # Where the source does not annotate that, either.
    always = Habits(frozenset({"PR"}), label_errors=1.0)
    assert annotate({"PR"}, always, np.random.default_rng(0)) == (ABNORMAL_CODE,)


def test_sinus_rhythm_is_not_mistaken_but_goes_with_its_rhythm():
    assert share(read_by({"NSR"}, 200, label_errors=1.0), "NSR") == 1
    records = read_by({"NSR", "PAC"}, label_errors=1.0)
    # A quarter each: taken for atrial fibrillation, or for a ventricular beat.
    assert share(records, "NSR") == pytest.approx(0.5, abs=0.03)
    assert share(records, "AF") == pytest.approx(0.25, abs=0.03)
    assert share(records, "NSR", "PVC") == pytest.approx(0.25, abs=0.03)


def test_a_finding_is_taken_only_for_one_that_the_source_annotates():
    records = read_by({"RBBB"}, label_errors=1.0, annotated=frozenset({"RBBB", "NSR"}))
    assert share(records, "NSR") == 1


def test_sources_make_no_label_errors_of_their_own():
    assert {source.habits.label_errors for source in SOURCES.values()} == {0.0}
    assert Habits().label_errors == 0.0


def test_label_errors_leave_the_draws_that_follow_as_they_are():
    following = []
    for label_errors in (0.0, 0.5):
        rng = np.random.default_rng(4)
        annotate({"LBBB", "BBB", "PAC"}, Habits(label_errors=label_errors), rng)
        following.append(rng.random())
    assert following[0] == following[1]


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan")])
def test_impossible_shares_of_errors_are_refused(wrong):
    with pytest.raises(ValueError, match="label_errors: expected a share, found"):
        Habits(label_errors=wrong)
