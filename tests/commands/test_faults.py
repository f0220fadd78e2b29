"""The messages in docs/faults.md are those of the program, and faults have the stated effects."""

import errno
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from joblib.externals.loky.process_executor import TerminatedWorkerError

import test_model
from ecg.models.model_files import save_model
from ecg.training.checkpoints import Checkpoint, TrainingState
from tests.commands.test_troubleshooting import MESSAGES as PROGRAM_MESSAGES
from tests.conftest import ROOT, run_script
from tests.narrow import untrained_model
from tests.synthetic import write_folder

GUIDE = (ROOT / "docs" / "faults.md").read_text()
ROWS = [line.split(" | ") for line in GUIDE.splitlines() if line.startswith("| ")][1:]
MESSAGES = sorted({message for row in ROWS for message in re.findall("`([^`]*)`", row[1])})
# Messages of the operating system.
SYSTEM = [os.strerror(number) for number in (errno.ENOSPC, errno.EACCES, errno.EROFS)]
OF_JOBLIB = "A worker process managed by the executor was unexpectedly terminated"
OF_PYTHON = "terminated abruptly"  # tested in tests/runtime/test_processes.py


@pytest.mark.parametrize("message", MESSAGES)
def test_messages_of_the_table_exist_in_the_program(message):
    if message.startswith(("ECG_", "--")):
        return
    assert message in (*SYSTEM, OF_JOBLIB, OF_PYTHON) or any(
        message in text for text in PROGRAM_MESSAGES
    )


def die(number):
    os._exit(9)


@pytest.mark.contract
def test_the_message_of_a_killed_joblib_worker_is_that_of_the_table():
    from joblib import Parallel, delayed

    with pytest.raises(TerminatedWorkerError, match=OF_JOBLIB):
        Parallel(n_jobs=2)(delayed(die)(i) for i in range(2))


@pytest.fixture
def small_disk(tmp_path):
    """A function that mounts a disk of `n_bytes`; skips the test without permission to mount."""
    mounted = []

    def mount(n_bytes):
        disk = tmp_path / f"disk{len(mounted)}"
        disk.mkdir()
        options = ("-t", "tmpfs", "-o", f"size={n_bytes}", "none", str(disk))
        if not shutil.which("mount") or subprocess.run(["mount", *options], check=False).returncode:
            pytest.skip("no permission to mount a disk")
        mounted.append(disk)
        return disk

    yield mount
    for disk in mounted:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.fixture
def test_folder(tmp_path):
    return write_folder(tmp_path / "test", 12, lead_set=2)


def run_unprivileged(script, *arguments) -> subprocess.CompletedProcess:
    """Run a script that is subject to file permissions, even if this user is root."""
    command = [sys.executable, str(ROOT / script), *map(str, arguments)]
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("setpriv is not installed")
        command = ["setpriv", "--inh-caps=-all", "--bounding-set=-all", *command]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.contract
def test_training_on_too_small_a_disk_fails_first(training_folder, small_disk):
    disk = small_disk(512 * 1024)  # sixteen records take 768,000 bytes
    process = run_script("train_model.py", training_folder, disk / "model", ECG_PRESET="demo")
    assert process.returncode == 1
    assert process.stderr.startswith(f"train_model.py: {disk}/model/.training/prepared: not ")
    assert "not enough disk space for the prepared arrays of 16 records: " in process.stderr
    assert process.stderr.count("\n") == 1
    assert not list((disk / "model").iterdir())


@pytest.mark.contract
def test_outputs_written_before_the_disk_is_full_are_complete(untrained, test_folder, small_disk):
    disk = small_disk(6 * os.sysconf("SC_PAGE_SIZE"))
    outputs = disk / "out"
    process = run_script("test_model.py", untrained, test_folder, outputs)
    assert process.returncode == 1
    last = process.stderr.splitlines()[-1]
    assert re.fullmatch(
        rf"test_model.py: \[Errno 28\] No space left on .*: '{outputs}/.*csv'", last
    )
    written = sorted(outputs.iterdir())
    assert 0 < len(written) < 12
    assert all(len(path.read_text().splitlines()) == 4 for path in written)


@pytest.mark.contract
def test_a_model_and_a_checkpoint_that_do_not_fit_leave_the_previous_ones(small_disk):
    disk = small_disk(2**21)
    model = untrained_model("multiscale_se", 2)
    save_model(model, disk)
    checkpoint = Checkpoint(disk / "2_leads.npz", "key")
    checkpoint.write(TrainingState({"loss": [1.0]}, network=[np.zeros(8)]))
    before = {path.name: path.read_bytes() for path in disk.iterdir()}
    (disk / "filling").write_bytes(b"x" * (shutil.disk_usage(disk).free - 8192))
    with pytest.raises(OSError, match=rf"{disk}: not enough disk space for the model for 2 leads"):
        save_model(model, disk)
    with pytest.raises(OSError, match=r"No space left on device: '.*/2_leads\.npz'"):
        checkpoint.write(
            TrainingState({"loss": [1.0, 2.0]}, network=[np.random.default_rng(0).random(8000)])
        )
    (disk / "filling").unlink()
    assert {path.name: path.read_bytes() for path in disk.iterdir()} == before
    assert checkpoint.read().n_epochs == 1


@pytest.mark.contract
@pytest.mark.parametrize(("script", "name"), [("train_model.py", "new"), ("test_model.py", "")])
def test_a_folder_without_write_permission_fails_first(
    script, name, untrained, training_folder, tmp_path
):
    forbidden = tmp_path / "forbidden"
    forbidden.mkdir()
    forbidden.chmod(0o555)
    inputs = [training_folder] if script == "train_model.py" else [untrained, training_folder]
    process = run_unprivileged(script, *inputs, forbidden / name)
    assert process.returncode == 1
    line = process.stderr.splitlines()[-1]
    assert line == f"{script}: [Errno 13] Permission denied: '{forbidden / name}'"
    assert "preparing" not in process.stderr
    assert not list(forbidden.iterdir())


@pytest.mark.contract
def test_a_read_only_disk_fails_first(untrained, test_folder, small_disk):
    disk = small_disk(2**20)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(SystemExit) as ended:
        test_model.main([str(untrained), str(test_folder), str(disk)])
    assert ended.value.code == f"test_model.py: [Errno 30] Read-only file system: '{disk}'"


@pytest.mark.contract
def test_unreadable_records_are_answered_and_other_files_are_kept(untrained, test_folder, tmp_path):
    (test_folder / "T020003.mat").chmod(0)
    (test_folder / "T020004.hea").chmod(0)
    (test_folder / "T020005.mat").unlink()
    (test_folder / "T020006.hea").write_bytes(b"x" * 5_000_000)
    outputs = tmp_path / "out"
    outputs.mkdir()
    for name in ("notes.csv", ".hidden", "T020003.csv"):
        (outputs / name).write_text("mine")
    process = run_unprivileged("test_model.py", untrained, test_folder, outputs)
    assert process.returncode == 0
    assert len(list(outputs.iterdir())) == 12 + 2
    named = [line for line in process.stderr.splitlines() if "answered as sinus rhythm" in line]
    assert len(named) == 4
    assert "Permission denied" in named[0]
    assert "4 records could not be read" in process.stdout
    assert (outputs / "notes.csv").read_text() == (outputs / ".hidden").read_text() == "mine"
    assert (outputs / "T020003.csv").read_text().startswith("#T020003\n")


def test_a_file_where_the_output_folder_should_be_is_kept(untrained, test_folder, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(SystemExit) as ended:
        test_model.main([str(untrained), str(test_folder), str(tmp_path / "out")])
    assert ended.value.code == f"test_model.py: {tmp_path}/out: expected a folder, found a file"
    assert (tmp_path / "out").read_text() == "mine"
