from dataclasses import replace

import numpy as np
import pytest

from ecg.models.training_options import SelectionOptions
from ecg.records.diagnoses import SINUS_RHYTHM
from ecg.training.selection import select_records

OTHER = (SINUS_RHYTHM + 1) % 26


def labels_of(*classes_of_records) -> np.ndarray:
    labels = np.zeros((len(classes_of_records), 26), bool)
    for record, classes in zip(labels, classes_of_records, strict=True):
        record[list(classes)] = True
    return labels


def select(labels, options, deviation=None, seed=0) -> list[int]:
    if deviation is None:
        deviation = np.full((len(labels), 2), 0.2)
    return select_records(labels, deviation, options, seed).tolist()


def test_the_defaults_leave_out_nothing():
    labels = labels_of([], [SINUS_RHYTHM], [OTHER])
    deviation = np.array([[0.0, 0.0], [90.0, 0.2], [0.2, 0.2]])
    assert select(labels, SelectionOptions(), deviation) == [0, 1, 2]


def test_records_without_a_scored_class_are_left_out():
    labels = labels_of([OTHER], [], [SINUS_RHYTHM, OTHER], [])
    assert select(labels, SelectionOptions(scored_only=True)) == [0, 2]


def test_one_lead_out_of_bounds_leaves_the_record_out():
    deviation = np.array([[0.01, 2.0], [0.009, 1.0], [1.0, 2.1], [0.0, 9.0], [0.2, 0.3]])
    options = SelectionOptions(deviation_mv=(0.01, 2.0))
    assert select(labels_of(*[[OTHER]] * 5), options, deviation) == [0, 4]


def test_a_share_of_the_records_with_nothing_but_sinus_rhythm_is_left_out():
    labels = labels_of(*[[SINUS_RHYTHM], [SINUS_RHYTHM, OTHER], [OTHER], []] * 10)
    kept = select(labels, SelectionOptions(sinus_left_out=0.3))
    normal = set(range(0, 40, 4))
    assert kept == sorted(kept)
    assert set(range(40)) - set(kept) < normal
    assert len(normal & set(kept)) == 7


def test_who_is_left_out_follows_from_the_seed():
    labels = labels_of(*[[SINUS_RHYTHM]] * 40)
    options = SelectionOptions(sinus_left_out=0.5)
    assert select(labels, options, seed=1) == select(labels, options, seed=1)
    assert select(labels, options, seed=1) != select(labels, options, seed=2)


def test_the_share_counts_the_records_that_the_other_options_leave_in():
    labels = labels_of(*[[SINUS_RHYTHM]] * 20, [], [OTHER])
    deviation = np.full((22, 2), 0.2)
    deviation[:10] = 0.0
    options = SelectionOptions(scored_only=True, sinus_left_out=0.3, deviation_mv=(0.01, 2.0))
    kept = select(labels, options, deviation)
    assert len(kept) == 7 + 1
    assert set(kept) <= {*range(10, 20), 21}
    assert select(labels[:10], replace(options, sinus_left_out=0.0), deviation[:10]) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"sinus_left_out": 1.0},
        {"sinus_left_out": -0.1},
        {"deviation_mv": (2.0, 0.01)},
        {"deviation_mv": (-0.1, 1.0)},
    ],
)
def test_impossible_options_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name}: expected"):
        SelectionOptions(**wrong)
