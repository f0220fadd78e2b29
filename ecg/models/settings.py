"""The `ECG_…` environment variables, read once into a frozen dataclass."""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import joblib

from ecg.models.architectures import NAMES
from ecg.records.leads import LEAD_SETS

PRESET_NAMES = ("full", "demo")
_ADDRESS = re.compile(r"(tcp|tls)://\S+:\d{1,5}", re.ASCII)


class SettingsError(ValueError):
    """An `ECG_…` variable of unknown name or value; the message lists the known ones."""


@dataclass(frozen=True)
class Settings:
    """What the environment asks of training.

    epochs: at most so many, None for the method's own. cache: folder of prepared arrays, None for
    a temporary one. workers: processes that read records. time_limit_h: hours for all models.
    debug: whether errors keep their trace, see `ecg.runtime.command_line`. dask: address of a
    scheduler, None for this machine alone.
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


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings of an environment; what it leaves out or empty has its default.

    Raises SettingsError.
    """
    given = {name: text.strip() for name, text in environ.items() if name.startswith("ECG_")}
    unknown = sorted(given.keys() - _READERS.keys())
    if unknown:
        raise SettingsError(
            f"{', '.join(unknown)}: unknown setting; the known ones are {', '.join(_READERS)}"
        )
    fields = {"workers": joblib.cpu_count()}
    for name, text in given.items():
        if text:
            field, read = _READERS[name]
            fields[field] = read(name, text)
    return Settings(**fields)


def _choice(known):
    def read(name, text):
        if text not in known:
            raise SettingsError(f"{name}: expected one of {', '.join(known)}; found '{text}'")
        return text

    return read


def _lead_sets(name, text):
    sizes = {size.strip() for size in text.split(",")}
    if not sizes <= {str(size) for size in LEAD_SETS}:
        raise SettingsError(
            f"{name}: expected some of {','.join(map(str, LEAD_SETS))}; found '{text}'"
        )
    return tuple(size for size in LEAD_SETS if str(size) in sizes)


def _whole_number(least, most=10**6):
    def read(name, text):
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise SettingsError(
                f"{name}: expected a whole number from {least} to {most}; found '{text}'"
            )
        return int(text)

    return read


def _hours(name, text):
    try:
        hours = float(text)
    except ValueError:
        hours = math.nan
    if not 0 < hours < math.inf:
        raise SettingsError(f"{name}: expected a positive number of hours; found '{text}'")
    return hours


def _flag(name, text):
    if text not in ("0", "1"):
        raise SettingsError(f"{name}: expected 0 or 1; found '{text}'")
    return text == "1"


def _address(name, text):
    if not _ADDRESS.fullmatch(text):
        raise SettingsError(f"{name}: expected tcp://HOST:PORT or tls://HOST:PORT; found '{text}'")
    return text


def _folder(name, text):
    return Path(text)


_READERS = {
    "ECG_METHOD": ("method", _choice(NAMES)),
    "ECG_PRESET": ("preset", _choice(PRESET_NAMES)),
    "ECG_LEADS": ("lead_sets", _lead_sets),
    "ECG_EPOCHS": ("epochs", _whole_number(1)),
    "ECG_SEED": ("seed", _whole_number(0, 2**32 - 1)),
    "ECG_CACHE": ("cache", _folder),
    "ECG_WORKERS": ("workers", _whole_number(1)),
    "ECG_TIME_LIMIT_H": ("time_limit_h", _hours),
    "ECG_DEBUG": ("debug", _flag),
    "ECG_DASK": ("dask", _address),
}
