"""Files that are written whole or not at all."""

import contextlib
import os
from pathlib import Path


@contextlib.contextmanager
def written_whole(path: str | Path):
    """The path of a temporary file beside `path`, which becomes `path` where the block ends well
    and is removed where it does not. Its name starts with a dot and keeps the ending."""
    path = Path(path)
    unfinished = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
