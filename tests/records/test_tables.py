"""Tables of samples in the layouts that are found in practice."""

import numpy as np
import pytest

from ecg.records.formats.tables import read_table
from ecg.records.headers import RecordError
from ecg.records.leads import LEAD_SETS

FS = 500.0
N = 300
SIGNAL = np.round(np.stack([np.sin(np.arange(N) / 9), np.cos(np.arange(N) / 9)]), 3)


def table(head, times=None, delimiter=",", decimal=".", quote="", signal=SIGNAL) -> str:
    """Return a table of two leads, with a time column before them if `times` is given."""
    lines = [head] if head else []
    for i, row in enumerate(signal.T.tolist()):
        cells = ([times(i)] if times else []) + [f"{value:.3f}" for value in row]
        lines.append(delimiter.join(quote + cell.replace(".", decimal) + quote for cell in cells))
    return "\n".join(lines) + "\n"


def read(tmp_path, text, *arguments, encoding="utf-8", **options):
    path = tmp_path / "A1.csv"
    path.write_bytes(text.encode(encoding))
    return read_table(path, *arguments, **options)


def in_seconds(i) -> str:
    return f"{i / FS:.4f}"


def in_milliseconds(i) -> str:
    return f"{1000 * i / FS:.1f}"


@pytest.mark.parametrize(
    ("head", "times"),
    [
        ("Time (s),I,II", in_seconds),
        ("ZEIT,I,II", in_seconds),
        ("Zeit [ms],I,II", in_milliseconds),
        ("time_ms,I,II", in_milliseconds),
        ("t,I,II", in_milliseconds),
        (",I,II", in_seconds),
        ("timestamp,I,II", lambda i: f"2024-01-01 10:00:{i / FS:06.3f}"),
        ("timestamp,I,II", lambda i: f"2024-01-01T10:00:{i / FS:06.3f}Z"),
        ("Time,I,II", lambda i: f"{1_700_000_000_000 + 2 * i}"),
        ("Time,I,II", lambda i: f"23:59:59.{900 + 2 * i}" if i < 50 else f"0:0:{i / FS - 0.1:.3f}"),
    ],
)
def test_a_time_column_gives_the_sampling_rate(tmp_path, head, times):
    record = read(tmp_path, table(head, times))
    assert record.fs == FS
    assert record.leads == ("I", "II")
    np.testing.assert_allclose(record.signal, SIGNAL, atol=1e-6)


@pytest.mark.parametrize(("digits", "fs"), [(4, 300), (3, 300), (3, 257), (4, 360), (5, 128)])
def test_rounded_times_give_a_whole_sampling_rate(tmp_path, digits, fs):
    assert read(tmp_path, table("Time (s),I,II", lambda i: f"{i / fs:.{digits}f}")).fs == fs


def test_an_error_names_both_contradictory_sampling_rates(tmp_path):
    text = table("Time (s),I,II", in_seconds)
    with pytest.raises(RecordError, match=r"500 Hz by the time column, 250 Hz by --fs"):
        read(tmp_path, text, 250.0)
    assert read(tmp_path, text, 504.0).fs == 504


def test_gaps_in_the_times_are_a_warning_and_do_not_change_the_sampling_rate(tmp_path):
    record = read(tmp_path, table("Time (s),I,II", lambda i: f"{i / FS + (i > 150):.4f}"))
    assert record.fs == FS
    (warning,) = record.warnings
    assert warning.startswith("gaps in the time column (1)")


@pytest.mark.parametrize("head", ["sample,I,II", "Time,I,II", ",I,II", "#,I,II"])
def test_a_sample_counter_gives_no_sampling_rate(tmp_path, head):
    text = table(head, str)
    assert read(tmp_path, text, 250.0).fs == 250
    with pytest.raises(RecordError, match=r"A1\.csv: expected a sampling rate"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    "head",
    [
        "i,ii",
        "Lead I,Lead II",
        "ECG_I,ECG_II",
        "I (mV),II (mV)",
        "I [mV],II [mV]",
        "I_mV,II_mV",
        "I in mV,lead_II (mv)",
        "Ableitung I,Ableitung II",
        "DI,DII",
        '"I","II"',
    ],
)
def test_leads_are_recognised_in_many_spellings(tmp_path, head):
    record = read(tmp_path, table(head), FS)
    assert record.leads == ("I", "II")
    np.testing.assert_allclose(record.signal, SIGNAL, atol=1e-6)


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le", "utf-16-be"]
)
def test_microvolts_in_the_header_are_read_in_any_encoding(tmp_path, encoding):
    text = table("Zeit (s);I [µV];II [µV]", in_seconds, ";", ",")
    record = read(tmp_path, text, encoding=encoding)
    assert record.fs == FS
    np.testing.assert_allclose(record.signal, SIGNAL / 1000, atol=1e-8)


@pytest.mark.parametrize(
    ("unit", "factor"), [("mV", 1), ("uV", 1000), ("V", 0.001), ("adu/200", 200)]
)
def test_a_table_is_read_in_its_unit(tmp_path, unit, factor):
    text = table("I,II").splitlines()
    lines = [",".join(f"{value * factor:.9g}" for value in row) for row in SIGNAL.T]
    record = read(tmp_path, "\n".join([text[0], *lines]), FS, unit)
    np.testing.assert_allclose(record.signal, SIGNAL, atol=1e-5)


def test_an_error_names_both_contradictory_units(tmp_path):
    with pytest.raises(RecordError, match="uV in the file, mV by --unit"):
        read(tmp_path, table("I (uV),II (uV)"), FS, "mV")


@pytest.mark.parametrize(
    ("delimiter", "decimal", "quote"),
    [
        (",", ".", ""),
        (",", ".", '"'),
        (",", ",", '"'),
        (",", ".", "'"),
        (";", ".", ""),
        (";", ",", ""),
        (";", ",", '"'),
        ("\t", ",", ""),
        (" ", ".", ""),
        (" ", ",", ""),
    ],
)
def test_all_usual_delimiters_and_quotes_are_read(tmp_path, delimiter, decimal, quote):
    head = delimiter.join(f"{quote}{name}{quote}" for name in ("Time(s)", "I", "II"))
    record = read(tmp_path, table(head, in_seconds, delimiter, decimal, quote))
    assert (record.fs, record.leads) == (FS, ("I", "II"))
    np.testing.assert_allclose(record.signal, SIGNAL, atol=1e-6)


def test_a_single_column_may_have_decimal_commas(tmp_path):
    text = "I\n" + "".join(f"{value:.3f}\n".replace(".", ",") for value in SIGNAL[0])
    np.testing.assert_allclose(read(tmp_path, text, FS).signal, SIGNAL[:1], atol=1e-6)


def test_lines_above_the_table_state_rate_and_unit(tmp_path):
    above = "Patient: Jane Doe\nNotch: 50 Hz\nSampling frequency: 500 Hz\nUnit: uV\n\n"
    record = read(tmp_path, above + table("I,II"))
    assert record.fs == FS
    np.testing.assert_allclose(record.signal, SIGNAL / 1000, atol=1e-8)
    with pytest.raises(RecordError, match="500 Hz by a line above the table, 250 Hz by --fs"):
        read(tmp_path, above + table("I,II"), 250.0)


def test_a_line_of_units_below_the_names_is_read(tmp_path):
    text = table("'hh:mm:ss.mmm','uV','mV'", lambda i: f"'0:{i / FS:06.3f}'")
    record = read(tmp_path, "'Elapsed time','MLII','V5'\n" + text)
    assert (record.fs, record.leads) == (FS, ("MLII", "V5"))
    np.testing.assert_allclose(record.signal, SIGNAL / [[1000], [1]], atol=1e-6)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", " "])
@pytest.mark.parametrize("above", ["", "times", "numbers"])
def test_one_row_per_lead_is_read(tmp_path, delimiter, above):
    rows = [
        [name, *(f"{value:.3f}" for value in row)]
        for name, row in zip(("I", "II"), SIGNAL, strict=True)
    ]
    if above:
        first = map(in_seconds, range(N)) if above == "times" else map(str, range(N))
        rows.insert(0, ["Time" if above == "times" else "lead", *first])
    text = "\n".join(map(delimiter.join, rows))
    record = read(tmp_path, text, None if above == "times" else FS)
    assert (record.fs, record.leads) == (FS, ("I", "II"))
    np.testing.assert_allclose(record.signal, SIGNAL, atol=1e-6)


def test_the_leads_option_names_the_columns_of_a_table_without_names(tmp_path):
    for text, options in (
        (table(""), {"fs": FS}),
        (table("", in_seconds), {}),
        (table("ch1,ch2"), {"fs": FS}),
        ("\n".join(",".join(map(str, row)) for row in SIGNAL), {"fs": FS}),
    ):
        record = read(tmp_path, text, leads=("I", "V2"), **options)
        assert (record.fs, record.leads) == (FS, ("I", "V2"))
        np.testing.assert_allclose(record.signal, SIGNAL, atol=1e-6)


def test_the_leads_option_selects_columns_of_a_table_with_names(tmp_path):
    assert read(tmp_path, table("II,Resp"), FS, leads=("II",)).leads == ("II",)
    with pytest.raises(RecordError, match=r"columns V2.*found II, Resp$"):
        read(tmp_path, table("II,Resp"), FS, leads=("II", "V2"))
    with pytest.raises(RecordError, match=r"expected 3 columns.*I,II,V2; found 2$"):
        read(tmp_path, table(""), FS, leads=("I", "II", "V2"))


def test_missing_samples_and_any_case_of_names_are_read(tmp_path):
    text = "Time,i,AVR\r\n0.000,0.5,-0.5\r\n0.002,,nan\r\n0.004,NA,--\r\n"
    record = read(tmp_path, text)
    assert record.leads == ("I", "aVR")
    nan = np.nan
    np.testing.assert_array_equal(record.signal, np.float32([[0.5, nan, nan], [-0.5, nan, nan]]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("I,II\n1,2\n3,x\n", "line 3: expected a number .* found '3,x'"),
        ("I,II\n1,2\n3\n", "line 3: expected a number"),
        ("I,X7\n1,2\n", "lead names .* found X7 among I, X7"),
        ("ch1,ch2\n1.5,2.5\n", "lead names .* among ch1, ch2; use --leads"),
        ("I,I\n1,2\n", "lead names .* found I, I"),
        ("0.1,0.2\n1,2\n", "lead names .* found none; use --leads"),
        ("I,II\n", "line per sample, found none"),
        ("hello\nworld", "text without numbers"),
        ("Time (s),I\n0,1\n1,2\n", "sampling rate of 50 to 4000 Hz, found 1"),
        ("I,1,2,3\nII,1,2\n", "one length"),
    ],
)
def test_errors_name_the_file_and_the_fault(tmp_path, text, message):
    with pytest.raises(RecordError, match=f"A1.csv.*{message}"):
        read(tmp_path, text, None if "Time" in text else FS)


def test_a_long_list_of_columns_is_shortened_in_errors(tmp_path):
    names = ",".join(f"channel {i}" for i in range(500))
    with pytest.raises(RecordError, match=r"channel 0, channel 1, .*…") as raised:
        read(tmp_path, f"{names}\n" + ",".join(["1.5"] * 500), FS)
    assert len(str(raised.value)) < 600


@pytest.mark.parametrize(
    "text",
    [
        "patient,I,II\nJane Doe,1,2\nJane Doe,3,4\n",
        "patient,I,II\nJane Doe,1,2\nJane Doe,3,x\n",
        "Name,Jane Doe\nDate of Birth,1.1.1960\nI,II\n1,x\n",
        "Name,Jane Doe\nUnit,µV\nSample Rate,512 Hz\n\n1\nx\n",
        "Jane Doe\n1,2\n",
        "Name;Jane Doe\n\n",
    ],
)
def test_errors_do_not_contain_patient_data(tmp_path, text):
    with pytest.raises(RecordError) as raised:
        read(tmp_path, text, FS)
    assert "Jane" not in str(raised.value)


def test_a_table_is_read_up_to_the_maximum_duration(tmp_path):
    record = read(tmp_path, "I\n" + "0\n" * 3700, 50.0, duration_s=60.0)
    assert record.signal.shape == (1, 3000)


def test_a_table_of_all_leads_in_any_order_is_read(tmp_path):
    leads = LEAD_SETS[12][::-1]
    signal = np.round(np.random.default_rng(0).standard_normal((12, 20)), 3)
    lines = [",".join(leads), *(",".join(map(str, row)) for row in signal.T.tolist())]
    record = read(tmp_path, "\n".join(lines), FS)
    assert record.leads == leads
    np.testing.assert_allclose(record.signal, signal, atol=1e-6)
