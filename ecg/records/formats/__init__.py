"""An ECG file of any kind -> `Record`, by what is in the file, not by what its name ends in.

WFDB records, tables, DICOM, EDF, ISHNE, GE MUSE XML, Philips Sierra XML, HL7 aECG, SCP-ECG and
KardiaMobile's files. What some of them need is in requirements-formats.txt.
"""

from pathlib import Path

from ecg.records.formats.completion import complete
from ecg.records.formats.detection import HEAD, detect
from ecg.records.formats.dicom import read_dicom
from ecg.records.formats.edf import read_edf
from ecg.records.formats.ishne import read_ishne
from ecg.records.formats.kardia import read_atc
from ecg.records.formats.tables import read_table
from ecg.records.formats.vendor import KINDS, read_vendor
from ecg.records.formats.wfdb_record import header_of, read_wfdb
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
    """The recording in a file of any known kind; of what is longer than an hour the first one.

    path: the file; of a WFDB record its header, its signal file, or the name of both without
    ending. fs, unit, leads: of tables, see `ecg.records.formats.tables.read_table`. What was done
    to the leads is in the record's notes, see `ecg.records.formats.completion.complete`. Raises
    RecordError naming the file.
    """
    path = Path(path)
    if path.is_dir():
        raise RecordError(f"{path}: expected a file, found a folder")
    kind = _kind_of(path)
    if kind == "WFDB":
        record = read_wfdb(path)
    elif kind == "text":
        record = read_table(path, fs, unit, leads)
    elif kind in KINDS:
        record = read_vendor(path, kind)
    elif kind in _READERS:
        record = _READERS[kind](path)
    else:
        expected = _EXPECTED.format(header=header_of(path).name)
        raise RecordError(f"{path}: expected {expected}; found {kind}")
    return complete(record)


def _kind_of(path: Path) -> str:
    """As `detection.detect` says it, or "WFDB", whose signal files have no mark."""
    header = header_of(path)
    if not path.exists():
        return "WFDB" if header.is_file() else "none"
    if not path.is_file():
        return "another kind of file"
    try:
        with open(path, "rb") as file:
            kind = detect(file.read(HEAD))
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from error
    is_marked = kind in KINDS or kind in _READERS
    is_named = path.suffix.lower() in (".hea", ".mat", ".dat")
    if not is_marked and is_named and header.is_file():
        return "WFDB"
    return "a MATLAB file without a header" if kind == "MAT" else kind
