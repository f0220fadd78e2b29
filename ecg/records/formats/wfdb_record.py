"""WFDB records: a header, and the signal files beside it."""

from pathlib import Path

from ecg.records.discovery import RecordFiles
from ecg.records.formats.building import LONGEST_S
from ecg.records.headers import RecordError
from ecg.records.record import Record, read_record

_ENDINGS = (".hea", ".mat", ".dat")


def header_of(path: Path) -> Path:
    """Where the header of a WFDB record is, given the header, a signal file, or the name of both
    without ending."""
    stem = path.with_suffix("") if path.suffix.lower() in _ENDINGS else path
    return stem.with_name(f"{stem.name}.hea")


def read_wfdb(path: Path, duration_s: float = LONGEST_S) -> Record:
    """The record that `path` belongs to, see `header_of`. Raises RecordError naming the file."""
    header = header_of(path)
    if not header.is_file():
        raise RecordError(f"{path}: expected a WFDB record (with {header.name}), found none")
    stem = header.with_suffix("").name
    signals = (header.with_name(f"{stem}{ending}") for ending in (".mat", ".dat"))
    recording = next((file for file in signals if file.is_file()), header)
    return read_record(RecordFiles(header, recording), duration_s)
