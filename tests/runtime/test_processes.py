import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import joblib
import pytest

from ecg.runtime import processes
from ecg.runtime.processes import on_cluster, read_ahead, run_jobs
from tests.conftest import ROOT
from tests.reading_tasks import die_once, fifth_of, lost, touch


@pytest.fixture
def gpus(monkeypatch):
    """This machine's GPUs, (name, memory in GiB) each, for a test to fill."""
    named = []
    monkeypatch.setattr(processes, "_visible_gpus", lambda: named)
    return named


def wait_until(happened) -> None:
    until = time.monotonic() + 120
    while not happened():
        if time.monotonic() > until:
            raise TimeoutError("it has not happened in two minutes")
        time.sleep(0.01)


def process_of(job) -> int:
    return os.getpid()


def meet(file: Path) -> dict:
    """What this process was left, once another one is at work beside it."""
    file.touch()
    wait_until(lambda: len(list(file.parent.iterdir())) == 2)
    return {name: os.environ[name] for name in ("CUDA_VISIBLE_DEVICES", "TF_NUM_INTRAOP_THREADS")}


def fail_or_leave_a_file(file: Path) -> None:
    if file.name == "0":
        raise ValueError("the first one fails")
    file.touch()


def write_on(file: Path) -> None:
    while True:
        with open(file, "a") as log:
            log.write("still at work\n")
        time.sleep(0.05)


def die(job) -> None:
    os._exit(3)


@pytest.mark.contract
def test_each_job_is_done_in_turn_by_a_process_of_its_own(gpus):
    results = list(run_jobs(process_of, ["a", "b"]))
    assert [job for job, _ in results] == ["a", "b"]
    assert len({process for _, process in results} | {os.getpid()}) == 3


def test_no_jobs_have_no_results(gpus):
    assert list(run_jobs(process_of, [], 2)) == []


@pytest.mark.contract
def test_jobs_work_side_by_side_each_on_a_gpu_of_its_own(gpus, tmp_path, monkeypatch):
    gpus += [("4", 16), ("7", 16)]
    monkeypatch.setattr(joblib, "cpu_count", lambda: 2)
    jobs = [tmp_path / "a", tmp_path / "b"]
    results = dict(run_jobs(meet, jobs))
    assert set(results) == set(jobs)
    assert {share["CUDA_VISIBLE_DEVICES"] for share in results.values()} == {"4", "7"}
    assert {share["TF_NUM_INTRAOP_THREADS"] for share in results.values()} == {"1"}
    assert os.environ.get("CUDA_VISIBLE_DEVICES") not in ("4", "7")


@pytest.mark.parametrize(
    ("found", "n_at_once", "shares"),
    [
        ([], None, [(None, 6)]),
        ([], 2, [(None, 3), (None, 3)]),
        ([], 8, [(None, 1)] * 8),
        ([], 8, [(None, 6)]),  # for one job alone
        ([("4", 7)], None, [("4", 6)]),
        ([("4", 80)], 1, [("4", 6)]),
        ([("4", 24)], None, [("4", 2)] * 3),
        ([("4", 80)], None, [("4", 1)] * 5),
        ([("4", 15), ("7", 15)], None, [("4", 3), ("7", 3)]),
        ([("4", 16), ("7", 80)], None, [("4", 1), ("4", 1), ("7", 1), ("7", 1)]),
        ([("4", 80), ("7", 80)], 1, [("4", 6)]),
    ],
)
def test_gpus_and_cores_are_shared_out(found, n_at_once, shares, gpus, monkeypatch):
    gpus += found
    monkeypatch.setattr(joblib, "cpu_count", lambda: 6)
    monkeypatch.setattr(processes, "_run_alone", lambda function, job, free: free.get())
    results = [share for _, share in run_jobs(process_of, range(len(shares)), n_at_once)]
    assert sorted(results) == shares


@pytest.mark.contract
@pytest.mark.parametrize(
    ("visible", "gpus"),
    [
        (None, [("0", 79), ("1", 15)]),
        ("1", [("1", 15)]),
        ("GPU-a,GPU-b", [("GPU-a", 15), ("GPU-b", 15)]),
    ],
)
def test_gpus_are_told_by_the_drivers_own_tool(visible, gpus, tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 81559\necho 16160\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert processes._visible_gpus() == gpus


@pytest.mark.contract
def test_after_an_error_no_further_job_starts(gpus, tmp_path):
    with pytest.raises(ValueError, match="the first one fails"):
        list(run_jobs(fail_or_leave_a_file, [tmp_path / str(i) for i in range(4)], 1))
    assert not list(tmp_path.iterdir())


@pytest.mark.contract
def test_a_process_that_dies_is_an_error(gpus):
    with pytest.raises(RuntimeError, match="terminated abruptly"):
        list(run_jobs(die, ["a"]))


@pytest.mark.contract
def test_a_killed_command_takes_its_processes_with_it(tmp_path):
    script = (
        "import sys; from pathlib import Path; from ecg.runtime.processes import run_jobs; "
        "from tests.runtime.test_processes import write_on; "
        "list(run_jobs(write_on, [Path(sys.argv[1])]))"
    )
    log = tmp_path / "log"
    command = subprocess.Popen([sys.executable, "-c", script, str(log)], cwd=ROOT)
    try:
        wait_until(log.exists)
    finally:
        command.kill()
        command.wait()
    time.sleep(1)
    size = log.stat().st_size
    time.sleep(1)
    assert log.stat().st_size == size


@pytest.mark.contract
def test_no_gpu_is_found_where_the_driver_is_not_there():
    if shutil.which("nvidia-smi"):
        pytest.skip("this machine has an NVIDIA driver")
    assert processes._visible_gpus() == []


def test_without_jobs_nothing_is_started(monkeypatch):
    def never():
        raise AssertionError("the GPUs do not matter here")

    monkeypatch.setattr(processes, "_visible_gpus", never)
    assert list(run_jobs(print, iter(()))) == []


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.contract)])
def test_results_read_ahead_come_in_the_order_of_their_tasks(workers):
    assert list(read_ahead(fifth_of, range(100), workers)) == [i // 5 for i in range(100)]
    assert list(read_ahead(fifth_of, [], workers)) == []
    with pytest.raises(ValueError, match="negative"):
        list(read_ahead(fifth_of, [3, -1], workers))


@pytest.mark.contract
def test_reading_ahead_stays_a_bounded_number_of_tasks_ahead(tmp_path):
    tasks = [tmp_path / str(i) for i in range(100)]
    results = read_ahead(touch, tasks, workers=2)
    next(results)
    wait_until(lambda: len(list(tmp_path.iterdir())) >= 5)
    time.sleep(0.5)  # in which it would go on
    assert len(list(tmp_path.iterdir())) < 20
    results.close()


@pytest.mark.contract
def test_a_process_that_is_killed_once_costs_nothing(tmp_path):
    names = [*"abc", "once", *"defghijklmnop"]
    assert list(read_ahead(die_once, [tmp_path / name for name in names], 2, lost)) == names


@pytest.mark.contract
def test_a_task_that_kills_its_process_costs_itself(tmp_path):
    names = [*"abc", "always", *"defghijklmnop"]
    tasks = [tmp_path / name for name in names]
    expected = ["always lost" if name == "always" else name for name in names]
    assert list(read_ahead(die_once, tasks, 2, lost)) == expected
    with pytest.raises(RuntimeError, match="terminated"):
        list(read_ahead(die_once, tasks, 2))


def test_without_an_address_there_is_no_cluster():
    with on_cluster(None) as client:
        assert client is None


def test_a_cluster_that_does_not_answer_is_told(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(processes, "_TIMEOUT_S", 1)
    told = r"ECG_DASK: expected a Dask scheduler at tcp://127\.0\.0\.1:9, found none"
    with pytest.raises(ValueError, match=told), on_cluster("tcp://127.0.0.1:9"):
        pass
