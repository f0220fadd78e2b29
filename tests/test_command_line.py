import argparse

import pytest

from ecg.command_line import one_line_errors, whole_number
from ecg.headers import RecordError


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RecordError("A1.hea: expected x, found y"), "tool: A1.hea: expected x, found y"),
        (FileNotFoundError("A1.csv: expected a file"), "tool: A1.csv: expected a file"),
        (
            ZeroDivisionError("division by zero"),
            "tool: ZeroDivisionError: division by zero (ECG_DEBUG=1 shows where it arose)",
        ),
    ],
)
def test_an_error_is_one_line_and_with_ecg_debug_itself(error, message, monkeypatch):
    monkeypatch.delenv("ECG_DEBUG", raising=False)
    with pytest.raises(SystemExit) as end, one_line_errors("tool"):
        raise error
    assert end.value.code == message
    monkeypatch.setenv("ECG_DEBUG", "1")
    with pytest.raises(type(error)), one_line_errors("tool"):
        raise error


def test_a_command_that_is_stopped_says_so_and_nothing_else(capsys):
    with pytest.raises(SystemExit) as end, one_line_errors("tool"):
        raise KeyboardInterrupt
    assert end.value.code == 130
    assert capsys.readouterr().err == "tool: stopped\n"


def test_a_command_that_ends_itself_keeps_its_status():
    with pytest.raises(SystemExit) as end, one_line_errors("tool"):
        raise SystemExit(3)
    assert end.value.code == 3


def test_whole_numbers_are_read_and_others_named():
    assert [whole_number(0)(text) for text in ("0", "007", "12")] == [0, 7, 12]
    for text in ("-1", "two", "1.5", "", "²", "4"):
        with pytest.raises(argparse.ArgumentTypeError, match="expected a whole number from 5"):
            whole_number(5)(text)
    with pytest.raises(argparse.ArgumentTypeError, match="found '9'"):
        whole_number(0, below=9)("9")
