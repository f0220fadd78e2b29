import argparse
import os
import subprocess
import sys

import pytest

from ecg.records.headers import RecordError
from ecg.runtime.command_line import running, whole_number
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RecordError("A1.hea: expected x, found y"), "tool: A1.hea: expected x, found y"),
        (FileNotFoundError("A1.csv: expected a file"), "tool: A1.csv: expected a file"),
        (
            ZeroDivisionError("division by zero"),
            "tool: ZeroDivisionError: division by zero (ECG_DEBUG=1 shows the traceback)",
        ),
    ],
)
def test_an_error_is_one_line_and_with_ecg_debug_itself(error, message, monkeypatch):
    monkeypatch.delenv("ECG_DEBUG", raising=False)
    with pytest.raises(SystemExit) as end, running("tool"):
        raise error
    assert end.value.code == message
    monkeypatch.setenv("ECG_DEBUG", "1")
    with pytest.raises(type(error)), running("tool"):
        raise error


def test_a_command_that_is_stopped_says_so_and_nothing_else(capsys):
    with pytest.raises(SystemExit) as end, running("tool"):
        raise KeyboardInterrupt
    assert end.value.code == 130
    assert capsys.readouterr().err == "tool: stopped\n"


def test_a_command_that_ends_itself_keeps_its_status():
    with pytest.raises(SystemExit) as end, running("tool"):
        raise SystemExit(3)
    assert end.value.code == 3


def test_whole_numbers_are_read_and_others_named():
    assert [whole_number(0)(text) for text in ("0", "007", "12")] == [0, 7, 12]
    for text in ("-1", "two", "1.5", "", "²", "4"):
        with pytest.raises(argparse.ArgumentTypeError, match="expected a whole number from 5"):
            whole_number(5)(text)
    with pytest.raises(argparse.ArgumentTypeError, match="from 0 to 8, found '9'"):
        whole_number(0, below=9)("9")


NATIVE_LINES = """WARNING: All log messages before absl::InitializeLog() is called are
I0000 00:00:1795711102.518502    2424 port.cc:153] oneDNN custom operations are on.
2026-11-26 16:00:00.123456: I tensorflow/core/util/port.cc:153] oneDNN custom operations are on.
E0000 00:00:1795711102.518502    2424 cuda.cc:1] an error
free(): invalid pointer
"""
WRITER = f"""
import os, sys
from ecg.runtime.command_line import running
with running("tool"):
    os.write(2, {NATIVE_LINES.encode()!r})
    print("I0000 from Python", file=sys.stderr)
    raise ValueError("the end")
"""


def run_python(code, **environ) -> subprocess.CompletedProcess:
    clean = {name: text for name, text in os.environ.items() if name != "ECG_DEBUG"}
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, cwd=ROOT, env=clean | environ, capture_output=True, text=True, check=False
    )


@pytest.mark.contract
def test_native_log_lines_are_hidden_and_all_others_shown():
    process = run_python(WRITER)
    assert process.returncode == 1
    assert set(process.stderr.splitlines()) == {
        "E0000 00:00:1795711102.518502    2424 cuda.cc:1] an error",
        "free(): invalid pointer",
        "I0000 from Python",
        "tool: the end",
    }


@pytest.mark.contract
def test_with_ecg_debug_native_log_lines_are_shown():
    process = run_python(WRITER, ECG_DEBUG="1")
    assert process.stderr.startswith(NATIVE_LINES)
    assert "Traceback" in process.stderr


@pytest.mark.contract
@pytest.mark.parametrize(
    "script", ["train_model.py", pytest.param("test_model.py", marks=pytest.mark.nightly)]
)
def test_tensorflow_starts_without_a_word_on_any_cpu(script, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    last = {"train_model.py": ["file"], "test_model.py": ["empty", "file"]}[script]
    arguments = [str(tmp_path / name) for name in ("empty", *last)]
    # The one switch by which TensorFlow logs at its start on every CPU.
    process = run_python(
        f"import sys, {script[:-3]} as command; sys.argv = {[script, *arguments]}; command.main()",
        TF_ENABLE_ONEDNN_OPTS="1",
    )
    assert process.returncode == 1
    assert process.stderr.count("\n") == 1, process.stderr
    assert process.stderr.startswith(f"{script}: {tmp_path}")
