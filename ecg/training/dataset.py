"""Prepare a folder of records for training: a memory map of windows and a table of the records."""

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
_CHUNK = 64  # records per task; much larger ones would make the progress bar jump
_DATA = "windows.f32"
_COPY_BYTES = 2**20  # at a time
UNFINISHED_PREFIX = ".unfinished-"  # of the names of folders in which datasets are prepared
_READ_ERRORS = (FileNotFoundError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


class DatasetError(ValueError):
    """A folder of records that cannot be trained on; the message says why."""


@dataclass(frozen=True)
class Dataset:
    """Prepared records.

    folder: of the files that `prepare_dataset` wrote.
    data: all windows, a memory map (sum of n_windows, 12, n_samples), float32, leads in standard
    order. first_window, n_windows: (n_records,), where each record's windows are, see `windows`.
    names, sources: (n_records,), str. labels: (n_records, 26), bool. demographics: (n_records, 4).
    lead_deviation_mv: (n_records, 12), standard deviation of each lead as recorded.
    rhythm, waves: (n_records, N_RHYTHM) and (n_records, 12, N_WAVES), measurements of the part of
    the record that the windows cover, see `ecg.signals.measurements`.
    rejected: why records were left out, by name. transient: whether one was left out for an error
    that may not recur. fingerprint: hash of the records' names, headers and signals.
    """

    folder: Path
    data: np.ndarray
    first_window: np.ndarray
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
        """Return the windows of record i, (n_windows[i], 12, n_samples), float32, a view of
        `data`."""
        first = self.first_window[i]
        return self.data[first : first + self.n_windows[i]]


@contextlib.contextmanager
def dataset_cache(cache: Path | None, work_directory: Path):
    """Return the folder for prepared datasets: `cache`, or by default a temporary one in
    `work_directory`.

    The system's temporary folder may be too small, in a container above all: the full training set
    takes 4 GB, and some 27 GB in windows at 500 Hz.
    """
    if cache is not None:
        yield cache
        return
    with temporary_folder(work_directory, ".prepared-") as folder:
        yield folder


def prepare_dataset(folder, preparation: Preparation, cache: Path, workers: int) -> Dataset:
    """Return the dataset of all records below `folder`, from the cache or prepared by `workers`
    processes.

    Records that cannot be read or have no diagnosis code are left out, and listed on the terminal.
    Memory does not grow with the number of records, because each process writes its windows to
    disk. Raises DatasetError where the folder has no records or more than MAX_REJECTED_SHARE of
    them are rejected, OSError where the cache cannot be written or its disk is too small.
    """
    files = find_records(folder)
    if not files:
        raise DatasetError(f"{folder}: expected records (NAME.hea beside NAME.mat), found none")
    sources = sources_of(files)
    dataset_folder = cache / f"dataset-{_cache_key(files, sources, preparation)}"
    dataset = find_dataset(dataset_folder)
    if dataset is None:
        n_bytes = dataset_bytes(len(files), preparation)
        check_room(make_folder(cache), n_bytes, f"the prepared arrays of {len(files)} records")
        with temporary_folder(cache, UNFINISHED_PREFIX) as unfinished:
            _write(unfinished / "dataset", files, sources, preparation, workers)
            move_whole(unfinished / "dataset", dataset_folder)
        dataset = read_dataset(dataset_folder)
    _report_rejected(folder, dataset, len(files))
    return dataset


def find_dataset(folder: Path) -> Dataset | None:
    """Return the prepared dataset in the folder; None where there is none that can be reused.

    A folder is removed where it is damaged, or where records were left out for an error that may
    not recur.
    """
    if not folder.is_dir():
        return None
    try:
        dataset = read_dataset(folder)
    except _READ_ERRORS:
        reason = "the prepared dataset is damaged"
    else:
        if not dataset.transient:
            return dataset
        reason = "some records could not be read last time"
    print(f"{folder}: {reason}; preparing it again", flush=True)
    shutil.rmtree(folder)
    return None


def read_dataset(folder: Path) -> Dataset:
    """Return the dataset that `prepare_dataset` wrote to the folder.

    Raises one of `_READ_ERRORS` where its files are incomplete or inconsistent.
    """
    metadata = json.loads((folder / "metadata.json").read_text())
    shape = (-1, len(TWELVE_LEADS), metadata.pop("n_samples"))
    # numpy leaves damaged files open.
    with (
        open(folder / "table.npz", "rb") as file,
        np.load(file, allow_pickle=False) as stored,
    ):
        table = dict(stored)
    data = _map(folder / _DATA).reshape(shape)
    n_windows = table["n_windows"].sum()
    if len(data) != n_windows:
        raise ValueError(f"{folder}: expected {n_windows} windows, found {len(data)}")
    return Dataset(folder=folder, data=data, **table, **metadata)


def dataset_bytes(n_records: int, preparation: Preparation) -> int:
    """Lower bound of the disk space that the windows of so many records take."""
    return n_records * len(TWELVE_LEADS) * preparation.n_samples * np.dtype(np.float32).itemsize


def _write(
    folder: Path,
    files: list[RecordFiles],
    sources: list[str],
    preparation: Preparation,
    workers: int,
) -> None:
    """Write the windows, the table and the metadata of a dataset into a new folder."""
    folder.mkdir()
    shard_files = {i: folder / f"shard-{i:08d}.f32" for i in range(0, len(files), _CHUNK)}
    tasks = (
        delayed(write_shard)(files[i : i + _CHUNK], shard_file, preparation)
        for i, shard_file in shard_files.items()
    )
    shards = []

    def append_shards():
        """Append each shard to the data when it is written; yield each record's error, or None."""
        n_windows = 0
        with naming(folder / _DATA), open(folder / _DATA, "wb") as data:
            written = Parallel(n_jobs=workers, return_as="generator")(tasks)
            for shard_file, shard in zip(shard_files.values(), written, strict=True):
                with open(shard_file, "rb") as source:
                    shutil.copyfileobj(source, data, _COPY_BYTES)
                shard_file.unlink()
                shard.columns["first_window"] += n_windows
                n_windows += shard.columns["n_windows"].sum()
                shards.append(shard)
                yield from shard.errors

    errors = list(track(append_shards(), len(files), "preparing records"))
    table = {
        name: np.concatenate([shard.columns[name] for shard in shards])
        for name in shards[0].columns
    }
    usable = [error is None for error in errors]
    table["names"] = np.array([file.name for file in compress(files, usable)], str)
    table["sources"] = np.array(list(compress(sources, usable)), str)
    fingerprint = hashlib.sha256()
    for name, digest in zip(table["names"], table.pop("digest"), strict=True):
        fingerprint.update(os.fsencode(f"{name} {digest}\n"))
    with naming(folder / "table.npz"):
        np.savez(folder / "table.npz", **table)
    metadata = {
        "n_samples": preparation.n_samples,
        "rejected": {file.name: error for file, error in zip(files, errors, strict=True) if error},
        "transient": any(shard.transient for shard in shards),
        "fingerprint": fingerprint.hexdigest(),
    }
    (folder / "metadata.json").write_text(json.dumps(metadata, indent=1))


def _map(path: Path) -> np.ndarray:
    """Return the float32 numbers in a file, as a memory map."""
    if not path.stat().st_size:  # no usable record; an empty file cannot be mapped
        return np.empty(0, np.float32)
    # A plain array, because indexing a np.memmap is several times slower.
    return np.memmap(path, np.float32, "r").view(np.ndarray)


def _cache_key(files: list[RecordFiles], sources: list[str], preparation: Preparation) -> str:
    """Return a key of each file's name, source, size and time of change, the preparation and the
    code."""
    records = [
        [source, *map(_file_state, (file.header, file.recording))]
        for file, source in zip(files, sources, strict=True)
    ]
    return cache_key([asdict(preparation), records], __name__)[:16]


def _file_state(path: Path) -> str:
    try:
        state = path.stat()
    except OSError:
        return f"{path.name} absent"
    return f"{path.name} {state.st_size} {state.st_mtime_ns}"


def _report_rejected(folder, dataset: Dataset, n_files: int) -> None:
    if not dataset.rejected:
        return
    lines = "\n".join(printable(f"  {name}: {error}") for name, error in dataset.rejected.items())
    summary = f"{folder}: {len(dataset.rejected)} of {n_files} records cannot be used"
    if len(dataset.rejected) > MAX_REJECTED_SHARE * n_files:
        raise DatasetError(f"{summary}; expected at most {MAX_REJECTED_SHARE:.0%}\n{lines}")
    print(f"{summary} and are left out:\n{lines}", flush=True)
