from dataclasses import replace

import numpy as np
import pytest

from ecg.models.fine_tuning import (
    FineTuningOptions,
    fine_tuned,
    fine_tuning_for,
    prevalence_after,
)
from ecg.models.registry import METHODS, find_method
from ecg.models.training_options import PretrainingOptions


def test_more_records_are_trained_on_at_a_higher_rate():
    shares = [fine_tuning_for(n).rate_share for n in (1, 20, 999, 1000, 100_000)]
    assert shares == [0.5] * 3 + [1.0] * 2


def test_a_finding_becomes_rarer_the_more_records_do_not_hold_it():
    before, options = np.array([0.3, 0.06, 0.5]), FineTuningOptions(n_prior_records=10)
    for n, absent in [(1, 0.6 / 11), (20, 0.02), (200, 0.6 / 210)]:
        labels = np.zeros((n, 3), bool)
        labels[:, 2] = True
        after = prevalence_after(labels, before, options)
        np.testing.assert_allclose(after, [3 / (n + 10), absent, (n + 5) / (n + 10)])


@pytest.mark.parametrize("name", METHODS)
def test_only_the_training_of_a_method_changes(name):
    method = find_method(name)
    tuned = fine_tuned(method, FineTuningOptions(rate_share=0.25, epochs=4))
    assert tuned.pretraining == PretrainingOptions()
    assert tuned.training.learning_rate == method.training.learning_rate / 4
    assert (tuned.training.epochs, tuned.training.best) == (4, "last")
    unchanged = {name: getattr(method, name) for name in ("training", "pretraining", "by_size")}
    assert replace(tuned, **unchanged) == method
    assert tuned.by_size == ()


def test_a_short_method_does_not_become_longer():
    method = find_method("multiscale_se")
    assert fine_tuned(method, FineTuningOptions(epochs=500)).training.epochs == 10


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate_share": 0.0},
        {"rate_share": 1.5},
        {"rate_share": float("nan")},
        {"epochs": 0},
        {"n_prior_records": 0},
        {"fewest_to_refit": 0},
    ],
)
def test_impossible_options_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        FineTuningOptions(**wrong)
