import errno
import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ecg.runtime import files
from ecg.runtime.files import (
    check_room,
    digest_files,
    held,
    make_folder,
    move_whole,
    naming,
    open_regular,
    printable,
    read_bytes,
    temporary_folder,
    write_text,
    written_whole,
)
from tests.conftest import ROOT


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "X.weights.h5"
    path.write_text("old")
    with written_whole(path) as unfinished:
        unfinished.write_text("new")
        assert path.read_text() == "old"
        assert unfinished.name.startswith(".")
        assert unfinished.name.endswith(".weights.h5")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "X.csv"
    path.write_text("old")

    def write_half():
        with written_whole(path) as unfinished:
            unfinished.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("lasting", [False, True])
def test_a_lasting_file_is_on_the_disk_before_it_has_its_name(lasting, tmp_path, monkeypatch):
    path, flushed = tmp_path / "X.json", []
    monkeypatch.setattr(files, "flush", lambda one: flushed.append((one.name, path.exists())))
    with written_whole(path, lasting) as unfinished:
        unfinished.write_text("{}")
    assert path.read_text() == "{}"
    of_file, of_folder = (unfinished.name, False), (tmp_path.name, True)
    assert flushed == ([of_file, of_folder] if lasting else [])


def test_a_full_disk_names_the_file(tmp_path):
    def fill():
        with written_whole(tmp_path / "X.csv"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match=r"No space left on device: '.*/X\.csv'") as caught:
        fill()
    assert caught.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())


def test_an_error_that_names_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"), naming(tmp_path / "X"):
        (tmp_path / "nowhere").read_bytes()


def test_a_folder_is_made_where_files_can_be_written(tmp_path):
    folder = make_folder(tmp_path / "new" / "folder")
    assert folder.is_dir()
    assert make_folder(folder) == folder
    assert not list(folder.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file: expected a folder, found a file"):
        make_folder(tmp_path / "file")


def test_too_little_room_is_told(tmp_path):
    check_room(tmp_path, 1, "a byte")
    expected = (
        rf"{tmp_path}: not enough disk space for arrays: expected 1,000,000,000,000\.0 MB, found \d"
    )
    with pytest.raises(OSError, match=expected):
        check_room(tmp_path, 10**18, "arrays")


def test_a_folder_is_held_by_one_at_a_time(tmp_path):
    with held(tmp_path) as first, held(tmp_path) as second:
        assert (first, second) == (True, False)
    with held(tmp_path) as again:
        assert again


def test_where_there_are_no_locks_nobody_knows(tmp_path, monkeypatch):
    def no_locks(*arguments):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with held(tmp_path) as alone:
        assert alone is None


WITHOUT_FCNTL = """
import sys
from pathlib import Path
sys.modules["fcntl"] = None  # its import fails, as on Windows
from ecg.runtime.files import held, temporary_folder
with held(Path(sys.argv[1])) as alone:
    assert alone is None
with temporary_folder(Path(sys.argv[1]), ".made-") as folder:
    assert folder.is_dir()
assert not folder.exists()
"""


@pytest.mark.contract
def test_without_fcntl_files_are_written_and_nobody_knows_who_holds_a_folder(tmp_path):
    subprocess.run([sys.executable, "-c", WITHOUT_FCNTL, tmp_path], cwd=ROOT, check=True)


KILLED = """
import os, signal, sys
from pathlib import Path
from ecg.runtime.files import temporary_folder
with temporary_folder(Path(sys.argv[1]), ".made-") as folder:
    (folder / "half").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.contract
def test_what_a_killed_process_left_is_removed_and_what_another_makes_is_not(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, tmp_path], cwd=ROOT, check=False)
    (left,) = tmp_path.iterdir()
    with temporary_folder(tmp_path, ".made-") as one, temporary_folder(tmp_path, ".made-") as two:
        assert set(tmp_path.iterdir()) == {one, two}
        assert left not in (one, two)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [FileNotFoundError, OSError, KeyboardInterrupt])
def test_an_error_of_the_block_leaves_no_temporary_folder(error, tmp_path):
    def fail():
        with temporary_folder(tmp_path, ".made-") as folder:
            (folder / "half").touch()
            raise error

    with pytest.raises(error):
        fail()
    assert not list(tmp_path.iterdir())


def test_a_text_of_no_end_is_refused(tmp_path):
    (tmp_path / "A1.hea").write_bytes(b"x" * 5_000_000)
    with pytest.raises(ValueError, match=r"A1\.hea: expected a text of at most 4194304 bytes"):
        read_bytes(tmp_path / "A1.hea")


def test_a_folder_gets_its_name_unless_another_has_it(tmp_path):
    place = tmp_path / "place"
    for content, left in (("first", []), ("second", ["made"])):
        made = tmp_path / "made"
        made.mkdir()
        (made / "file").write_text(content)
        move_whole(made, place)
        assert (place / "file").read_text() == "first"
        assert [path.name for path in tmp_path.iterdir() if path != place] == left


def test_a_folder_that_cannot_be_moved_is_told(tmp_path):
    (tmp_path / "made").mkdir()
    with pytest.raises(OSError, match="place"):
        move_whole(tmp_path / "made", tmp_path / "nowhere" / "place")


def test_a_digest_is_that_of_the_files_one_after_another(tmp_path):
    one, two = tmp_path / "1", tmp_path / "2"
    one.write_bytes(b"header")
    two.write_bytes(b"signal" * 100_000)
    together = one.read_bytes() + two.read_bytes()
    assert digest_files(one, two) == hashlib.sha256(together).hexdigest()
    assert digest_files(one) == hashlib.sha256(b"header").hexdigest()


def test_a_text_replaces_a_file_or_a_links_target_as_a_whole(tmp_path):
    file, link = tmp_path / "scores.csv", tmp_path / "link.csv"
    link.symlink_to(file)
    for path in (file, link):
        inode = file.stat().st_ino if file.exists() else None
        write_text(path, f"µ {path.name}")
        assert file.read_text(encoding="utf-8") == f"µ {path.name}"
        assert file.stat().st_ino != inode
    assert link.is_symlink()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.contract
@pytest.mark.skipif(sys.platform != "linux", reason="/proc and /dev/full are Linux's")
def test_a_text_goes_into_what_is_no_regular_file(tmp_path):
    code = "import sys; from ecg.runtime.files import write_text; write_text(sys.argv[1], 'whole')"
    for target in ("/dev/stdout", "/proc/self/fd/1"):
        command = [sys.executable, "-c", code, target]
        piped = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
        assert piped.stdout == b"whole"
        with open(tmp_path / "stdout", "wb") as file:
            subprocess.run(command, cwd=ROOT, stdout=file, check=True)
        assert (tmp_path / "stdout").read_text() == "whole"
    with pytest.raises(OSError, match=r"No space left on device: '/dev/full'"):
        write_text("/dev/full", "text")
    assert not Path("/dev/full").is_file()


def test_a_text_has_no_place_in_a_folder(tmp_path):
    (tmp_path / "X.csv").mkdir()
    with pytest.raises(IsADirectoryError, match=r"X\.csv"):
        write_text(tmp_path / "X.csv", "text")


@pytest.mark.parametrize("length", [251, 255])
def test_a_name_as_long_as_can_be_is_written(tmp_path, length):
    path = tmp_path / ("ä" * (length // 2) + "x")
    with written_whole(path) as unfinished:
        unfinished.write_text("text")
    assert path.read_text() == "text"


def test_what_is_no_regular_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for path, kind in (
        (tmp_path / "link", "a named pipe"),
        (tmp_path, "a folder"),
        ("/dev/null", "a device"),
    ):
        with pytest.raises(ValueError, match=f"{path}: expected a regular file, found {kind}"):
            open_regular(path)


def test_names_are_printable_on_one_line():
    assert printable("ä name") == "ä name"
    assert printable("two\nlines\x1b") == "two\\nlines\\x1b"
    assert printable(b"\xff\xc3\xa4".decode("ascii", "surrogateescape")) == "\\xffä"
