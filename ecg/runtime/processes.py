"""Work in other processes: reading ahead, and long jobs on this machine or a Dask cluster."""

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
_AHEAD = 4  # tasks per process: enough that none waits, few enough to keep their results in memory
_END = object()
_SHM = "/dev/shm"  # where Linux keeps the semaphores of processes
_TIMEOUT_S = 30  # for the answer of a cluster or a tool
_JOB_GIB = 8  # of GPU memory for a training: an estimate, twice the feature maps of 12 leads
_MOST_ON_A_GPU = 5  # trainings, as there are five lead sets
_ON_WORKER = threading.Lock()  # a cluster's worker runs one job at a time, with all its threads


def read_ahead(
    function: Callable, tasks: Sequence, workers: int, lost: Callable | None = None
) -> Iterator:
    """Yield function(task) of each task, in order, from `workers` processes that work ahead.

    They are ahead of the consumer by a bounded number of tasks, whereas joblib.Parallel runs all
    tasks however slowly its results are consumed. The processes import the function's module only.
    With one worker no process is started. If a process is killed, its unfinished tasks are redone.
    lost: task -> the result for a task whose process is killed again when it runs alone.
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
                unfinished = [task for task, _ in pending]
                pending = deque((task, _submit(executor, function, task)) for task in unfinished)
            yield result
    finally:
        for _, future in pending:
            future.cancel()
        executor.shutdown()


def alone(function: Callable, task, lost: Callable | None):
    """function(task) in a new process; if that is killed, lost(task) where `lost` is given."""
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
    """Return the task's future; a failed one if a process of the executor has been killed."""
    try:
        return executor.submit(function, task)
    except loky.BrokenProcessPool as error:
        broken = Future()
        broken.set_exception(error)
        return broken


@contextlib.contextmanager
def on_cluster(address: str | None):
    """Connect to the Dask scheduler at this address; joblib runs its tasks there within the block.

    Yields the client, or None without an address. Raises ValueError where no scheduler answers or
    it has no workers.
    """
    if address is None:
        yield None
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise ValueError("ECG_DASK: run pip install -r requirements-dask.txt") from error
    try:
        client = Client(address, timeout=_TIMEOUT_S)
    except (OSError, ValueError) as error:
        raise ValueError(f"ECG_DASK: expected a Dask scheduler at {address}, found none") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=_TIMEOUT_S)
        except TimeoutError as error:
            raise ValueError(f"ECG_DASK: expected workers of {address}, found none") from error
        with joblib.parallel_config("dask", client=client):
            yield client


def n_workers(client) -> int:
    """Return the number of a cluster's workers, at least 1."""
    return max(len(client.scheduler_info(n_workers=-1)["workers"]), 1)


def run_jobs(
    function: Callable, jobs: Iterable, n_at_once: int | None = None, client=None
) -> Iterator[tuple]:
    """Yield (job, function(job)) of each job as it finishes, each job in a new process.

    A process releases its memory when it ends; what a backend keeps of each training would add up
    over hundreds of jobs. It sees one GPU, if there are any, and gets its share of the CPU cores.
    After an error no further job starts; the error is raised once the running ones have finished.
    n_at_once: jobs side by side; None for `jobs_at_once`.
    client: of a cluster that runs the jobs, one at a time on each worker, see `on_cluster`; another
    worker redoes a job whose worker is lost.
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
    """Return the number of trainings that run side by side on this machine.

    Several share a GPU as far as its memory and the cores that feed it allow: with a single
    training, the GPU waits most of the time for the host, and during every compilation. Without a
    GPU it is one, with all cores.
    """
    gpus = _visible_gpus()
    if not gpus:
        return 1
    smallest = min(memory_gib for _, memory_gib in gpus)
    on_each = min(smallest // _JOB_GIB, joblib.cpu_count() // len(gpus), _MOST_ON_A_GPU)
    return len(gpus) * max(on_each, 1)


def _visible_gpus() -> list[tuple[str, int]]:
    """(name for CUDA_VISIBLE_DEVICES, memory in GiB) of each NVIDIA GPU, according to nvidia-smi;
    empty without that tool."""
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        process = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=_TIMEOUT_S
        )
        memory_gib = [int(line) // 1024 for line in process.stdout.split()]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [(str(i), size) for i, size in enumerate(memory_gib)]
    # Named by number or by UUID, so the least memory is assumed for each.
    return [(name, min(memory_gib)) for name in visible.split(",") if name]


def _run_on_cluster(function: Callable, jobs: list, n_at_once: float, client) -> Iterator[tuple]:
    # By the client: joblib would run the jobs locally if the cluster has a single thread.
    from distributed import as_completed as as_completed_there
    from distributed import wait

    waiting, running, done = iter(jobs), {}, as_completed_there()

    def start() -> None:
        # As many as there are workers now, since workers come and go.
        n_more = int(min(n_at_once, n_workers(client))) - len(running)
        for job in itertools.islice(waiting, max(n_more, 0)):
            future = client.submit(_run_on_worker, function, job, pure=False)
            running[future] = job
            done.add(future)

    try:
        start()
        for future in done:
            result, job = future.result(), running.pop(future)
            # A released result is not computed again when the worker that holds it is lost.
            del future
            start()
            yield job, result
    finally:
        if running:
            wait(list(running))


def _run_on_worker(function: Callable, job):
    """function(job) in a new process of this worker, with the worker's threads and GPU."""
    from distributed import get_worker

    # Workers are usually daemons, which multiprocessing forbids to start processes; these end with
    # their worker, see `_end_with_parent`.
    multiprocessing.current_process()._config["daemon"] = False
    share = None, get_worker().state.nthreads
    with _ON_WORKER, _process(_take_share, *share) as process:
        return process.submit(function, job).result()


def _cancel_after_error(done: Future, threads: ThreadPoolExecutor) -> None:
    # Called by the thread that ran the job, before it takes the next one.
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
    # Spawned, because a fork of a process that has started TensorFlow hangs.
    with naming(_SHM):
        return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer, arguments)


def _take_share(gpu: str | None, n_cores: int) -> None:
    """Restrict this process to one GPU and TensorFlow to some cores, before it looks for them."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(n_cores)


def _end_with_parent() -> None:
    # A killed parent cannot end its processes, which would go on training unnoticed.
    multiprocessing.parent_process().join()
    os._exit(1)
