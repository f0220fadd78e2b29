"""A folder of records -> one memory-mapped array of prepared signals, and a table beside it."""

import hashlib
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed

from ecg.classes import N_CLASSES, encode_dx
from ecg.leads import TWELVE_LEADS
from ecg.progress import track
from ecg.records import RecordError, RecordFiles, find_records, read_record, select_leads
from ecg.signals import Preparation, prepare

MAX_BAD_SHARE = 0.1
_CHUNK = 64  # records a task: large enough to outweigh its dispatch, small enough for a smooth bar
_FORMAT = 1  # of the cached files; part of a cache's name, so that older ones are not taken


class CorpusError(ValueError):
    """A folder that can't be trained on; the message says why."""


@dataclass(frozen=True)
class Corpus:
    """Prepared records.

    signals: memory map (n_files, 12, n_samples), float32, leads in standard order.
    rows: (n_records,), positions in it of the records that could be read; names (n_records,) and
    labels (n_records, 26), bool, go with them. bad: name -> why it was left out.
    fingerprint: of the records' names, headers and signal file sizes.
    """

    signals: np.ndarray
    rows: np.ndarray
    names: np.ndarray
    labels: np.ndarray
    bad: dict[str, str]
    fingerprint: str

    def __len__(self):
        return len(self.rows)


def prepare_corpus(folder, preparation: Preparation, cache: Path, workers: int) -> Corpus:
    """The corpus of all records below `folder`, made by `workers` processes or found in `cache`.

    A record that cannot be read, or that has no diagnosis code at all, is left out and named.
    Memory does not grow with the number of records: every process writes its rows into the file.
    Raises CorpusError where the folder holds no records or more than MAX_BAD_SHARE are bad.
    """
    files = find_records(folder)
    if not files:
        raise CorpusError(f"{folder}: expected records (NAME.hea beside NAME.mat), found none")
    place = cache / f"corpus-{_cache_key(files, preparation)}"
    if not place.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{place.name}.unfinished-", dir=cache) as made:
            _write(Path(made) / "corpus", files, preparation, workers)
            if not place.is_dir():  # another run may have been faster
                (Path(made) / "corpus").rename(place)
    corpus = _read(place)
    _report_bad(folder, corpus, len(files))
    return corpus


def _write(place: Path, files: list[RecordFiles], preparation: Preparation, workers: int) -> None:
    place.mkdir()
    shape = (len(files), len(TWELVE_LEADS), preparation.n_samples)
    signals_file = place / "signals.npy"
    np.lib.format.open_memmap(signals_file, "w+", np.float32, shape).flush()
    starts = range(0, len(files), _CHUNK)
    tasks = (
        delayed(_prepare_chunk)(files[start : start + _CHUNK], signals_file, start, preparation)
        for start in starts
    )
    chunks = Parallel(n_jobs=workers, return_as="generator")(tasks)
    outcomes = track((one for chunk in chunks for one in chunk), len(files), "preparing records")
    labels, bad, rows, digest = [], {}, [], hashlib.sha256()
    for row, (file, (dx, header_digest, error)) in enumerate(zip(files, outcomes, strict=True)):
        if error:
            bad[file.name] = error
            continue
        rows.append(row)
        labels.append(encode_dx(dx))
        digest.update(f"{file.name} {header_digest} {file.recording.stat().st_size}\n".encode())
    np.savez(
        place / "table.npz",
        rows=np.array(rows, np.int64),
        names=np.array([files[row].name for row in rows], str),
        labels=np.array(labels, bool).reshape(-1, N_CLASSES),
    )
    facts = {"bad": bad, "fingerprint": digest.hexdigest()}
    (place / "facts.json").write_text(json.dumps(facts, indent=1))


def _read(place: Path) -> Corpus:
    facts = json.loads((place / "facts.json").read_text())
    with np.load(place / "table.npz", allow_pickle=False) as table:
        return Corpus(
            signals=np.load(place / "signals.npy", mmap_mode="r", allow_pickle=False),
            rows=table["rows"],
            names=table["names"],
            labels=table["labels"],
            bad=facts["bad"],
            fingerprint=facts["fingerprint"],
        )


def _prepare_chunk(files, signals_file, first_row, preparation) -> list[tuple]:
    """Writes the rows of these records; (dx, digest of the header, error or None) of each."""
    signals = np.lib.format.open_memmap(signals_file, "r+")
    outcomes = []
    for row, file in enumerate(files, start=first_row):
        try:
            record = read_record(file, preparation.window_s)
            if not record.dx:
                raise RecordError("has no diagnosis code in a '#Dx' line")
            signals[row] = prepare(select_leads(record, TWELVE_LEADS), record.fs, preparation)
            header_digest = hashlib.sha256(file.header.read_bytes()).hexdigest()
            outcomes.append((record.dx, header_digest, None))
        except (OSError, ValueError) as error:  # RecordError is a ValueError
            outcomes.append(((), "", str(error)))
    return outcomes


def _cache_key(files: list[RecordFiles], preparation: Preparation) -> str:
    """Changes with any file's name, size or time of change, and with the preparation."""
    digest = hashlib.sha256(json.dumps([_FORMAT, asdict(preparation)]).encode())
    for file in files:
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
