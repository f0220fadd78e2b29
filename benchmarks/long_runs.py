"""`python -m benchmarks.long_runs MODEL [--records 1000 5000 20000]`: what long runs hold.

Answers so many simulated records of one lead set with the trained models in MODEL, by `run_model`
one after another, as the Challenge's own test_model.py does, and by our test_model.py, each in a
new process. Of that process and all below it: the largest memory (the sum of proportional set
sizes); the median memory of the last fifth of the run over that of the second fifth, which is 1
where memory is flat; and the most handles open in the last fifth and in the second one.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import joblib

from benchmarks.processes import Samples, watched
from ecg.records.leads import LEAD_SETS
from ecg.simulation.recordings import simulate_folder

_ROOT = Path(__file__).parents[1]
WAYS = ("run_model", "test_model.py")


def run_models(model_directory: Path, folder: Path, outputs: Path, lead_set: int) -> int:
    """Answers the records of a folder by `run_model` and writes the outputs; how many."""
    # Imported here, as the process that watches needs no network.
    from ecg.records.discovery import find_records, read_header_text
    from ecg.records.outputs import write_output
    from ecg.records.record import read_recording
    from team_code import load_model, run_model

    model, records = load_model(model_directory, LEAD_SETS[lead_set]), find_records(folder)
    outputs.mkdir()
    for files in records:
        header, recording = read_header_text(files.header), read_recording(files.recording)
        answer = run_model(model, header, recording)
        write_output(outputs / f"{files.name}.csv", files.name, *answer)
    return len(records)


def watch(way: str, model_directory: Path, folder: Path, outputs: Path, lead_set: int) -> Samples:
    """The samples of one run over the records of the folder."""
    if way == "run_model":
        with ProcessPoolExecutor(1, get_context("spawn")) as executor:
            pid = executor.submit(os.getpid).result()
            with watched(pid) as samples:
                executor.submit(run_models, model_directory, folder, outputs, lead_set).result()
        return samples
    command = [sys.executable, "test_model.py", model_directory, folder, outputs]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.DEVNULL) as process:
        with watched(process.pid) as samples:
            process.wait()
        if process.returncode:
            raise RuntimeError(f"test_model.py ended with {process.returncode}")
    return samples


def line_of(way: str, n_records: int, samples: Samples) -> str:
    """A row of the table."""
    (early, late), (early_files, late_files) = (
        _fifths(figures) for figures in (samples.memory, samples.files)
    )
    growth = statistics.median(late) / statistics.median(early)
    return (
        f"{way}, {n_records:,} records: at most {max(samples.memory) / 2**20:.0f} MiB; last fifth "
        f"over second {growth:.2f}; handles {max(late_files)} after {max(early_files)}"
    )


def _fifths(figures: list[int]) -> tuple[list[int], list[int]]:
    """The second fifth of the samples, in which all is loaded, and the last but for the end."""
    n = max(len(figures) // 5, 1)
    return figures[n : 2 * n] or figures, figures[-n - 1 : -1] or figures


def _make_parts(folder: Path, sizes: list[int], lead_set: int) -> dict[int, Path]:
    """A folder of so many records for each size; the smaller ones link to the largest one's."""
    whole = folder / str(max(sizes))
    simulate_folder(whole, max(sizes), 1, lead_set=lead_set, workers=joblib.cpu_count())
    names = sorted(path.stem for path in whole.glob("*.hea"))
    for size in set(sizes) - {max(sizes)}:
        (folder / str(size)).mkdir()
        for name in names[:size]:
            for ending in (".hea", ".mat"):
                (folder / str(size) / f"{name}{ending}").hardlink_to(whole / f"{name}{ending}")
    return {size: folder / str(size) for size in sizes}


def main(arguments=None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="folder that train_model.py wrote")
    parser.add_argument("--records", type=int, nargs="+", default=[1000, 5000, 20_000])
    parser.add_argument("--leads", type=int, choices=LEAD_SETS, default=2, help="default: 2")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        parts = _make_parts(folder, options.records, options.leads)
        for way in WAYS:
            for size, part in parts.items():
                outputs = folder / f"{way}-{size}"
                samples = watch(way, options.model.resolve(), part, outputs, options.leads)
                n_written = len(list(outputs.glob("*.csv")))
                if n_written != size:
                    raise RuntimeError(f"{way}: expected {size} outputs, found {n_written}")
                print(line_of(way, size, samples), flush=True)


if __name__ == "__main__":
    main()
