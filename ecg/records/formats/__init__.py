"""Read an ECG file of any supported format, which is recognised by its content.

Formats: WFDB, tables (CSV), DICOM, EDF, ISHNE, GE MUSE XML, Philips Sierra XML, HL7 aECG, SCP-ECG
and KardiaMobile. Some need the packages in requirements-formats.txt.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ecg.records.formats.building import MAX_DURATION_S
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
from ecg.records.record import NoSamplesError, Record
from ecg.signals.preprocessing import window_length

_BLOCK_READERS = {"WFDB": read_wfdb, "EDF": read_edf, "ISHNE": read_ishne}
_READERS = {"DICOM": read_dicom, "ATC": read_atc}
_TABLE_EXTENSIONS = (".csv", ".tsv", ".txt")
_CUT = "only the first hour was read"
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
    """Read an ECG file; at most its first hour, see `read_blocks`.

    path: the file; for a WFDB record the header, the signal file, or both without extension.
    fs, unit, leads: for tables, see `ecg.records.formats.tables.read_table`.
    Changes to the leads are listed in the record's notes, see
    `ecg.records.formats.completion.complete`. Raises RecordError naming the file.
    """
    path = Path(path)
    return complete(_read(path, detect_kind(path), fs, unit, leads))


def read_blocks(
    path: str | Path,
    fs: float | None = None,
    unit: str | None = None,
    leads: tuple[str, ...] | None = None,
) -> Iterator[Record]:
    """Yield an ECG file as consecutive records of at most an hour, whatever its length.

    WFDB, EDF and ISHNE files are read block by block, in flat memory but for WFDB's `.mat` files.
    Files of the other formats yield their first hour alone, with a warning if they may be longer.
    Arguments and errors as for `read_ecg`.
    """
    path = Path(path)
    kind = detect_kind(path)
    block, start_s = _read(path, kind, fs, unit, leads), 0.0
    read_block = _BLOCK_READERS.get(kind)
    while True:
        is_full = _is_full(block)  # as read: `complete` may remove its end
        block = complete(block)
        if is_full and read_block is None:
            block = replace(block, warnings=(*block.warnings, _CUT))
        yield block
        if not is_full or read_block is None:
            return
        start_s += MAX_DURATION_S
        try:
            block = read_block(path, start_s=start_s)
        except NoSamplesError:
            return


def find_ecg_files(folder: str | Path) -> tuple[list[Path], list[Path]]:
    """Return (ECG files, other files) below a folder, sorted; hidden files are left out.

    A WFDB record is its header alone. A file that cannot be opened is among the ECG files: reading
    it says why.
    """
    found, others = [], []
    for path in sorted(Path(folder).rglob("*")):
        is_hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if is_hidden or not path.is_file():
            continue
        try:
            kind = detect_kind(path)
        except RecordError:
            found.append(path)
            continue
        if kind == "WFDB" and path != header_path(path):
            continue  # a signal file
        is_ecg = kind in (*_BLOCK_READERS, *_READERS, *VENDOR_FORMATS)
        is_table = kind == "text" and path.suffix.lower() in _TABLE_EXTENSIONS
        (found if is_ecg or is_table else others).append(path)
    return found, others


def _read(path: Path, kind: str, fs, unit, leads) -> Record:
    """Read a file of the format `kind`, at most its first hour, with the leads that it has."""
    if kind in _BLOCK_READERS:
        return _BLOCK_READERS[kind](path)
    if kind == "text":
        return read_table(path, fs, unit, leads)
    if kind in VENDOR_FORMATS:
        return read_vendor(path, kind)
    if kind in _READERS:
        return _READERS[kind](path)
    expected = _EXPECTED.format(header=header_path(path).name)
    raise RecordError(f"{path}: expected {expected}; found {kind}")


def _is_full(record: Record) -> bool:
    """Whether a block reaches the limit, so that another may follow."""
    return record.signal.shape[1] >= window_length(record.fs, MAX_DURATION_S)


def detect_kind(path: Path) -> str:
    """Return the format as `detection.detect_format` does, or "WFDB", which has no signature."""
    if path.is_dir():
        raise RecordError(f"{path}: expected an ECG file, found a folder")
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
    has_signature = kind in (*VENDOR_FORMATS, *_READERS, *_BLOCK_READERS)
    has_extension = path.suffix.lower() in (".hea", ".mat", ".dat")
    if not has_signature and has_extension and header.is_file():
        return "WFDB"
    return "a MATLAB file without a header" if kind == "MAT" else kind
