"""A folder of records -> memory-mapped windows of prepared signals, and a table beside them."""

import contextlib
import hashlib
import json
import os
import shutil
import zipfile
import zlib
from dataclasses import asdict, dataclass
from itertools import compress
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed

from ecg.records.discovery import RecordFiles, find_records, sources_of
from ecg.records.leads import TWELVE_LEADS
from ecg.runtime.cache_keys import cache_key
from ecg.runtime.files import (
    check_room,
    make_folder,
    move_whole,
    naming,
    printable,
    temporary_folder,
)
from ecg.runtime.progress import track
from ecg.signals.preprocessing import Preparation
from ecg.training.shards import write_shard

MAX_REJECTED_SHARE = 0.1
_CHUNK = 64  # records a task: large enough to outweigh its dispatch, small enough for a smooth bar
_DATA = "windows.f32"
_PIECE = 2**20  # bytes, copied at a time
UNFINISHED = ".unfinished-"  # begins the names of folders in which datasets are made
_DAMAGE = (FileNotFoundError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


class DatasetError(ValueError):
    """A folder that can't be trained on; the message says why."""


@dataclass(frozen=True)
class Dataset:
    """Prepared records, as `prepare_dataset` keeps them in `folder`.

    data: all windows, a memory map (sum of n_windows, 12, n_samples), float32, leads in standard
    order. Those of record i are the n_windows[i] from first[i] on, see `windows`. With the records
    go names, sources, labels (n_records, 26) bool, demographics (n_records, 4), lead_deviation_mv
    (n_records, 12), the standard deviation of each lead as recorded, and the measurements rhythm
    (n_records, N_RHYTHM) and waves (n_records, 12, N_WAVES) of what the windows span. rejected:
    name -> why it was left out. transient: whether some of that may not come again. fingerprint: of
    the records' names, headers and signals.
    """

    folder: Path
    data: np.ndarray
    first: np.ndarray
    n_windows: np.ndarray
    names: np.ndarray
    sources: np.ndarray
    labels: np.ndarray
    demographics: np.ndarray
    lead_deviation_mv: np.ndarray
    rhythm: np.ndarray
    waves: np.ndarray
    rejected: dict[str, str]
    transient: bool
    fingerprint: str

    def __len__(self):
        return len(self.names)

    def windows(self, i: int) -> np.ndarray:
        """The windows of record i, (n_windows[i], 12, n_samples), float32, still on disk."""
        return self.data[self.first[i] : self.first[i] + self.n_windows[i]]


@contextlib.contextmanager
def dataset_cache(kept: Path | None, work_directory: Path):
    """The folder for prepared arrays: `kept`, or a temporary one in `work_directory`.

    Not in the system's own temporary folder: in a container that is a layer in memory or on a
    small disk, and the full training set takes 4 GB, in windows at 500 Hz some 27.
    """
    if kept is not None:
        yield kept
        return
    with temporary_folder(work_directory, ".prepared-") as folder:
        yield folder


def prepare_dataset(folder, preparation: Preparation, cache: Path, workers: int) -> Dataset:
    """The dataset of all records below `folder`, made by `workers` processes or found in `cache`.

    A record that cannot be read, or that has no diagnosis code at all, is left out and named.
    Memory does not grow with the number of records: every process writes windows as it goes.
    Raises DatasetError where the folder holds no records or more than MAX_REJECTED_SHARE are
    rejected, OSError where the cache cannot be written or has not the room.
    """
    files = find_records(folder)
    if not files:
        raise DatasetError(f"{folder}: expected records (NAME.hea beside NAME.mat), found none")
    sources = sources_of(files)
    place = cache / f"dataset-{_cache_key(files, sources, preparation)}"
    dataset = find_dataset(place)
    if dataset is None:
        n_bytes = size_of(len(files), preparation)
        check_room(make_folder(cache), n_bytes, f"the prepared arrays of {len(files)} records")
        with temporary_folder(cache, UNFINISHED) as made:
            _write(made / "dataset", files, sources, preparation, workers)
            move_whole(made / "dataset", place)
        dataset = read_dataset(place)
    _report_rejected(folder, dataset, len(files))
    return dataset


def find_dataset(place: Path) -> Dataset | None:
    """The dataset in the folder `place`; None where there is none, or it cannot be taken again:
    it is damaged, or records were left out for an error that may not come again."""
    if not place.is_dir():
        return None
    try:
        dataset = read_dataset(place)
    except _DAMAGE:
        why = "damaged, prepared anew"
    else:
        if not dataset.transient:
            return dataset
        why = "without records that could not be read then, prepared anew"
    print(f"{place}: {why}", flush=True)
    shutil.rmtree(place)
    return None


def read_dataset(place: Path) -> Dataset:
    """The dataset that `prepare_dataset` left in the folder `folder`.

    Raises one of `_DAMAGE` where its files are not whole or do not fit each other.
    """
    facts = json.loads((place / "facts.json").read_text())
    shape = (-1, len(TWELVE_LEADS), facts["n_samples"])
    # numpy would leave the file open where it is damaged.
    with (
        open(place / "table.npz", "rb") as file,
        np.load(file, allow_pickle=False) as stored,
    ):
        table = dict(stored)
    data = _map(place / _DATA).reshape(shape)
    n_windows = table["n_windows"].sum()
    if len(data) != n_windows:
        raise ValueError(f"{place}: expected {n_windows} windows, found {len(data)}")
    del facts["n_samples"]
    return Dataset(folder=place, data=data, **table, **facts)


def size_of(n_records: int, preparation: Preparation) -> int:
    """Bytes that the windows of so many records take at least."""
    return n_records * len(TWELVE_LEADS) * preparation.n_samples * np.dtype(np.float32).itemsize


def _write(
    place: Path,
    files: list[RecordFiles],
    sources: list[str],
    preparation: Preparation,
    workers: int,
) -> None:
    place.mkdir()
    shard_files = {i: place / f"shard-{i:08d}.f32" for i in range(0, len(files), _CHUNK)}
    tasks = (
        delayed(write_shard)(files[i : i + _CHUNK], shard_file, preparation)
        for i, shard_file in shard_files.items()
    )
    shards = []

    def errors_as_they_come():
        n_windows = 0
        with naming(place / _DATA), open(place / _DATA, "wb") as data:
            written = Parallel(n_jobs=workers, return_as="generator")(tasks)
            for shard_file, shard in zip(shard_files.values(), written, strict=True):
                with open(shard_file, "rb") as source:
                    shutil.copyfileobj(source, data, _PIECE)
                shard_file.unlink()
                shard.columns["first"] += n_windows
                n_windows += shard.columns["n_windows"].sum()
                shards.append(shard)
                yield from shard.errors

    errors = list(track(errors_as_they_come(), len(files), "preparing records"))
    columns = [shard.columns for shard in shards]
    table = {name: np.concatenate([one[name] for one in columns]) for name in columns[0]}
    good = [error is None for error in errors]
    table["names"] = np.array([file.name for file in compress(files, good)], str)
    table["sources"] = np.array(list(compress(sources, good)), str)
    digest = hashlib.sha256()
    for name, of_files in zip(table["names"], table.pop("digest"), strict=True):
        digest.update(os.fsencode(f"{name} {of_files}\n"))
    with naming(place / "table.npz"):
        np.savez(place / "table.npz", **table)
    description = {
        "n_samples": preparation.n_samples,
        "rejected": {file.name: why for file, why in zip(files, errors, strict=True) if why},
        "transient": any(shard.transient for shard in shards),
        "fingerprint": digest.hexdigest(),
    }
    (place / "facts.json").write_text(json.dumps(description, indent=1))


def _map(path: Path) -> np.ndarray:
    """The numbers in a file, still on disk."""
    if not path.stat().st_size:  # no good record, and an empty file cannot be mapped
        return np.empty(0, np.float32)
    # As a plain array, of which parts are taken several times faster.
    return np.memmap(path, np.float32, "r").view(np.ndarray)


def _cache_key(files: list[RecordFiles], sources: list[str], preparation: Preparation) -> str:
    """Changes with any file's name, source, size or time of change, the preparation and code."""
    records = [
        [source, *map(_stamp, (file.header, file.recording))]
        for file, source in zip(files, sources, strict=True)
    ]
    return cache_key([asdict(preparation), records], __name__)[:16]


def _stamp(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return f"{path.name} absent"
    return f"{path.name} {found.st_size} {found.st_mtime_ns}"


def _report_rejected(folder, dataset: Dataset, n_files: int) -> None:
    if not dataset.rejected:
        return
    lines = "\n".join(printable(f"  {name}: {why}") for name, why in dataset.rejected.items())
    summary = f"{folder}: {len(dataset.rejected)} of {n_files} records cannot be used"
    if len(dataset.rejected) > MAX_REJECTED_SHARE * n_files:
        raise DatasetError(f"{summary}; expected at most {MAX_REJECTED_SHARE:.0%}\n{lines}")
    print(f"{summary} and are left out:\n{lines}", flush=True)
