from dataclasses import replace

import pytest

from ecg.models.fine_tuning import FineTuningOptions, fine_tuned, fine_tuning_for
from ecg.models.registry import METHODS, find_method
from ecg.models.training_options import PretrainingOptions


def test_few_records_train_the_output_layer_alone_and_more_all_layers_at_a_reduced_rate():
    options = [fine_tuning_for(n) for n in (1, 20, 99, 100, 999, 1000, 100_000)]
    assert [one.layers for one in options] == ["output"] * 3 + ["all"] * 4
    of_all_layers = [one.rate_share for one in options[3:]]
    assert of_all_layers == sorted(of_all_layers)
    assert max(one.rate_share for one in options) < 1


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
        {"layers": "first"},
        {"rate_share": 0.0},
        {"rate_share": 1.5},
        {"rate_share": float("nan")},
        {"epochs": 0},
        {"fewest_to_refit": 0},
    ],
)
def test_impossible_options_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        FineTuningOptions(**wrong)
