"""docs/faults.md: the messages are the program's, and what can be brought about is."""

import errno
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from joblib.externals.loky.process_executor import TerminatedWorkerError

from ecg.models.model_files import save_model
from ecg.training.checkpoints import Checkpoint, State
from tests.commands.test_troubleshooting import SAID
from tests.conftest import ROOT, run_script
from tests.narrow import untrained_model
from tests.synthetic import write_folder

GUIDE = (ROOT / "docs" / "faults.md").read_text()
ROWS = [line.split(" | ") for line in GUIDE.splitlines() if line.startswith("| ")][1:]
MESSAGES = sorted({message for row in ROWS for message in re.findall("`([^`]*)`", row[1])})
# The system's own messages.
SYSTEM = [os.strerror(number) for number in (errno.ENOSPC, errno.EACCES, errno.EROFS)]
OF_JOBLIB = "A worker process managed by the executor was unexpectedly terminated"
OF_PYTHON = "terminated abruptly"  # tests/runtime/test_processes.py brings it about


@pytest.mark.parametrize("message", MESSAGES)
def test_every_message_of_the_table_is_one_that_the_program_has(message):
    if message.startswith(("ECG_", "--")):
        return
    assert message in (*SYSTEM, OF_JOBLIB, OF_PYTHON) or any(message in text for text in SAID)


def die(number):
    os._exit(9)


def test_a_killed_worker_of_joblib_says_what_the_table_has():
    from joblib import Parallel, delayed

    with pytest.raises(TerminatedWorkerError, match=OF_JOBLIB):
        Parallel(n_jobs=2)(delayed(die)(i) for i in range(2))


@pytest.fixture
def small_disk(tmp_path):
    """Mounts a disk of so many bytes; skips where this user may not."""
    mounted = []

    def mount(n_bytes):
        place = tmp_path / f"disk{len(mounted)}"
        place.mkdir()
        options = ("-t", "tmpfs", "-o", f"size={n_bytes}", "none", str(place))
        if not shutil.which("mount") or subprocess.run(["mount", *options], check=False).returncode:
            pytest.skip("no disk can be mounted here")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def test_folder(tmp_path):
    return write_folder(tmp_path / "test", 12, lead_set=2)


def run_unprivileged(script, *arguments) -> subprocess.CompletedProcess:
    """Runs a script for which the rights of files count, also where this user is root."""
    command = [sys.executable, str(ROOT / script), *map(str, arguments)]
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("setpriv is not there")
        command = ["setpriv", "--inh-caps=-all", "--bounding-set=-all", *command]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_too_small_a_disk_is_told_before_training(training_folder, small_disk):
    disk = small_disk(512 * 1024)  # sixteen records take 768,000 bytes
    process = run_script("train_model.py", training_folder, disk / "model", ECG_PRESET="demo")
    assert process.returncode == 1
    assert process.stderr.startswith(f"train_model.py: {disk}/model/.training/prepared: expected ")
    assert "0.00 GB of room for the prepared arrays of 16 records" in process.stderr
    assert process.stderr.count("\n") == 1
    assert not list((disk / "model").iterdir())


def test_outputs_before_a_full_disk_stay_whole(model_folder, test_folder, small_disk):
    disk = small_disk(6 * os.sysconf("SC_PAGE_SIZE"))
    outputs = disk / "out"
    process = run_script("test_model.py", model_folder, test_folder, outputs)
    assert process.returncode == 1
    last = process.stderr.splitlines()[-1]
    assert re.fullmatch(
        rf"test_model.py: \[Errno 28\] No space left on .*: '{outputs}/.*csv'", last
    )
    written = sorted(outputs.iterdir())
    assert 0 < len(written) < 12
    assert all(len(path.read_text().splitlines()) == 4 for path in written)


def test_a_model_and_a_state_that_have_no_room_leave_those_before(small_disk):
    disk = small_disk(2**21)
    model = untrained_model("multiscale_se", 2)
    save_model(model, disk)
    checkpoint = Checkpoint(disk / "2_leads.npz", "key")
    checkpoint.write(State({"loss": [1.0]}, network=[np.zeros(8)]))
    before = {path.name: path.read_bytes() for path in disk.iterdir()}
    (disk / "filling").write_bytes(b"x" * (shutil.disk_usage(disk).free - 8192))
    with pytest.raises(OSError, match=rf"{disk}: expected .* of room for the model of 2 leads"):
        save_model(model, disk)
    with pytest.raises(OSError, match=r"No space left on device: '.*/2_leads\.npz'"):
        checkpoint.write(
            State({"loss": [1.0, 2.0]}, network=[np.random.default_rng(0).random(8000)])
        )
    (disk / "filling").unlink()
    assert {path.name: path.read_bytes() for path in disk.iterdir()} == before
    assert checkpoint.read().n_epochs == 1


@pytest.mark.parametrize("script", ["train_model.py", "test_model.py"])
def test_a_folder_that_must_not_be_written_is_told_first(
    script, model_folder, training_folder, tmp_path
):
    place = tmp_path / "forbidden"
    place.mkdir()
    place.chmod(0o555)
    for folder in (place, place / "new"):
        inputs = (
            [training_folder] if script == "train_model.py" else [model_folder, training_folder]
        )
        process = run_unprivileged(script, *inputs, folder)
        assert process.returncode == 1
        line = process.stderr.splitlines()[-1]
        assert line == f"{script}: [Errno 13] Permission denied: '{folder}'"
        assert "preparing" not in process.stderr
    assert not list(place.iterdir())


def test_a_read_only_disk_is_told_first(model_folder, test_folder, small_disk):
    disk = small_disk(2**20)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    process = run_script("test_model.py", model_folder, test_folder, disk)
    assert process.stderr == f"test_model.py: [Errno 30] Read-only file system: '{disk}'\n"


def test_records_that_must_not_be_read_and_other_files_beside_the_outputs(
    model_folder, test_folder, tmp_path
):
    (test_folder / "T020003.mat").chmod(0)
    (test_folder / "T020004.hea").chmod(0)
    (test_folder / "T020005.mat").unlink()
    (test_folder / "T020006.hea").write_bytes(b"x" * 5_000_000)
    outputs = tmp_path / "out"
    outputs.mkdir()
    for name in ("notes.csv", ".hidden", "T020003.csv"):
        (outputs / name).write_text("mine")
    process = run_unprivileged("test_model.py", model_folder, test_folder, outputs)
    assert process.returncode == 0
    assert len(list(outputs.iterdir())) == 12 + 2
    said = [line for line in process.stderr.splitlines() if "answered as sinus rhythm" in line]
    assert len(said) == 4
    assert "Permission denied" in said[0]
    assert "4 records could not be read" in process.stdout
    assert (outputs / "notes.csv").read_text() == (outputs / ".hidden").read_text() == "mine"
    assert (outputs / "T020003.csv").read_text().startswith("#T020003\n")


def test_a_file_in_a_folders_place_stays(model_folder, test_folder, tmp_path):
    (tmp_path / "out").write_text("mine")
    process = run_script("test_model.py", model_folder, test_folder, tmp_path / "out")
    assert process.stderr == f"test_model.py: {tmp_path}/out: expected a folder, found a file\n"
    assert (tmp_path / "out").read_text() == "mine"
