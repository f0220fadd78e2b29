"""Work in other processes: reading ahead, and long jobs, each in a process of its own, on this
machine or on those of a Dask cluster."""

import contextlib
import itertools
import math
import multiprocessing
import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed

import joblib
from joblib.externals import loky

from ecg.runtime.files import naming

# Each process computes on one core.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
_AHEAD = 4  # tasks a process: enough that none waits, few enough to hold their results
_END = object()
_SHM = "/dev/shm"  # where Linux keeps the semaphores of processes
_ANSWER_S = 30  # s in which a cluster, or a tool, is to answer
_JOB_GIB = 8  # of a GPU's memory, for a training; an estimate, twice the maps of 12 leads
_MOST_ON_A_GPU = 5  # trainings: there are no more lead sets
_ON_WORKER = threading.Lock()  # a worker of a cluster does one job at a time, whatever its threads


def read_ahead(
    function: Callable, tasks: Sequence, workers: int, lost: Callable | None = None
) -> Iterator:
    """function(task) of each task, in their order, by `workers` processes that are a bounded number
    of tasks ahead of what was taken.

    joblib.Parallel goes on to the last task however slowly its results are taken. The processes
    import the function's module and nothing else. One worker: no other process. Where a process is
    killed, what was under way is done again; lost: task -> what stands for the result of one whose
    process is killed a second time, alone.
    """
    workers = min(workers, len(tasks))
    if workers <= 1:
        yield from map(function, tasks)
        return
    try:
        executor = _readers(workers)
    except OSError as error:  # some containers have no writable /dev/shm, which semaphores need
        print(f"warning: reading with one process, not {workers}: {_SHM}: {error}", file=sys.stderr)
        yield from map(function, tasks)
        return
    pending = deque()  # of (task, its future)
    try:
        for task in itertools.chain(tasks, itertools.repeat(_END)):
            if task is not _END:
                pending.append((task, _submit(executor, function, task)))
                if len(pending) <= _AHEAD * workers:
                    continue
            elif not pending:
                return
            first, future = pending.popleft()
            try:
                result = future.result()
            except loky.BrokenProcessPool:
                executor.shutdown(kill_workers=True)
                result = alone(function, first, lost)
                executor = _readers(workers)
                again = [one for one, _ in pending]
                pending = deque((one, _submit(executor, function, one)) for one in again)
            yield result
    finally:
        for _, future in pending:
            future.cancel()
        executor.shutdown()


def alone(function: Callable, task, lost: Callable | None):
    """function(task) by a process of its own; lost(task) where that is killed, if there is such."""
    with _readers(1) as executor:
        try:
            return executor.submit(function, task).result()
        except loky.BrokenProcessPool:
            if lost is None:
                raise
    return lost(task)


def _readers(workers: int) -> loky.ProcessPoolExecutor:
    return loky.ProcessPoolExecutor(workers, env=_ONE_THREAD)


def _submit(executor, function: Callable, task) -> Future:
    """The task's future; one that says so where a process of the executor was killed before."""
    try:
        return executor.submit(function, task)
    except loky.BrokenProcessPool as error:
        broken = Future()
        broken.set_exception(error)
        return broken


@contextlib.contextmanager
def on_cluster(address: str | None):
    """A client of the Dask scheduler there, to which joblib sends its tasks within the block; None
    without an address. Raises ValueError where no scheduler answers, or it has no workers."""
    if address is None:
        yield None
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise ValueError("ECG_DASK: run pip install -r requirements-dask.txt") from error
    try:
        client = Client(address, timeout=_ANSWER_S)
    except (OSError, ValueError) as error:
        raise ValueError(f"ECG_DASK: expected a Dask scheduler at {address}, found none") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=_ANSWER_S)
        except TimeoutError as error:
            raise ValueError(f"ECG_DASK: expected workers of {address}, found none") from error
        with joblib.parallel_config("dask", client=client):
            yield client


def n_workers(client) -> int:
    """How many workers a cluster has, at least 1."""
    return max(len(client.scheduler_info(n_workers=-1)["workers"]), 1)


def run_jobs(
    function: Callable, jobs: Iterable, n_at_once: int | None = None, client=None
) -> Iterator[tuple]:
    """(job, function(job)) of each job as it ends, `n_at_once` of them at a time.

    Each sees one GPU, where there are any, and has its share of the CPU cores. None: as many as
    `jobs_at_once` says. A job's memory ends with its process: what a backend keeps of one training
    would add up over hundreds. After an
    error no further job starts; it is raised when those under way have ended. client: of a cluster
    that does the jobs, see `on_cluster`, a worker one at a time; a job whose worker is lost is done
    again by another.
    """
    jobs = list(jobs)
    if not jobs:
        return
    if client is not None:
        yield from _run_on_cluster(function, jobs, n_at_once or math.inf, client)
        return
    gpus = _visible_gpus()
    n_at_once = min(n_at_once or jobs_at_once(), len(jobs))
    free = queue.SimpleQueue()
    for i in range(n_at_once):
        gpu = gpus[i % len(gpus)][0] if gpus else None
        free.put((gpu, max(joblib.cpu_count() // n_at_once, 1)))
    with ThreadPoolExecutor(n_at_once) as threads:
        running = {threads.submit(_run_alone, function, job, free): job for job in jobs}
        for future in running:
            future.add_done_callback(lambda done: _cancel_after_error(done, threads))
        try:
            for done in as_completed(running):
                yield running[done], done.result()
        finally:
            threads.shutdown(cancel_futures=True)


def jobs_at_once() -> int:
    """How many trainings run side by side on this machine.

    Several share a GPU where its memory and the cores that feed it allow: one that trains a single
    network waits for the host most of the time, and for every compilation. Without a GPU it is one,
    which has all cores.
    """
    gpus = _visible_gpus()
    if not gpus:
        return 1
    smallest = min(memory_gib for _, memory_gib in gpus)
    on_each = min(smallest // _JOB_GIB, joblib.cpu_count() // len(gpus), _MOST_ON_A_GPU)
    return len(gpus) * max(on_each, 1)


def _visible_gpus() -> list[tuple[str, int]]:
    """(what CUDA_VISIBLE_DEVICES calls it, its memory in GiB) of each NVIDIA GPU, as the driver's
    own tool tells; none without that tool."""
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=_ANSWER_S
        )
        memory_gib = [int(line) // 1024 for line in told.stdout.split()]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return [(str(i), size) for i, size in enumerate(memory_gib)]
    # They may be named by number or by identity: of the smallest memory is safe for all.
    return [(name, min(memory_gib)) for name in named.split(",") if name]


def _run_on_cluster(function: Callable, jobs: list, n_at_once: float, client) -> Iterator[tuple]:
    # By the client and not by joblib, which does the work itself where a cluster has one thread.
    from distributed import as_completed as as_completed_there
    from distributed import wait

    waiting, running, done = iter(jobs), {}, as_completed_there()

    def start() -> None:
        # As many as there are workers now: they may come and go.
        n_more = int(min(n_at_once, n_workers(client))) - len(running)
        for job in itertools.islice(waiting, max(n_more, 0)):
            future = client.submit(_run_on_worker, function, job, pure=False)
            running[future] = job
            done.add(future)

    try:
        start()
        for future in done:
            result, job = future.result(), running.pop(future)
            # What nobody holds is not computed again where the worker that has it is lost.
            del future
            start()
            yield job, result
    finally:
        if running:
            wait(list(running))


def _run_on_worker(function: Callable, job):
    """function(job) in a new process of this worker's, on the threads and the GPU that it has."""
    from distributed import get_worker

    # Workers are daemons as a rule, which multiprocessing forbids to have processes; these end with
    # their worker, see `_end_with_parent`.
    multiprocessing.current_process()._config["daemon"] = False
    share = None, get_worker().state.nthreads
    with _ON_WORKER, _process(_take_share, *share) as process:
        return process.submit(function, job).result()


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
    with naming(_SHM):
        return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer, arguments)


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
