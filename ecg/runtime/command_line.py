"""What all commands share: parsing of numbers, hidden log lines, and errors in one line.

An error is printed as one line that says what to do. ECG_DEBUG=1 shows the traceback, and the log
lines of TensorFlow's C++ code, which do not help a user.
"""

import argparse
import contextlib
import io
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable

_STOPPED = 130  # exit status after Ctrl-C, as in shells
# The start of a line that TensorFlow's libraries log below the level of an error, and their notice
# about lines logged before absl is initialised. No TensorFlow option silences all of them.
_NATIVE_LOG = (
    r"^([IW][0-9]{4} [0-9:.]+ |[0-9-]+ [0-9:.]+: [IW] |WARNING: All log messages before absl|"
    r"To enable the following instructions: )"
)


def parse_whole_number(text: str, least: int, below: float = math.inf) -> int:
    """Return the whole number that `text` writes in digits.

    Raises ValueError where `text` is anything else, or the number is out of range.
    """
    if not (text.isascii() and text.isdigit() and least <= int(text) < below):
        limit = "" if below == math.inf else f" to {below - 1}"
        raise ValueError(f"expected a whole number from {least}{limit}, found '{text}'")
    return int(text)


def whole_number(least: int, below: float = math.inf) -> Callable[[str], int]:
    """`parse_whole_number` as the type of an argument for argparse."""

    def parse(text: str) -> int:
        try:
            return parse_whole_number(text, least, below)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse


@contextlib.contextmanager
def running(command: str):
    """Run a command: hide native log lines, write UTF-8, and print an error as one line.

    Import TensorFlow within the block, since it logs when it is imported. With ECG_DEBUG=1
    tracebacks and log lines are shown.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    debug = os.environ.get("ECG_DEBUG") == "1"
    try:
        with contextlib.nullcontext() if debug else native_logs_hidden():
            yield
    except KeyboardInterrupt:
        print(f"{command}: stopped", file=sys.stderr)
        sys.exit(_STOPPED)
    except Exception as error:
        if debug:
            raise
        # An expected error explains itself; of any other the type says more than the text.
        if isinstance(error, (ValueError, OSError)):
            sys.exit(f"{command}: {error}")
        sys.exit(f"{command}: {type(error).__name__}: {error} (ECG_DEBUG=1 shows the traceback)")


@contextlib.contextmanager
def native_logs_hidden():
    """Drop the log lines that C++ code writes to the file descriptor of stderr.

    This covers processes started within the block too. Whatever Python writes to `sys.stderr`, and
    any other line, is shown. The lines are filtered by grep in a separate process, so that the last
    lines before a crash are not lost. Without grep nothing is hidden.
    """
    stderr = sys.stderr
    grep = shutil.which("grep")
    if grep is None or not _is_descriptor(stderr, 2):
        yield
        return
    visible = os.dup(2)
    # In a new session, so that Ctrl-C does not reach it.
    command = [grep, "--line-buffered", "-vE", _NATIVE_LOG]
    filtering = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=visible, stderr=visible, start_new_session=True
    )
    os.dup2(filtering.stdin.fileno(), 2)
    filtering.stdin.close()
    sys.stderr = io.TextIOWrapper(
        io.FileIO(visible, "w"), stderr.encoding, stderr.errors, line_buffering=True
    )
    try:
        yield
    finally:
        os.dup2(visible, 2)
        sys.stderr.close()
        sys.stderr = stderr


def _is_descriptor(stream, number: int) -> bool:
    try:
        return stream.fileno() == number
    except (AttributeError, OSError, ValueError):
        return False
