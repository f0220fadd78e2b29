"""The JSON file that describes each model of a model folder; read without loading Keras."""

import json
from pathlib import Path

from ecg.records.leads import LEAD_SETS

FORMAT = 5


class ModelFolderError(ValueError):
    """A model folder that is incomplete or damaged; the message names the file."""


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
