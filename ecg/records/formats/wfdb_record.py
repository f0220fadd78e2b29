"""Read WFDB records: a header with signal files beside it."""

from pathlib import Path

from ecg.records.discovery import RecordFiles
from ecg.records.formats.building import MAX_DURATION_S
from ecg.records.headers import RecordError
from ecg.records.record import Record, read_record

_EXTENSIONS = (".hea", ".mat", ".dat")


def header_path(path: Path) -> Path:
    """Return the path of a WFDB record's header.

    path: the header, a signal file, or both without extension.
    """
    stem = path.with_suffix("") if path.suffix.lower() in _EXTENSIONS else path
    return stem.with_name(f"{stem.name}.hea")


def read_wfdb(path: Path, start_s: float = 0.0, duration_s: float = MAX_DURATION_S) -> Record:
    """Read the record of `path`, see `header_path`, from `start_s` on.

    Raises RecordError naming the file.
    """
    header = header_path(path)
    if not header.is_file():
        raise RecordError(f"{path}: expected a WFDB record (with {header.name}), found none")
    stem = header.with_suffix("").name
    signals = (header.with_name(f"{stem}{extension}") for extension in (".mat", ".dat"))
    recording = next((file for file in signals if file.is_file()), header)
    return read_record(RecordFiles(header, recording), duration_s, start_s)
