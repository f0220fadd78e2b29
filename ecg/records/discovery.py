"""Find the records below a folder, their sources, and the text of a header."""

import os
import re
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from ecg.records.headers import RecordError
from ecg.runtime.files import read_bytes

_GROUP_FOLDER = re.compile(r"g\d+")
_LETTERS = re.compile(r"[^\W\d_]*")


@dataclass(frozen=True)
class RecordFiles:
    """The files of a record.

    header: the header file. recording: the signal file; the header again where the signal file does
    not have the record's name or is absent.
    """

    header: Path
    recording: Path

    @property
    def name(self) -> str:
        """The record's name: that of its header without the suffix."""
        return self.header.stem


def find_headers(folder: str | Path) -> dict[str, str]:
    """Name -> header file of every record below `folder`, nested or flat, sorted by name.

    Raises RecordError where two records have the same name (their outputs would overwrite each
    other), OSError where a folder does not exist or cannot be listed.
    """
    return {name: f"{parent}/{name}.hea" for name, parent, _ in _find(folder)}


def find_records(folder: str | Path) -> list[RecordFiles]:
    """Every record below `folder`, nested or flat, sorted by name.

    A record is a `.hea` file; its signals are beside it, in a `.mat` or `.dat` file of the same
    name or in the files that the header names. Raises what `find_headers` does.
    """
    records = []
    for name, parent, siblings in _find(folder):
        signals = (file for file in (f"{name}.mat", f"{name}.dat") if file in siblings)
        header = parent / f"{name}.hea"
        records.append(RecordFiles(header, parent / next(signals, header.name)))
    return records


def sources_of(records: list[RecordFiles]) -> list[str]:
    """Return the source (hospital or dataset) of each record, guessed from folders and names.

    For records in different folders, the first folder in which their paths differ, ignoring
    PhysioNet's groups of a thousand (g1, g2, …); otherwise the letters at the start of the record's
    name (A, HR, JS, …).
    """
    folders = [record.header.parent for record in records]
    ungrouped = {
        folder: Path(*(part for part in folder.parts if not _GROUP_FOLDER.fullmatch(part)))
        for folder in set(folders)
    }
    n_common = len(Path(os.path.commonpath(ungrouped.values())).parts)
    source = {folder: path.parts[n_common : n_common + 1] for folder, path in ungrouped.items()}
    return [
        source[folder][0] if source[folder] else _LETTERS.match(record.name)[0]
        for record, folder in zip(records, folders, strict=True)
    ]


def read_header_text(path: str | Path) -> str:
    """Return the text of a header file, decoded as UTF-8 or else Latin-1 (seen in comments and in
    µV).

    Raises RecordError where the file is far larger than a header or is not a regular file.
    """
    try:
        content = read_bytes(path)
    except ValueError as error:
        raise RecordError(str(error)) from error
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _find(folder: str | Path) -> list[tuple[str, Path, set[str]]]:
    """(name, folder, the folder's file names) of every record, sorted by name."""
    found = {}
    for parent, files in _walk(Path(folder)):
        for name in (file[:-4] for file in files if file.endswith(".hea")):
            if name in found:
                headers = (f"{folder / name}.hea" for folder in (found[name][1], parent))
                raise RecordError(f"two records are named {name}: {' and '.join(headers)}")
            found[name] = name, parent, files
    return [found[name] for name in sorted(found)]


def _walk(folder: Path):
    """(folder, its file names) for the folder and all below it; a linked folder counts once."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: expected a folder of records, found none")
    # All real folders before any link, so that a record is found under its real path.
    seen, waiting, links = set(), deque([folder]), deque()
    while waiting or links:
        current = (waiting or links).popleft()
        resolved = current.resolve()
        if resolved in seen:
            continue
        seen.add(resolved)
        _, subfolders, names = next(os.walk(current, onerror=_raise), (current, [], []))
        yield current, {name for name in names if not name.startswith(".")}
        for name in sorted(name for name in subfolders if not name.startswith(".")):
            (links if (current / name).is_symlink() else waiting).append(current / name)


def _raise(error: OSError):
    raise error
