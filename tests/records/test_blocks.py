"""Long recordings are read in blocks, folders are searched for ECGs."""

import numpy as np
import pytest
import wfdb

from ecg.records import formats
from ecg.records.formats import find_ecg_files, read_blocks, read_ecg
from ecg.records.headers import RecordError
from tests.recording_files import write_csv, write_dicom, write_edf, write_ishne
from tests.synthetic import beats, write_record

FS = 50.0
LEADS = ("I", "II")


def long_signal(duration_s) -> np.ndarray:
    """(2, n_samples), mV; every sample tells where it stands."""
    time = np.arange(round(duration_s * FS))
    return np.stack([time % 1000, -(time // 1000)]) / 1000


def write_dat(path, signal):
    """A WFDB record of format 16."""
    wfdb.wrsamp(
        path.name,
        fs=FS,
        units=["mV", "mV"],
        sig_name=list(LEADS),
        p_signal=signal.T,
        fmt=["16", "16"],
        adc_gain=[1000, 1000],
        baseline=[0, 0],
        write_dir=str(path.parent),
    )
    return path


def write_mat(path, signal):
    """A WFDB record in a `.mat` file."""
    write_record(path.parent, path.name, signal, FS, leads=LEADS)
    return path


WRITERS = {
    "EDF": lambda path, signal: write_edf(path, signal, FS, LEADS),
    "ISHNE": lambda path, signal: write_ishne(path, signal, FS, LEADS),
    "WFDB": write_dat,
    "WFDB, MATLAB": write_mat,
}


@pytest.mark.parametrize("minutes", [1, 60, 61, 120, 130])
@pytest.mark.parametrize("kind", WRITERS)
def test_blocks_of_an_hour_are_the_whole_recording(kind, minutes, tmp_path):
    signal = long_signal(60 * minutes)
    path = WRITERS[kind](tmp_path / "long", signal)
    blocks = list(read_blocks(path))
    assert [block.signal.shape[1] / FS / 60 for block in blocks] == {
        1: [1],
        60: [60],
        61: [60, 1],
        120: [60, 60],
        130: [60, 60, 10],
    }[minutes]
    for block in blocks:
        assert block.leads[:2] == LEADS
        assert block.fs == FS
    read = np.concatenate([block.signal[:2] for block in blocks], axis=1)
    np.testing.assert_allclose(read, signal, atol=2e-3)


def test_a_block_whose_end_is_removed_is_not_the_last(tmp_path):
    # Beats until a second before the hour, then silence with a calibration pulse.
    signal = np.tile(beats(600, FS, 60.0, noise_mv=0.0)[:2], (1, 306))
    end = round(3600 * FS)
    signal[:, end - 50 : end] = 0
    signal[:, end - 30 : end - 20] = 1
    path = write_ishne(tmp_path / "long", np.round(signal, 3), FS, LEADS)
    first, second = read_blocks(path)
    assert first.signal.shape[1] < end
    assert any("calibration pulse" in note for note in first.notes)
    assert second.signal.shape[1] == signal.shape[1] - end


def test_the_first_block_is_what_read_ecg_gives(tmp_path):
    path = WRITERS["ISHNE"](tmp_path / "long", long_signal(4000))
    first = next(read_blocks(path))
    np.testing.assert_array_equal(first.signal, read_ecg(path).signal)


def test_a_longer_file_of_another_format_is_cut_with_a_warning(tmp_path):
    path = write_csv(tmp_path / "long.csv", long_signal(3700), LEADS)
    (block,) = read_blocks(path, fs=FS)
    assert block.signal.shape[1] == 3600 * FS
    assert "only the first hour was read" in block.warnings
    path = write_csv(tmp_path / "short.csv", long_signal(60), LEADS)
    (block,) = read_blocks(path, fs=FS)
    assert block.warnings == read_ecg(path, fs=FS).warnings


def test_a_file_that_cannot_be_read_has_no_blocks(tmp_path):
    with pytest.raises(RecordError, match=r"none\.edf"):
        next(read_blocks(tmp_path / "none.edf"))


def test_a_folder_is_searched_for_ecgs_of_any_format(tmp_path):
    signal = beats(5000, 500.0, noise_mv=0.0)
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    expected = [
        write_dicom(tmp_path / "a" / "b" / "IM0001", signal, 500.0),
        write_edf(tmp_path / "a" / "x.edf", signal, 500.0),
        write_csv(tmp_path / "table.csv", signal),
    ]
    write_record(tmp_path / "a", "R1", signal, 500.0)
    expected.append(tmp_path / "a" / "R1.hea")
    write_edf(tmp_path / ".hidden" / "x.edf", signal, 500.0)
    (tmp_path / "notes.md").write_text("no ECG\n")
    (tmp_path / "scan.pdf").write_bytes(b"%PDF-1.7")
    found, others = find_ecg_files(tmp_path)
    assert found == sorted(expected)
    assert others == [tmp_path / "notes.md", tmp_path / "scan.pdf"]


def test_a_file_that_cannot_be_opened_does_not_stop_the_search(tmp_path, monkeypatch):
    closed, ecg = tmp_path / "closed.edf", tmp_path / "open.edf"
    for path in (closed, ecg):
        write_edf(path, beats(5000, 500.0, noise_mv=0.0), 500.0)
    detect_kind = formats.detect_kind

    def refuse(path):
        if path == closed:
            raise RecordError(f"{path}: cannot be read: Permission denied")
        return detect_kind(path)

    monkeypatch.setattr(formats, "detect_kind", refuse)
    assert find_ecg_files(tmp_path) == ([closed, ecg], [])
