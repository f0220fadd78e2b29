"""The JSON file that describes each model of a model folder; read without loading Keras."""

import json
from pathlib import Path

from ecg.records.leads import LEAD_SETS

FORMAT = 6
STARTER = "starter"  # the word for the models that the project ships

_PACKAGE = Path(__file__).parents[1]


class ModelFolderError(ValueError):
    """A model folder that is missing, incomplete, damaged or unsuitable; the message names the
    file."""


def find_model_folder(name_or_path: str | Path) -> Path:
    """Return the model folder that a user names: a path, or "starter" for the shipped models.

    A folder of the user's that is called so is "./starter"; a `Path` is always a path. Raises
    ModelFolderError where no starter models are installed; whether a path leads to models is for
    `find_models` to say.
    """
    if str(name_or_path) != STARTER or isinstance(name_or_path, Path):
        return Path(name_or_path)
    # An installed package contains them; in the repository they are at the root.
    folders = [_PACKAGE / STARTER, _PACKAGE.parent / STARTER]
    for folder in folders:
        if folder.is_dir():
            return folder
    raise ModelFolderError(
        f"{STARTER}: no starter models are installed: expected the folder {folders[0]} or "
        f"{folders[1]}, found none (a folder of your own: ./{STARTER})"
    )


def model_paths(folder: str | Path, lead_set: int) -> tuple[Path, Path]:
    """Paths of the lead set's weights and of its description."""
    folder = Path(folder)
    return folder / f"{lead_set}_leads.weights.h5", folder / f"{lead_set}_leads.json"


def read_description(folder: str | Path, lead_set: int) -> dict:
    """Return the content of the lead set's JSON file.

    Raises ModelFolderError where the file is missing, unreadable or of another format.
    """
    _, path = model_paths(folder, lead_set)
    if not path.exists():
        missing = ", ".join(map(str, missing_models(folder)))
        raise ModelFolderError(
            f"{path}: expected a trained model, found none (no model for {missing} leads)"
        )
    return _read(path)


def find_models(folder: str | Path) -> list[int]:
    """Return the lead sets that the folder has a model for.

    Raises ModelFolderError where it has none, or none that can be used.
    """
    missing = missing_models(folder)
    if len(missing) < len(LEAD_SETS):
        return [lead_set for lead_set in LEAD_SETS if lead_set not in missing]
    for lead_set in LEAD_SETS:
        if model_paths(folder, lead_set)[1].exists():
            read_description(folder, lead_set)  # raises for another format or a damaged file
    raise ModelFolderError(
        f"{folder}: expected a folder with trained models (such as 12_leads.json), found none"
    )


def missing_models(folder: str | Path) -> list[int]:
    """Return the lead sets without a usable model in the folder: missing, incomplete or another
    format."""
    return [lead_set for lead_set in LEAD_SETS if not _has_model(folder, lead_set)]


def describe_training(log: dict, counted: bool = False) -> str:
    """Return a phrase on the records that a model was trained on.

    log: its `training_log`. counted: whether the number of records of each source is given.
    """
    if "n_simulated" not in log:
        return "records that are not known"
    n_records, n_simulated = sum(log["sources"].values()), log["n_simulated"]
    if n_records == n_simulated:
        return f"{n_records:,} simulated records, and no real one"
    most = sorted(log["sources"].items(), key=lambda item: -item[1] if counted else 0)
    sources = ", ".join(f"{name} ({n:,})" if counted else name for name, n in most)
    text = f"{n_records:,} records of {sources if len(log['sources']) <= 8 else 'many sources'}"
    if n_simulated:
        text += f", {n_simulated:,} of them simulated"
    start = log.get("start")
    if start and "digest" in start:
        return f"{text}, starting from a model trained on {describe_training(start, counted)}"
    return f"{text}, after {start['n_training']:,} simulated records" if start else text


def _has_model(folder: str | Path, lead_set: int) -> bool:
    weights_file, json_file = model_paths(folder, lead_set)
    try:
        return weights_file.is_file() and bool(_read(json_file))
    except ModelFolderError:
        return False


def _read(path: Path) -> dict:
    try:
        description = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFolderError(f"{path}: unreadable: {error}") from error
    found = description.get("format") if isinstance(description, dict) else None
    if found != FORMAT:
        raise ModelFolderError(
            f"{path}: expected a model description of format {FORMAT}, found format {found}"
        )
    return description
