"""Tasks of processes that read ahead; in a module that such a process imports in no time."""

import os
from pathlib import Path

from ecg.models.inputs import read_inputs


def fifth_of(number: int) -> int:
    if number < 0:
        raise ValueError("negative")
    return number // 5


def touch(path: Path) -> None:
    path.touch()


def die_once(file: Path) -> str:
    """The file's name; the process ends where that is "always", or "once" and there is no file."""
    if file.name == "always" or (file.name == "once" and not file.exists()):
        file.touch()
        os._exit(9)
    return file.name


def lost(file: Path) -> str:
    return f"{file.name} lost"


def die_at_one_record(files, **options):
    """`ecg.models.inputs.read_inputs`; ends the process where the record 1R1 is among them."""
    if any(one.name == "1R1" for one in files):
        os._exit(9)
    return read_inputs(files, **options)
