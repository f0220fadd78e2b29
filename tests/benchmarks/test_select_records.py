import shutil

import pytest

from benchmarks.select_records import NAMES_FILE, main, select
from tests.synthetic import beats, write_record

NAMES = NAMES_FILE.read_text().split()


def test_the_named_records_are_linked_from_nested_folders(tmp_path):
    (tmp_path / "download" / "ptb" / "g1").mkdir(parents=True)
    for name in (NAMES[0], NAMES[-1], "X0001"):
        write_record(tmp_path / "download" / "ptb" / "g1", name, beats(500, 100), 100)
    missing = select(tmp_path / "download", tmp_path / "out")
    expected = {f"{name}{suffix}" for name in (NAMES[0], NAMES[-1]) for suffix in (".hea", ".mat")}
    assert {path.name for path in (tmp_path / "out").iterdir()} == expected
    assert len(missing) == len(NAMES) - 2
    shutil.rmtree(tmp_path / "out")


def test_missing_records_are_an_error(tmp_path, capsys):
    write_record(tmp_path, NAMES[0], beats(500, 100), 100)
    with pytest.raises(SystemExit, match=r"expected all records .*642 are missing"):
        main([str(tmp_path), str(tmp_path / "out")])
    assert "1 of 643 records" in capsys.readouterr().out


def test_the_names_are_those_of_the_shared_records(shared_records):
    assert sorted(NAMES) == sorted(path.stem for path in shared_records.rglob("*.hea"))
