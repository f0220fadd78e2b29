import math

import numpy as np
import pytest

from ecg.headers import RecordError
from ecg.leads import LEAD_SETS, TWELVE_LEADS
from ecg.other_formats import read_file, units_per_mv
from tests.recording_files import write_csv, write_dicom, write_edf
from tests.synthetic import beats, write_record

FS = 500.0


@pytest.fixture
def signal():
    return np.round(beats(5000, FS), 3)


def test_all_formats_give_the_same_signal(tmp_path, signal):
    write_record(tmp_path, "A1", signal, FS)
    write_csv(tmp_path / "B1.csv", signal)
    write_dicom(tmp_path / "C1.dcm", signal, FS)
    write_edf(tmp_path / "D1.edf", signal, FS)
    for file in ("A1.hea", "A1.mat", "A1", "B1.csv", "C1.dcm", "D1.edf"):
        record = read_file(tmp_path / file, FS if file.endswith("csv") else None)
        assert record.fs == FS
        assert record.leads == TWELVE_LEADS
        assert record.signal.dtype == np.float32
        np.testing.assert_allclose(record.signal, signal, atol=2e-3, err_msg=file)


@pytest.mark.parametrize(
    ("unit", "factor"), [("mV", 1), ("uV", 1000), ("V", 0.001), ("adu/200", 200)]
)
def test_a_table_is_read_in_its_unit(tmp_path, signal, unit, factor):
    write_csv(tmp_path / "A1.csv", signal[:2] * factor, LEAD_SETS[2])
    record = read_file(tmp_path / "A1.csv", FS, unit)
    np.testing.assert_allclose(record.signal, signal[:2], atol=1e-5)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_columns_of_times_capitals_gaps_and_other_delimiters_are_read(tmp_path, delimiter):
    lines = [["Time", "i", "AVR"], ["0.000", "0.5", "-0.5"], ["0.002", "", "nan"]]
    text = "\r\n".join(delimiter.join(line) for line in lines)
    (tmp_path / "A1.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    record = read_file(tmp_path / "A1.csv", FS)
    assert record.leads == ("I", "aVR")
    np.testing.assert_array_equal(record.signal, np.float32([[0.5, np.nan], [-0.5, np.nan]]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("I,II\n1,2\n3,x\n", "line 3: expected a number in each of 2 columns, found '3,x'"),
        ("I,II\n1,2\n3\n", "line 3: expected a number"),
        ("I,X7\n1,2\n", "expected names of leads .* found X7"),
        ("I,I\n1,2\n", "each once"),
        ("0.1,0.2\n1,2\n", "expected names of leads"),
        ("I,II\n", "expected a line for each sample, found none"),
        ("", "expected names of leads"),
    ],
)
def test_a_bad_table_is_an_error_that_names_file_and_line(tmp_path, text, message):
    (tmp_path / "A1.csv").write_text(text)
    with pytest.raises(RecordError, match=f"A1.csv.*{message}"):
        read_file(tmp_path / "A1.csv", FS)


def test_a_table_without_a_rate_says_which_option_is_missing(tmp_path):
    (tmp_path / "A1.csv").write_text("I\n1\n")
    with pytest.raises(RecordError, match="--fs HZ"):
        read_file(tmp_path / "A1.csv")


def test_a_dicom_ecg_has_age_and_sex_and_its_longest_waveform_is_read(tmp_path, signal):
    write_dicom(tmp_path / "A1.dcm", signal, FS, age="045Y", sex="F", median_beat=True)
    record = read_file(tmp_path / "A1.dcm")
    assert record.signal.shape == (12, 5000)
    assert record.age == 45
    assert record.sex == "Female"


@pytest.mark.parametrize("codes", ["MDC", "SCPECG", "meaning"])
def test_dicom_leads_are_known_by_any_coding(tmp_path, signal, codes):
    write_dicom(tmp_path / "A1.dcm", signal, FS, codes=codes)
    assert read_file(tmp_path / "A1.dcm").leads == TWELVE_LEADS


def test_edf_signals_that_are_no_leads_are_left_out(tmp_path, signal):
    write_edf(tmp_path / "A1.edf", signal[:3], FS, ["ECG I", "EKG II", "Resp chest"], unit="uV")
    record = read_file(tmp_path / "A1.edf")
    assert record.leads == ("I", "II")
    np.testing.assert_allclose(record.signal, signal[:2], atol=2e-3)
    assert math.isnan(record.age)


@pytest.mark.parametrize("ending", ["dcm", "edf"])
def test_broken_files_are_errors_that_name_them(tmp_path, ending):
    for content in (b"", b"nonsense" * 100):
        (tmp_path / f"A1.{ending}").write_bytes(content)
        with pytest.raises(RecordError, match=f"A1.{ending}"):
            read_file(tmp_path / f"A1.{ending}")


def test_an_edf_file_without_leads_says_so(tmp_path, signal):
    write_edf(tmp_path / "A1.edf", signal[:1], FS, ["EEG Fpz"])
    with pytest.raises(RecordError, match="found no lead at all"):
        read_file(tmp_path / "A1.edf")


def test_a_file_of_another_kind_and_a_missing_one_are_told_apart(tmp_path):
    (tmp_path / "A1.pdf").write_text("?")
    with pytest.raises(RecordError, match=r"expected a WFDB record .* found another"):
        read_file(tmp_path / "A1.pdf")
    with pytest.raises(RecordError, match="found none"):
        read_file(tmp_path / "B1")


@pytest.mark.parametrize("unit", ["", "adu", "adu/0", "adu/x", "kV", "mV2"])
def test_an_unknown_unit_is_an_error(unit):
    with pytest.raises(ValueError, match="expected mV, uV, V or adu/GAIN"):
        units_per_mv(unit)


def test_a_long_table_is_read_for_an_hour_at_most(tmp_path):
    (tmp_path / "A1.csv").write_text("I\n" + "0\n" * 3700)
    assert read_file(tmp_path / "A1.csv", 1.0).signal.shape == (1, 3600)
