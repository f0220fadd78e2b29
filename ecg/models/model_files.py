"""Save and load a trained model: its weights (HDF5) and everything else (JSON).

Loading executes nothing from these files: the network is built by this package from the options in
the JSON, then the weights are read into it.
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

_OVERHEAD_BYTES = 2**20  # of HDF5, and the description
_MAX_EXTRA_NUMBERS = 10_000  # Keras also saves some layers' random seeds, a few numbers each


@dataclass(frozen=True)
class TrainedModel:
    """A trained network and everything else that its answers depend on.

    decision: calibrates the probabilities and derives the labels from them. prevalence: (26,), the
    share of training records with each class; in fine-tuning, the start's for a class that none of
    the records has. training_log: how the network was trained and its
    validation scores, as JSON can hold them.
    """

    network: keras.Model
    method: Method
    lead_set: int
    decision: Decision
    prevalence: np.ndarray
    training_log: dict


def save_model(model: TrainedModel, folder: str | Path) -> None:
    """Write `12_leads.weights.h5` and `12_leads.json` (for 12 leads), each whole or not at all.

    The JSON is written last and holds the weights' digest, so an incomplete pair does not load.
    Raises OSError where there is not enough disk space.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights_file, json_file = model_paths(folder, model.lead_set)
    # On a full disk HDF5 may crash without raising an error.
    n_bytes = sum(weights.nbytes for weights in model.network.get_weights())
    check_room(folder, 2 * n_bytes + _OVERHEAD_BYTES, f"the model for {model.lead_set} leads")
    # Keras requires the ending .weights.h5.
    with written_whole(weights_file, lasting=True) as unfinished:
        model.network.save_weights(unfinished)
    description = {
        "format": FORMAT,
        "method": method_to_dict(model.method),
        "lead_set": model.lead_set,
        "leads": LEAD_SETS[model.lead_set],
        "classes": GROUPS,
        "decision": decision_to_dict(model.decision),
        "prevalence": model.prevalence.tolist(),
        "weights": {"file": weights_file.name, "sha256": digest_files(weights_file)},
        "training_log": model.training_log,
        "versions": versions(),
    }
    with written_whole(json_file, lasting=True) as unfinished:
        unfinished.write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that training depends on, and the backend's name."""
    backend = keras.backend.backend()
    return {
        "python": platform.python_version(),
        "keras": keras.__version__,
        "backend": backend,
        backend: sys.modules[backend].__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "joblib": joblib.__version__,
    }


def load_trained_model(folder: str | Path, lead_set: int) -> TrainedModel:
    """Return the model that `save_model` wrote for this lead set, in float32 on any device.

    Raises ModelFolderError where a file is missing, was changed since, or does not hold what it
    should.
    """
    weights_file, json_file = model_paths(Path(folder), lead_set)
    description = read_description(folder, lead_set)
    try:
        method = method_from_dict(description["method"])
        network = build_network(method, lead_set, N_CLASSES)
        decision = decision_from_dict(description["decision"], method.decision)
        prevalence = np.array(description["prevalence"], float)
        expected_digest = description["weights"]["sha256"]
        training_log = dict(description["training_log"])
        checks = (
            ("lead_set", description["lead_set"], lead_set),
            ("leads", tuple(description["leads"]), LEAD_SETS[lead_set]),
            ("classes", tuple(description["classes"]), GROUPS),
            ("number of prevalences", prevalence.shape, (N_CLASSES,)),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelFolderError(f"{json_file}: unreadable: {error!r}") from error
    for name, found, expected in checks:
        if found != expected:
            raise ModelFolderError(f"{json_file}: {name}: expected {expected}, found {found}")
    # Put this way round so that NaN is refused too.
    if not ((prevalence >= 0) & (prevalence <= 1)).all():
        raise ModelFolderError(f"{json_file}: expected prevalences from 0 to 1, found others")
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
    return TrainedModel(network, method, lead_set, decision, prevalence, training_log)


def _check_sizes(weights_file: Path, network: keras.Model) -> None:
    """Raise ValueError where the file holds far more numbers than the network, or not numbers.

    A small compressed file could otherwise fill the memory when it is read.
    """
    n_numbers = 0

    def count(name, item):
        nonlocal n_numbers
        if isinstance(item, h5py.Dataset):
            if item.dtype.kind not in "fiu" or item.external or item.shape is None:
                found = "an empty data set" if item.shape is None else item.dtype
                raise ValueError(f"expected numbers, found {found} in {name}")
            n_numbers += item.size

    with h5py.File(weights_file) as file:
        file.visititems(count)
    n_variables = sum(math.prod(variable.shape) for variable in network.variables)
    n_allowed = n_variables + _MAX_EXTRA_NUMBERS
    if n_numbers > n_allowed:
        raise ValueError(f"expected at most {n_allowed} numbers, found {n_numbers}")
