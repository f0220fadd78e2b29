"""Files that are written whole or not at all; bytes of small ones, and digests of any."""

import contextlib
import hashlib
import os
from pathlib import Path

_SMALL = 2**16  # bytes
_PIECE = 2**18  # bytes, read at a time


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


def read_bytes(path: str | Path) -> bytes:
    """A small file's content, by fewer system calls than `open` makes."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        content = os.read(descriptor, _SMALL)
        while piece := os.read(descriptor, _SMALL):
            content += piece
        return content
    finally:
        os.close(descriptor)


def move_whole(folder: Path, place: Path) -> None:
    """Gives the folder its name, unless another process, whose folder then stays, was faster."""
    try:
        folder.rename(place)
    except OSError:
        if not place.is_dir():
            raise


def digest_files(*paths: str | Path) -> str:
    """SHA-256 of the files' bytes, one file after another, in hexadecimal; read piece by piece."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
    return digest.hexdigest()
