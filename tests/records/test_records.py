import dataclasses
import struct
from pathlib import Path

import numpy as np
import pytest
import wfdb
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat
from scipy.sparse import coo_matrix

from ecg.records.discovery import RecordFiles, find_records, read_header_text, sources_of
from ecg.records.headers import RecordError, parse_header
from ecg.records.leads import LEAD_SETS, TWELVE_LEADS
from ecg.records.record import read_record, read_recording, select_leads, to_record
from tests.synthetic import beats, digitise, header_text, write_folder, write_record


def only_record(folder, duration_s=None):
    (files,) = find_records(folder)
    return read_record(files, duration_s)


def test_a_record_is_in_millivolts_with_its_header_facts(tmp_path):
    signal = beats(5000, 500)
    write_record(tmp_path, "A1", signal, 500, dx="1,2", age="55")
    record = only_record(tmp_path)
    np.testing.assert_allclose(record.signal, signal, atol=0.5e-3 + 1e-6)
    assert record.signal.dtype == np.float32
    assert (record.name, record.fs, record.leads) == ("A1", 500.0, TWELVE_LEADS)
    assert (record.age, record.sex, record.dx) == (55.0, "Female", ("1", "2"))


def test_only_the_seconds_asked_for_are_read(tmp_path):
    write_record(tmp_path, "A1", beats(5000, 500), 500)
    np.testing.assert_array_equal(
        only_record(tmp_path, 2.5).signal, only_record(tmp_path).signal[:, :1250]
    )


@pytest.mark.parametrize(("gain", "baseline"), [(1000, 0), (4880, 0), (200, 0), (1000, -300)])
def test_gain_and_baseline_are_undone(gain, baseline):
    signal = beats(100, 100)
    header = parse_header(header_text("A1", 100, 100, TWELVE_LEADS, gain=gain, baseline=baseline))
    record = to_record(header, digitise(signal, gain, baseline))
    np.testing.assert_allclose(record.signal, signal, atol=0.51 / gain)


def test_the_lowest_digital_value_and_nan_are_missing_samples():
    header = parse_header(header_text("A1", 100, 4, ["I", "II"]))
    record = to_record(header, np.array([[1, -32768, 3, 4], [1, 2, 3, 4]], np.int16))
    np.testing.assert_array_equal(np.isnan(record.signal), [[0, 1, 0, 0], [0, 0, 0, 0]])
    record = to_record(header, np.array([[1, np.nan, 3, np.inf], [1, 2, 3, 4]]))
    np.testing.assert_array_equal(np.isnan(record.signal), [[0, 1, 0, 1], [0, 0, 0, 0]])


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int16, np.int32, np.float32, float])
@pytest.mark.parametrize("gain", [1000, 4880, 200, 204.8, 0.001, 2e7, 3])
@pytest.mark.parametrize("baseline", [0, -300, 32767, 0.5, 10**6])
def test_millivolts_are_the_nearest_to_what_double_precision_gives(dtype, gain, baseline):
    header = parse_header(header_text("A1", 100, 3, ["I"], gain=gain, baseline=baseline))
    info = np.iinfo(np.int16 if np.dtype(dtype).kind == "f" else dtype)
    low, high = max(info.min, -32767), min(info.max, 2**20)
    recording = np.arange(low, high + 1, max((high - low) // 5000, 1)).astype(dtype)[None]
    expected = (recording.astype(float) - header.baselines[0]) / header.adc_gains[0]
    found = to_record(header, recording).signal
    np.testing.assert_array_equal(found, expected.astype(np.float32))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.int64])
def test_a_missing_sample_is_one_whatever_the_type_that_can_hold_it(dtype):
    header = parse_header(header_text("A1", 100, 4, ["I"]))
    values = [value for value in (-32768, -(2**31)) if value >= np.iinfo(dtype).min]
    record = to_record(header, np.array([[*values, 0, 1]], dtype))
    assert np.isnan(record.signal[0]).tolist() == [True] * len(values) + [False] * 2


def test_the_samples_of_a_lead_stand_together_however_the_file_has_them(tmp_path):
    write_record(tmp_path, "A1", beats(500, 100), 100)
    assert only_record(tmp_path).signal.flags.c_contiguous


def test_a_recording_may_be_written_to(tmp_path):
    write_record(tmp_path, "A1", beats(500, 100), 100)
    recording = read_recording(tmp_path / "A1.mat", 70)
    recording[:] = 1
    assert recording.shape == (12, 70)


def test_leads_are_found_in_any_order_and_case_and_absent_ones_are_nan(tmp_path):
    text = header_text("A1", 100, 3, ["v2", "II", "AVR", "I"])
    record = to_record(parse_header(text), np.arange(12).reshape(4, 3) * 1000)
    selected = select_leads(record, ("I", "II", "III", "aVR", "V2"))
    np.testing.assert_array_equal(
        selected, [[9, 10, 11], [3, 4, 5], [np.nan] * 3, [6, 7, 8], [0, 1, 2]]
    )


@pytest.mark.parametrize(
    ("recording", "message"),
    [
        (None, "A1: expected numbers as signal, found object"),
        (np.zeros((2, 5), complex), "A1: expected numbers as signal, found complex128"),
        (np.zeros((2, 0)), r"A1: expected 2 leads x at least 1 sample, .* \(2, 0\)"),
        (np.zeros((5, 2)), r"\(5, 2\)"),
        (np.zeros(5), r"\(5,\)"),
    ],
)
def test_a_recording_that_does_not_fit_its_header_is_refused(recording, message):
    header = parse_header(header_text("A1", 100, 5, ["I", "II"]))
    with pytest.raises(RecordError, match=message):
        to_record(header, recording)


def test_a_record_without_any_voltage_is_refused():
    header = parse_header("A1 1 100 5\nA1.mat 16 10/mmHg 16 0 0 0 0 II\n")
    with pytest.raises(RecordError, match="A1: expected a lead in mV, uV or V"):
        to_record(header, np.zeros((1, 5)))


# Files -----------------------------------------------------------------------------------------


def test_records_are_found_flat_and_nested_and_sorted_by_name(tmp_path):
    write_folder(tmp_path / "b", 2, prefix="B")
    write_folder(tmp_path / "a" / "g1", 1, prefix="C")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "Z.hea").write_text("")
    names = [files.name for files in find_records(tmp_path)]
    assert names == ["B120000", "B120001", "C120000"]


def test_the_signals_are_a_matlab_file_or_else_a_wfdb_one_or_what_the_header_says(tmp_path):
    for name in ("A.1.hea", "A.1.mat", "A.1.dat", "B.hea", "B.dat", "C.hea", "D.mat", ".E.hea"):
        (tmp_path / name).touch()
    found = [(files.name, files.recording.name) for files in find_records(tmp_path)]
    assert found == [("A.1", "A.1.mat"), ("B", "B.dat"), ("C", "C.hea")]


def test_two_records_of_one_name_are_an_error_that_names_both(tmp_path):
    write_folder(tmp_path / "a", 1)
    write_folder(tmp_path / "b", 1)
    with pytest.raises(RecordError, match=r"two records are named T120000: .*/a/.* and .*/b/"):
        find_records(tmp_path)


@pytest.mark.parametrize(
    ("headers", "sources"),
    [
        # One folder: the letters of the names.
        (["/d/A0001", "/d/HR00001", "/d/JS12", "/d/I7", "/d/E_1"], ["A", "HR", "JS", "I", "E"]),
        (["/d/0001", "/d/12A", "/d/_7"], ["", "", ""]),
        (["/data/ptb/g1/S0001"], ["S"]),
        # PhysioNet's layout.
        (
            ["/d/training/ningbo/g11/JS2", "/d/training/ptb/g1/S1", "/d/training/ptb/g2/S2"],
            ["ningbo", "ptb", "ptb"],
        ),
        (["/d/training/ningbo/g1/JS2", "/d/training/ningbo/g11/JS1"], ["JS", "JS"]),
        # The first folder in which the paths differ, however deep they are, wherever they begin.
        (["/d/here/one/x/A1", "/d/there/one/A2", "/d/here/two/A3"], ["here", "there", "here"]),
        (["data/a/X1", "data/b/X2"], ["a", "b"]),
        (["a/X1", "b/g3/X2"], ["a", "b"]),
        (["A1", "g1/JS1"], ["A", "JS"]),
        # Beside folders of sources, a record that lies in none.
        (["/d/HR1", "/d/georgia/E1"], ["HR", "georgia"]),
        # Only a whole folder of that form is a group.
        (["/d/g1/X1", "/d/g1b/X2", "/d/georgia1/X3"], ["X", "g1b", "georgia1"]),
    ],
)
def test_a_record_comes_from_the_folder_or_else_the_letters_that_name_its_source(headers, sources):
    records = [RecordFiles(Path(f"{name}.hea"), Path(f"{name}.mat")) for name in headers]
    assert sources_of(records) == sources


def test_linked_folders_are_followed_once(tmp_path):
    write_folder(tmp_path / "elsewhere", 1)
    data = tmp_path / "data"
    data.mkdir()
    (data / "linked").symlink_to(tmp_path / "elsewhere")
    (data / "loop").symlink_to(data)
    (data / "alias").symlink_to(data / "linked")
    assert [files.name for files in find_records(data)] == ["T120000"]


def test_a_record_is_found_where_it_lies_rather_than_by_a_link(tmp_path):
    real = write_folder(tmp_path / "real" / "deep", 1)
    for link in ("a", "z"):
        (tmp_path / link).symlink_to(real)
    (files,) = find_records(tmp_path)
    assert files.header == real / "T120000.hea"


def test_of_several_links_to_a_folder_the_first_by_name_counts(tmp_path):
    write_folder(tmp_path / "elsewhere", 1)
    data = tmp_path / "data"
    data.mkdir()
    for link in "sdkfbqamtrhwc":  # in no order that a file system would list them in
        (data / link).symlink_to(tmp_path / "elsewhere")
    (files,) = find_records(data)
    assert files.header.parent == data / "a"


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: expected a folder of records"):
        find_records(tmp_path / "nowhere")


def test_all_versions_and_types_of_matlab_files_give_the_same_signal(tmp_path):
    recording = digitise(beats(500, 100))
    variants = {
        "v4_int16": {"format": "4"},
        "v5_int16": {"format": "5"},
        "v5_compressed": {"format": "5", "do_compression": True},
        "v4_int32": {"format": "4", "type": np.int32},
        "v5_float64": {"format": "5", "type": float},
        "v4_float32": {"format": "4", "type": np.float32},
    }
    for name, options in variants.items():
        stored = recording.astype(options.pop("type", np.int16))
        savemat(tmp_path / f"{name}.mat", {"val": stored}, **options)
        found = read_recording(tmp_path / f"{name}.mat")
        np.testing.assert_array_equal(found, recording)
        np.testing.assert_array_equal(
            read_recording(tmp_path / f"{name}.mat", 70), recording[:, :70]
        )


def test_the_fast_reader_and_scipy_agree_on_real_files(shared_records):
    for path in sorted(shared_records.glob("*.mat"))[::40]:
        np.testing.assert_array_equal(read_recording(path), loadmat(path)["val"])


def test_other_wfdb_formats_are_read_with_their_missing_samples(tmp_path):
    signal = beats(1000, 250).T[:, :2].copy()
    signal[10, 1] = np.nan
    for record_format in ("16", "212", "80"):
        folder = tmp_path / record_format
        folder.mkdir()
        wfdb.wrsamp(
            "W1",
            fs=250,
            units=["mV"] * 2,
            sig_name=["I", "II"],
            p_signal=signal,
            fmt=[record_format] * 2,
            adc_gain=[50.0] * 2,
            baseline=[0] * 2,
            write_dir=str(folder),
        )
        for duration_s, n_samples in ((None, 1000), (2.0, 500), (10.0, 1000)):
            record = only_record(folder, duration_s)
            np.testing.assert_allclose(record.signal, signal.T[:, :n_samples], atol=0.011)
            assert np.flatnonzero(np.isnan(record.signal[1])) == [10]


def test_signal_files_of_another_name_are_found_by_the_header(tmp_path):
    write_folder(tmp_path, 1)
    expected = only_record(tmp_path).signal
    (tmp_path / "T120000.mat").rename(tmp_path / "signals.bin")
    header = tmp_path / "T120000.hea"
    header.write_text(header.read_text().replace("T120000.mat", "signals.bin"))
    np.testing.assert_array_equal(only_record(tmp_path).signal, expected)
    (tmp_path / "signals.bin").unlink()
    with pytest.raises(RecordError, match=r"signals\.bin: expected a signal file, found none"):
        only_record(tmp_path)


def test_a_header_cannot_name_files_of_other_folders(tmp_path):
    (tmp_path / "X.dat").write_bytes(b"\0" * 100)
    (tmp_path / "X.hea").write_text("X 1 250 50\n../../secret.dat 16 200 16 0 0 0 0 II\n")
    with pytest.raises(RecordError, match=r"X\.hea: expected signal files beside it"):
        only_record(tmp_path)


def _mat4(kind=30, n_leads=2, n_samples=3, imaginary=0, name=b"val\0", body=b"\0" * 12):
    return struct.pack("<5i", kind, n_leads, n_samples, imaginary, len(name)) + name + body


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a MATLAB file, found 0 bytes"),
        (b"short", "expected a MATLAB file, found 5 bytes"),
        (
            b"this is no MATLAB file at all, but it is long enough",
            "expected a MATLAB file of version",
        ),
        (_mat4(body=b"\0" * 11), "2 leads x 3 samples: expected 12 bytes more, found 11"),
        (_mat4(n_samples=2**31 - 1), "expected 8589934588 bytes more, found 12"),
        (_mat4(n_leads=-2, n_samples=-3), "found one of -2 x -3"),
        (_mat4(name=b"foo\0"), "expected a variable 'val', found none"),
    ],
)
def test_a_broken_signal_file_is_named(tmp_path, content, message):
    path = tmp_path / "X.mat"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=rf"X\.mat: .*{message}"):
        read_recording(path)


def test_a_sparse_matrix_is_refused(tmp_path):
    savemat(tmp_path / "X.mat", {"val": coo_matrix(np.eye(3))}, format="4")
    with pytest.raises(RecordError, match=r"X\.mat: expected 'val' as a full matrix"):
        read_recording(tmp_path / "X.mat", 2)


def test_headers_in_latin_1_are_read(tmp_path):
    path = tmp_path / "X.hea"
    path.write_bytes("X 1 500\nX.mat 16 2/µV 16 0 0 0 0 II\n#Hx: Müller\n".encode("latin-1"))
    assert parse_header(read_header_text(path)).adc_gains == (2000.0,)


def test_an_absent_signal_file_is_named(tmp_path):
    with pytest.raises(RecordError, match=r"X\.mat: expected a signal file, found none"):
        read_recording(tmp_path / "X.mat")


def test_an_unreadable_header_is_named(tmp_path):
    (tmp_path / "X.hea").write_text("X\n")
    with pytest.raises(RecordError, match=r"X\.hea: X: expected 'NAME n_leads"):
        only_record(tmp_path)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda body: _mat4(body=body)))
def test_any_bytes_are_a_recording_or_a_record_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.mat"
    path.write_bytes(content)
    try:
        recording = read_recording(path)
    except RecordError:
        return
    assert recording.ndim == 2


def test_records_of_both_downloads_hold_the_same_ecg(shared_records, shared_records_v103):
    flat = {files.name: files for files in find_records(shared_records)}
    both = [files for files in find_records(shared_records_v103) if files.name in flat]
    for files in both:
        one, two = read_record(files), read_record(flat[files.name])
        np.testing.assert_array_equal(one.signal, two.signal)
    assert all(read_record(files).signal.shape[0] == 12 for files in flat.values())


@pytest.mark.parametrize("size", LEAD_SETS)
def test_a_reduced_record_has_the_rows_of_the_whole_one(tmp_path, size):
    signal = beats(500, 100)
    write_record(tmp_path, "A1", signal, 100, leads=LEAD_SETS[size])
    record = only_record(tmp_path)
    whole = dataclasses.replace(record, signal=signal.astype(np.float32), leads=TWELVE_LEADS)
    np.testing.assert_allclose(
        select_leads(record, LEAD_SETS[size]), select_leads(whole, LEAD_SETS[size]), atol=6e-4
    )
