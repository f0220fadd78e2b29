import numpy as np
import pytest

from ecg import corpus as corpus_module
from ecg.classes import encode_dx
from ecg.corpus import CorpusError, prepare_corpus
from ecg.leads import TWELVE_LEADS
from ecg.records import find_records, read_record, select_leads
from ecg.signals import Preparation, prepare
from tests.synthetic import beats, write_folder, write_record

PREPARATION = Preparation()


def test_a_corpus_holds_what_answering_a_record_would_see(training_folder, tmp_path):
    corpus = prepare_corpus(training_folder, PREPARATION, tmp_path, workers=2)
    assert len(corpus) == 16
    for i, files in enumerate(find_records(training_folder)):
        record = read_record(files)
        expected = prepare(select_leads(record, TWELVE_LEADS), record.fs, PREPARATION)
        np.testing.assert_array_equal(corpus.signals[corpus.rows[i]], expected)
        np.testing.assert_array_equal(corpus.labels[i], encode_dx(record.dx))
        assert corpus.names[i] == record.name


def test_workers_do_not_change_the_corpus(training_folder, tmp_path):
    one = prepare_corpus(training_folder, PREPARATION, tmp_path / "1", workers=1)
    two = prepare_corpus(training_folder, PREPARATION, tmp_path / "2", workers=2)
    np.testing.assert_array_equal(one.signals, two.signals)
    assert one.fingerprint == two.fingerprint


def test_bad_records_are_named_and_left_out(tmp_path, capsys):
    folder = write_folder(tmp_path / "data", 30)
    (folder / "T120003.mat").write_bytes(b"broken")
    (folder / "T120005.mat").unlink()
    write_record(folder, "T120007", beats(5000, 500), 500, dx="")
    corpus = prepare_corpus(folder, PREPARATION, tmp_path / "cache", workers=1)
    assert len(corpus) == 27
    assert list(corpus.bad) == ["T120003", "T120005", "T120007"]
    assert not set(corpus.bad) & set(corpus.names)
    printed = capsys.readouterr().out
    assert "3 of 30 records cannot be used and are left out" in printed
    assert "T120005: " in printed
    assert "T120005.mat: expected a signal file, found none" in printed
    assert "has no diagnosis code" in printed
    record = read_record(find_records(folder)[4])
    expected = prepare(select_leads(record, TWELVE_LEADS), record.fs, PREPARATION)
    np.testing.assert_array_equal(corpus.signals[corpus.rows[3]], expected)


def test_more_than_a_tenth_of_bad_records_stops_training(tmp_path):
    folder = write_folder(tmp_path / "data", 9)
    (folder / "T120003.mat").write_bytes(b"broken")
    with pytest.raises(CorpusError, match=r"1 of 9 records cannot be used; .* 10%\n  T120003: "):
        prepare_corpus(folder, PREPARATION, tmp_path / "cache", workers=1)


def test_a_folder_without_records_stops_training(tmp_path):
    with pytest.raises(CorpusError, match=r"expected records .* found none"):
        prepare_corpus(tmp_path, PREPARATION, tmp_path / "cache", workers=1)


def test_the_cache_is_reused_until_a_file_or_the_preparation_changes(tmp_path, monkeypatch):
    folder, cache = write_folder(tmp_path / "data", 4), tmp_path / "cache"
    made = []
    write = corpus_module._write
    monkeypatch.setattr(
        corpus_module, "_write", lambda *arguments: (made.append(1), write(*arguments))
    )

    def fingerprint(preparation=PREPARATION):
        return prepare_corpus(folder, preparation, cache, workers=1).fingerprint

    first = fingerprint()
    assert fingerprint() == first
    assert len(made) == 1
    fingerprint(Preparation(window_s=5))
    assert len(made) == 2
    write_record(folder, "T120001", beats(4000, 500), 500)
    assert fingerprint() != first
    assert len(made) == 3


def test_a_cache_that_was_cut_off_leaves_nothing_behind(tmp_path, monkeypatch):
    folder, cache = write_folder(tmp_path / "data", 4), tmp_path / "cache"

    def cut_off(*arguments):
        write(*arguments)
        raise KeyboardInterrupt

    write = corpus_module._write
    monkeypatch.setattr(corpus_module, "_write", cut_off)
    with pytest.raises(KeyboardInterrupt):
        prepare_corpus(folder, PREPARATION, cache, workers=1)
    assert not list(cache.iterdir())


def test_two_runs_may_fill_one_cache(tmp_path, monkeypatch):
    folder, cache = write_folder(tmp_path / "data", 4), tmp_path / "cache"
    write = corpus_module._write

    def overtaken(*arguments):
        write(*arguments)
        monkeypatch.setattr(corpus_module, "_write", write)
        prepare_corpus(folder, PREPARATION, cache, workers=1)

    monkeypatch.setattr(corpus_module, "_write", overtaken)
    corpus = prepare_corpus(folder, PREPARATION, cache, workers=1)
    assert len(corpus) == 4
    assert len(list(cache.iterdir())) == 1


def test_every_real_record_is_prepared(shared_records, tmp_path):
    corpus = prepare_corpus(shared_records, PREPARATION, tmp_path, workers=2)
    assert len(corpus) == 643
    assert not corpus.bad
    assert np.isfinite(corpus.signals).all()
    # Every record has a living lead; the few dead ones are zeros.
    assert corpus.signals.any(axis=(1, 2)).all()
