"""What commands share: numbers among their arguments, and how they end.

An error is one line that says what to do; ECG_DEBUG=1 shows where it arose.
"""

import argparse
import contextlib
import math
import os
import sys
from collections.abc import Callable

_STOPPED = 130  # exit status of a command that Ctrl-C ended, as shells have it


def whole_number(least: int, below: float = math.inf) -> Callable[[str], int]:
    """What reads an argument that is a whole number from `least` on, for argparse."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) < below):
            raise argparse.ArgumentTypeError(
                f"expected a whole number from {least}, found '{text}'"
            )
        return int(text)

    return read


@contextlib.contextmanager
def one_line_errors(command: str):
    """Ends the program with the error of the block, if there is one, as `command: error`."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"{command}: stopped", file=sys.stderr)
        sys.exit(_STOPPED)
    except Exception as error:
        if os.environ.get("ECG_DEBUG") == "1":
            raise
        # What was foreseen speaks for itself; of anything else the kind says more than the text.
        if isinstance(error, (ValueError, OSError)):
            sys.exit(f"{command}: {error}")
        sys.exit(f"{command}: {type(error).__name__}: {error} (ECG_DEBUG=1 shows where it arose)")
