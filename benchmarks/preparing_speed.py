"""What one worker reads and prepares in a second, beside the usual way and beside the limit.

    python -m benchmarks.preparing_speed FOLDER [--records 200] [--rounds 5]

Ours is what a training worker does to a record of the default method: header and first 10 s read,
leads selected, prepared, measured, labels and digest taken, windows written. The usual way is
`wfdb.rdrecord` in mV, then for the first 10 s of the 12 leads scipy's `resample_poly` to 100 Hz and
`sosfiltfilt` from 0.05 to 35 Hz, nothing else. The limit reads the bytes of both files and does
that one `resample_poly`. Each has a process of its own, with one thread; all take turns on the same
small groups of records, and of each group the shortest time counts. Compare the ratios alone.
"""

import argparse
import contextlib
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path
from unittest import mock

import numpy as np
import wfdb
from scipy.signal import butter, resample_poly, sosfiltfilt

from ecg.records.discovery import RecordFiles, find_records, read_header_text
from ecg.records.headers import parse_header
from ecg.records.leads import TWELVE_LEADS
from ecg.signals.measurements import N_RHYTHM, N_WAVES
from ecg.signals.preprocessing import Preparation, prepare, window_length
from ecg.training import shards as dataset_parts

PREPARATION = Preparation()
REACH_USUAL, REACH_LIMIT = 5.0, 0.5
_GROUP = 20  # records
_MAT4_START = 24  # bytes before the samples


def prepare_as_a_worker(files: list[RecordFiles], shard_file: Path) -> None:
    """All that `prepare_dataset` has a worker do with these records."""
    errors = dataset_parts.write_shard(files, shard_file, PREPARATION).errors
    if any(errors):
        raise ValueError(f"expected records that can be used, found: {errors}")


def prepare_without_measurements(files: list[RecordFiles], shard_file: Path) -> None:
    """Return the same, with zeros for measurements."""
    rhythm, waves = np.zeros(N_RHYTHM), np.zeros((len(TWELVE_LEADS), N_WAVES))

    def prepared(signal, fs, preparation):
        return prepare(signal, fs, preparation), rhythm, waves

    with mock.patch.object(dataset_parts, "prepare_and_measure", prepared):
        prepare_as_a_worker(files, shard_file)


def prepare_as_usual(files: list[RecordFiles], shard_file: Path) -> None:
    """wfdb and scipy, record by record; `shard_file` stays as it is."""
    sections = butter(3, PREPARATION.band_hz, "bandpass", fs=PREPARATION.fs, output="sos")
    for file in files:
        record = wfdb.rdrecord(str(file.header.with_suffix("")))
        signal = record.p_signal[: window_length(record.fs, PREPARATION.duration_s)].T
        sosfiltfilt(sections, resample_once(signal, record.fs), axis=1)


def prepare_at_the_limit(files: list[RecordFiles], shard_file: Path) -> None:
    """Return the bytes of both files and one pass of polyphase filtering."""
    for file in files:
        fs = float(file.header.read_bytes().split(maxsplit=3)[2])
        content = np.frombuffer(file.recording.read_bytes(), "<i2", offset=_MAT4_START)
        signal = content.reshape(-1, len(TWELVE_LEADS)).T
        resample_once(signal[:, : window_length(fs, PREPARATION.duration_s)].astype(float), fs)


def resample_once(signal, fs) -> np.ndarray:
    """Signal at 100 Hz by scipy, as it comes."""
    ratio = (Fraction(PREPARATION.fs) / Fraction(fs)).limit_denominator(1000)
    return resample_poly(signal, ratio.numerator, ratio.denominator, axis=1)


WAYS = {
    "ours": prepare_as_a_worker,
    "ours, without measurements": prepare_without_measurements,
    "usual": prepare_as_usual,
    "limit": prepare_at_the_limit,
}


def seconds_taken(name: str, files: list[RecordFiles], shard_file: Path) -> float:
    """How long the way of that name takes for these records, in this process."""
    shard_file.unlink(missing_ok=True)  # a worker's is new; to empty an old one takes time
    started = time.perf_counter()
    WAYS[name](files, shard_file)
    return time.perf_counter() - started


def records_per_second(files: list[RecordFiles], n_rounds: int) -> dict[str, float]:
    """Return the rate of each way; all take turns on groups of records, whose shortest times
    count."""
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    groups = [files[i : i + _GROUP] for i in range(0, len(files), _GROUP)]
    shortest = {name: np.full(len(groups), np.inf) for name in WAYS}
    with contextlib.ExitStack() as stack:
        shard_file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "part"
        processes = {
            name: stack.enter_context(ProcessPoolExecutor(1, get_context("spawn"))) for name in WAYS
        }
        for _ in range(n_rounds):
            for i, group in enumerate(groups):
                for name, process in processes.items():
                    seconds = process.submit(seconds_taken, name, group, shard_file).result()
                    shortest[name][i] = min(shortest[name][i], seconds)
    return {name: len(files) / seconds.sum() for name, seconds in shortest.items()}


def report(rates: dict[str, float]) -> list[str]:
    """Return a line per row."""

    def row(what, rate):
        return (
            f"{what}: {rate:.0f} records/s, {rate / rates['usual']:.1f}x wfdb + scipy "
            f"(reach {REACH_USUAL:g}x), {rate / rates['limit']:.2f} of reading + one polyphase "
            f"pass (reach {REACH_LIMIT:g})"
        )

    return [
        row("reading and preparing, one worker", rates["ours"]),
        row("without measurements", rates["ours, without measurements"]),
        f"wfdb + scipy: {rates['usual']:.0f} records/s",
        f"reading + one polyphase pass: {rates['limit']:.0f} records/s",
    ]


def usable(folder) -> list[RecordFiles]:
    """Return the folder's records of twelve leads and a MATLAB file, which all the ways can
    read."""
    return [
        file
        for file in find_records(folder)
        if file.recording.suffix == ".mat"
        and len(parse_header(read_header_text(file.header)).leads) == len(TWELVE_LEADS)
    ]


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", help="records of twelve leads, MATLAB v4 with int16")
    parser.add_argument("--records", type=int, default=200, help="so many, spread over the folder")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    found = usable(options.folder)
    places = np.linspace(0, len(found) - 1, min(options.records, len(found))).round().astype(int)
    files = [found[i] for i in places]
    print(f"{len(files)} records of {options.folder}, {os.cpu_count()} cores", flush=True)
    for line in report(records_per_second(files, options.rounds)):
        print(line, flush=True)


if __name__ == "__main__":
    main()
