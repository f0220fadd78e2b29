"""Work in other processes: long jobs, each in one of its own, and reading ahead."""

import math
import multiprocessing
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from pathlib import Path

import joblib
from joblib.externals import loky

from ecg.devices import find_devices

# Each process computes on one core.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
_AHEAD = 4  # tasks a process: enough that none waits, few enough to hold their results


def read_ahead(function: Callable, tasks: Sequence, workers: int) -> Iterator:
    """function(task) of each task, in their order, by `workers` processes that are a bounded number
    of tasks ahead of what was taken.

    joblib.Parallel goes on to the last task however slowly its results are taken. The processes
    import the function's module and nothing else. One worker: no other process.
    """
    workers = min(workers, len(tasks))
    if workers <= 1:
        yield from map(function, tasks)
        return
    executor, pending = loky.ProcessPoolExecutor(workers, env=_ONE_THREAD), deque()
    try:
        for task in tasks:
            pending.append(executor.submit(function, task))
            if len(pending) > _AHEAD * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
        executor.shutdown()


def run_jobs(function: Callable, jobs: Iterable, n_at_once: int | None = None) -> Iterator[tuple]:
    """(job, function(job)) of each job as it ends, `n_at_once` of them at a time.

    Each has a GPU to itself, where there are any, so that there are no more at a time than GPUs;
    else its share of the CPU cores. None: as many as there are GPUs, or one. A job's memory ends
    with its process: what a backend keeps of one training would add up over hundreds. After an
    error no further job starts; it is raised when those under way have ended.
    """
    jobs = list(jobs)
    if not jobs:  # to count the GPUs takes a process of its own
        return
    gpus = _visible_gpus()
    n_at_once = min(n_at_once or len(gpus) or 1, len(gpus) or math.inf, len(jobs))
    free = queue.SimpleQueue()
    for i in range(n_at_once):
        free.put((gpus[i] if gpus else None, max(joblib.cpu_count() // n_at_once, 1)))
    with ThreadPoolExecutor(n_at_once) as threads:
        running = {threads.submit(_run_alone, function, job, free): job for job in jobs}
        for future in running:
            future.add_done_callback(lambda done: _cancel_after_error(done, threads))
        try:
            for done in as_completed(running):
                yield running[done], done.result()
        finally:
            threads.shutdown(cancel_futures=True)


def _cancel_after_error(done: Future, threads: ThreadPoolExecutor) -> None:
    # Called by the thread that ran the job, before it could take the next one.
    if not done.cancelled() and done.exception() is not None:
        threads.shutdown(wait=False, cancel_futures=True)


def _run_alone(function: Callable, job, free: queue.SimpleQueue):
    """function(job) in a new process that sees a share of the machine, taken from `free`."""
    share = free.get()
    try:
        with _process(_take_share, *share) as process:
            return process.submit(function, job).result()
    finally:
        free.put(share)


def _process(initializer=None, *arguments) -> ProcessPoolExecutor:
    # A new one: a fork of a process in which TensorFlow has started hangs.
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer, arguments)


def _visible_gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES calls each GPU; counted by another process, as looking takes
    memory."""
    if not Path("/dev/nvidiactl").exists():
        return []
    with _process() as process:
        n_gpus = process.submit(_n_gpus).result()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",")[:n_gpus] if named else [str(i) for i in range(n_gpus)]


def _take_share(gpu: str | None, n_cores: int) -> None:
    """Leaves this process one GPU, and TensorFlow some cores, before they are looked for."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(n_cores)


def _end_with_parent() -> None:
    # A killed parent cannot end its processes, and they would train on, unseen.
    multiprocessing.parent_process().join()
    os._exit(1)


def _n_gpus() -> int:
    return len(find_devices().gpus)
