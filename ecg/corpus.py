"""A folder of records -> memory-mapped windows of prepared signals, and a table beside them."""

import contextlib
import hashlib
import json
import math
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed

from ecg.classes import N_CLASSES, encode_dx
from ecg.demographics import N_DEMOGRAPHICS, encode_demographics
from ecg.files import digest_files, move_whole
from ecg.leads import TWELVE_LEADS
from ecg.measurements import N_RHYTHM, N_WAVES, measure
from ecg.progress import track
from ecg.records import (
    RecordError,
    RecordFiles,
    find_records,
    read_record,
    select_leads,
    sources_of,
)
from ecg.signals import Preparation, lead_deviation, prepare

MAX_BAD_SHARE = 0.1
_CHUNK = 64  # records a task: large enough to outweigh its dispatch, small enough for a smooth bar
_MAX_PARTS = 256  # a memory map keeps its file open, and many systems allow a process 1024
CORPUS_FORMAT = 4  # of the cached files; part of a cache's name, so that older ones are not taken


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
    chunks = Parallel(n_jobs=workers, return_as="generator")(tasks)
    outcomes = track((one for chunk in chunks for one in chunk), len(files), "preparing records")
    rows, bad, digest = [], {}, hashlib.sha256()
    for i, (file, source, (facts, error)) in enumerate(zip(files, sources, outcomes, strict=True)):
        if error:
            bad[file.name] = error
            continue
        digest.update(f"{file.name} {facts.pop('digest')}\n".encode())
        rows.append({"part": i // chunk, "names": file.name, "sources": source, **facts})
    np.savez(place / "table.npz", **_table(rows))
    description = {
        "parts": names,
        "n_samples": preparation.n_samples,
        "bad": bad,
        "fingerprint": digest.hexdigest(),
    }
    (place / "facts.json").write_text(json.dumps(description, indent=1))


def _table(rows: list[dict]) -> dict[str, np.ndarray]:
    """The rows as columns; with their types and widths even where there are no rows."""
    columns = {
        "part": (np.int64, ()),
        "first": (np.int64, ()),
        "n_windows": (np.int64, ()),
        "names": (str, ()),
        "sources": (str, ()),
        "labels": (bool, (N_CLASSES,)),
        "demographics": (np.float32, (N_DEMOGRAPHICS,)),
        "lead_deviation_mv": (np.float32, (len(TWELVE_LEADS),)),
        "rhythm": (np.float32, (N_RHYTHM,)),
        "waves": (np.float32, (len(TWELVE_LEADS), N_WAVES)),
    }
    return {
        name: np.array([row[name] for row in rows], dtype).reshape(-1, *shape)
        for name, (dtype, shape) in columns.items()
    }


def _map(path: Path) -> np.ndarray:
    # A chunk without any good record leaves an empty file, which cannot be mapped.
    return np.memmap(path, np.float32, "r") if path.stat().st_size else np.empty(0, np.float32)


def _prepare_chunk(files, part_file: Path, preparation: Preparation) -> list[tuple]:
    """Writes the windows of these records; (row of the table, None) or (None, error) of each."""
    outcomes, n_written = [], 0
    with open(part_file, "wb") as part:
        for file in files:
            try:
                record = read_record(file, preparation.duration_s)
                if not record.dx:
                    raise RecordError("has no diagnosis code in a '#Dx' line")
                signal = select_leads(record, TWELVE_LEADS)
                windows = prepare(signal, record.fs, preparation)
                rhythm, waves = measure(signal, record.fs)
                row = {
                    "first": n_written,
                    "n_windows": len(windows),
                    "labels": encode_dx(record.dx),
                    "demographics": encode_demographics(record.age, record.sex),
                    "lead_deviation_mv": lead_deviation(signal),
                    "rhythm": rhythm,
                    "waves": waves,
                    "digest": digest_files(file.header, file.recording),
                }
            except (OSError, ValueError) as error:  # RecordError is a ValueError
                outcomes.append((None, str(error)))
                continue
            windows.tofile(part)
            n_written += len(windows)
            outcomes.append((row, None))
    return outcomes


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
