"""Long jobs side by side, a process for each device."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import joblib

from ecg.devices import find_devices


def count_gpus() -> int:
    """The GPUs that a process here would see; found by another one, as looking takes memory."""
    if not Path("/dev/nvidiactl").exists():
        return 0
    with _processes(1) as pool:
        return pool.submit(_n_gpus).result()


def run_jobs(function: Callable, jobs: Iterable, n_processes: int) -> Iterator[tuple]:
    """(job, function(job)) of each job as it ends, `n_processes` of them at a time.

    One process is this one. Of several, each has a GPU to itself, where there are any, so that
    there are no more of them than GPUs; else its share of the CPU cores. After an error no further
    job starts; it is raised when those under way have ended.
    """
    jobs = list(jobs)
    if n_processes == 1 or len(jobs) < 2:
        for job in jobs:
            yield job, function(job)
        return
    gpus = _visible_gpus()
    n_processes = min(n_processes, len(gpus) or n_processes)
    shares = multiprocessing.get_context("spawn").Queue()
    for i in range(n_processes):
        shares.put((gpus[i] if gpus else None, max(joblib.cpu_count() // n_processes, 1)))
    with _processes(n_processes, _take_share, shares) as pool:
        running = {pool.submit(function, job): job for job in jobs}
        try:
            for done in as_completed(running):
                yield running[done], done.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _processes(n_processes, initializer=None, *arguments) -> ProcessPoolExecutor:
    # Fresh ones: a fork of a process in which TensorFlow has started hangs.
    return ProcessPoolExecutor(
        n_processes, multiprocessing.get_context("spawn"), initializer, arguments
    )


def _visible_gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES would name each GPU."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return named.split(",") if named else [str(i) for i in range(count_gpus())]


def _take_share(shares) -> None:
    """Leaves this process one GPU, and TensorFlow some cores, before they are looked for."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    gpu, cores = shares.get()
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(cores)


def _end_with_parent() -> None:
    # A killed parent cannot end its processes, and they would train on, unseen.
    multiprocessing.parent_process().join()
    os._exit(1)


def _n_gpus() -> int:
    return len(find_devices().gpus)
