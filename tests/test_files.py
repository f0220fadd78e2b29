import hashlib

import pytest

from ecg.files import digest_files, move_whole, written_whole


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
