"""A model folder's JSON files, which say of each model what it is; read without Keras."""

import json
from pathlib import Path

from ecg.records.leads import LEAD_SETS

FORMAT = 4


class ModelFolderError(ValueError):
    """A model folder that is incomplete or damaged; the message names the file."""


def model_paths(folder: str | Path, lead_set: int) -> tuple[Path, Path]:
    """The lead set's two files: weights and description."""
    folder = Path(folder)
    return folder / f"{lead_set}_leads.weights.h5", folder / f"{lead_set}_leads.json"


def read_description(folder: str | Path, lead_set: int) -> dict:
    """What the lead set's JSON says. Raises ModelFolderError where it is missing or unreadable."""
    _, path = model_paths(folder, lead_set)
    try:
        description = json.loads(path.read_text())
    except FileNotFoundError as error:
        missing = ", ".join(map(str, missing_models(folder)))
        raise ModelFolderError(
            f"{path}: expected a trained model, found none (the folder lacks {missing} leads)"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFolderError(f"{path}: unreadable: {error}") from error
    if not _has_format(description):
        raise ModelFolderError(f"{path}: expected a model description of format {FORMAT}")
    return description


def find_models(folder: str | Path) -> list[int]:
    """The lead sets that the folder has a model for. Raises ModelFolderError where it has none."""
    missing = missing_models(folder)
    if len(missing) == len(LEAD_SETS):
        raise ModelFolderError(
            f"{folder}: expected a folder with trained models (such as 12_leads.json), found none"
        )
    return [size for size in LEAD_SETS if size not in missing]


def missing_models(folder: str | Path) -> list[int]:
    """The lead sets that the folder has no model for, or one of another format."""
    return [size for size in LEAD_SETS if not _has_model(folder, size)]


def _has_model(folder: str | Path, lead_set: int) -> bool:
    weights_file, json_file = model_paths(folder, lead_set)
    try:
        return weights_file.is_file() and _has_format(json.loads(json_file.read_text()))
    except (OSError, ValueError, RecursionError):
        return False


def _has_format(description) -> bool:
    return isinstance(description, dict) and description.get("format") == FORMAT
