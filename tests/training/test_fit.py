import json
import math
import os
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
from scipy.special import expit, logit

from ecg.models.decisions import (
    Decision,
    DecisionOptions,
    calibrate,
    decide,
    fit_temperature,
    pool_windows,
)
from ecg.models.losses import class_weights, make_loss, make_targets
from ecg.models.registry import METHODS, find_method
from ecg.models.training_options import SelectionOptions
from ecg.records.diagnoses import read_weights
from ecg.records.metrics import score
from ecg.training import fit as training
from ecg.training.dataset import DatasetError, prepare_dataset
from ecg.training.epochs import Stage
from ecg.training.fit import (
    Start,
    Trainer,
    TrainingRun,
    answer_dataset,
    class_log_odds,
    fit,
    predict_records,
)
from ecg.training.optimizers import FlatAdam
from ecg.training.splits import hold_out
from tests.conftest import ROOT
from tests.narrow import CPU, fitted, narrow_method, untrained_model
from tests.synthetic import beats, write_folder, write_record

ONE_EPOCH_OF_EACH = """
import json, sys
from pathlib import Path
import keras
from ecg.records.diagnoses import read_weights
from ecg.training.dataset import prepare_dataset
from ecg.models.decisions import best_metric
from ecg.models.devices import find_devices
from ecg.models.registry import METHODS
from ecg.training.splits import hold_out
from ecg.training.fit import predict_records
from tests.narrow import fitted, narrow_method
results = {"backend": keras.backend.backend()}
for name in METHODS:
    method = narrow_method(name)
    dataset = prepare_dataset(sys.argv[1], method.preparation, Path(sys.argv[2]), 1)
    model = fitted(method, dataset, devices=find_devices())
    options = method.training
    sources = dataset.sources if options.validation_by_source else None
    _, held_out = hold_out(dataset.labels, options.validation_share, 0, sources)
    probabilities = predict_records(model.network, method, dataset, held_out, 2)
    truth, weights = dataset.labels[held_out], read_weights()
    results[name] = {
        "history": model.training_log["history"],
        "probabilities": probabilities.tolist(),
        "metric": best_metric(truth, probabilities, weights, method.decision),
    }
print(json.dumps(results))
"""


def run_python(*arguments, **environ) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=os.environ | environ,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def dataset_of(training_folder, tmp_path_factory):
    """Prepares the sixteen made-up records for a method."""
    cache = tmp_path_factory.mktemp("cache")
    return lambda method: prepare_dataset(training_folder, method.preparation, cache, workers=1)


@pytest.mark.nightly
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_every_method_trains_on_each_backend(backend, training_folder, tmp_path):
    process = run_python("-c", ONE_EPOCH_OF_EACH, training_folder, tmp_path, KERAS_BACKEND=backend)
    assert process.returncode == 0, process.stderr
    results = json.loads(process.stdout.splitlines()[-1])
    assert results.pop("backend") == backend
    assert list(results) == list(METHODS)
    for name, result in results.items():
        assert 0 < result["history"]["loss"][0] < 20
        assert np.isfinite(result["history"]["val_loss"]).all()
        probabilities = np.array(result["probabilities"])
        assert ((probabilities > 0) & (probabilities < 1)).all()
        if find_method(name, "demo").training.best == "challenge_metric":
            # What chose the epoch is the metric of the weights that were kept.
            assert result["history"]["val_challenge_metric"] == [pytest.approx(result["metric"])]


@pytest.mark.nightly
def test_epochs_run_on_jax_as_they_do_here():
    process = run_python(
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/training/test_epochs.py",
        KERAS_BACKEND="jax",
    )
    assert process.returncode == 0, process.stdout


@pytest.mark.training
def test_training_learns_and_keeps_its_best_epoch(dataset_of, capsys):
    method = find_method("multiscale_se", "demo", "published")
    options = replace(method.training, epochs=15, batch_size=4, learning_rate=0.01)
    method = replace(method, network=replace(method.network, steps=(2,)), training=options)
    dataset = dataset_of(method)
    model = fitted(method, dataset)
    losses, validation = (model.training_log["history"][name] for name in ("loss", "val_loss"))
    assert losses[-1] < 0.5 * losses[0]
    assert min(validation) < 0.7 * validation[0]
    assert model.training_log["best_epoch"] == 1 + int(np.argmin(validation))
    kept, held_out = hold_out(dataset.labels, options.validation_share, seed=0)
    weights = class_weights(method.loss, dataset.labels[kept])
    probabilities = predict_records(model.network, method, dataset, held_out, 2)
    logits = logit(probabilities)[:, None].astype("float32")
    of_the_model = make_loss(method.loss)(make_targets(dataset.labels[held_out], weights), logits)
    assert float(of_the_model) == pytest.approx(min(validation), rel=1e-4)
    assert model.training_log["n_training"] + model.training_log["n_validation"] == 16
    assert model.training_log["data_fingerprint"] == dataset.fingerprint
    assert not model.training_log["cut_by_time_limit"]
    assert f"2 leads, epoch {len(losses)}/15" in capsys.readouterr().out


@pytest.mark.training
@pytest.mark.usefixtures("without_graphs")
def test_a_seed_makes_a_training(dataset_of):
    # With random windows, shifts, noise, gaps, dropout and losses.
    method = narrow_method("antialiased_resnet18")
    dataset = dataset_of(method)
    one, same, other = (
        fitted(method, dataset, seed=seed).network.get_weights() for seed in (1, 1, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.allclose(one[0], other[0], atol=1e-3)


@pytest.mark.training
@pytest.mark.usefixtures("without_graphs")
@pytest.mark.parametrize("name", ["branched_se", "multiscale_se"])
def test_training_goes_on_from_a_start_with_the_frequencies_of_its_own_records(name, dataset_of):
    # A rate of next to nothing leaves what was set.
    still = narrow_method(name, learning_rate=1e-12)
    dataset = dataset_of(still)
    prevalence = np.linspace(0, 1, 26)
    first = untrained_model(name, 2).network
    start = Start(first.get_weights(), prevalence)
    before = [np.array(variable) for variable in first.trainable_variables]
    network = fitted(still, dataset, seed=1, start=start).network
    kept, _ = hold_out(dataset.labels, still.training.validation_share, seed=1)
    shift = class_log_odds(dataset.labels[kept].mean(axis=0)) - class_log_odds(prevalence)
    assert np.abs(shift).max() > 4
    for old, after in zip(before, network.trainable_variables, strict=True):
        expected = old + (shift if after.path.endswith("logits/bias") else 0)
        np.testing.assert_allclose(np.array(after), expected, atol=1e-5, err_msg=after.path)


@pytest.mark.training
@pytest.mark.usefixtures("without_graphs")
def test_training_starts_at_each_class_frequency(dataset_of):
    method = narrow_method("branched_se", learning_rate=1e-12)
    dataset = dataset_of(method)
    model = fitted(method, dataset)
    kept, _ = hold_out(dataset.labels, method.training.validation_share, seed=0)
    prevalence = dataset.labels[kept].mean(axis=0)
    np.testing.assert_array_equal(model.prevalence, prevalence)
    bias = np.array(model.network.layers[-1].bias)
    np.testing.assert_allclose(bias, class_log_odds(prevalence), rtol=1e-4)


@pytest.mark.training
@pytest.mark.usefixtures("without_graphs")
@pytest.mark.parametrize("name", ["branched_se", "antialiased_resnet18"])
def test_the_validation_loss_is_over_as_many_windows_as_in_training(name, tmp_path):
    for i in range(12):
        signal = beats((10 + 7 * i) * 500, 500, 50 + 5 * i)
        write_record(tmp_path / "data", f"R{i:02d}", signal, 500)
    method = narrow_method(name, learning_rate=1e-12, validation_share=0.3)
    dataset = prepare_dataset(tmp_path / "data", method.preparation, tmp_path, workers=1)
    model = fitted(method, dataset)
    kept, held_out = hold_out(dataset.labels, 0.3, seed=0)
    bags = []
    for i in held_out:
        windows = dataset.windows(i)[:, [0, 1]]
        # The first one, or the first and the last.
        chosen = windows[[0, -1][: method.training.bag_size]]
        inputs = {
            "signal": chosen,
            "demographics": np.repeat(dataset.demographics[[i]], len(chosen), axis=0),
        }
        bags.append(np.asarray(model.network({part: inputs[part] for part in model.network.input})))
    assert dataset.n_windows[held_out].min() < dataset.n_windows[held_out].max()
    targets = make_targets(
        dataset.labels[held_out], class_weights(method.loss, dataset.labels[kept])
    )
    expected = float(make_loss(method.loss)(targets, np.stack(bags)))
    assert model.training_log["history"]["val_loss"] == [pytest.approx(expected, rel=1e-4)]


@pytest.mark.training
@pytest.mark.usefixtures("without_graphs")
@pytest.mark.parametrize(
    "name",
    [
        "multiscale_se",
        pytest.param("mtfnet", marks=pytest.mark.nightly),
        pytest.param("antialiased_resnet18", marks=pytest.mark.nightly),
    ],
)
def test_a_trainer_keeps_nothing_of_what_it_trained_before(name, dataset_of):
    # Moments, averages of normalisation and the states of random numbers are among it.
    method = narrow_method(name)
    dataset = dataset_of(method)
    trainer, everything = (
        Trainer(TrainingRun(method, 2, 3), CPU, len(dataset)),
        np.arange(len(dataset)),
    )
    fit(trainer, dataset, everything[::2])
    weights = fit(trainer, dataset, everything).network.get_weights()
    for one, other in zip(
        weights, fitted(method, dataset, seed=3).network.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.nightly
def test_steps_taken_at_once_train_to_the_same_bits(dataset_of, monkeypatch):
    # With shifts, noise, gaps, dropout, drawn losses and gathered gradients.
    method = narrow_method(
        "antialiased_resnet18",
        epochs=2,
        batch_size=2,
        accumulation_steps=2,
        schedule="step",
        lr_patience=2,
    )
    dataset = dataset_of(method)
    one_by_one = fitted(method, dataset)
    assert math.ceil(one_by_one.training_log["n_training"] / 2) in (5, 6, 7)
    monkeypatch.setattr(training, "steps_per_execution", lambda *_: 4)
    at_once = fitted(method, dataset)
    assert at_once.training_log["history"] == one_by_one.training_log["history"]
    pairs = zip(at_once.network.get_weights(), one_by_one.network.get_weights(), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)


@pytest.mark.training
def test_stages_of_a_trainer_share_one_traced_step(dataset_of, monkeypatch):
    n_traced, apply = [], FlatAdam.apply

    def counted(self, *arguments):
        n_traced.append(self)
        apply(self, *arguments)

    monkeypatch.setattr(FlatAdam, "apply", counted)
    method = narrow_method("branched_se")
    dataset = dataset_of(method)
    trainer, everything = (
        Trainer(TrainingRun(method, 2, 0), CPU, len(dataset)),
        np.arange(len(dataset)),
    )
    # Another size of batch and rate, then other frequencies of the classes.
    options = replace(method.training, epochs=2, batch_size=5, learning_rate=0.01, best="last")
    trainer.train(Stage("first", options), dataset, everything)
    start = Start(trainer.network.get_weights(), dataset.labels.mean(axis=0))
    fit(trainer, dataset, everything[::2], start=start)
    assert len(n_traced) == 1


@pytest.mark.training
@pytest.mark.usefixtures("without_graphs")
def test_a_model_tells_the_batch_and_rate_that_it_was_trained_with(dataset_of):
    method = narrow_method("branched_se", batch_size=2, largest_batch_size=64, learning_rate=1e-3)
    log = fitted(method, dataset_of(method)).training_log
    assert (log["batch_size"], log["learning_rate"]) == (2, 1e-3)


def test_log_odds_are_held_within_bounds():
    odds = class_log_odds(np.array([0.0, 0.2, 0.5, 1.0]))
    np.testing.assert_allclose(odds, np.log([1 / 99, 1 / 4, 1, 99]))


@pytest.mark.training
@pytest.mark.usefixtures("without_graphs")
@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("multiscale_se", "mixed_bfloat16"),
        ("antialiased_resnet18", "mixed_float16"),
        *(
            pytest.param(name, "mixed_bfloat16", marks=pytest.mark.nightly)
            for name in METHODS
            if name != "multiscale_se"
        ),
    ],
)
def test_a_model_trained_in_mixed_precision_answers_in_float32(name, precision, dataset_of):
    method = narrow_method(name, batch_size=8, accumulation_steps=2)
    dataset = dataset_of(method)
    model = fitted(method, dataset, devices=replace(CPU, precision=precision))
    assert model.training_log["precision"] == precision
    assert np.isfinite(model.training_log["history"]["loss"]).all()
    assert {layer.compute_dtype for layer in model.network.layers} == {"float32"}
    assert all(np.isfinite(weights).all() for weights in model.network.get_weights())
    assert keras.config.dtype_policy().name == "float32"


@pytest.fixture
def parts_seen(monkeypatch):
    """Records of each training, which is left out, and those whose loss it asks for; and what its
    decision was fitted to: labels, probabilities."""
    seen, asked, batches = [], [], training.window_batches

    def run_epochs(network, batches, stage, validate):
        assert not asked
        validate()
        seen.extend((batches.indices, asked[0]))
        return {"epochs": 1, "best_epoch": 1, "history": {}}

    def window_batches(dataset, indices, *arguments):
        asked.append(indices)
        return batches(dataset, indices, *arguments)

    def fit_decision(labels, probabilities, weights, options):
        seen.extend((labels, probabilities))
        asked.clear()
        return Decision(options, np.full(26, 0.5))

    monkeypatch.setattr(training, "run_epochs", run_epochs)
    monkeypatch.setattr(training, "window_batches", window_batches)
    monkeypatch.setattr(training, "fit_decision", fit_decision)
    return seen


@pytest.mark.usefixtures("without_graphs")
@pytest.mark.parametrize("fitted_on", ["training", "validation"])
def test_selection_leaves_validation_and_decision_alone(fitted_on, dataset_of, parts_seen):
    method = replace(
        narrow_method("branched_se"),
        selection=SelectionOptions(sinus_left_out=0.99),
        decision=DecisionOptions(fitted_on=fitted_on),
    )
    dataset = dataset_of(method)
    indices = np.arange(1, len(dataset))
    model = fit(Trainer(TrainingRun(method, 2, 3), CPU, len(indices)), dataset, indices)
    kept, held_out = (
        indices[part]
        for part in hold_out(dataset.labels[indices], method.training.validation_share, 3)
    )
    selected, validation, labels, probabilities = parts_seen
    assert set(selected) < set(kept)
    # All but the plain sinus rhythms, of which there are some among the kept.
    assert set(kept[dataset.labels[kept].sum(axis=1) != 1]) <= set(selected)
    np.testing.assert_array_equal(validation, held_out)
    fitted = kept if fitted_on == "training" else held_out
    np.testing.assert_array_equal(labels, dataset.labels[fitted])
    expected = predict_records(model.network, method, dataset, fitted, 2)
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    assert model.training_log["n_training"] == len(selected)
    assert model.training_log["n_validation"] == len(held_out)


@pytest.mark.usefixtures("without_graphs")
def test_validation_by_source_takes_of_each_its_share(tmp_path, parts_seen):
    for source, prefix, n_records in (("ningbo", "JS", 10), ("ptb", "S", 20)):
        write_folder(tmp_path / "data" / source, n_records, prefix=prefix)
    method = narrow_method("mtfnet")
    dataset = prepare_dataset(tmp_path / "data", method.preparation, tmp_path, workers=1)
    for seed in range(3):
        parts_seen.clear()
        fitted(method, dataset, seed=seed)
        held_out = dataset.sources[parts_seen[1]]
        assert sorted(held_out) == ["ningbo"] * 2 + ["ptb"] * 4


def test_a_selection_that_leaves_nothing_is_an_error(dataset_of):
    selection = SelectionOptions(deviation_mv=(1000.0, 2000.0))
    method = replace(narrow_method("branched_se"), selection=selection)
    with pytest.raises(
        DatasetError, match=r"none of 15 records fits .*deviation_mv=\(1000.0, 2000"
    ):
        fitted(method, dataset_of(method))


@pytest.mark.usefixtures("without_graphs")
@pytest.mark.parametrize("name", ["branched_se", "antialiased_resnet18"])
def test_a_records_answer_is_the_vote_of_all_its_windows(name, tmp_path):
    for i, seconds in enumerate((4, 31, 10, 67)):
        write_record(tmp_path / "data", f"R{i}", beats(seconds * 500, 500, 50 + 30 * i), 500)
    model = untrained_model(name, 3)
    method, network = model.method, model.network
    dataset = prepare_dataset(tmp_path / "data", method.preparation, tmp_path, workers=1)
    indices = np.array([3, 0, 1])
    expected = []
    for i in indices:
        windows = dataset.windows(i)[:, [0, 1, 7]]
        inputs = {
            "signal": windows,
            "demographics": np.repeat(dataset.demographics[[i]], len(windows), axis=0),
        }
        answers = expit(np.asarray(network({part: inputs[part] for part in network.input})))
        expected.append(pool_windows(answers, [len(windows)], method.decision.vote)[0])
    assert len({len(dataset.windows(i)) for i in indices}) == 3
    probabilities = predict_records(network, method, dataset, indices, 3)
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    outputs, again = answer_dataset(model, dataset, indices)
    np.testing.assert_array_equal(again, probabilities)
    np.testing.assert_array_equal(outputs, decide(probabilities, model.decision))


@pytest.mark.usefixtures("without_graphs")
@pytest.mark.parametrize("name", ["multiscale_se", "branched_se"])
def test_answers_are_calibrated_before_they_are_decided(name, dataset_of):
    model = untrained_model(name, 2, temperature=2.0)
    dataset, indices = dataset_of(model.method), np.array([5, 0, 9])
    plain = predict_records(model.network, model.method, dataset, indices, 2)
    outputs, probabilities = answer_dataset(model, dataset, indices)
    np.testing.assert_array_equal(probabilities, calibrate(plain, 2.0))
    assert not np.allclose(probabilities, plain, atol=1e-3)
    np.testing.assert_array_equal(outputs, decide(probabilities, model.decision))


@pytest.mark.training
@pytest.mark.usefixtures("without_graphs")
def test_the_temperature_is_fitted_on_the_records_set_aside(tmp_path):
    method = replace(
        narrow_method("multiscale_se", validation_share=0.5),
        decision=DecisionOptions(rule="expected_score", calibrated=True),
    )
    write_folder(tmp_path / "data", 48)
    dataset = prepare_dataset(tmp_path / "data", method.preparation, tmp_path, workers=1)
    model = fitted(method, dataset)
    _, held_out = hold_out(dataset.labels, 0.5, seed=0)
    plain = predict_records(model.network, method, dataset, held_out, 2)
    temperature = fit_temperature(dataset.labels[held_out], plain)
    assert model.decision.temperature == pytest.approx(temperature, rel=1e-4)
    assert temperature != 1
    # The scores told are those of the answers as they will be given.
    outputs, probabilities = answer_dataset(model, dataset, held_out)
    truth, weights = dataset.labels[held_out], read_weights()
    told = model.training_log["validation_scores"]
    for figure, value in score(truth, outputs, probabilities, weights).summary.items():
        assert told[figure] == pytest.approx(value, nan_ok=True)


@pytest.mark.training
@pytest.mark.usefixtures("without_graphs")
def test_the_time_limit_ends_training_after_an_epoch(dataset_of, capsys):
    method = narrow_method("branched_se", epochs=3)
    trainer = Trainer(TrainingRun(method, 2, 0), CPU, 4)
    model = fit(trainer, dataset_of(method), np.arange(4), time_limit_s=0.0)
    assert model.training_log["epochs"] == 1
    assert model.training_log["cut_by_time_limit"]
    assert model.training_log["validated_on_training_records"]
    assert "stopped by the time limit after epoch 1" in capsys.readouterr().out


@pytest.mark.training
@pytest.mark.usefixtures("without_graphs")
@pytest.mark.parametrize("name", ["multiscale_se", "se_ecgnet"])
def test_operating_points_are_fitted_on_the_validation_records(name, tmp_path):
    write_folder(tmp_path / "data" / "ptb", 24, prefix="S")
    method = narrow_method(name, validation_share=0.5)
    dataset = prepare_dataset(tmp_path / "data", method.preparation, tmp_path, workers=1)
    model = fitted(method, dataset)
    _, validation = hold_out(dataset.labels, 0.5, seed=0)
    points = model.decision.points
    assert points.n_records == len(validation)
    np.testing.assert_array_equal(points.n_positive, dataset.labels[validation].sum(axis=0))
    assert (points.temperature == 1) == method.decision.calibrated or len(validation) < 20
    assert model.training_log["sources"] == {"S": 24}
    assert model.training_log["n_simulated"] == 0


@pytest.mark.training
@pytest.mark.usefixtures("without_graphs")
def test_without_validation_records_there_are_no_operating_points(dataset_of):
    method = narrow_method("branched_se")
    trainer = Trainer(TrainingRun(method, 2, 0), CPU, 4)
    model = fit(trainer, dataset_of(method), np.arange(4))
    assert model.training_log["validated_on_training_records"]
    assert model.decision.points is None
