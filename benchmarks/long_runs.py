"""`python -m benchmarks.long_runs MODEL [--records 1000 5000 20000]`: leaks in long runs.

Classifies simulated records of one lead set with the models in MODEL, by `run_model` record by
record, as the Challenge's test_model.py does, and by our test_model.py, each in a new process.
Measures, for the process and its descendants: the peak memory (sum of proportional set sizes); the
median memory of the last fifth of the run relative to that of the second fifth, which is 1 without
a leak; and the largest number of open file handles in the last and in the second fifth.
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
from ecg.models.descriptions import find_model_folder
from ecg.records.leads import LEAD_SETS
from ecg.simulation.recordings import simulate_folder

_ROOT = Path(__file__).parents[1]
DRIVERS = ("run_model", "test_model.py")


def run_models(model_directory: Path, folder: Path, outputs: Path, lead_set: int) -> int:
    """Classify the records of a folder by `run_model`, write the outputs; return their number."""
    # Imported here, since the watching process does not need TensorFlow.
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


def watch(
    driver: str, model_directory: Path, folder: Path, outputs: Path, lead_set: int
) -> Samples:
    """Return samples of memory and open files during a run over the records of a folder."""
    if driver == "run_model":
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
            raise RuntimeError(f"test_model.py failed with exit status {process.returncode}")
    return samples


def summarise(driver: str, n_records: int, samples: Samples) -> str:
    """Return a line of the results."""
    (early, late), (early_files, late_files) = (
        _fifths(values) for values in (samples.memory, samples.files)
    )
    growth = statistics.median(late) / statistics.median(early)
    return (
        f"{driver}, {n_records:,} records: peak {max(samples.memory) / 2**20:.0f} MiB; last fifth "
        f"/ second fifth {growth:.2f}; open files {max(late_files)}, before {max(early_files)}"
    )


def _fifths(values: list[int]) -> tuple[list[int], list[int]]:
    """Return the second fifth, when everything is loaded, and the last, without the final value."""
    n = max(len(values) // 5, 1)
    return values[n : 2 * n] or values, values[-n - 1 : -1] or values


def _make_parts(folder: Path, sizes: list[int], lead_set: int) -> dict[int, Path]:
    """Return a folder of records for each size; the smaller ones are links to the largest."""
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
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help='folder that train_model.py wrote, or "starter"')
    parser.add_argument("--records", type=int, nargs="+", default=[1000, 5000, 20_000])
    parser.add_argument("--leads", type=int, choices=LEAD_SETS, default=2, help="default: 2")
    options = parser.parse_args(arguments)
    model = find_model_folder(options.model).resolve()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        parts = _make_parts(folder, options.records, options.leads)
        for driver in DRIVERS:
            for size, part in parts.items():
                outputs = folder / f"{driver}-{size}"
                samples = watch(driver, model, part, outputs, options.leads)
                n_written = len(list(outputs.glob("*.csv")))
                if n_written != size:
                    raise RuntimeError(f"{driver}: expected {size} outputs, found {n_written}")
                print(summarise(driver, size, samples), flush=True)


if __name__ == "__main__":
    main()
