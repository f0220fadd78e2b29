"""Finished models as the start of a training."""

from dataclasses import dataclass, replace
from pathlib import Path

from ecg.models.descriptions import ModelFolderError, model_paths, read_description
from ecg.models.method import Method, method_to_dict
from ecg.models.model_files import load_trained_model
from ecg.models.registry import method_from_dict
from ecg.runtime.files import digest_files
from ecg.training.fit import Start

# Parts of a method that have to be equal: the others say how it was trained.
_SHARED = ("name", "architecture", "network", "preparation", "decision")
# What a model's JSON keeps of its start's training log: no histories, which are in the start's own.
_KEPT = ("n_training", "n_validation", "n_simulated", "sources", "digest", "method")


@dataclass(frozen=True)
class StartModel:
    """A model of a model folder from which a training starts.

    digest: of its JSON file and its weights. network: options of its network.
    """

    folder: Path
    lead_set: int
    digest: str
    network: object

    def continued_by(self, method: Method) -> Method:
        """Return the method with the start's network, which may be larger than the user's few
        records would have."""
        return replace(method, network=self.network)


def find_start(folder: Path, method: Method, lead_set: int) -> StartModel:
    """Return the folder's model for the lead set, to start a training of `method` from.

    Reads its JSON file only, so that an error shows before records are prepared. Its network may be
    that of the method for any number of records. Raises ModelFolderError where there is no such
    model, or where it differs from the method in more than its training.
    """
    weights_file, json_file = model_paths(folder, lead_set)
    description = read_description(folder, lead_set)
    try:
        found = method_from_dict(description["method"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFolderError(f"{json_file}: unreadable: {error!r}") from error
    if found.network in (step.network for step in method.by_size):
        method = replace(method, network=found.network)
    values, expected = method_to_dict(found), method_to_dict(method)
    # By name first: with another name, all else may differ.
    for part in _SHARED:
        if values[part] != expected[part]:
            difference = _difference(part, expected[part], values[part])
            raise ModelFolderError(
                f"{json_file}: to start from this model, {difference} (see ECG_METHOD, ECG_PRESET)"
            )
    if not weights_file.is_file():
        raise ModelFolderError(f"{weights_file}: expected the model's weights, found none")
    digest = digest_files(json_file, weights_file)
    return StartModel(folder, lead_set, digest, found.network)


def read_start(model: StartModel) -> Start:
    """Return the start with its weights and decision.

    Raises ModelFolderError where a file is damaged, or has changed since `find_start`.
    """
    weights_file, json_file = model_paths(model.folder, model.lead_set)
    trained = load_trained_model(model.folder, model.lead_set)
    if digest_files(json_file, weights_file) != model.digest:
        raise ModelFolderError(
            f"{json_file}: expected the model as it was when this training started, found another"
        )
    log = _record_numbers(trained.training_log)
    log |= {"digest": model.digest, "method": trained.method.name}
    return Start(trained.network.get_weights(), trained.prevalence, log, trained.decision)


def _record_numbers(log: dict | None) -> dict | None:
    """Return what a training log, and those of the stages before it, say about their records."""
    if log is None:
        return None
    numbers = {name: log[name] for name in _KEPT if name in log}
    return numbers | {"start": _record_numbers(log.get("start"))}


def _difference(part: str, expected, found) -> str:
    """Return a phrase on the options of a method's part that differ."""
    if not isinstance(expected, dict):
        return f"expected {part} {expected}, found {found}"
    names = [name for name in expected if expected[name] != found.get(name)]
    return "; ".join(
        f"expected {part}.{name} {expected[name]}, found {found.get(name)}" for name in names
    )
