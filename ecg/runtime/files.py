"""Write files whole or not at all, lock and clean up folders, read and hash files."""

import contextlib
import csv
import hashlib
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None

_READ_BYTES = 2**16  # at a time, of a small file
_MAX_BYTES = 2**22  # of a small file; a header has about 2000
_DIGEST_BYTES = 2**18  # at a time
_KEPT_NAME = 32  # characters of a file's name that its temporary name ends with
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


@contextlib.contextmanager
def written_whole(path: str | Path, lasting: bool = False):
    """Yield the path of a temporary file, which becomes `path` once the block has succeeded.

    It lies beside `path`; its name starts with a dot and has the same suffix. If the block raises,
    it is removed. lasting: the content is flushed to disk before the file is renamed, so that a
    power failure leaves no partial file either; this takes some milliseconds. An OSError of the
    block that names no file, such as that of a full disk, is raised anew naming `path`.
    """
    path = Path(path)
    # Threads, and machines that share a disk, may have the same process id. Only the end of the
    # name is kept: a long name in full would exceed the limit of the file system.
    unfinished = path.with_name(f".{os.getpid()}-{secrets.token_hex(4)}.{path.name[-_KEPT_NAME:]}")
    try:
        with naming(path, unfinished):
            yield unfinished
            if lasting:
                flush(unfinished)
            unfinished.replace(path)
            if lasting:
                flush(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write `text`, UTF-8, to a file that a user named, whole or not at all.

    The target of a link is replaced, not the link. An existing path that is not a regular file
    (`/dev/stdout`, a named pipe) is written to directly. Raises OSError naming the path.
    """
    path = Path(path)
    if _is_stream(path):
        with naming(path):
            path.write_text(text, encoding="utf-8")
        return
    with written_whole(path.resolve()) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def write_rows(path: Path, rows: Iterable[dict], columns: Iterable[str]) -> None:
    """Write rows as CSV under a line of `columns`, whole or not at all.

    A row may lack columns, which are left empty; ValueError for one that has others.
    """
    with (
        written_whole(path) as unfinished,
        open(unfinished, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, list(columns), restval="")
        writer.writeheader()
        writer.writerows(rows)


def _is_stream(path: Path) -> bool:
    """Whether the path is a device, pipe or socket, or a link to an open file of this process, such
    as /dev/stdout."""
    if not path.exists():
        return False
    folder = path.parent.resolve()
    is_open_file = path.is_symlink() and folder.parts[1:2] in (("dev",), ("proc",))
    return is_open_file or not path.is_file()


def printable(name: str) -> str:
    """Return a file's name, or a text that contains one, as one line of valid UTF-8.

    Bytes that are not UTF-8, and characters that cannot be printed, become escapes.
    """
    text = name.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


@contextlib.contextmanager
def naming(path: str | Path, *stand_ins: Path):
    """Make an OSError of the block name `path` where it names no file or one of the stand-ins."""
    try:
        yield
    except OSError as error:
        if error.filename not in (None, *map(str, stand_ins)) or error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


def flush(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: str | Path) -> Path:
    """Make the folder if it is missing. Raises OSError naming it where no file can be written."""
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder}: expected a folder, found a file")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno), str(folder)) from error
    return folder


def check_place(file: str | Path) -> None:
    """Raise OSError if the file cannot be written: before the work rather than after it."""
    file = Path(file)
    if not file.parent.is_dir():
        raise FileNotFoundError(f"{file}: expected an existing folder {file.parent}, found none")
    if file.is_dir():
        raise IsADirectoryError(f"{file}: expected a file to write to, found a folder")


def check_room(folder: Path, n_bytes: int, content: str) -> None:
    """Raise OSError if the folder's disk has less than `n_bytes` free; `content` names the files
    that need them."""
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise OSError(
            f"{folder}: not enough disk space for {content}: "
            f"expected {n_bytes / 1e6:,.1f} MB, found {free / 1e6:,.1f} MB"
        )


@contextlib.contextmanager
def held(path: Path):
    """Lock the file or folder for the length of the block; yield whether that succeeded.

    False where another process holds the lock; None where the file system or the operating system
    has no such locks. The system releases the lock however the process ends.
    """
    if fcntl is None:
        yield None
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield _lock(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def temporary_folder(parent: Path, prefix: str):
    """Make a folder in `parent` for the length of the block.

    Folders of the same prefix that killed processes have left behind are removed first.
    """
    for left in parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError), held(left) as alone:
            if alone:
                shutil.rmtree(left, ignore_errors=True)
    # Before the new folder is locked, another process may remove it as one left behind.
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(FileNotFoundError):
                stack.enter_context(held(folder))
            if not folder.exists():
                continue
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            return


def move_whole(folder: Path, target: Path) -> None:
    """Rename the folder once its files are flushed to disk.

    Where another process has made `target` meanwhile, that one stays.
    """
    for file in folder.iterdir():
        flush(file)
    flush(folder)
    try:
        folder.rename(target)
    except OSError:
        if not target.is_dir():
            raise
    flush(target.parent)


def open_regular(path: str | Path) -> int:
    """Open a regular file for reading and return its descriptor.

    Raises ValueError naming the file where it, or the target of the link, is a named pipe, a
    socket, a device or a folder: reading one of those may never end.
    """
    try:
        # Without O_NONBLOCK, opening a named pipe waits for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        with contextlib.suppress(OSError):
            _check_regular(path, Path(path).stat().st_mode)  # a socket cannot even be opened
        raise
    try:
        _check_regular(path, os.fstat(descriptor).st_mode)
    except ValueError:
        os.close(descriptor)
        raise
    return descriptor


def _check_regular(path: str | Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        found = _KINDS.get(stat.S_IFMT(mode), "another kind of file")
        raise ValueError(f"{path}: expected a regular file, found {found}")


def read_bytes(path: str | Path) -> bytes:
    """Return the content of a small file, such as a header or an output file.

    Makes fewer system calls than `open`: scoring reads two files for each record. Raises
    ValueError naming the file where it has more than 4 MiB or is not a regular file.
    """
    descriptor = open_regular(path)
    try:
        content = os.read(descriptor, _READ_BYTES)
        while piece := os.read(descriptor, _READ_BYTES):
            content += piece
            if len(content) > _MAX_BYTES:
                raise ValueError(
                    f"{path}: expected a text of at most {_MAX_BYTES} bytes, found more"
                )
        return content
    finally:
        os.close(descriptor)


def digest_files(*paths: str | Path) -> str:
    """Return the SHA-256, in hexadecimal, of the files' bytes, one file after another."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            while piece := file.read(_DIGEST_BYTES):
                digest.update(piece)
    return digest.hexdigest()


def _lock(descriptor: int) -> bool | None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
