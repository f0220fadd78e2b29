import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from ecg.classes import GROUPS
from ecg.leads import LEAD_SETS
from ecg.methods import METHODS, build_network
from ecg.model_files import (
    ModelFolderError,
    TrainedModel,
    load_trained_model,
    missing_models,
    save_model,
)
from tests.narrow import narrow_method


@pytest.fixture
def folder(model_folder, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(model_folder, tmp_path / "model")


def untrained(name) -> TrainedModel:
    """A three-lead model of a narrow network as it is built."""
    method = narrow_method(name)
    n_thresholds = 0 if method.decision.rule == "record_maximum" else 26
    return TrainedModel(
        build_network(method, 3, 26), method, 3, np.full(n_thresholds, 0.3), np.full(26, 0.1), {}
    )


@pytest.mark.parametrize("lead_set", LEAD_SETS)
def test_a_model_comes_back_as_it_was_saved(model_folder, tmp_path, lead_set):
    model = load_trained_model(model_folder, lead_set)
    save_model(model, tmp_path)
    again = load_trained_model(tmp_path, lead_set)
    signals = np.random.default_rng(0).standard_normal((3, lead_set, 1000)).astype(np.float32)
    np.testing.assert_array_equal(
        *(np.asarray(one.network({"signal": signals})) for one in (again, model))
    )
    np.testing.assert_array_equal(again.thresholds, model.thresholds)
    np.testing.assert_array_equal(again.prevalence, model.prevalence)
    assert (again.method, again.lead_set, again.evidence) == (
        model.method,
        lead_set,
        model.evidence,
    )


@pytest.mark.parametrize("name", METHODS)
def test_a_model_of_every_method_comes_back(name, tmp_path):
    model = untrained(name)
    save_model(model, tmp_path)
    again = load_trained_model(tmp_path, 3)
    assert again.method == model.method
    np.testing.assert_array_equal(again.thresholds, model.thresholds)
    for given, expected in zip(
        again.network.get_weights(), model.network.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(given, expected)
    assert list(again.network.input) == list(model.network.input)


@pytest.mark.parametrize(
    ("name", "n_given", "n_expected"), [("se_ecgnet", 26, 0), ("mtfnet", 0, 26), ("mtfnet", 27, 26)]
)
def test_as_many_thresholds_as_the_rule_takes_are_expected(name, n_given, n_expected, tmp_path):
    save_model(replace(untrained(name), thresholds=np.full(n_given, 0.5)), tmp_path)
    with pytest.raises(
        ModelFolderError,
        match=rf"number of thresholds: expected \({n_expected},\), found \({n_given},\)",
    ):
        load_trained_model(tmp_path, 3)


def test_the_json_says_all_that_answers_depend_on(model_folder):
    description = json.loads((model_folder / "4_leads.json").read_text())
    assert description["leads"] == ["I", "II", "III", "V2"]
    assert description["classes"] == list(GROUPS)
    assert description["method"]["preparation"]["fs"] == 100
    assert len(description["thresholds"]) == 26
    assert len(description["evidence"]["data_fingerprint"]) == 64
    assert description["versions"]["keras"]
    assert {path.suffix for path in model_folder.iterdir()} == {".json", ".h5"}


def test_a_missing_model_is_named_with_what_else_is_missing(folder):
    (folder / "12_leads.json").unlink()
    (folder / "3_leads.weights.h5").unlink()
    assert missing_models(folder) == [12, 3]
    with pytest.raises(ModelFolderError, match=r"12_leads\.json: expected .*lacks 12, 3 leads"):
        load_trained_model(folder, 12)
    with pytest.raises(ModelFolderError, match=r"3_leads\.weights\.h5: expected the model's w"):
        load_trained_model(folder, 3)


def test_changed_weights_are_refused(folder):
    weights = folder / "2_leads.weights.h5"
    content = bytearray(weights.read_bytes())
    content[-100] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ModelFolderError, match=r"not the weights that 2_leads\.json describes"):
        load_trained_model(folder, 2)


def test_weights_of_another_model_are_refused(folder):
    shutil.copy(folder / "3_leads.weights.h5", folder / "2_leads.weights.h5")
    with pytest.raises(ModelFolderError, match="not the weights"):
        load_trained_model(folder, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 1}, "expected a model description of format 2"),
        ({"format": 99}, "expected a model description of format 2"),
        ({"leads": 5}, "unreadable"),
        ({"prevalence": [7.0] * 26}, "expected finite thresholds, prevalences in"),
        ({"lead_set": 3}, "lead_set: expected 2, found 3"),
        ({"leads": ["II", "I"]}, "leads: expected"),
        ({"classes": []}, "classes: expected"),
        ({"thresholds": [0.5]}, "number of thresholds: expected"),
        ({"thresholds": [float("nan")] * 26}, "expected finite thresholds"),
        ({"prevalence": "none"}, "unreadable"),
        ({"method": None}, "unreadable"),
        ({"method": {}}, "unreadable"),
        ({"weights": None}, "unreadable"),
    ],
)
def test_a_damaged_description_is_refused(folder, change, message):
    path = folder / "2_leads.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelFolderError, match=rf"2_leads\.json: {message}"):
        load_trained_model(folder, 2)


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_a_description_that_is_no_json_object_is_refused(folder, content):
    (folder / "2_leads.json").write_text(content)
    with pytest.raises(ModelFolderError, match=r"2_leads\.json: "):
        load_trained_model(folder, 2)
