"""Read an ECG file of any supported format, which is recognised by its content.

Formats: WFDB, tables (CSV), DICOM, EDF, ISHNE, GE MUSE XML, Philips Sierra XML, HL7 aECG, SCP-ECG
and KardiaMobile. Some need the packages in requirements-formats.txt.
"""

from pathlib import Path

from ecg.records.formats.completion import complete
from ecg.records.formats.detection import HEAD_BYTES, detect_format
from ecg.records.formats.dicom import read_dicom
from ecg.records.formats.edf import read_edf
from ecg.records.formats.ishne import read_ishne
from ecg.records.formats.kardia import read_atc
from ecg.records.formats.tables import read_table
from ecg.records.formats.vendor import VENDOR_FORMATS, read_vendor
from ecg.records.formats.wfdb_record import header_path, read_wfdb
from ecg.records.headers import RecordError
from ecg.records.record import Record

_READERS = {"DICOM": read_dicom, "EDF": read_edf, "ISHNE": read_ishne, "ATC": read_atc}
_EXPECTED = (
    "a WFDB record (with {header}), a table (CSV), DICOM, EDF, GE MUSE XML, Philips Sierra XML, "
    "HL7 aECG, SCP-ECG, ISHNE or a Kardia file"
)


def read_ecg(
    path: str | Path,
    fs: float | None = None,
    unit: str | None = None,
    leads: tuple[str, ...] | None = None,
) -> Record:
    """Read an ECG file; at most its first hour.

    path: the file; for a WFDB record the header, the signal file, or both without extension.
    fs, unit, leads: for tables, see `ecg.records.formats.tables.read_table`.
    Changes to the leads are listed in the record's notes, see
    `ecg.records.formats.completion.complete`. Raises RecordError naming the file.
    """
    path = Path(path)
    if path.is_dir():
        raise RecordError(f"{path}: expected a file, found a folder")
    kind = _detect_kind(path)
    if kind == "WFDB":
        record = read_wfdb(path)
    elif kind == "text":
        record = read_table(path, fs, unit, leads)
    elif kind in VENDOR_FORMATS:
        record = read_vendor(path, kind)
    elif kind in _READERS:
        record = _READERS[kind](path)
    else:
        expected = _EXPECTED.format(header=header_path(path).name)
        raise RecordError(f"{path}: expected {expected}; found {kind}")
    return complete(record)


def _detect_kind(path: Path) -> str:
    """Return the format as `detection.detect_format` does, or "WFDB", which has no signature."""
    header = header_path(path)
    if not path.exists():
        return "WFDB" if header.is_file() else "none"
    if not path.is_file():
        return "an unknown kind of file"
    try:
        with open(path, "rb") as file:
            kind = detect_format(file.read(HEAD_BYTES))
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from error
    has_signature = kind in VENDOR_FORMATS or kind in _READERS
    has_extension = path.suffix.lower() in (".hea", ".mat", ".dat")
    if not has_signature and has_extension and header.is_file():
        return "WFDB"
    return "a MATLAB file without a header" if kind == "MAT" else kind
