"""Write a trained model as an ONNX file, which ONNX Runtime answers without this package.

The graph takes the inputs of the network (`ecg.models.inputs`) for any number of windows and
returns their calibrated probabilities. What comes before and after the network is in the file's
metadata, see `describe`: the preparation of a signal, the vote over windows, and the decision.
"""

import json
import tempfile
import warnings
from dataclasses import asdict
from pathlib import Path

import keras
import numpy as np
from scipy.special import expit

from ecg import __version__
from ecg.models.decisions import Decision, calibrate, decision_to_dict
from ecg.models.descriptions import read_description
from ecg.models.model_files import TrainedModel, load_trained_model
from ecg.models.operating_points import default_points, excluding, points_to_dict
from ecg.models.prediction import summarise_model
from ecg.records.diagnoses import DIAGNOSES
from ecg.records.leads import LEAD_SETS
from ecg.runtime.files import written_whole
from ecg.signals.measurements import RHYTHM, WAVES
from ecg.signals.preprocessing import Preparation

OUTPUT = "probabilities"
TOLERANCE = 1e-5  # the largest difference from Keras's probabilities
METADATA_FORMAT = "1"
_OPSET = 15  # tf2onnx's default; ONNX Runtime 1.10 and later run it
_BATCH_AXIS = "windows"
_LICENCE = (
    "BSD-3-Clause for the software; the weights may also be subject to the terms of the records "
    "that they were trained on"
)
_DEMOGRAPHICS = (
    "age in centuries, at most 1; 0 if unknown",
    "1 if the age is known, else 0",
    "1 if female, else 0",
    "1 if male, else 0",
)


def write_onnx(model_directory: str | Path, lead_set: int, path: str | Path, notice: str) -> float:
    """Write a folder's model for the lead set as an ONNX file; return its largest difference from
    Keras.

    The difference is that of the probabilities for made-up inputs, by ONNX Runtime on the CPU.
    notice: what the file's users must know, for its metadata. Raises ModelFolderError where there
    is no such model, and ValueError where a package of requirements-onnx.txt is missing, Keras does
    not run on TensorFlow, or the difference exceeds `TOLERANCE`; then nothing is written.
    """
    onnx = _import_converter()
    model = load_trained_model(model_directory, lead_set)
    digest = read_description(model_directory, lead_set)["weights"]["sha256"]
    converted = _convert(model)
    onnx.helper.set_model_props(converted, describe(model, digest, notice))
    onnx.checker.check_model(converted, full_check=True)
    content = converted.SerializeToString()
    difference = _largest_difference(model, content)
    if not difference <= TOLERANCE:  # put this way round so that NaN is refused too
        raise ValueError(
            f"{path}: not written: expected probabilities within {TOLERANCE:g} of Keras's, found a "
            f"difference of {difference:.2g}"
        )
    with written_whole(path) as unfinished:
        unfinished.write_bytes(content)
    return difference


def describe(model: TrainedModel, digest: str, notice: str) -> dict[str, str]:
    """Return the metadata of a model's ONNX file; all values but plain texts are JSON.

    digest: SHA-256 of the weights file. docs/export.md lists the entries.
    """
    summary, method, decision = summarise_model(model), model.method, model.decision
    values = {
        "leads": LEAD_SETS[model.lead_set],
        "preparation": asdict(method.preparation),
        "preparation_steps": _steps(method.preparation),
        "inputs": {name: shape[1:] for name, shape in _input_shapes(model).items()},
        "vote": decision.options.vote,
        "temperature": decision.temperature,
        "temperature_after_vote": _temperatures(model)[1],
        "classes": [diagnosis._asdict() for diagnosis in DIAGNOSES],
        "decision": _decision(decision),
    }
    if "measurements" in values["inputs"]:
        values["measurements"] = [
            *RHYTHM,
            *(f"{lead}: {wave}" for lead in LEAD_SETS[model.lead_set] for wave in WAVES),
        ]
    if "demographics" in values["inputs"]:
        values["demographics"] = _DEMOGRAPHICS
    return {
        "metadata_format": METADATA_FORMAT,
        "name": summary.name,
        "trained_on": summary.trained_on,
        "weights_sha256": digest,
        "ecg_version": __version__,
        "notice": notice,
        "licence": _LICENCE,
        **{name: json.dumps(value) for name, value in values.items()},
    }


def _import_converter():
    """Return the package onnx. Raises ValueError where something needed for writing is missing."""
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "writing ONNX: expected Keras on TensorFlow (KERAS_BACKEND=tensorflow), found "
            f"{keras.backend.backend()}"
        )
    try:
        import onnx
        import onnxruntime  # noqa: F401
        import tf2onnx  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"writing ONNX needs {error.name}: pip install -r requirements-onnx.txt -c "
            "constraints.txt"
        ) from error
    return onnx


def _convert(model: TrainedModel):
    """Return the network with calibrated probabilities as an `onnx.ModelProto`."""
    import onnx

    network = model.network
    odds = network.output / _temperatures(model)[0]
    network = keras.Model(network.input, keras.ops.sigmoid(odds), name=network.name)
    signature = [
        {
            name: keras.InputSpec("float32", shape, name=name)
            for name, shape in _input_shapes(model).items()
        }
    ]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # Keras asks for an attribute that NumPy is going to define.
        warnings.filterwarnings("ignore", "In the future `np.object`", FutureWarning)
        file = Path(folder, "model.onnx")
        network.export(
            file, format="onnx", verbose=False, input_signature=signature, opset_version=_OPSET
        )
        converted = onnx.load(file)
    converted.producer_name, converted.producer_version = "ecg", __version__
    _rename_output(converted.graph)
    for value in (*converted.graph.input, *converted.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = _BATCH_AXIS
    return converted


def _rename_output(graph) -> None:
    (output,) = graph.output
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [OUTPUT if name == output.name else name for name in names]
    output.name = OUTPUT


def _largest_difference(model: TrainedModel, content: bytes) -> float:
    """Return how far the ONNX model's probabilities of windows are from those that Keras's logits
    give, for batches of two sizes."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    differences = []
    for n_windows, size in ((1, 0.0), (1, 1.0), (4, 1.0), (4, 0.2)):
        inputs = {
            name: (size * random.standard_normal((n_windows, *shape[1:]))).astype(np.float32)
            for name, shape in _input_shapes(model).items()
        }
        logits = np.asarray(model.network(inputs, training=False), float)
        expected = calibrate(expit(logits), _temperatures(model)[0])
        (found,) = session.run([OUTPUT], inputs)
        differences.append(np.abs(found - expected).max())
    return float(np.max(differences))


def _input_shapes(model: TrainedModel) -> dict[str, tuple]:
    return {name: tuple(tensor.shape) for name, tensor in model.network.input.items()}


def _temperatures(model: TrainedModel) -> tuple[float, float]:
    """Return the temperature of the graph, and the one that is left for after the vote.

    A mean over windows is of probabilities that are not calibrated yet, so then the graph leaves
    the temperature out; with one window, or the largest of several, the order makes no difference.
    """
    decision = model.decision
    if decision.options.vote == "mean" and model.method.preparation.max_windows > 1:
        return 1.0, decision.temperature
    return decision.temperature, 1.0


def _decision(decision: Decision) -> dict:
    """Return both rules of `ecg.predict` with all their values."""
    values = decision_to_dict(decision)
    points = points_to_dict(decision.points or default_points())
    pairs = np.argwhere(np.triu(excluding()))
    names = [diagnosis.abbreviation for diagnosis in DIAGNOSES]
    challenge = asdict(decision.options) | {"thresholds": values["thresholds"]}
    if decision.options.rule == "expected_score":
        challenge["reward_matrix"] = decision.weights.tolist()
    return {
        "challenge": challenge,
        "clinical": points | {"excluding": [[names[i], names[j]] for i, j in pairs]},
    }


def _steps(preparation: Preparation) -> list[str]:
    """Return the steps of `ecg.signals.preprocessing.prepare` in words."""
    steps = [
        "signal in mV, a row per lead in the order of `leads`, zeros for a lead that is missing",
        f"cut to windows of {preparation.window_s:g} s (at the recording's rate, rounded up to a "
        f"sample) from its start, at most {preparation.max_windows}; "
        + (
            "one after another, the rest at the end is dropped; a recording shorter than a window "
            "is one window"
            if preparation.drop_tail
            else "spread evenly from the start to the end of what is used, so that they overlap "
            "where it is no multiple of a window; first samples rounded to even where halfway"
        ),
        "missing samples by linear interpolation, at the ends the nearest one",
        "subtract each lead's mean",
        f"resample to {preparation.fs:g} Hz by polyphase filtering (scipy.signal.resample_poly "
        "with its default filter)",
    ]
    if preparation.band_hz is not None:
        low, high = preparation.band_hz
        steps.append(
            f"band-pass {low:g} to {high:g} Hz: Butterworth of order {preparation.band_order} as "
            "second-order sections, forwards and backwards (scipy.signal.sosfiltfilt, padtype "
            '"even", padlen of one second)'
        )
    steps.append("subtract each lead's mean; zeros for a lead whose deviation is below 1e-6 mV")
    steps.append(
        "divide each lead by its standard deviation"
        if preparation.scale == "z_score"
        else "limit to -20 to 20 mV"
    )
    steps.append(f"append zeros up to {preparation.n_samples} samples; float32")
    return steps
