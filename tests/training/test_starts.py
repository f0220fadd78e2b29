"""Training that goes on from a finished model."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ecg.models.descriptions import ModelFolderError, model_paths
from ecg.models.fine_tuning import FineTuningOptions, fine_tuned, prevalence_after
from ecg.models.method import SizeStep, changed
from ecg.models.model_files import save_model
from ecg.models.operating_points import default_points
from ecg.models.prediction import summarise_model
from ecg.training.dataset import prepare_dataset
from ecg.training.fit import Start, Trainer, TrainingRun, class_log_odds, fit
from ecg.training.splits import hold_out
from ecg.training.starts import find_start, read_start
from tests.narrow import CPU, fitted, narrow_method, untrained_model
from tests.synthetic import write_folder

OPTIONS = FineTuningOptions(rate_share=1.0)
LOG = {"n_training": 500, "n_validation": 56, "n_simulated": 0, "sources": {"A": 300, "B": 256}}
DETAILS = {"history": {"loss": [0.1]}, "seconds": 5.0, "data_fingerprint": "0f"}


@pytest.fixture(scope="module")
def dataset_of(tmp_path_factory):
    """Prepares twenty made-up records for a method: a hospital's first, of a few findings."""
    folder = tmp_path_factory.mktemp("twenty")
    write_folder(folder / "data", 20)
    return lambda method: prepare_dataset(folder / "data", method.preparation, folder, workers=1)


def finished(name, **log):
    """A model as it comes out of a training, with a decision that no fit would find."""
    model = untrained_model(name, 2, temperature=1.75)
    points = replace(default_points(), thresholds=np.full(26, 0.77), n_records=56)
    prevalence = np.linspace(0.02, 0.4, 26)
    stages = {"start": {"n_training": 6000, "start": None, **DETAILS}}
    return replace(
        model,
        decision=replace(model.decision, points=points),
        prevalence=prevalence,
        training_log=LOG | DETAILS | stages | log,
    )


@pytest.fixture
def start_folder(tmp_path):
    save_model(finished("multiscale_se"), tmp_path / "start")
    return tmp_path / "start"


def tuned(dataset, folder, options, name="multiscale_se", **training):
    """The model of the folder, trained further on all of the records."""
    method = fine_tuned(narrow_method(name, **training), options)
    start = read_start(find_start(folder, method, 2))
    trainer = Trainer(TrainingRun(method, 2, 0), CPU, len(dataset), options)
    return fit(trainer, dataset, np.arange(len(dataset)), start=start)


# What the start has to be ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: narrow_method("branched_se"), "expected name branched_se, found multiscale_se"),
        (
            changed("network", widths=(2, 2, 2, 2, 4)),
            r"expected network.widths \(2, 2, 2, 2, 4\), found \(2, 2, 2, 2, 2\)",
        ),
        (changed("preparation", fs=250.0), "expected preparation.fs 250.0, found"),
        (changed("decision", vote="any"), "expected decision.vote any, found mean"),
    ],
)
def test_a_start_of_another_method_is_refused(change, message, untrained):
    with pytest.raises(ModelFolderError, match=message) as caught:
        find_start(untrained, change(narrow_method("multiscale_se")), 2)
    assert str(caught.value).startswith(f"{untrained / '2_leads.json'}: ")


def test_a_start_may_have_the_network_of_another_number_of_records(untrained):
    method = narrow_method("multiscale_se")
    wider = replace(method.network, widths=(2, 2, 2, 2, 4))
    steps = (SizeStep(50, method.network, method.training),)
    method = replace(method, network=wider, by_size=steps)
    found = find_start(untrained, method, 2)
    assert found.continued_by(method).network == found.network == steps[0].network
    assert found.continued_by(method).training == method.training
    with pytest.raises(ModelFolderError, match=r"expected network.widths \(2, 2, 2, 2, 4\), found"):
        find_start(untrained, replace(method, by_size=()), 2)


def test_a_start_may_have_been_trained_otherwise(untrained):
    method = narrow_method("multiscale_se", n_simulated=9, epochs=7, learning_rate=0.5)
    assert find_start(untrained, method, 3).lead_set == 3


def test_a_start_without_the_lead_set_is_refused(start_folder):
    method = narrow_method("multiscale_se")
    with pytest.raises(ModelFolderError, match=r"12_leads\.json: expected a trained model, found"):
        find_start(start_folder, method, 12)
    model_paths(start_folder, 2)[0].unlink()
    with pytest.raises(ModelFolderError, match=r"2_leads\.weights\.h5: expected the model's"):
        find_start(start_folder, method, 2)


def test_a_start_that_has_changed_since_is_refused(start_folder):
    found = find_start(start_folder, narrow_method("multiscale_se"), 2)
    save_model(finished("multiscale_se", n_training=501), start_folder)
    with pytest.raises(ModelFolderError, match="found another"):
        read_start(found)


def test_a_start_is_read_with_its_weights_its_decision_and_its_records_numbers(start_folder):
    model = finished("multiscale_se")
    found = find_start(start_folder, narrow_method("multiscale_se"), 2)
    start = read_start(found)
    for one, other in zip(start.weights, model.network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(start.prevalence, model.prevalence)
    assert start.decision.temperature == 1.75
    named = {"digest": found.digest, "method": "multiscale_se"}
    assert start.log == LOG | named | {"start": {"n_training": 6000, "start": None}}


def test_fine_tuning_and_a_finished_start_belong_together(start_folder, dataset_of):
    method = narrow_method("multiscale_se")
    dataset = dataset_of(method)
    start = read_start(find_start(start_folder, method, 2))
    cases = [(None, start), (OPTIONS, None), (OPTIONS, Start(start.weights, start.prevalence))]
    for options, given in cases:
        trainer = Trainer(TrainingRun(method, 2, 0), CPU, 20, options)
        with pytest.raises(ValueError, match="expected a finished model as the start"):
            fit(trainer, dataset, np.arange(20), start=given)


# What becomes of it ------------------------------------------------------------------------------


@pytest.mark.training
@pytest.mark.usefixtures("without_graphs")
def test_twenty_records_train_all_but_batch_normalisation_and_keep_the_decision(
    start_folder, dataset_of
):
    method = narrow_method("multiscale_se", learning_rate=0.01)
    dataset, before = dataset_of(method), finished("multiscale_se")
    model = tuned(dataset, start_folder, OPTIONS, learning_rate=0.01)
    kinds = set()
    for layer, trained in zip(before.network.layers, model.network.layers, strict=True):
        kind = type(layer).__name__
        for one, other in zip(layer.get_weights(), trained.get_weights(), strict=True):
            assert np.array_equal(one, other) == (kind == "BatchNormalization"), layer.name
            kinds.add(kind)
    assert {"BatchNormalization", "Conv2D", "Dense"} <= kinds
    assert model.decision.temperature == 1.75
    np.testing.assert_array_equal(
        model.decision.points.thresholds, before.decision.points.thresholds
    )
    log = model.training_log
    assert (log["n_training"], log["n_validation"], log["decision_of_start"]) == (19, 1, True)
    assert log["fine_tuning"]["rate_share"] == 1.0
    assert str(start_folder) not in json.dumps(log)
    assert summarise_model(model).trained_on == (
        "20 records of T, starting from a model trained on 556 records of A, B, after 6,000 "
        "simulated records"
    )


@pytest.mark.training
@pytest.mark.usefixtures("without_graphs")
def test_the_bias_of_a_finding_moves_towards_its_share_of_the_records(start_folder, dataset_of):
    still = narrow_method("multiscale_se", learning_rate=1e-12)
    dataset, before = dataset_of(still), finished("multiscale_se")
    model = tuned(dataset, start_folder, OPTIONS, learning_rate=1e-12)
    kept, _ = hold_out(dataset.labels, still.training.validation_share, seed=0)
    expected = prevalence_after(dataset.labels[kept], before.prevalence, OPTIONS)
    # So that a training that goes on from this model moves the bias from where it is.
    np.testing.assert_allclose(model.prevalence, expected)
    shift = class_log_odds(expected) - class_log_odds(before.prevalence)
    assert np.abs(shift).max() > 1
    assert (shift != 0).all()
    moved = model.network.get_weights()[-1] - before.network.get_weights()[-1]
    np.testing.assert_allclose(moved, shift, atol=1e-5)


@pytest.mark.training
@pytest.mark.usefixtures("without_graphs")
@pytest.mark.parametrize("name", ["multiscale_se", "antialiased_resnet18"])
def test_enough_records_fit_a_decision_of_their_own(name, dataset_of, tmp_path):
    method = narrow_method(name, validation_share=0.25)
    dataset, before = dataset_of(method), finished(name)
    save_model(before, tmp_path / "start")
    for fewest in (5, 6, 16):
        options = replace(OPTIONS, fewest_to_refit=fewest)
        model = tuned(dataset, tmp_path / "start", options, name, validation_share=0.25)
        assert model.training_log["n_validation"] == 5
        # One of them fits its thresholds to the 15 training records.
        refitted = fewest <= (15 if method.decision.fitted_on == "training" else 5)
        found = model.decision
        assert (found.temperature != 1.75) == refitted
        assert model.training_log["decision_of_start"] == (not refitted)
        assert (found.points.n_records == 5) == (fewest <= 5)


@pytest.mark.training
@pytest.mark.usefixtures("without_graphs")
def test_a_fine_tuned_model_is_a_start_like_any_other(start_folder, dataset_of, tmp_path):
    dataset = dataset_of(narrow_method("multiscale_se"))
    save_model(tuned(dataset, start_folder, OPTIONS), tmp_path / "second")
    log = tuned(dataset, tmp_path / "second", OPTIONS).training_log["start"]
    assert (log["n_training"], log["start"]["n_training"]) == (19, 500)
    assert log["digest"] != log["start"]["digest"]


@pytest.mark.training
@pytest.mark.usefixtures("without_graphs")
def test_other_trainings_know_of_no_start(dataset_of):
    method = narrow_method("multiscale_se")
    log = fitted(method, dataset_of(method)).training_log
    assert (log["start"], log["fine_tuning"], log["decision_of_start"]) == (None, None, False)
