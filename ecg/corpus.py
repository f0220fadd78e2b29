"""A folder of records -> memory-mapped windows of prepared signals, and a table beside them."""

import contextlib
import hashlib
import json
import math
import tempfile
from dataclasses import asdict, dataclass
from itertools import compress
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed

from ecg.classes import N_CLASSES, encode_dx
from ecg.demographics import N_DEMOGRAPHICS, encode_demographics
from ecg.files import digest_files, move_whole
from ecg.leads import TWELVE_LEADS
from ecg.measurements import N_RHYTHM, N_WAVES, prepare_and_measure
from ecg.progress import track
from ecg.record_files import RecordFiles, find_records, sources_of
from ecg.records import RecordError, read_record, select_leads
from ecg.signals import Preparation, lead_deviation

MAX_BAD_SHARE = 0.1
_CHUNK = 64  # records a task: large enough to outweigh its dispatch, small enough for a smooth bar
_MAX_PARTS = 256  # a memory map keeps its file open, and many systems allow a process 1024
_LARGE_BLOCK = 2**25 - 2**16  # bytes; from 32 MiB on glibc does not learn from a block
CORPUS_FORMAT = 4  # of the cached files; part of a cache's name, so that older ones are not taken

_COLUMNS = {  # that a worker fills in: type, and shape of a row
    "first": (np.int64, ()),
    "n_windows": (np.int64, ()),
    "labels": (bool, (N_CLASSES,)),
    "demographics": (np.float32, (N_DEMOGRAPHICS,)),
    "lead_deviation_mv": (np.float32, (len(TWELVE_LEADS),)),
    "rhythm": (np.float32, (N_RHYTHM,)),
    "waves": (np.float32, (len(TWELVE_LEADS), N_WAVES)),
    "digest": (str, ()),
}


class CorpusError(ValueError):
    """A folder that can't be trained on; the message says why."""


@dataclass(frozen=True)
class Corpus:
    """Prepared records, as `prepare_corpus` keeps them in the folder `place`.

    parts: memory maps (n_windows, 12, n_samples), float32, leads in standard order. The windows
    of record i are those from first[i] to first[i] + n_windows[i] in parts[part[i]]; see
    `windows`. With the records go names, sources, labels (n_records, 26) bool, demographics
    (n_records, 4), lead_deviation_mv (n_records, 12), the standard deviation of each lead as
    recorded, and the measurements rhythm (n_records, N_RHYTHM) and waves (n_records, 12, N_WAVES)
    of what the windows span. bad: name -> why it was left out. fingerprint: of the records' names,
    headers and signals.
    """

    place: Path
    parts: tuple[np.ndarray, ...]
    part: np.ndarray
    first: np.ndarray
    n_windows: np.ndarray
    names: np.ndarray
    sources: np.ndarray
    labels: np.ndarray
    demographics: np.ndarray
    lead_deviation_mv: np.ndarray
    rhythm: np.ndarray
    waves: np.ndarray
    bad: dict[str, str]
    fingerprint: str

    def __len__(self):
        return len(self.names)

    def windows(self, i: int) -> np.ndarray:
        """The windows of record i, (n_windows[i], 12, n_samples), float32, still on disk."""
        first = self.first[i]
        return self.parts[self.part[i]][first : first + self.n_windows[i]]


@contextlib.contextmanager
def corpus_cache(kept: Path | None, work_directory: Path):
    """The folder for prepared arrays: `kept`, or a temporary one in `work_directory`.

    Not in the system's own temporary folder: in a container that is a layer in memory or on a
    small disk, and the full training set takes 4 GB, in windows at 500 Hz some 27.
    """
    if kept is not None:
        yield kept
        return
    with tempfile.TemporaryDirectory(prefix=".prepared-", dir=work_directory) as folder:
        yield Path(folder)


def prepare_corpus(folder, preparation: Preparation, cache: Path, workers: int) -> Corpus:
    """The corpus of all records below `folder`, made by `workers` processes or found in `cache`.

    A record that cannot be read, or that has no diagnosis code at all, is left out and named.
    Memory does not grow with the number of records: every process writes windows as it goes.
    Raises CorpusError where the folder holds no records or more than MAX_BAD_SHARE are bad.
    """
    files = find_records(folder)
    if not files:
        raise CorpusError(f"{folder}: expected records (NAME.hea beside NAME.mat), found none")
    sources = sources_of(files)
    place = cache / f"corpus-{_cache_key(files, sources, preparation)}"
    if not place.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{place.name}.unfinished-", dir=cache) as made:
            _write(Path(made) / "corpus", files, sources, preparation, workers)
            move_whole(Path(made) / "corpus", place)
    corpus = read_corpus(place)
    _report_bad(folder, corpus, len(files))
    return corpus


def read_corpus(place: Path) -> Corpus:
    """The corpus that `prepare_corpus` left in the folder `place`."""
    facts = json.loads((place / "facts.json").read_text())
    shape = (-1, len(TWELVE_LEADS), facts["n_samples"])
    with np.load(place / "table.npz", allow_pickle=False) as table:
        return Corpus(
            place=place,
            parts=tuple(_map(place / name).reshape(shape) for name in facts["parts"]),
            **table,
            bad=facts["bad"],
            fingerprint=facts["fingerprint"],
        )


def _write(
    place: Path,
    files: list[RecordFiles],
    sources: list[str],
    preparation: Preparation,
    workers: int,
) -> None:
    place.mkdir()
    chunk = max(_CHUNK, math.ceil(len(files) / _MAX_PARTS))
    starts = range(0, len(files), chunk)
    names = [f"part-{i:05d}.f32" for i in range(len(starts))]
    tasks = (
        delayed(_prepare_chunk)(files[start : start + chunk], place / name, preparation)
        for start, name in zip(starts, names, strict=True)
    )
    tables = []  # one a chunk, in half the memory that rows as objects take

    def errors_as_they_come():
        for table, chunk_errors in Parallel(n_jobs=workers, return_as="generator")(tasks):
            tables.append(table)
            yield from chunk_errors

    errors = list(track(errors_as_they_come(), len(files), "preparing records"))
    table = {name: np.concatenate([part[name] for part in tables]) for name in tables[0]}
    good = [error is None for error in errors]
    table["part"] = np.repeat(np.arange(len(tables)), [len(part["first"]) for part in tables])
    table["names"] = np.array([file.name for file in compress(files, good)], str)
    table["sources"] = np.array(list(compress(sources, good)), str)
    digest = hashlib.sha256()
    for name, of_files in zip(table["names"], table.pop("digest"), strict=True):
        digest.update(f"{name} {of_files}\n".encode())
    np.savez(place / "table.npz", **table)
    description = {
        "parts": names,
        "n_samples": preparation.n_samples,
        "bad": {file.name: why for file, why in zip(files, errors, strict=True) if why},
        "fingerprint": digest.hexdigest(),
    }
    (place / "facts.json").write_text(json.dumps(description, indent=1))


def _map(path: Path) -> np.ndarray:
    # A chunk without any good record leaves an empty file, which cannot be mapped.
    return np.memmap(path, np.float32, "r") if path.stat().st_size else np.empty(0, np.float32)


def _prepare_chunk(files, part_file: Path, preparation: Preparation) -> tuple[dict, list]:
    """Writes the windows of these records; columns of those that can be used, see `_COLUMNS`, and
    of every record what is wrong with it, or None."""
    _keep_freed_memory()
    rows, errors, n_written = [], [], 0
    with open(part_file, "wb") as part:
        for file in files:
            try:
                windows, facts = _prepare_record(file, preparation)
            except (OSError, ValueError) as error:  # RecordError is a ValueError
                errors.append(str(error))
                continue
            part.write(windows)
            rows.append({"first": n_written, "n_windows": len(windows), **facts})
            errors.append(None)
            n_written += len(windows)
    columns = {
        # With their types and widths even where there are no rows.
        name: np.array([row[name] for row in rows], dtype).reshape(-1, *shape)
        for name, (dtype, shape) in _COLUMNS.items()
    }
    return columns, errors


def _prepare_record(file: RecordFiles, preparation: Preparation) -> tuple[np.ndarray, dict]:
    """A record's windows (n_windows, 12, n_samples), float32, and what the table says of it."""
    record = read_record(file, preparation.duration_s)
    if not record.dx:
        raise RecordError("has no diagnosis code in a '#Dx' line")
    signal = select_leads(record, TWELVE_LEADS)
    windows, rhythm, waves = prepare_and_measure(signal, record.fs, preparation)
    return windows, {
        "labels": encode_dx(record.dx),
        "demographics": encode_demographics(record.age, record.sex),
        "lead_deviation_mv": lead_deviation(signal),
        "rhythm": rhythm,
        "waves": waves,
        "digest": digest_files(file.header, file.recording),
    }


def _keep_freed_memory() -> None:
    """Lets this process use its memory again without asking the system for it.

    glibc gives back what is free above a limit, and asking anew for each record's arrays takes a
    fifth of the time; the limit rises to twice the largest block freed so far, see mallopt(3).
    """
    np.empty(_LARGE_BLOCK, np.uint8)


def _cache_key(files: list[RecordFiles], sources: list[str], preparation: Preparation) -> str:
    """Changes with any file's name, source, size or time of change, and with the preparation."""
    digest = hashlib.sha256(json.dumps([CORPUS_FORMAT, asdict(preparation)]).encode())
    for file, source in zip(files, sources, strict=True):
        digest.update(f"{source}\n".encode())
        for path in (file.header, file.recording):
            try:
                found = path.stat()
                stamp = f"{found.st_size} {found.st_mtime_ns}"
            except OSError:
                stamp = "absent"
            digest.update(f"{path.name} {stamp}\n".encode())
    return digest.hexdigest()[:16]


def _report_bad(folder, corpus: Corpus, n_files: int) -> None:
    if not corpus.bad:
        return
    lines = "\n".join(f"  {name}: {why}" for name, why in corpus.bad.items())
    summary = f"{folder}: {len(corpus.bad)} of {n_files} records cannot be used"
    if len(corpus.bad) > MAX_BAD_SHARE * n_files:
        raise CorpusError(f"{summary}; expected at most {MAX_BAD_SHARE:.0%}\n{lines}")
    print(f"{summary} and are left out:\n{lines}", flush=True)
