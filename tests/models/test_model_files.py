import json
import math
import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest

from ecg.models.decisions import Decision, DecisionOptions, decide
from ecg.models.descriptions import ModelFolderError, find_models, missing_models
from ecg.models.method import method_to_dict
from ecg.models.model_files import TrainedModel, load_trained_model, save_model
from ecg.models.registry import METHODS, find_method, method_from_dict
from ecg.records.diagnoses import GROUPS
from ecg.runtime.files import digest_files
from ecg.signals.preprocessing import prepare
from tests.narrow import untrained_model
from tests.synthetic import beats


@pytest.fixture
def folder(untrained, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(untrained, tmp_path / "model")


def assert_decides_the_same(given, expected):
    assert given.options == expected.options
    assert given.temperature == expected.temperature
    np.testing.assert_array_equal(given.thresholds, expected.thresholds)
    probabilities = np.random.default_rng(0).random((50, 26))
    np.testing.assert_array_equal(decide(probabilities, given), decide(probabilities, expected))


def test_a_model_comes_back_with_what_it_was_trained_on(untrained, tmp_path):
    model = replace(load_trained_model(untrained, 2), prevalence=np.linspace(0, 1, 26))
    save_model(model, tmp_path)
    again = load_trained_model(tmp_path, 2)
    np.testing.assert_array_equal(again.prevalence, model.prevalence)
    assert again.training_log == model.training_log
    assert again.training_log["history"]


FITTED, RECORD_MAXIMUM, EXPECTED_SCORE = (
    DecisionOptions(rule=rule) for rule in ("fitted", "record_maximum", "expected_score")
)


@pytest.fixture(scope="module")
def decided():
    """Makes the same three-lead model with a decision by the options' rule."""
    model = untrained_model("multiscale_se", 3)

    def decided_by(options) -> TrainedModel:
        method = replace(model.method, decision=options)
        thresholds = np.linspace(0.1, 0.9, 26 if options.rule == "fitted" else 0)
        return replace(model, method=method, decision=Decision(options, thresholds, 1.3))

    return decided_by


@pytest.mark.parametrize("options", [FITTED, RECORD_MAXIMUM, EXPECTED_SCORE])
def test_a_decision_by_any_rule_comes_back(options, decided, tmp_path):
    save_model(decided(options), tmp_path)
    again = load_trained_model(tmp_path, 3)
    assert_decides_the_same(again.decision, decided(options).decision)


@pytest.mark.parametrize(
    ("options", "change"),
    [
        (FITTED, {"thresholds": []}),
        (FITTED, {"thresholds": [0.5] * 27}),
        (FITTED, {"thresholds": [float("nan")] * 26}),
        (FITTED, {"thresholds": ["half"] * 26}),
        (RECORD_MAXIMUM, {"thresholds": [0.5] * 26}),
        (EXPECTED_SCORE, {"thresholds": [0.5] * 26}),
        (EXPECTED_SCORE, {"thresholds": None}),
        (FITTED, {"thresholds": [-0.1] * 26}),
        (FITTED, {"thresholds": [1.1] * 26}),
        (EXPECTED_SCORE, {"temperature": 0.0}),
        (EXPECTED_SCORE, {"temperature": 1e-300}),
        (EXPECTED_SCORE, {"temperature": 1e300}),
        (EXPECTED_SCORE, {"temperature": float("nan")}),
        (EXPECTED_SCORE, {"temperature": "warm"}),
        (EXPECTED_SCORE, {"temperature": None}),
    ],
)
def test_a_decision_that_does_not_fit_its_rule_is_refused(options, change, decided, tmp_path):
    save_model(decided(options), tmp_path)
    path = tmp_path / "3_leads.json"
    description = json.loads(path.read_text())
    assert change.keys() < description["decision"].keys()
    description["decision"] |= change
    path.write_text(json.dumps(description))
    with pytest.raises(ModelFolderError, match=r"3_leads\.json: unreadable: "):
        load_trained_model(tmp_path, 3)


@pytest.mark.parametrize("part", ["thresholds", "temperature"])
def test_a_decision_that_lacks_a_part_is_refused(part, folder):
    path = folder / "2_leads.json"
    description = json.loads(path.read_text())
    del description["decision"][part]
    path.write_text(json.dumps(description))
    with pytest.raises(ModelFolderError, match=rf"2_leads\.json: unreadable: KeyError\('{part}'"):
        load_trained_model(folder, 2)


def test_the_json_says_all_that_answers_depend_on(untrained):
    description = json.loads((untrained / "4_leads.json").read_text())
    assert description["leads"] == ["I", "II", "III", "V2"]
    assert description["classes"] == list(GROUPS)
    assert description["method"]["preparation"]["fs"] == 100
    assert description["decision"]["thresholds"] == []
    assert description["decision"]["temperature"] > 0
    assert description["method"]["decision"]["rule"] == "expected_score"
    assert description["versions"]["keras"]
    assert {path.suffix for path in untrained.iterdir()} == {".json", ".h5"}


def test_a_missing_model_is_named_with_what_else_is_missing(folder):
    (folder / "12_leads.json").unlink()
    (folder / "3_leads.weights.h5").unlink()
    assert missing_models(folder) == [12, 3]
    other = json.loads((folder / "4_leads.json").read_text()) | {"format": 1}
    (folder / "4_leads.json").write_text(json.dumps(other))
    (folder / "2_leads.json").write_text("no JSON")
    assert missing_models(folder) == [12, 4, 3, 2]
    with pytest.raises(ModelFolderError, match=r"12_leads\.json: .*no model for 12, 4, 3, 2 leads"):
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
        ({"format": 4}, "expected a model description of format 6, found format 4"),
        ({"format": 99}, "expected a model description of format 6, found format 99"),
        ({"leads": 5}, "unreadable"),
        ({"prevalence": [7.0] * 26}, "expected prevalences from"),
        ({"prevalence": [float("nan")] * 26}, "expected prevalences from"),
        ({"prevalence": [0.1] * 25}, "number of prevalences: expected"),
        ({"lead_set": 3}, "lead_set: expected 2, found 3"),
        ({"leads": ["II", "I"]}, "leads: expected"),
        ({"classes": []}, "classes: expected"),
        ({"decision": None}, "unreadable"),
        ({"decision": {}}, "unreadable"),
        ({"decision": []}, "unreadable"),
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


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "[" * 100_000])
def test_a_description_that_is_no_json_object_is_refused(folder, content):
    (folder / "2_leads.json").write_text(content)
    with pytest.raises(ModelFolderError, match=r"2_leads\.json: "):
        load_trained_model(folder, 2)


def rewrite_weights(folder, change):
    """Changes the two-lead model's weights file, and the digest with it."""
    weights, description = folder / "2_leads.weights.h5", folder / "2_leads.json"
    with h5py.File(weights, "r+") as file:
        change(file)
    values = json.loads(description.read_text())
    values["weights"]["sha256"] = digest_files(weights)
    description.write_text(json.dumps(values))


def first_dataset(file) -> h5py.Dataset:
    found = []
    file.visititems(lambda name, part: found.append(part) if hasattr(part, "shape") else None)
    return found[0]


def test_weights_that_are_no_numbers_are_refused(folder):
    def spoil(file):
        first_dataset(file)[...] = np.nan

    rewrite_weights(folder, spoil)
    with pytest.raises(ModelFolderError, match=r"2_leads\.weights\.h5: expected finite weights"):
        load_trained_model(folder, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        # Three terabytes that take some bytes of the file.
        ({"shape": (2**20, 2**20), "dtype": "f4", "chunks": (64, 64)}, "expected at most"),
        ({"data": ["text"], "dtype": h5py.string_dtype()}, "expected numbers, found object"),
        ({"data": h5py.Empty("f4")}, "expected numbers, found an empty data set"),
    ],
)
def test_weights_that_hold_more_than_the_network_are_refused(folder, options, message):
    def add(file):
        file.create_dataset("more", **options)

    rewrite_weights(folder, add)
    with pytest.raises(ModelFolderError, match=f"does not fit the network: {message}"):
        load_trained_model(folder, 2)


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("network", {"widths": [8, 8, 8, 8, 10**7]}),
        ("network", {"measured_width": 10**9}),
        ("preparation", {"window_s": 1e7}),
        ("preparation", {"max_windows": 10**9}),
        ("training", {"batch_size": 10**9}),
    ],
)
def test_a_description_that_would_fill_the_memory_is_refused(folder, part, change):
    path = folder / "2_leads.json"
    description = json.loads(path.read_text())
    assert change.keys() < description["method"][part].keys()
    description["method"][part] |= change
    path.write_text(json.dumps(description))
    with pytest.raises(ModelFolderError, match=r"2_leads\.json: unreadable: .* at most"):
        load_trained_model(folder, 2)


ODD_VALUES = (
    None,
    True,
    "",
    "odd",
    [],
    [1],
    {},
    -3,
    0,
    1.5,
    200,
    1e-300,
    1e300,
    math.nan,
    math.inf,
)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("part", ["preparation", "decision"])
def test_any_option_edited_is_refused_or_still_gives_finite_answers(name, part):
    method = find_method(name)
    signal = beats(5000, 500.0)[:2]
    probabilities = np.random.default_rng(0).random((5, 26))
    n_refused = 0
    for option in method_to_dict(method)[part]:
        for value in ODD_VALUES:
            # As it comes from JSON, whose NaN and Infinity Python reads.
            edited = json.loads(json.dumps(method_to_dict(method)))
            edited[part][option] = value
            try:
                read = method_from_dict(edited)
                n_thresholds = 26 if read.decision.rule == "fitted" else 0
                decision = Decision(read.decision, np.full(n_thresholds, 0.5), 1.0)
            except ValueError:
                n_refused += 1
                continue
            assert np.isfinite(prepare(signal, 500.0, read.preparation)).all()
            assert decide(probabilities, decision).any(axis=1).all()
    assert n_refused >= 60


@pytest.mark.parametrize("band_order", [-3, 200])
def test_a_filter_that_cannot_be_is_refused(folder, band_order):
    path = folder / "2_leads.json"
    description = json.loads(path.read_text())
    description["method"]["preparation"]["band_order"] = band_order
    path.write_text(json.dumps(description))
    with pytest.raises(
        ModelFolderError, match=r"2_leads\.json: unreadable: .*band_order: expected 1"
    ):
        load_trained_model(folder, 2)


def test_a_folder_of_another_version_is_refused_with_both_formats(folder):
    for path in folder.glob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 4}))
    with pytest.raises(ModelFolderError, match=r"leads\.json: .* format 6, found format 4"):
        find_models(folder)
