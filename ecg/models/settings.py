"""The `ECG_…` environment variables, read once into a frozen dataclass."""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import joblib

from ecg.models.architectures import NAMES
from ecg.models.descriptions import find_model_folder, find_models
from ecg.records.leads import LEAD_SETS
from ecg.runtime.command_line import parse_whole_number

PRESET_NAMES = ("full", "demo")
_MOST = 10**6  # epochs or processes; more is a slip
_ADDRESS = re.compile(r"(tcp|tls)://\S+:\d{1,5}", re.ASCII)


class SettingsError(ValueError):
    """An `ECG_…` variable of unknown name or value; the message lists the known ones."""


@dataclass(frozen=True)
class Settings:
    """The settings of training.

    epochs: an upper limit; None for the method's number. cache: folder for prepared arrays; None
    for a temporary one. workers: processes that read records. time_limit_h: hours for all models.
    debug: whether errors show their traceback, see `ecg.runtime.command_line`. dask: address of a
    scheduler; None to use this machine only. start: folder of the models that training goes on
    from; None to train from scratch.
    """

    method: str = "multiscale_se"
    preset: str = "full"
    lead_sets: tuple[int, ...] = tuple(LEAD_SETS)
    epochs: int | None = None
    seed: int = 0
    cache: Path | None = None
    workers: int = 1
    time_limit_h: float = 40.0
    debug: bool = False
    dask: str | None = None
    start: Path | None = None


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings of an environment; variables that are missing or empty have their
    defaults.

    Raises SettingsError.
    """
    given = {name: text.strip() for name, text in environ.items() if name.startswith("ECG_")}
    unknown = sorted(given.keys() - _SETTINGS.keys())
    if unknown:
        raise SettingsError(
            f"{', '.join(unknown)}: unknown setting; the known ones are {', '.join(_SETTINGS)}"
        )
    fields = {"workers": joblib.cpu_count()}
    for name, text in given.items():
        if text:
            field, parse = _SETTINGS[name]
            try:
                fields[field] = parse(text)
            except ValueError as error:
                raise SettingsError(f"{name}: {error}") from error
    return Settings(**fields)


def _choice(known):
    def parse(text):
        if text not in known:
            raise ValueError(f"expected one of {', '.join(known)}; found '{text}'")
        return text

    return parse


def _lead_sets(text):
    sizes = {size.strip() for size in text.split(",")}
    if not sizes <= {str(size) for size in LEAD_SETS}:
        raise ValueError(f"expected some of {','.join(map(str, LEAD_SETS))}; found '{text}'")
    return tuple(size for size in LEAD_SETS if str(size) in sizes)


def _hours(text):
    try:
        hours = float(text)
    except ValueError:
        hours = math.nan
    if not 0 < hours < math.inf:
        raise ValueError(f"expected a positive number of hours, found '{text}'")
    return hours


def _flag(text):
    if text not in ("0", "1"):
        raise ValueError(f"expected 0 or 1, found '{text}'")
    return text == "1"


def _model_folder(text):
    folder = find_model_folder(text)
    find_models(folder)  # raises ModelFolderError, a ValueError, where there are none
    return folder


def _address(text):
    if not _ADDRESS.fullmatch(text):
        raise ValueError(f"expected tcp://HOST:PORT or tls://HOST:PORT, found '{text}'")
    return text


# Name of the variable -> field of `Settings`, and the parser, which raises ValueError.
_SETTINGS = {
    "ECG_METHOD": ("method", _choice(NAMES)),
    "ECG_PRESET": ("preset", _choice(PRESET_NAMES)),
    "ECG_LEADS": ("lead_sets", _lead_sets),
    "ECG_EPOCHS": ("epochs", partial(parse_whole_number, least=1, below=_MOST + 1)),
    "ECG_SEED": ("seed", partial(parse_whole_number, least=0, below=2**32)),
    "ECG_CACHE": ("cache", Path),
    "ECG_WORKERS": ("workers", partial(parse_whole_number, least=1, below=_MOST + 1)),
    "ECG_TIME_LIMIT_H": ("time_limit_h", _hours),
    "ECG_DEBUG": ("debug", _flag),
    "ECG_DASK": ("dask", _address),
    "ECG_START": ("start", _model_folder),
}
