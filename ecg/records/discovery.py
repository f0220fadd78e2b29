"""Where records lie: their files, names and sources, and a header's text."""

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
    """Where a record lies: its header, and its signal file; the header again where the signal
    file does not have the record's name, or is absent."""

    header: Path
    recording: Path

    @property
    def name(self) -> str:
        """The record's name: its files' without the ending."""
        return self.header.stem


def find_headers(folder: str | Path) -> dict[str, str]:
    """Name -> header file of every record below `folder`, nested or flat, sorted by name.

    Raises RecordError where two records have one name (their outputs would overwrite each other),
    OSError where a folder does not exist or cannot be listed.
    """
    return {name: f"{place}/{name}.hea" for name, place, _ in _find(folder)}


def find_records(folder: str | Path) -> list[RecordFiles]:
    """Every record below `folder`, nested or flat, sorted by name.

    A record is a `.hea` file; its signals stand beside it, as `.mat` or `.dat` of the same name
    or as the header says. Raises what `find_headers` does.
    """
    records = []
    for name, place, beside in _find(folder):
        signals = (file for file in (f"{name}.mat", f"{name}.dat") if file in beside)
        header = place / f"{name}.hea"
        records.append(RecordFiles(header, place / next(signals, header.name)))
    return records


def sources_of(records: list[RecordFiles]) -> list[str]:
    """The hospital or data set that each record comes from, as far as names tell.

    Where they lie in different folders, the first folder in which their paths differ, PhysioNet's
    groups of a thousand (g1, g2, …) not counted; else the letters that the record's name begins
    with (A, HR, JS, …).
    """
    folders = [record.header.parent for record in records]
    counted = {
        folder: Path(*(part for part in folder.parts if not _GROUP_FOLDER.fullmatch(part)))
        for folder in set(folders)
    }
    n_common = len(Path(os.path.commonpath(counted.values())).parts)
    named = {folder: path.parts[n_common : n_common + 1] for folder, path in counted.items()}
    return [
        named[folder][0] if named[folder] else _LETTERS.match(record.name)[0]
        for record, folder in zip(records, folders, strict=True)
    ]


def read_header_text(path: str | Path) -> str:
    """The text of a header file, UTF-8 or else Latin-1 (in comments, or as the µ of µV).

    Raises RecordError where the file is far larger than a header, or no regular file.
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
    for place, files in _walk(Path(folder)):
        for name in (file[:-4] for file in files if file.endswith(".hea")):
            if name in found:
                places = (f"{where / name}.hea" for where in (found[name][1], place))
                raise RecordError(f"two records are named {name}: {' and '.join(places)}")
            found[name] = name, place, files
    return [found[name] for name in sorted(found)]


def _walk(folder: Path):
    """(folder, its file names) for the folder and all below it; linked folders count once."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: expected a folder of records, found none")
    # Real folders, all of them, before links to any, so that a record is found where it lies.
    seen, waiting, links = set(), deque([folder]), deque()
    while waiting or links:
        here = (waiting or links).popleft()
        place = here.resolve()
        if place in seen:
            continue
        seen.add(place)
        _, subfolders, names = next(os.walk(here, onerror=_raise), (here, [], []))
        yield here, {name for name in names if not name.startswith(".")}
        for name in sorted(name for name in subfolders if not name.startswith(".")):
            (links if (here / name).is_symlink() else waiting).append(here / name)


def _raise(error: OSError):
    raise error
