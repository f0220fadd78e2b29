"""What holds for the network and the models of every method, whatever its paper.

What is particular to a network is in test_architectures.py.
"""

import keras
import numpy as np
import pytest

from ecg.models.devices import find_devices
from ecg.models.model_files import load_trained_model, save_model
from ecg.models.predictor import Predictor, load_predictor
from ecg.models.registry import METHODS, build_network, find_method
from ecg.records.demographics import N_DEMOGRAPHICS
from ecg.records.diagnoses import OUTPUT_CODES
from ecg.records.leads import LEAD_SETS
from ecg.signals.measurements import n_measurements
from ecg.training.dataset import prepare_dataset
from tests.narrow import (
    fitted,
    logits_of,
    made_up_inputs,
    narrow_method,
    untrained_model,
    weights_without_gradient,
)
from tests.synthetic import beats, digitise, header_text

# Trainable and fixed parameters of the published networks: a change here is one of every model.
PARAMETERS = {
    "multiscale_se": {12: 591380, 6: 382868, 4: 278612, 3: 262484, 2: 226196},
    "branched_se": {12: 688106, 6: 685226, 4: 684266, 3: 683786, 2: 683306},
    "mtfnet": {12: 480922, 6: 479770, 4: 479386, 3: 479194, 2: 479002},
    "se_ecgnet": {12: 936362, 6: 641450, 4: 543146, 3: 493994, 2: 444842},
    "antialiased_resnet18": {12: 1942594, 6: 1941250, 4: 1940802, 3: 1940578, 2: 1940354},
}
USE_DEMOGRAPHICS = {"se_ecgnet", "antialiased_resnet18"}

every_method = pytest.mark.parametrize("name", METHODS)
# The largest and the smallest show what the leads change; only multiscale SE has kernels that
# depend on their number.
every_lead_set = pytest.mark.parametrize(
    ("name", "lead_set"),
    [
        pytest.param(
            name,
            lead_set,
            marks=() if lead_set in (12, 2) or name == "multiscale_se" else pytest.mark.nightly,
        )
        for name in METHODS
        for lead_set in LEAD_SETS
    ],
)


def narrow_network(name, lead_set=2) -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_network(narrow_method(name), lead_set, 26)


def test_every_method_is_here_by_the_name_of_its_architecture():
    assert set(PARAMETERS) == set(METHODS)
    for name in METHODS:
        assert (find_method(name).name, find_method(name).architecture) == (name, name)


@every_lead_set
def test_the_published_network_has_the_parameters_of_the_table(name, lead_set):
    network = build_network(find_method(name, variant="published"), lead_set, 26)
    assert network.count_params() == PARAMETERS[name][lead_set]


@every_lead_set
def test_a_network_takes_the_leads_and_what_else_it_names_and_answers_finite_logits(name, lead_set):
    method, network = find_method(name, "demo"), narrow_network(name, lead_set)
    expected = {"signal": (None, lead_set, method.preparation.n_samples)}
    if name in USE_DEMOGRAPHICS:
        expected["demographics"] = (None, N_DEMOGRAPHICS)
    if getattr(method.network, "measured_width", None):
        expected["measurements"] = (None, n_measurements(lead_set))
    assert {part: tensor.shape for part, tensor in network.input.items()} == expected
    inputs = made_up_inputs(network)
    for signal in (inputs["signal"], np.zeros_like(inputs["signal"])):
        logits = logits_of(network, inputs | {"signal": signal})
        assert logits.shape == (3, 26)
        assert logits.dtype == np.float32
        assert np.isfinite(logits).all()


@every_method
def test_a_records_answer_is_its_own_and_of_every_lead(name):
    network = narrow_network(name)
    inputs = made_up_inputs(network)
    together = logits_of(network, inputs)
    for i in range(3):
        alone = logits_of(network, {part: values[[i]] for part, values in inputs.items()})
        np.testing.assert_allclose(alone, together[[i]], atol=1e-5)
    for lead in range(2):
        signal = inputs["signal"].copy()
        signal[:, lead] = 0
        assert not np.allclose(logits_of(network, inputs | {"signal": signal}), together, atol=1e-6)


@every_method
def test_every_network_ends_in_float32_logits(name):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = narrow_network(name)
    finally:
        keras.config.set_dtype_policy("float32")
    last = network.layers[-1]
    assert isinstance(last, keras.layers.Dense)
    assert last.name == "logits"
    assert last.activation is keras.activations.linear
    assert last.output is network.output
    # Far from 0 they are no probabilities, and lose nothing of their size.
    last.bias.assign(np.linspace(-100, 100, 26))
    logits = network(made_up_inputs(network))
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    assert (np.asarray(logits)[:, [0, -1]] * [-1, 1] > 50).all()


@every_method
def test_the_gradient_reaches_every_weight(name):
    assert not weights_without_gradient(narrow_network(name))


RECORD = header_text("A1", 300, 300 * 25, LEAD_SETS[12]), digitise(beats(300 * 25, 300))


@every_lead_set
@pytest.mark.usefixtures("without_graphs")
def test_a_model_comes_back_as_it_was_saved_and_answers_the_same(name, lead_set, tmp_path):
    model = untrained_model(name, lead_set, temperature=1.3)
    save_model(model, tmp_path)
    again = load_trained_model(tmp_path, lead_set)
    assert (again.method, again.lead_set) == (model.method, lead_set)
    assert again.decision.options == model.decision.options
    assert again.decision.temperature == model.decision.temperature
    np.testing.assert_array_equal(again.decision.thresholds, model.decision.thresholds)
    for given, expected in zip(
        again.network.get_weights(), model.network.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(given, expected)
    predictor = Predictor(again)
    assert_answers(predictor, *RECORD)
    assert predictor.answer(*RECORD) == Predictor(model).answer(*RECORD)


@every_method
@pytest.mark.usefixtures("without_graphs")
def test_leads_beyond_the_set_change_nothing_and_missing_ones_count_as_zeros(name):
    predictor, (text, recording) = Predictor(untrained_model(name, 2)), RECORD
    others = recording.copy()
    others[2:] = recording[2:] // 2 + 7
    assert predictor.answer(text, others) == predictor.answer(text, recording)
    flat = recording.copy()
    flat[0] = 0
    n_samples = recording.shape[1]
    alone = predictor.answer(header_text("A1", 300, n_samples, ["II"]), recording[[1]])
    assert alone == predictor.answer(text, flat) != predictor.answer(text, recording)
    assert predictor.n_unusable == 0


@every_method
@pytest.mark.usefixtures("without_graphs")
def test_a_record_shorter_than_a_window_is_answered(name):
    text, recording = RECORD
    assert_answers(Predictor(untrained_model(name, 2)), text, recording[:, :150])


@pytest.mark.training
@pytest.mark.parametrize(
    "lead_set", [2, *(pytest.param(n, marks=pytest.mark.nightly) for n in (12, 6, 4, 3))]
)
@every_method
def test_every_method_trains_and_its_model_answers(name, lead_set, training_folder, tmp_path):
    method = narrow_method(name)
    dataset = prepare_dataset(training_folder, method.preparation, tmp_path / "cache", workers=1)
    model = fitted(method, dataset, lead_set, devices=find_devices())
    for part in ("loss", "val_loss"):
        assert np.isfinite(model.training_log["history"][part]).all()
    save_model(model, tmp_path)
    predictor = load_predictor(tmp_path, lead_set)
    assert_answers(predictor, *RECORD)
    assert predictor.answer(*RECORD) == Predictor(model).answer(*RECORD)


def assert_answers(predictor, text, recording):
    answer = predictor.answer(text, recording)
    assert predictor.n_unusable == 0
    assert tuple(answer.codes) == OUTPUT_CODES
    assert len(answer.labels) == len(answer.probabilities) == 30
    assert set(answer.labels) <= {0, 1}
    assert 1 in answer.labels
    assert all(0 <= probability <= 1 for probability in answer.probabilities)
    assert len(set(answer.probabilities)) > 20
