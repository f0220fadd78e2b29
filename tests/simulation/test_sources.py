import numpy as np
import pytest

from ecg.records.diagnoses import CLASS_OF_CODE, DIAGNOSES
from ecg.simulation.patients import diagnose
from ecg.simulation.populations import draw_patient
from ecg.simulation.recordings import shown_kinds
from ecg.simulation.rhythms import beat_times
from ecg.simulation.sources import ABNORMAL_CODE, SOURCES, Habits, annotate


class Always:
    """A generator whose draws are all 0: whatever has a chance happens."""

    def random(self):
        return 0.0


def written(diagnoses, **habits) -> set[str]:
    """Abbreviations that the codes stand for."""
    codes = annotate(diagnoses, Habits(**habits), Always())
    return {DIAGNOSES[CLASS_OF_CODE[code]].abbreviation for code in codes}


def test_there_are_many_differing_sources_that_say_they_are_simulated():
    assert len(SOURCES) >= 5
    assert all(name.startswith("simulated-") for name in SOURCES)
    assert len({source.letter for source in SOURCES.values()}) == len(SOURCES)
    rates = {source.recorder.fs for source in SOURCES.values()}
    assert {250.0, 300.0, 500.0, 1000.0} <= rates
    assert len({source.recorder for source in SOURCES.values()}) == len(SOURCES)
    assert {source.physionet for source in SOURCES.values()} == {True, False}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_a_source_writes_all_that_it_annotates_and_nothing_else(source):
    written_by_it = set()
    for seed in range(2500):
        rng = np.random.default_rng([3, seed])
        patient = draw_patient(source.population, rng)
        onsets, kinds = beat_times(patient.rhythm, 10.0, rng)
        codes = annotate(diagnose(patient, shown_kinds(onsets, kinds, 10.0)), source.habits, rng)
        written_by_it |= {
            DIAGNOSES[CLASS_OF_CODE[c]].abbreviation for c in codes if c != ABNORMAL_CODE
        }
    assert written_by_it == source.habits.annotated


def test_annotators_who_write_all_write_all():
    assert written({"NSR", "LAD", "TInv", "TAb"}, inversion_alone=False) == {
        "NSR",
        "LAD",
        "TInv",
        "TAb",
    }


def test_a_source_never_writes_what_it_does_not_annotate():
    assert written({"NSR", "PVC"}, annotated=frozenset({"NSR"})) == {"NSR"}
    assert annotate({"PVC"}, Habits(annotated=frozenset({"NSR"})), Always()) == (ABNORMAL_CODE,)
    assert ABNORMAL_CODE not in CLASS_OF_CODE


def test_one_finding_is_written_in_one_word():
    assert written({"LBBB", "BBB"}, unspecified_block=0.0) == {"LBBB"}
    assert written({"LBBB", "BBB"}, unspecified_block=1.0) == {"BBB"}
    assert written({"IAVB", "LPR"}, long_pr_word=0.0) == {"IAVB"}
    assert written({"IAVB", "LPR"}, long_pr_word=1.0) == {"LPR"}
    assert written({"TInv", "TAb"}) == {"TInv"}
    assert written({"SB"}, any_slow=True) == {"Brady"}


def test_sinus_rhythm_may_be_written_only_when_alone():
    assert written({"NSR", "PAC"}, normal_alone=True) == {"PAC"}
    assert written({"NSR"}, normal_alone=True) == {"NSR"}
    # A finding that is not annotated does not keep it away.
    assert written({"NSR", "LAD"}, annotated=frozenset({"NSR"}), normal_alone=True) == {"NSR"}


def test_of_equivalent_codes_each_source_has_its_own():
    rng = np.random.default_rng(0)
    assert annotate({"PAC"}, Habits(), rng) == ("284470004",)
    assert annotate({"PAC"}, Habits(second_code=frozenset({"PAC"})), rng) == ("63593006",)


def test_unknown_abbreviations_are_refused():
    with pytest.raises(ValueError, match="found Xyz"):
        Habits(annotated=frozenset({"Xyz"}))
