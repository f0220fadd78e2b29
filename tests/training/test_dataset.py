import errno
import hashlib
import os
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from ecg.records.demographics import encode_demographics
from ecg.records.diagnoses import encode_dx
from ecg.records.discovery import find_records
from ecg.records.leads import TWELVE_LEADS
from ecg.records.record import read_record, select_leads
from ecg.signals.measurements import N_RHYTHM, N_WAVES, measure
from ecg.signals.preprocessing import Preparation, lead_deviation, prepare
from ecg.training import dataset as dataset_module
from ecg.training import shards as dataset_parts
from ecg.training.dataset import DatasetError, dataset_cache, prepare_dataset, read_dataset
from tests.synthetic import beats, write_folder, write_record

PREPARATION = Preparation()
WINDOWS = Preparation(fs=100, band_hz=None, window_s=2, max_windows=5, scale="mV")


@pytest.fixture
def mixed_folder(tmp_path):
    """Records of 1, 2, 4.5, 12 and 1 windows of 2 s, at several rates, in two sources."""
    folder = tmp_path / "data"
    for i, (source, seconds, fs) in enumerate(
        [("ptb", 1, 500), ("ptb", 4, 250), ("ningbo", 9, 257), ("ningbo", 24, 100), ("ptb", 2, 100)]
    ):
        signal = beats(seconds * fs, fs, seed=i)
        write_record(folder / source / f"g{i}", f"X{i}", signal, fs, age=str(50 + i))
    return folder


def windows_of(dataset) -> list[np.ndarray]:
    return [np.array(dataset.windows(i)) for i in range(len(dataset))]


def assert_holds(dataset, folder, preparation):
    """The dataset is what reading and preparing its records one by one gives."""
    records = [read_record(file, preparation.duration_s) for file in find_records(folder)]
    assert len(dataset) == len(records)
    for i, record in enumerate(records):
        signal = select_leads(record, TWELVE_LEADS)
        expected = prepare(signal, record.fs, preparation)
        np.testing.assert_array_equal(dataset.windows(i), expected)
        assert dataset.windows(i).dtype == np.float32
        assert dataset.n_windows[i] == len(expected)
        assert dataset.names[i] == record.name
        np.testing.assert_array_equal(dataset.labels[i], encode_dx(record.dx))
        np.testing.assert_array_equal(
            dataset.demographics[i], encode_demographics(record.age, record.sex)
        )
        np.testing.assert_allclose(dataset.lead_deviation_mv[i], lead_deviation(signal), rtol=1e-6)
        rhythm, waves = measure(signal, record.fs)
        np.testing.assert_array_equal(dataset.rhythm[i], rhythm)
        np.testing.assert_array_equal(dataset.waves[i], waves)


def test_a_dataset_holds_what_answering_a_record_would_see(training_folder, tmp_path):
    dataset = prepare_dataset(training_folder, PREPARATION, tmp_path, workers=1)
    assert len(dataset) == 16
    assert set(dataset.n_windows) == {1}
    assert set(dataset.sources) == {"T"}
    assert_holds(dataset, training_folder, PREPARATION)


def test_a_record_has_the_windows_that_its_length_gives(mixed_folder, tmp_path):
    dataset = prepare_dataset(mixed_folder, WINDOWS, tmp_path / "cache", workers=1)
    assert dataset.n_windows.tolist() == [1, 2, 5, 5, 1]
    assert dataset.sources.tolist() == ["ptb", "ptb", "ningbo", "ningbo", "ptb"]
    assert_holds(dataset, mixed_folder, WINDOWS)


@pytest.mark.contract
def test_neither_workers_nor_chunks_change_the_windows(mixed_folder, tmp_path, monkeypatch):
    whole = prepare_dataset(mixed_folder, WINDOWS, tmp_path / "1", workers=1)
    written = []

    def counted(files, *arguments):
        written.append(len(files))
        return write_shard(files, *arguments)

    write_shard = dataset_module.write_shard
    monkeypatch.setattr(dataset_module, "_CHUNK", 2)
    monkeypatch.setattr(dataset_module, "write_shard", counted)
    cut = prepare_dataset(mixed_folder, WINDOWS, tmp_path / "2", workers=1)
    assert written == [2, 2, 1]
    monkeypatch.setattr(dataset_module, "write_shard", write_shard)
    shared = prepare_dataset(mixed_folder, WINDOWS, tmp_path / "3", workers=2)
    for other in (cut, shared):
        for name in ("data", "first_window", "n_windows", "labels", "waves"):
            np.testing.assert_array_equal(getattr(other, name), getattr(whole, name), name)
        assert other.fingerprint == whole.fingerprint


@pytest.mark.parametrize("chunk", [1, 2, 64])
def test_windows_lie_in_one_file_in_the_order_of_the_records(
    chunk, mixed_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(dataset_module, "_CHUNK", chunk)
    dataset = prepare_dataset(mixed_folder, WINDOWS, tmp_path / "cache", workers=1)
    files = {file.name for file in dataset.folder.iterdir()}
    assert files == {"windows.f32", "table.npz", "metadata.json"}
    assert dataset.first_window.tolist() == [0, 1, 3, 8, 13]
    np.testing.assert_array_equal(np.concatenate(windows_of(dataset)), dataset.data)
    assert_holds(dataset, mixed_folder, WINDOWS)


def test_windows_stay_on_disk(mixed_folder, tmp_path):
    dataset = prepare_dataset(mixed_folder, WINDOWS, tmp_path / "cache", workers=1)
    holder = dataset.data
    while holder.base is not None and not isinstance(holder, np.memmap):
        holder = holder.base
    assert isinstance(holder, np.memmap)
    assert dataset.data.shape == (14, 12, WINDOWS.n_samples)
    assert np.shares_memory(dataset.windows(3), dataset.data)
    n_bytes = (dataset.folder / "windows.f32").stat().st_size
    assert n_bytes == 4 * dataset.n_windows.sum() * 12 * WINDOWS.n_samples
    with pytest.raises(ValueError, match="read-only"):
        dataset.windows(3)[0] = 0


def test_while_records_are_prepared_their_windows_lie_on_disk_once(
    mixed_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(dataset_module, "_CHUNK", 1)
    left, write_shard = [], dataset_module.write_shard

    def counted(files, shard_file, preparation):
        left.append(len(list(shard_file.parent.glob("shard-*"))))
        return write_shard(files, shard_file, preparation)

    monkeypatch.setattr(dataset_module, "write_shard", counted)
    prepare_dataset(mixed_folder, WINDOWS, tmp_path / "cache", workers=1)
    assert left == [0] * 5


def test_the_fingerprint_is_of_names_and_of_what_the_files_hold(mixed_folder, tmp_path):
    dataset = prepare_dataset(mixed_folder, WINDOWS, tmp_path / "cache", workers=1)
    expected = hashlib.sha256()
    for file in find_records(mixed_folder):
        content = file.header.read_bytes() + file.recording.read_bytes()
        expected.update(f"{file.name} {hashlib.sha256(content).hexdigest()}\n".encode())
    assert dataset.fingerprint == expected.hexdigest()


def test_a_dataset_is_read_back_from_its_place(mixed_folder, tmp_path):
    made = prepare_dataset(mixed_folder, WINDOWS, tmp_path / "cache", workers=1)
    found = read_dataset(made.folder)
    assert made.folder.parent == tmp_path / "cache"
    for one, two in zip(windows_of(made), windows_of(found), strict=True):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(made.names, found.names)


def test_unknown_ages_and_missing_leads_are_in_the_table(tmp_path):
    write_record(tmp_path / "data", "A1", beats(500, 100), 100, TWELVE_LEADS[:6], age="NaN")
    dataset = prepare_dataset(tmp_path / "data", PREPARATION, tmp_path / "cache", workers=1)
    np.testing.assert_array_equal(dataset.demographics, [[0, 0, 1, 0]])
    assert (dataset.lead_deviation_mv[0, :6] > 0).all()
    assert not dataset.lead_deviation_mv[0, 6:].any()
    assert dataset.waves[0, :6].any(axis=1).all()
    assert not dataset.waves[0, 6:].any()


def test_measurements_are_of_what_the_windows_span(mixed_folder, tmp_path):
    dataset = prepare_dataset(mixed_folder, WINDOWS, tmp_path / "cache", workers=1)
    assert dataset.rhythm.shape == (5, N_RHYTHM)
    assert dataset.waves.shape == (5, 12, N_WAVES)
    assert dataset.rhythm.dtype == dataset.waves.dtype == np.float32
    assert WINDOWS.duration_s == 10
    whole = read_record(find_records(mixed_folder)[3])  # 24 s
    signal = select_leads(whole, TWELVE_LEADS)
    assert not np.array_equal(dataset.waves[3], measure(signal, whole.fs)[1])
    first = signal[:, : round(10 * whole.fs)]
    np.testing.assert_array_equal(dataset.waves[3], measure(first, whole.fs)[1])


def test_a_chunk_without_a_good_record_leaves_no_window(tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "data", 5)
    (folder / "T120002.mat").write_bytes(b"broken")
    monkeypatch.setattr(dataset_module, "_CHUNK", 1)
    monkeypatch.setattr(dataset_module, "MAX_REJECTED_SHARE", 0.2)
    dataset = prepare_dataset(folder, PREPARATION, tmp_path / "cache", workers=1)
    assert dataset.first_window.tolist() == [0, 1, 2, 3]
    assert dataset.data.shape == (4, 12, 1000)
    (folder / "T120002.hea").unlink()
    assert_holds(dataset, folder, PREPARATION)


def test_a_folder_whose_records_are_all_bad_stops_training(tmp_path):
    write_record(tmp_path / "data", "A1", beats(100, 100), 100, dx="")
    with pytest.raises(DatasetError, match="1 of 1 records cannot be used"):
        prepare_dataset(tmp_path / "data", PREPARATION, tmp_path / "cache", workers=1)


def test_bad_records_are_named_and_left_out(tmp_path, capsys):
    folder = write_folder(tmp_path / "data", 30)
    (folder / "T120003.mat").write_bytes(b"broken")
    (folder / "T120005.mat").unlink()
    write_record(folder, "T120007", beats(5000, 500), 500, dx="")
    dataset = prepare_dataset(folder, PREPARATION, tmp_path / "cache", workers=1)
    assert len(dataset) == 27
    assert list(dataset.rejected) == ["T120003", "T120005", "T120007"]
    assert not set(dataset.rejected) & set(dataset.names)
    printed = capsys.readouterr().out
    assert "3 of 30 records cannot be used and are left out" in printed
    assert "T120005: " in printed
    assert "T120005.mat: expected a signal file, found none" in printed
    assert "has no diagnosis code" in printed
    for name in dataset.rejected:
        (folder / f"{name}.hea").unlink()
    assert_holds(dataset, folder, PREPARATION)


def test_more_than_a_tenth_of_bad_records_stops_training(tmp_path):
    folder = write_folder(tmp_path / "data", 9)
    (folder / "T120003.mat").write_bytes(b"broken")
    with pytest.raises(DatasetError, match=r"1 of 9 records cannot be used; .* 10%\n  T120003: "):
        prepare_dataset(folder, PREPARATION, tmp_path / "cache", workers=1)


def test_a_folder_without_records_stops_training(tmp_path):
    with pytest.raises(DatasetError, match=r"expected records .* found none"):
        prepare_dataset(tmp_path, PREPARATION, tmp_path / "cache", workers=1)


@pytest.fixture
def made(monkeypatch):
    """The places of the datasets that were made anew, not found in the cache."""
    places, write = [], dataset_module._write

    def counted(place, *arguments):
        places.append(place)
        write(place, *arguments)

    monkeypatch.setattr(dataset_module, "_write", counted)
    return places


def test_the_cache_is_reused_until_a_file_or_the_preparation_changes(tmp_path, made):
    folder, cache = write_folder(tmp_path / "data", 4), tmp_path / "cache"

    def fingerprint(preparation=PREPARATION):
        return prepare_dataset(folder, preparation, cache, workers=1).fingerprint

    first = fingerprint()
    assert fingerprint() == first
    assert len(made) == 1
    fingerprint(replace(PREPARATION, window_s=5))
    assert len(made) == 2
    write_record(folder, "T120001", beats(4000, 500), 500)
    assert fingerprint() != first
    assert len(made) == 3


def test_a_record_in_another_source_folder_is_prepared_anew(mixed_folder, tmp_path, made):
    cache = tmp_path / "cache"
    first = prepare_dataset(mixed_folder, PREPARATION, cache, workers=1)
    (mixed_folder / "ptb" / "g4").rename(mixed_folder / "ningbo" / "g4")
    moved = prepare_dataset(mixed_folder, PREPARATION, cache, workers=1)
    assert (first.sources[4], moved.sources[4]) == ("ptb", "ningbo")
    # Within a source it may lie anywhere, and so may all records together.
    (mixed_folder / "ningbo" / "g4").rename(mixed_folder / "ningbo" / "g9")
    mixed_folder.rename(tmp_path / "elsewhere")
    again = prepare_dataset(tmp_path / "elsewhere", PREPARATION, cache, workers=1)
    assert again.folder == moved.folder != first.folder
    assert len(made) == 2


def test_a_file_that_only_changed_its_time_is_read_again(tmp_path, made):
    folder, cache = write_folder(tmp_path / "data", 1), tmp_path / "cache"
    prepare_dataset(folder, PREPARATION, cache, workers=1)
    os.utime(folder / "T120000.mat", ns=(0, 0))
    prepare_dataset(folder, PREPARATION, cache, workers=1)
    assert len(made) == 2


def test_a_cache_that_was_cut_off_leaves_nothing_behind(tmp_path, monkeypatch):
    folder, cache = write_folder(tmp_path / "data", 4), tmp_path / "cache"

    def cut_off(*arguments):
        write(*arguments)
        raise KeyboardInterrupt

    write = dataset_module._write
    monkeypatch.setattr(dataset_module, "_write", cut_off)
    with pytest.raises(KeyboardInterrupt):
        prepare_dataset(folder, PREPARATION, cache, workers=1)
    assert not list(cache.iterdir())


def test_two_runs_may_fill_one_cache(tmp_path, monkeypatch):
    folder, cache = write_folder(tmp_path / "data", 4), tmp_path / "cache"
    write = dataset_module._write

    def overtaken(*arguments):
        write(*arguments)
        monkeypatch.setattr(dataset_module, "_write", write)
        prepare_dataset(folder, PREPARATION, cache, workers=1)

    monkeypatch.setattr(dataset_module, "_write", overtaken)
    dataset = prepare_dataset(folder, PREPARATION, cache, workers=1)
    assert len(dataset) == 4
    assert len(list(cache.iterdir())) == 1


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-1000])


@pytest.mark.parametrize(
    "damage",
    [
        lambda place: cut_off(place / "table.npz"),
        lambda place: cut_off(place / "metadata.json"),
        lambda place: cut_off(place / "windows.f32"),
        # A whole window less.
        lambda place: os.truncate(place / "windows.f32", 3 * 12 * 1000 * 4),
        lambda place: (place / "windows.f32").write_bytes(b""),
        lambda place: (place / "windows.f32").unlink(),
        lambda place: (place / "metadata.json").unlink(),
        lambda place: (place / "table.npz").write_bytes(b""),
    ],
)
def test_a_damaged_cache_is_prepared_anew(damage, tmp_path, made, capsys):
    folder, cache = write_folder(tmp_path / "data", 4), tmp_path / "cache"
    whole = prepare_dataset(folder, PREPARATION, cache, workers=1)
    damage(whole.folder)
    again = prepare_dataset(folder, PREPARATION, cache, workers=1)
    assert len(made) == 2
    assert f"{whole.folder}: the prepared dataset is damaged" in capsys.readouterr().out
    assert again.fingerprint == whole.fingerprint
    assert_holds(again, folder, PREPARATION)


def test_an_error_of_the_machine_is_not_kept_with_the_records(tmp_path, made, monkeypatch, capsys):
    folder, cache = write_folder(tmp_path / "data", 11), tmp_path / "cache"
    read = dataset_parts.read_record

    def too_many_files(file, duration_s):
        if file.name == "T120003":
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(file.header))
        return read(file, duration_s)

    monkeypatch.setattr(dataset_parts, "read_record", too_many_files)
    assert len(prepare_dataset(folder, PREPARATION, cache, workers=1)) == 10
    monkeypatch.setattr(dataset_parts, "read_record", read)
    assert len(prepare_dataset(folder, PREPARATION, cache, workers=1)) == 11
    assert len(prepare_dataset(folder, PREPARATION, cache, workers=1)) == 11
    assert len(made) == 2
    assert "some records could not be read last time" in capsys.readouterr().out


def test_a_lack_of_handles_costs_no_cache(tmp_path, monkeypatch):
    folder, cache = write_folder(tmp_path / "data", 2), tmp_path / "cache"
    place = prepare_dataset(folder, PREPARATION, cache, workers=1).folder

    def too_many_files(path):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))

    monkeypatch.setattr(dataset_module, "_map", too_many_files)
    with pytest.raises(OSError, match="Too many open files"):
        prepare_dataset(folder, PREPARATION, cache, workers=1)
    assert place.is_dir()


def test_too_small_a_disk_is_told_before_a_record_is_read(tmp_path, made, monkeypatch):
    folder = write_folder(tmp_path / "data", 2)
    usage = SimpleNamespace(free=2 * 12 * 1000 * 4 - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(
        OSError, match=r"cache: not enough disk space for the prepared arrays of 2 rec"
    ):
        prepare_dataset(folder, PREPARATION, tmp_path / "cache", workers=1)
    assert not made
    usage.free += 1
    assert len(prepare_dataset(folder, PREPARATION, tmp_path / "cache", workers=1)) == 2


@pytest.mark.contract
def test_every_real_record_is_prepared(shared_records, tmp_path):
    dataset = prepare_dataset(shared_records, PREPARATION, tmp_path, workers=2)
    assert len(dataset) == 643
    assert not dataset.rejected
    assert set(dataset.n_windows) == {1}
    # Every record has a living lead; the few dead ones are zeros.
    for windows in windows_of(dataset):
        assert np.isfinite(windows).all()
        assert windows.any()


def test_a_temporary_cache_is_removed_and_a_kept_one_stays(tmp_path):
    with dataset_cache(None, tmp_path) as cache:
        assert cache.parent == tmp_path
        (cache / "file").touch()
    assert not list(tmp_path.iterdir())
    kept = tmp_path / "kept"
    with dataset_cache(kept, tmp_path) as cache:
        assert cache == kept
