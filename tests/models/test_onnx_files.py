import json
import math
import sys
from dataclasses import replace
from fractions import Fraction

import keras
import numpy as np
import onnx
import pytest
from scipy.signal import butter, resample_poly, sosfiltfilt

from ecg.models import onnx_files
from ecg.models.descriptions import ModelFolderError, read_description
from ecg.models.inputs import InputOptions, record_inputs
from ecg.models.model_files import load_trained_model, save_model
from ecg.models.onnx_files import TOLERANCE, write_onnx
from ecg.models.predictor import Predictor
from ecg.models.registry import METHODS
from ecg.records.diagnoses import GROUPS
from ecg.records.leads import LEAD_SETS, TWELVE_LEADS
from tests.exported import RECORD, metadata_of, narrow_model, probabilities_of, session_of
from tests.narrow import made_up_inputs, untrained_model

NOTICE = "for tests only"


@pytest.fixture(scope="module", params=METHODS)
def written(request, tmp_path_factory):
    """(folder of a model for two leads, its ONNX file, the difference that was found)."""
    folder = tmp_path_factory.mktemp(request.param)
    save_model(narrow_model(request.param, 2), folder)
    file = folder / "model.onnx"
    return folder, file, write_onnx(folder, 2, file, NOTICE)


def test_a_file_is_valid_and_takes_any_number_of_windows(written):
    folder, file, difference = written
    onnx.checker.check_model(file, full_check=True)
    assert 0 <= difference <= TOLERANCE
    session = session_of(file)
    network = load_trained_model(folder, 2).network
    shapes = {part.name: part.shape for part in session.get_inputs()}
    assert shapes == {
        name: ["windows", *tensor.shape[1:]] for name, tensor in network.input.items()
    }
    (output,) = session.get_outputs()
    assert (output.name, output.shape) == ("probabilities", ["windows", 26])
    for n_windows in (1, 7):
        (found,) = session.run(None, made_up_inputs(network, n_windows))
        assert found.shape == (n_windows, 26)
        assert len(np.unique(found)) > 20
        assert ((found > 0) & (found < 1)).all()


def test_a_record_gets_the_predictors_probabilities(written):
    folder, file, _ = written
    predictor = Predictor(load_trained_model(folder, 2))
    inputs = record_inputs(RECORD, predictor.input_options)
    found = probabilities_of(file, inputs)
    np.testing.assert_allclose(found, predictor.probabilities(RECORD), atol=TOLERANCE)


def test_the_metadata_describes_inputs_classes_and_decision(written):
    folder, file, _ = written
    metadata, model = metadata_of(file), load_trained_model(folder, 2)
    assert tuple(metadata["leads"]) == LEAD_SETS[2]
    assert tuple("|".join(found["codes"]) for found in metadata["classes"]) == GROUPS
    digest = read_description(folder, 2)["weights"]["sha256"]
    assert (metadata["weights_sha256"], metadata["notice"]) == (digest, NOTICE)
    for name in ("measurements", "demographics"):
        assert (name in metadata) == (name in metadata["inputs"])
        if name in metadata:
            assert [len(metadata[name])] == metadata["inputs"][name]
    challenge = metadata["decision"]["challenge"]
    assert challenge["rule"] == model.decision.options.rule
    assert challenge["thresholds"] == model.decision.thresholds.tolist()
    assert ("reward_matrix" in challenge) == (challenge["rule"] == "expected_score")
    clinical = metadata["decision"]["clinical"]
    assert [found["finding"] for found in clinical["findings"]] == list(GROUPS)
    assert ["NSR", "AF"] in clinical["excluding"] or ["AF", "NSR"] in clinical["excluding"]


def prepared_by(metadata, record) -> np.ndarray:
    """The windows of a record by the steps of the metadata, without this package's own code."""
    how = metadata["preparation"]
    signal = np.stack(
        [
            record.signal[record.leads.index(lead)]
            if lead in record.leads
            else np.zeros(record.signal.shape[1])
            for lead in metadata["leads"]
        ]
    ).astype(float)
    length = math.ceil(how["window_s"] * record.fs)
    used = min(signal.shape[1], how["max_windows"] * length)
    if how["drop_tail"]:
        starts = [i * length for i in range(max(used // length, 1))]
    else:
        n_windows = math.ceil(used / length)
        starts = np.linspace(0, max(used - length, 0), n_windows).round().astype(int)
    return np.stack(
        [prepare_window(signal[:, i : i + length], record.fs, how, metadata) for i in starts]
    )


def prepare_window(window, fs, how, metadata) -> np.ndarray:
    for lead in window:
        missing = np.isnan(lead)
        lead[missing] = np.interp(*map(np.flatnonzero, (missing, ~missing)), lead[~missing])
    window = window - window.mean(axis=1, keepdims=True)
    up, down = Fraction(how["fs"] / fs).limit_denominator(1000).as_integer_ratio()
    window = resample_poly(window, up, down, axis=1)
    if how["band_hz"]:
        sections = butter(how["band_order"], how["band_hz"], "bandpass", fs=how["fs"], output="sos")
        pad = min(round(how["fs"]), window.shape[1] - 1)
        window = sosfiltfilt(sections, window, axis=1, padtype="even", padlen=pad)
    window = window - window.mean(axis=1, keepdims=True)
    window[window.std(axis=1) < 1e-6] = 0
    if how["scale"] == "z_score":
        window /= np.maximum(window.std(axis=1, keepdims=True), 1e-6)
    else:
        window = window.clip(-20, 20)
    n_samples = metadata["inputs"]["signal"][1]
    filled = np.zeros((len(window), n_samples), np.float32)
    filled[:, : window.shape[1]] = window[:, :n_samples]
    return filled


@pytest.mark.parametrize("duration_s", [3, 23])
@pytest.mark.parametrize("name", METHODS)
def test_the_metadata_is_enough_to_prepare_a_signal(name, duration_s):
    model = untrained_model(name, 12)
    described = onnx_files.describe(model, "0" * 64, NOTICE)
    metadata = {entry: json.loads(described[entry]) for entry in ("preparation", "leads", "inputs")}
    signal = RECORD.signal[:-1, : duration_s * 300].copy()  # without V6
    signal[2, 100:130] = np.nan
    signal[3] *= 60  # beyond 20 mV
    signal[4] = 0.7
    record = replace(RECORD, signal=signal, leads=TWELVE_LEADS[:-1])
    options = InputOptions(12, model.method.preparation, tuple(model.network.input))
    expected = record_inputs(record, options)["signal"]
    np.testing.assert_allclose(prepared_by(metadata, record), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "named", "not_named"),
    [
        ("multiscale_se", ("0.05 to 35 Hz", "100 Hz", "standard deviation"), "20 mV"),
        ("mtfnet", ("500 Hz", "-20 to 20 mV"), "band-pass"),
    ],
)
def test_the_steps_name_what_the_preparation_has(name, named, not_named):
    described = onnx_files.describe(untrained_model(name, 2), "0" * 64, NOTICE)
    steps = "; ".join(json.loads(described["preparation_steps"]))
    for part in named:
        assert part in steps
    assert not_named not in steps


@pytest.fixture
def folder(tmp_path):
    save_model(untrained_model("multiscale_se", 2), tmp_path / "model")
    return tmp_path / "model"


def test_nothing_is_written_where_the_answers_differ(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_files, "_largest_difference", lambda model, content: math.nan)
    file = tmp_path / "model.onnx"
    file.write_text("earlier")
    with pytest.raises(ValueError, match="not written: expected probabilities within 1e-05"):
        write_onnx(folder, 2, file, NOTICE)
    assert file.read_text() == "earlier"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "model.onnx"]


def test_a_difference_is_noticed(folder, tmp_path):
    write_onnx(folder, 2, tmp_path / "model.onnx", NOTICE)
    model = load_trained_model(folder, 2)
    bias = model.network.layers[-1].bias
    bias.assign(bias + 0.01)
    content = (tmp_path / "model.onnx").read_bytes()
    assert onnx_files._largest_difference(model, content) > 1e-4


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "tf2onnx"])
def test_a_missing_package_is_an_error_that_says_how_to_install_it(package, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=f"needs {package}: pip install -r requirements-onnx.txt"):
        write_onnx(folder, 2, folder / "model.onnx", NOTICE)


def test_another_backend_is_an_error(folder, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match=r"expected Keras on TensorFlow .* found jax"):
        write_onnx(folder, 2, folder / "model.onnx", NOTICE)


def test_a_lead_set_without_a_model_is_an_error(folder):
    with pytest.raises(ModelFolderError, match=r"12_leads\.json: expected a trained model"):
        write_onnx(folder, 12, folder / "model.onnx", NOTICE)
