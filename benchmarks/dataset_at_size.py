"""Time and memory of preparing the full training set, and of a second start from the cache.

    python -m benchmarks.dataset_at_size FOLDER [--records 88253] [--workers N]

Missing records are simulated in FOLDER (0.2 MB each, kept for later runs): a tenth of them in one
folder, the others in a second one, both in groups of a thousand like PhysioNet's. The default
method's dataset is prepared for the tenth, then for all records, and the latter is opened again
from the cache, each in a new process. The system's file cache is dropped before, so that the
records are read from disk. Memory is the sum of proportional set sizes (PSS) of the process and its
descendants, sampled. FOLDER temporarily holds the prepared arrays: 4.2 GB for 88,253 records.
"""

import argparse
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import joblib
from joblib.externals.loky import get_reusable_executor

from benchmarks.processes import watched
from ecg.signals.preprocessing import Preparation
from ecg.simulation.recordings import simulate_folder
from ecg.training.dataset import prepare_dataset

N_RECORDS = 88_253
TARGET_SPEED, TARGET_MEMORY_GIB, TARGET_SECOND_START_S = 0.9, 2.0, 10.0
_GROUP = 1000  # records


@dataclass(frozen=True)
class Cost:
    """The cost of preparing a dataset. memory: peak, bytes."""

    n_records: int
    seconds: float
    memory: int

    @property
    def speed(self) -> float:
        """Records per second."""
        return self.n_records / self.seconds


def simulate_missing(folder: Path, n_records: int, workers: int) -> tuple[Path, Path]:
    """Simulate missing groups of records; return the folders of a tenth and of all records."""
    whole = folder / f"{n_records}-records"
    n_tenth = n_records // 10
    seed = 0
    for part, n_in_part in (("tenth", n_tenth), ("others", n_records - n_tenth)):
        for start in range(0, n_in_part, _GROUP):
            seed += 1
            group = whole / part / f"g{start // _GROUP + 1}"
            if not group.is_dir():
                unfinished = group.with_name(f".unfinished-{group.name}")
                n_in_group = min(_GROUP, n_in_part - start)
                simulate_folder(unfinished, n_in_group, seed, workers=workers)
                unfinished.rename(group)
    return whole / "tenth", whole


def drop_from_cache(folder: Path) -> None:
    """Drop the files below a folder from the system's file cache."""
    os.sync()  # unwritten data cannot be dropped
    for path in folder.rglob("*.*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def cost_of_dataset(folder: Path, cache: Path, workers: int) -> Cost:
    """Return the cost of `prepare_dataset` in a new process."""
    drop_from_cache(folder)
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        pid = process.submit(os.getpid).result()
        with watched(pid) as samples:
            n_records, seconds = process.submit(_prepare, folder, cache, workers).result()
        return Cost(n_records, seconds, max(samples.memory))


def _prepare(folder: Path, cache: Path, workers: int) -> tuple[int, float]:
    started = time.perf_counter()
    dataset = prepare_dataset(folder, Preparation(), cache, workers)
    seconds = time.perf_counter() - started
    get_reusable_executor().shutdown()  # idle workers would keep this process alive for minutes
    return len(dataset), seconds


def report(tenth: Cost, whole: Cost, again: Cost, workers: int) -> list[str]:
    """Return the lines to print."""
    return [
        f"dataset of {whole.n_records:,} records, {workers} workers: {whole.speed:.0f} records/s, "
        f"{whole.speed / tenth.speed:.2f} of the {tenth.speed:.0f} at {tenth.n_records:,} "
        f"(target {TARGET_SPEED:g})",
        f"peak memory of all processes: {whole.memory / 2**30:.2f} GiB, "
        f"{tenth.memory / 2**30:.2f} GiB at {tenth.n_records:,} (target {TARGET_MEMORY_GIB:g} GiB)",
        f"second start, from the cache: {again.seconds:.1f} s (target {TARGET_SECOND_START_S:g} s)",
    ]


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--records", type=int, default=N_RECORDS)
    parser.add_argument("--workers", type=int, default=joblib.cpu_count())
    options = parser.parse_args()
    tenth, whole = simulate_missing(options.folder, options.records, options.workers)
    with tempfile.TemporaryDirectory(prefix="prepared-", dir=options.folder) as cache:
        costs = [
            cost_of_dataset(folder, Path(cache), options.workers)
            for folder in (tenth, whole, whole)
        ]
    for line in report(*costs, options.workers):
        print(line, flush=True)


if __name__ == "__main__":
    main()
