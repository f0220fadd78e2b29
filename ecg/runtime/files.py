"""Files that are written whole or not at all; folders that no killed process leaves behind; bytes
of small files, and digests of any."""

import contextlib
import hashlib
import os
import secrets
import shutil
import stat
import tempfile
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None

_SMALL = 2**16  # bytes
_MOST = 2**22  # bytes of a small file; a header has some 2000
_PIECE = 2**18  # bytes, read at a time
_KEPT_NAME = 32  # characters of a file's name in that of its temporary file
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


@contextlib.contextmanager
def written_whole(path: str | Path, lasting: bool = False):
    """The path of a temporary file beside `path`, which becomes `path` where the block ends well
    and is removed where it does not. Its name starts with a dot and keeps the ending.

    lasting: what it holds is on the disk before it gets its name, so that a power failure leaves
    no half of it either; that takes some milliseconds. An OSError of the block that names no file,
    as that of a full disk, names `path`.
    """
    path = Path(path)
    # Threads, and machines that share a disk, may have the same process number. Only the end of the
    # name is kept: with all of a long one the temporary name would be too long for the file system.
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
    """Write `text`, UTF-8, to a file that a user named: whole or not at all.

    The target of a link is replaced, not the link. What exists and is no regular file
    (`/dev/stdout`, a named pipe) is written to directly. Raises OSError naming the path.
    """
    path = Path(path)
    if _is_stream(path):
        with naming(path):
            path.write_text(text, encoding="utf-8")
        return
    with written_whole(path.resolve()) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def _is_stream(path: Path) -> bool:
    """Whether the path is a device, pipe or socket, or a link by which the system names one of this
    process's open files, such as /dev/stdout."""
    if not path.exists():
        return False
    folder = path.parent.resolve()
    is_open_file = path.is_symlink() and folder.parts[1:2] in (("dev",), ("proc",))
    return is_open_file or not path.is_file()


def printable(name: str) -> str:
    """The name of a file, or a text that holds one, on one line of valid UTF-8.

    Bytes that are no UTF-8, and characters that cannot be printed, are written as escapes.
    """
    text = name.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


@contextlib.contextmanager
def naming(path: str | Path, *stand_ins: Path):
    """Gives an OSError of the block the name of `path`, where it has none or that of a stand-in."""
    try:
        yield
    except OSError as error:
        if error.filename not in (None, *map(str, stand_ins)) or error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


def flush(path: Path) -> None:
    """Waits until a file's bytes, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: str | Path) -> Path:
    """The folder, made if missing. Raises OSError naming it where no file can be written there."""
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
    """Raise OSError where the file cannot be written, before the work rather than after it."""
    file = Path(file)
    if not file.parent.is_dir():
        raise FileNotFoundError(f"{file}: expected an existing folder {file.parent}, found none")
    if file.is_dir():
        raise IsADirectoryError(f"{file}: expected a file to write to, found a folder")


def check_room(folder: Path, n_bytes: int, what: str) -> None:
    """Raises OSError where the folder's disk has less than `n_bytes` free for `what`."""
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise OSError(
            f"{folder}: expected at least {n_bytes / 1e9:.2f} GB of room for {what}, found "
            f"{free / 1e9:.2f} GB"
        )


@contextlib.contextmanager
def held(path: Path):
    """Whether this process alone holds the file or folder for the length of the block; None where
    its file system, or the operating system, has no such locks. The system lets go of it when the
    process ends, however it does.
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
    """A new folder in `parent`, removed at the end of the block. Those of the same prefix that
    killed processes have left are removed first."""
    for left in parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError), held(left) as alone:
            if alone:
                shutil.rmtree(left, ignore_errors=True)
    # Between its making and its locking another process may take the folder for one left behind.
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


def move_whole(folder: Path, place: Path) -> None:
    """Gives the folder its name, once its files are on the disk, unless another process, whose
    folder then stays, was faster."""
    for file in folder.iterdir():
        flush(file)
    flush(folder)
    try:
        folder.rename(place)
    except OSError:
        if not place.is_dir():
            raise
    flush(place.parent)


def open_regular(path: str | Path) -> int:
    """Open a regular file for reading and return its descriptor.

    Raises ValueError naming the file where it is, after links, a named pipe, a socket, a device or
    a folder: to read one of those may take for ever.
    """
    try:
        # Without O_NONBLOCK a named pipe would be waited for before it could be looked at.
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
    """A small file's content, by fewer system calls than `open` makes.

    Raises ValueError naming the file where it is larger than a text of the Challenge can be, or no
    regular file.
    """
    descriptor = open_regular(path)
    try:
        content = os.read(descriptor, _SMALL)
        while piece := os.read(descriptor, _SMALL):
            content += piece
            if len(content) > _MOST:
                raise ValueError(f"{path}: expected a text of at most {_MOST} bytes, found more")
        return content
    finally:
        os.close(descriptor)


def digest_files(*paths: str | Path) -> str:
    """SHA-256 of the files' bytes, one file after another, in hexadecimal; read piece by piece."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            while piece := file.read(_PIECE):
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
