"""Odd files beside good records: every good one is answered, every odd one is named."""

import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from ecg.models.model_files import save_model
from ecg.records.outputs import read_output
from tests.conftest import ROOT
from tests.narrow import untrained_model
from tests.synthetic import beats, header_text, write_folder, write_record

C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
N_GOOD = 50
TWO = ("I", "II")
any_bytes_in_names = pytest.mark.skipif(
    sys.platform != "linux", reason="this system's file names have to be UTF-8"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_model(untrained_model("multiscale_se", 2), folder)
    return folder


def make_socket(path) -> None:
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(path))


def answer(model, data, outputs, **environ) -> subprocess.CompletedProcess:
    clean = {name: text for name, text in os.environ.items() if not name.startswith("ECG_")}
    command = [sys.executable, str(ROOT / "test_model.py"), str(model), str(data), str(outputs)]
    return subprocess.run(
        command, cwd=ROOT, env=clean | environ, capture_output=True, timeout=300, check=False
    )


def write_odd(folder) -> dict[bytes, bytes]:
    """Writes one file of each odd kind; name of the record -> a part of what is said of it."""
    signal = beats(5000, 500.0)

    def good(name):
        write_record(folder, name, signal, 500.0, TWO)

    def change(name, old, new):
        good(name)
        path = folder / f"{name}.hea"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    os.mkfifo(folder / "pipe_hea.hea")
    for name, make in (
        ("pipe_mat", os.mkfifo),
        ("link_mat", lambda path: path.symlink_to("/dev/zero")),
        ("socket_mat", make_socket),
    ):
        good(name)
        (folder / f"{name}.mat").unlink()
        make(folder / f"{name}.mat")
    (folder / "gone.hea").symlink_to(folder / "nowhere.hea")
    change("rate_0", " 500 ", " 0 ")
    change("rate_negative", " 500 ", " -500 ")
    change("twice", "0 0 II", "0 0 I")
    change("gain_0", "1000/mV", "0/mV")
    change("gain_negative", "1000/mV", "-1000/mV")
    change("gain_per_volt", "1000/mV", "1000/V")
    for name in (b"not utf8 \xff", b"two\nlines", "n\u00e4me".encode()):
        with open(os.path.join(os.fsencode(folder), name + b".hea"), "wb") as file:  # noqa: PTH118
            file.write(b"no header")
    long_name = "l" * 251
    good(long_name)
    return {
        b"pipe_hea": b"expected a regular file, found a named pipe",
        b"pipe_mat": b"expected a regular file, found a named pipe",
        b"link_mat": b"expected a regular file, found a device",
        b"socket_mat": b"expected a regular file, found a socket",
        b"gone": b"could not be read",
        b"rate_0": b"expected a sampling rate of 50 to 4000 Hz, found 0",
        b"rate_negative": b"expected a sampling rate of 50 to 4000 Hz, found -500",
        b"twice": b"warning: I: named more than once",
        b"gain_0": b"warning: I, II: a gain of 0, read as 200 per unit",
        b"gain_negative": b"warning: I, II: a gain below 0",
        b"gain_per_volt": b"warning: I, II: a gain of 1 per mV, too coarse",
        b"not utf8 \xff": rb"not utf8 \xff: could not be read",
        b"two\nlines": rb"two\nlines: could not be read",
        "n\u00e4me".encode(): "n\u00e4me: could not be read".encode(),
        long_name.encode(): b"",
    }


@pytest.mark.contract
@any_bytes_in_names
@pytest.mark.parametrize("environ", [{}, C_LOCALE], ids=["UTF-8", "C"])
def test_odd_files_are_named_and_cost_no_other_record_its_answer(model, tmp_path, environ):
    data, outputs = tmp_path / "data", tmp_path / "out"
    write_folder(data, N_GOOD, lead_set=2)
    good = [path.stem for path in data.glob("*.hea")]
    odd = write_odd(data)
    process = answer(model, data, outputs, ECG_WORKERS="2", **environ)
    assert process.returncode == 0, process.stderr
    for name in good:
        recording, codes, labels, probabilities = read_output(outputs / f"{name}.csv")
        assert recording == name
        assert len(codes) == len(labels) == len(probabilities) == 30
        assert sum(labels) > 0
        assert len(set(probabilities)) > 2  # not the training prevalence
    said = process.stderr.split(b"\n")
    for name, message in odd.items():
        with open(os.path.join(os.fsencode(outputs), name + b".csv"), "rb") as file:  # noqa: PTH118
            lines = file.read().decode().splitlines()  # UTF-8, whatever the locale
        assert len(lines) == 4
        if message:
            assert [line for line in said if message in line], message
    assert len(list(outputs.iterdir())) == N_GOOD + len(odd)
    assert b"8 records could not be read" not in process.stdout
    assert b"10 records could not be read" in process.stdout


@any_bytes_in_names
def test_training_names_odd_files_and_goes_on(tmp_path):
    from ecg.signals.preprocessing import Preparation
    from ecg.training.dataset import prepare_dataset

    data = write_folder(tmp_path / "data", 60)
    os.mkfifo(data / "pipe.mat")
    (data / "pipe.hea").write_text(header_text("pipe", 500, 5000, TWO))
    with open(os.path.join(os.fsencode(data), b"not utf8 \xff.hea"), "wb") as file:  # noqa: PTH118
        file.write(b"no header")
    dataset = prepare_dataset(data, Preparation(), tmp_path / "cache", 1)
    assert len(dataset) == 60
    assert "expected a regular file, found a named pipe" in dataset.rejected["pipe"]
    assert not dataset.transient
    assert np.isfinite(dataset.windows(0)).all()


@pytest.mark.contract
def test_without_shared_memory_records_are_read_by_one_process(model, tmp_path):
    write_folder(tmp_path / "data", 12, lead_set=2)
    script = f'mount -t tmpfs -o ro none /dev/shm && exec "{sys.executable}" "$@"'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", str(ROOT / "test_model.py")]
    try:
        subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"], check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("nothing can be mounted here")
    process = subprocess.run(
        [*command, str(model), str(tmp_path / "data"), str(tmp_path / "out")],
        env=os.environ | {"ECG_WORKERS": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert "warning: reading with one process, not 2: /dev/shm: [Errno 30]" in process.stderr
    assert len(list((tmp_path / "out").iterdir())) == 12
