"""A trained model <-> its two files: weights (HDF5) and a JSON that says everything else.

Nothing in them is executed on loading: the network is built by this package from the options in
the JSON, then takes its weights.
"""

import json
import math
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

import h5py
import joblib
import keras
import numpy as np
import scipy

from ecg.models.decisions import Decision, decision_from_dict, decision_to_dict
from ecg.models.descriptions import FORMAT, ModelFolderError, model_paths, read_description
from ecg.models.method import Method, method_to_dict
from ecg.models.registry import build_network, method_from_dict
from ecg.records.diagnoses import GROUPS, N_CLASSES
from ecg.records.leads import LEAD_SETS
from ecg.runtime.files import check_room, digest_files, written_whole

_SPARE_BYTES = 2**20  # of HDF5's own, and the description
_SPARE_NUMBERS = 10_000


@dataclass(frozen=True)
class TrainedModel:
    """A network with all that its answers depend on.

    decision: what its probabilities are calibrated by and its labels follow from. prevalence:
    (26,), share of training records with the class. evidence: how it was trained and what it
    scored, for the JSON.
    """

    network: keras.Model
    method: Method
    lead_set: int
    decision: Decision
    prevalence: np.ndarray
    evidence: dict


def save_model(model: TrainedModel, folder: str | Path) -> None:
    """Writes `12_leads.weights.h5` and `12_leads.json` (and so on), each whole or not at all.

    The JSON goes last and holds the weights' digest: a pair that was cut off does not load.
    Raises OSError where there is not the room for them.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights_file, json_file = model_paths(folder, model.lead_set)
    # HDF5 crashes, and not always with an error, where the disk is full.
    n_bytes = sum(weights.nbytes for weights in model.network.get_weights())
    check_room(folder, 2 * n_bytes + _SPARE_BYTES, f"the model of {model.lead_set} leads")
    # Keras insists on the ending .weights.h5.
    with written_whole(weights_file, lasting=True) as unfinished:
        model.network.save_weights(unfinished)
    method = method_to_dict(model.method)
    description = {
        "format": FORMAT,
        "method": method,
        "lead_set": model.lead_set,
        "leads": LEAD_SETS[model.lead_set],
        "classes": GROUPS,
        "decision": decision_to_dict(model.decision),
        "prevalence": model.prevalence.tolist(),
        "weights": {"file": weights_file.name, "sha256": digest_files(weights_file)},
        "evidence": model.evidence,
        "versions": versions(),
    }
    with written_whole(json_file, lasting=True) as unfinished:
        unfinished.write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")


def versions() -> dict[str, str]:
    """Of Python, and of the packages that a training depends on, the backend's name among them."""
    return {
        "python": platform.python_version(),
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        keras.backend.backend(): sys.modules[keras.backend.backend()].__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "joblib": joblib.__version__,
    }


def load_trained_model(folder: str | Path, lead_set: int) -> TrainedModel:
    """The model that `save_model` wrote for this lead set, in float32 on any device.

    Raises ModelFolderError where a file is missing, changed since, or not what it should be.
    """
    weights_file, json_file = model_paths(Path(folder), lead_set)
    description = read_description(folder, lead_set)
    try:
        method = method_from_dict(description["method"])
        network = build_network(method, lead_set, N_CLASSES)
        decision = decision_from_dict(description["decision"], method.decision)
        prevalence = np.array(description["prevalence"], float)
        expected_digest = description["weights"]["sha256"]
        evidence = dict(description["evidence"])
        facts = (
            ("lead_set", description["lead_set"], lead_set),
            ("leads", tuple(description["leads"]), LEAD_SETS[lead_set]),
            ("classes", tuple(description["classes"]), GROUPS),
            ("number of prevalences", prevalence.shape, (N_CLASSES,)),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelFolderError(f"{json_file}: unreadable: {error!r}") from error
    for what, found, expected in facts:
        if found != expected:
            raise ModelFolderError(f"{json_file}: {what}: expected {expected}, found {found}")
    # Written so that NaN, which is neither, is refused too.
    if not ((prevalence >= 0) & (prevalence <= 1)).all():
        raise ModelFolderError(f"{json_file}: expected prevalences in [0, 1]")
    if not weights_file.is_file():
        raise ModelFolderError(f"{weights_file}: expected the model's weights, found none")
    if digest_files(weights_file) != expected_digest:
        raise ModelFolderError(f"{weights_file}: not the weights that {json_file.name} describes")
    try:
        _check_sizes(weights_file, network)
        network.load_weights(weights_file)
    except (OSError, ValueError, KeyError) as error:
        raise ModelFolderError(f"{weights_file}: does not fit the network: {error}") from error
    if not all(np.isfinite(weights).all() for weights in network.get_weights()):
        raise ModelFolderError(f"{weights_file}: expected finite weights, found others")
    return TrainedModel(network, method, lead_set, decision, prevalence, evidence)


def _check_sizes(weights_file: Path, network: keras.Model) -> None:
    """Refuses a file of far more numbers than the network has: a small one may unpack to any size,
    or hold something else. Raises ValueError."""
    n_numbers = 0

    def count(name, part):
        nonlocal n_numbers
        if isinstance(part, h5py.Dataset):
            if part.dtype.kind not in "fiu" or part.external or part.shape is None:
                found = "an empty data set" if part.shape is None else part.dtype
                raise ValueError(f"expected numbers, found {found} in {name}")
            n_numbers += part.size

    with h5py.File(weights_file) as file:
        file.visititems(count)
    # Keras writes some layers' random seeds too, a few numbers each.
    most = sum(math.prod(variable.shape) for variable in network.variables) + _SPARE_NUMBERS
    if n_numbers > most:
        raise ValueError(f"expected at most {most} numbers, found {n_numbers}")
