"""How commands end: an error is one line that says what to do. ECG_DEBUG=1 shows where it arose."""

import contextlib
import os
import sys

_STOPPED = 130  # exit status of a command that Ctrl-C ended, as shells have it


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
