"""Models for export, and their ONNX files' answers by ONNX Runtime."""

import json
from dataclasses import replace

import numpy as np
import onnxruntime

from ecg.models.model_files import TrainedModel
from ecg.models.registry import build_network, find_method
from ecg.records.leads import TWELVE_LEADS
from ecg.records.record import Record
from tests.narrow import untrained_model
from tests.synthetic import beats

# 23 s: no multiple of any method's window.
RECORD = Record(
    "A1", beats(23 * 300, 300).astype(np.float32), 300.0, TWELVE_LEADS, 60.0, "Female", ()
)
_PLAIN_TEXTS = (
    *("metadata_format", "name", "trained_on", "weights_sha256", "ecg_version", "notice"),
    "licence",
)


def narrow_model(name, lead_set) -> TrainedModel:
    """The method's narrow network with random weights, which is calibrated."""
    return _with_random_weights(untrained_model(name, lead_set, temperature=1.3))


def demo_model(name, lead_set) -> TrainedModel:
    """The method's demo network with random weights, which is calibrated."""
    model, method = untrained_model(name, lead_set, temperature=1.3), find_method(name, "demo")
    network = build_network(method, lead_set, 26)
    return _with_random_weights(replace(model, method=method, network=network))


def _with_random_weights(model) -> TrainedModel:
    """The model, with normalisations and biases that do something."""
    random = np.random.default_rng(1)
    for weight in model.network.weights:
        if "moving_variance" in weight.path:
            weight.assign(random.uniform(0.5, 2, weight.shape))
        elif len(weight.shape) == 1 and weight.dtype == "float32":
            weight.assign(weight.numpy() + random.normal(0, 0.2, weight.shape))
    return model


def session_of(file) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])


def metadata_of(file) -> dict:
    """The file's metadata, read."""
    found = session_of(file).get_modelmeta().custom_metadata_map
    return {
        name: text if name in _PLAIN_TEXTS else json.loads(text) for name, text in found.items()
    }


def probabilities_of(file, inputs) -> np.ndarray:
    """A record's probabilities (26,), by what the metadata says of the vote."""
    (windows,) = session_of(file).run(None, inputs)
    metadata, windows = metadata_of(file), windows.astype(float)
    pooled = windows.max(axis=0) if metadata["vote"] == "any" else windows.mean(axis=0)
    odds = np.log(pooled / (1 - pooled)) / metadata["temperature_after_vote"]
    return 1 / (1 + np.exp(-odds))
