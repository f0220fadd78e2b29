import math
from pathlib import Path

import numpy as np
import pytest

from ecg.evaluation.fold_scores import measured_in, score_rows
from ecg.evaluation.folds import Fold, FoldOutputs, Split
from ecg.models.registry import find_method
from ecg.records.diagnoses import SINUS_RHYTHM
from ecg.training.fit import TrainingRun

FIGURES = (
    "AUROC",
    "AUPRC",
    "Accuracy",
    "F-measure",
    "Challenge metric",
    "F-beta",
    "G-beta",
)
BRADYCARDIA = 22  # sinus bradycardia


def fold(name, seed=0, method="mtfnet", variant="published", lead_set=2) -> Fold:
    nowhere, nothing = Path("nowhere"), np.empty(0, int)
    run = TrainingRun(find_method(method), lead_set, seed)
    return Fold(run, variant, Split(name, nothing, nothing), nowhere, nowhere)


def answers(n_right, n_wrong, epochs=3) -> FoldOutputs:
    """Records of sinus rhythm, so many answered right, the others as sinus bradycardia; every
    probability is a half, so that no curve depends on their order."""
    n_records = n_right + n_wrong
    labels, outputs = np.zeros((2, n_records, 26), bool)
    labels[:, SINUS_RHYTHM] = True
    outputs[:n_right, SINUS_RHYTHM] = True
    outputs[n_right:, BRADYCARDIA] = True
    return FoldOutputs(
        names=np.array([f"X{i}" for i in range(n_records)]),
        labels=labels,
        outputs=outputs,
        probabilities=np.full((n_records, 26), 0.5),
        training={"epochs": epochs, "best_epoch": 2, "seconds": 7},
    )


@pytest.fixture
def rows():
    """Of two seeds with two folds each, of 2 and 8 records; accuracies .5 and 1, then 1 and .75."""
    return score_rows(
        [fold("1"), fold("2"), fold("1", seed=5), fold("2", seed=5)],
        [answers(1, 1), answers(8, 0), answers(2, 0), answers(6, 2, epochs=9)],
    )


def column(rows, name) -> dict:
    return {(row["seed"], row["fold"]): row[name] for row in rows}


def test_means_and_spreads_are_those_worked_out_by_hand(rows):
    assert column(rows, "Accuracy") == {
        (0, "1"): 0.5,
        (0, "2"): 1.0,
        (5, "1"): 1.0,
        (5, "2"): 0.75,
        (0, "mean"): 0.75,
        (0, "together"): 0.9,  # of 2 + 8 records 9
        (5, "mean"): 0.875,
        (5, "together"): 0.8,
        ("all", "mean"): 0.8125,
        # Deviations -5/16, 3/16, 3/16, -1/16; their squares 44/256; root of that over 3.
        ("all", "SD over folds"): 0.2394,
        # Of .75 and .875: half their distance times the root of 2.
        ("all", "SD over seeds"): 0.0884,
    }
    # Sinus rhythm alone: right 2TP / (2TP + FN); bradycardia 0 where it was answered.
    assert column(rows, "F-measure")[0, "1"] == pytest.approx((2 / 3 + 0) / 2, abs=1e-4)
    assert column(rows, "F-measure")[0, "2"] == 1.0
    assert column(rows, "F-measure")[0, "together"] == pytest.approx((18 / 19 + 0) / 2, abs=1e-4)


def test_rows_come_in_order_with_the_facts_of_the_folds_alone(rows):
    assert [(row["seed"], row["fold"]) for row in rows] == [
        *((0, "1"), (0, "2"), (5, "1"), (5, "2")),
        *((0, "mean"), (0, "together"), (5, "mean"), (5, "together")),
        *(("all", "mean"), ("all", "SD over folds"), ("all", "SD over seeds")),
    ]
    head = ["method", "variant", "leads", "seed", "fold"]
    assert list(rows[0]) == [*head, *FIGURES, "epochs", "best_epoch", "seconds"]
    assert all(list(row) == [*head, *FIGURES] for row in rows[4:])
    assert [row["epochs"] for row in rows[:4]] == [3, 3, 3, 9]
    assert {(row["method"], row["variant"], row["leads"]) for row in rows} == {
        ("mtfnet", "published", 2)
    }


def test_what_is_undefined_in_a_fold_is_left_out_of_the_mean():
    # No class is both present and absent, so no fold has an AUROC.
    rows = score_rows([fold("1"), fold("2")], [answers(1, 1), answers(1, 0)])
    assert all(math.isnan(row["AUROC"]) for row in rows)
    # Of a fold of its own: one that has both kinds of records.
    mixed = answers(1, 1)
    mixed.labels[0, SINUS_RHYTHM] = False
    rows = score_rows([fold("1"), fold("2")], [mixed, answers(1, 0)])
    auroc = column(rows, "AUROC")
    assert math.isnan(auroc[0, "2"])
    assert auroc[0, "1"] == auroc["all", "mean"] == 0.5
    # A single figure has no spread.
    assert math.isnan(auroc["all", "SD over folds"])


def test_one_seed_has_no_spread_over_seeds():
    rows = score_rows([fold("a"), fold("b")], [answers(1, 0), answers(0, 1)])
    assert [row["fold"] for row in rows] == ["a", "b", "mean", "together", "mean", "SD over folds"]


def test_methods_variants_and_lead_sets_are_summed_up_apart():
    folds = [
        fold("1"),
        fold("1", lead_set=12),
        fold("1", variant="bilstm_1"),
        fold("1", method="se_ecgnet"),
        fold("2"),
    ]
    given = [answers(n, 4 - n) for n in (4, 3, 2, 1, 0)]
    rows = score_rows(folds, given)
    means = {
        (row["method"], row["variant"], row["leads"]): row["Accuracy"]
        for row in rows
        if (row["seed"], row["fold"]) == ("all", "mean")
    }
    assert means == {
        ("mtfnet", "published", 2): 0.5,
        ("mtfnet", "published", 12): 0.75,
        ("mtfnet", "bilstm_1", 2): 0.5,
        ("se_ecgnet", "published", 2): 0.25,
    }


def test_tables_take_mean_and_spread_over_all_folds_under_every_name_of_the_method(rows):
    measured = measured_in(rows, {("mtfnet", "published"): ("published", "channels_64")})
    assert set(measured) == {
        ("mtfnet", variant, 2, figure)
        for variant in ("published", "channels_64")
        for figure in FIGURES
    }
    for variant in ("published", "channels_64"):
        assert measured["mtfnet", variant, 2, "Accuracy"] == (0.8125, 0.2394, 4)


def test_tables_count_the_scores_of_each_method_and_lead_set():
    folds = [fold("1"), fold("2"), fold("1", lead_set=12), fold("1", variant="bilstm_1")]
    rows = score_rows(folds, [answers(1, 1)] * 4)
    names = {("mtfnet", "published"): ("published",), ("mtfnet", "bilstm_1"): ("bilstm_1",)}
    measured = measured_in(rows, names)
    assert measured["mtfnet", "published", 2, "Accuracy"] == (0.5, 0.0, 2)
    for variant, lead_set in (("published", 12), ("bilstm_1", 2)):
        mean, spread, n_scores = measured["mtfnet", variant, lead_set, "Accuracy"]
        assert (mean, n_scores) == (0.5, 1)
        assert math.isnan(spread)
