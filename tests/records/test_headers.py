import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecg.records.headers import (
    DEFAULT_FS,
    DEFAULT_GAIN,
    Header,
    RecordError,
    format_header,
    parse_header,
    read_dx,
)
from ecg.records.leads import TWELVE_LEADS
from tests.synthetic import header_text


def one_lead(signal_line, line_1="X 1 500 5000", comments="#Dx: 1") -> Header:
    return parse_header(f"{line_1}\n{signal_line}\n{comments}\n")


def test_both_dialects_say_the_same():
    texts = [
        header_text("E1", 500, 5000, TWELVE_LEADS, dx="1,2", age="77", v103=v103)
        for v103 in (False, True)
    ]
    challenge, v103 = map(parse_header, texts)
    # The dialects write the format code alike up to samples per frame, which is 1.
    assert challenge == v103
    assert challenge.leads == TWELVE_LEADS
    assert challenge.adc_gains == (1000.0,) * 12
    assert challenge.baselines == (0.0,) * 12
    assert (challenge.fs, challenge.n_samples) == (500.0, 5000)
    assert (challenge.age, challenge.sex, challenge.dx) == (77.0, "Female", ("1", "2"))


@given(
    fs=st.sampled_from([50.0, 257.0, 500.0, 1000.0]),
    gain=st.floats(10, 1e5).map(lambda gain: float(f"{gain:.6g}")),
    baseline=st.integers(-2000, 2000),
    age=st.integers(0, 120),
    dx=st.lists(st.integers(1, 10**10).map(str), unique=True, max_size=5).map(tuple),
    physionet=st.booleans(),
)
def test_a_header_that_was_written_reads_back_the_same(fs, gain, baseline, age, dx, physionet):
    header = Header(
        name="X1",
        fs=fs,
        n_samples=3,
        leads=("I", "V2"),
        adc_gains=(gain, 2 * gain),
        baselines=(float(baseline), 0.0),
        files=("X1.mat", "X1.mat"),
        age=float(age),
        sex="Female",
        dx=dx,
    )
    recording = np.array([[1, -2, 30000], [-32767, 0, 5]], np.int16)
    assert parse_header(format_header(header, recording, physionet)) == header


def test_a_written_header_has_first_values_and_checksums_of_16_bits():
    header = parse_header(header_text("X", 500, 4, ("I", "II"), age="NaN"))
    recording = np.array([[30000, 30000, 5536, 1], [-1, -2, -3, -4]], np.int16)
    text = format_header(header, recording)
    assert "X.mat 16+24 1000/mV 16 0 30000 1 0 I\n" in text
    assert "X.mat 16+24 1000/mV 16 0 -1 -10 0 II\n" in text
    assert "#Age: NaN\n" in text
    assert "X.mat 16x1+24 1000.0(0)/mV 16 0 -1 -10 0 II\n" in format_header(header, recording, True)


def test_a_real_header_of_1_0_3_is_read_whole(shared_records_v103):
    paths = sorted(shared_records_v103.rglob("*.hea"))
    assert len(paths) == 30
    for path in paths:
        header = parse_header(path.read_text())
        assert header.name == path.stem
        assert header.leads == TWELVE_LEADS
        assert all(gain > 0 for gain in header.adc_gains)
        assert header.dx


def test_line_ends_do_not_matter():
    text = header_text("A1", 500, 5000, TWELVE_LEADS)
    assert parse_header(text.replace("\n", "\r\n")) == parse_header(text)
    assert parse_header("\ufeff" + text.replace("\n", "\r")) == parse_header(text)


@pytest.mark.parametrize(
    ("gain", "adc_gain", "baseline"),
    [
        ("1000/mV", 1000, 7),
        ("1000/mv", 1000, 7),
        ("1000.0(0)/mV", 1000, 0),
        ("4880(-3)/mV", 4880, -3),
        ("200", 200, 7),
        ("1/uV", 1000, 7),
        ("1e6/V", 1000, 7),
        ("0", DEFAULT_GAIN, 7),
        ("/mV", DEFAULT_GAIN, 7),
        ("500/", 500, 7),
    ],
)
def test_gain_and_baseline_as_the_header_format_says(gain, adc_gain, baseline):
    header = one_lead(f"X.mat 16+24 {gain} 16 7 0 0 0 II")
    assert header.adc_gains == (adc_gain,)
    assert header.baselines == (baseline,)


def test_missing_gain_means_200_per_mv_and_missing_baseline_adc_zero():
    header = one_lead("X.mat 16+24 II")
    assert header.leads == ("II",)
    assert (header.adc_gains, header.baselines) == ((200.0,), (0.0,))


@pytest.mark.parametrize(
    ("fields", "baseline"),
    [
        ("500", 0),
        ("500 16", 0),
        ("500 16 7", 7),
        ("500 16 7 3", 7),
        ("500 16 7 3 4", 7),
        ("500 16 7 3 4 0", 7),
    ],
)
def test_a_signal_line_may_leave_out_its_last_fields(fields, baseline):
    header = one_lead(f"X.mat 16 {fields} II")
    assert header.leads == ("II",)
    assert (header.adc_gains, header.baselines) == ((500.0,), (baseline,))


def test_a_lead_that_is_no_voltage_has_no_gain():
    assert math.isnan(one_lead("X.mat 16 10/mmHg 16 0 0 0 0 ABP").adc_gains[0])


def test_missing_rate_and_length_have_the_formats_defaults():
    header = one_lead("X.mat 16 200 16 0 0 0 0 II", line_1="X 1")
    assert (header.fs, header.n_samples) == (DEFAULT_FS, None)
    assert one_lead("X.mat 16 200 16 0 0 0 0 II", line_1="X 1 360/90(5) 0").fs == 360
    assert one_lead("X.mat 16 200 16 0 0 0 0 II", line_1="X 1 360 many").n_samples is None


@pytest.mark.parametrize(
    ("comment", "dx"),
    [
        ("#Dx: 1,2", ("1", "2")),
        ("# Dx: 1,2", ("1", "2")),
        ("#dx:1, 2 ,", ("1", "2")),
        ("#Dx: 1,,2,1", ("1", "2")),
        ("#Dx:\n#Dx: 1\n#Dx: 2", ("1", "2")),
        ("#Dx: Unknown", ()),
        ("#Dx:", ()),
        ("#Age: 3", ()),
    ],
)
def test_diagnoses_survive_commas_and_duplicates(comment, dx):
    assert one_lead("X.mat 16 200 16 0 0 0 0 II", comments=comment).dx == dx
    assert read_dx(f"broken\n{comment}\n") == dx


@pytest.mark.parametrize(
    ("age", "years"), [("74", 74), ("NaN", None), ("Unknown", None), ("-1", None), ("0.5", 0.5)]
)
def test_unknown_ages_are_nan(age, years):
    found = one_lead("X.mat 16 200 16 0 0 0 0 II", comments=f"#Age: {age}").age
    assert math.isnan(found) if years is None else found == years


@pytest.mark.parametrize(
    ("sex", "expected"),
    [("F", "Female"), ("female", "Female"), ("M", "Male"), ("Unknown", "Unknown"), ("", "Unknown")],
)
def test_sex_is_male_female_or_unknown(sex, expected):
    assert one_lead("X.mat 16 200 16 0 0 0 0 II", comments=f"#Sex: {sex}").sex == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty header"),
        ("#Dx: 1\n", "empty header"),
        ("X\n", "X: expected 'NAME n_leads fs n_samples'"),
        ("X two 500\n", "X: expected a number of leads on line 1, found 'two'"),
        ("X 0 500\n", "X: expected a number of leads on line 1, found '0'"),
        ("X 2 500\nX.mat 16 200 16 0 0 0 0 I\n", "X: line 1 promises 2 signal lines, .* has 1"),
        ("X 1 fast\nX.mat 16 200 16 0 0 0 0 I\n", "X: expected a number as sampling rate"),
        ("X/3 1 500\n", "X: a record of 3 segments"),
        ("X 1 500\nX.mat 16\n", "X: expected 'FILE format gain"),
        ("X 1 500\nX.mat 16 much/mV 16 0 0 0 0 I\n", "X: unreadable gain 'much/mV'"),
        ("X 1 500\nX.mat 16 1e999 16 0 0 0 0 I\n", "X: expected a number as gain"),
        ("X 1 500\nX.mat 16 200 16 zero 0 0 0 I\n", "X: expected a number as baseline"),
    ],
)
def test_a_broken_header_names_what_was_expected(text, message):
    with pytest.raises(RecordError, match=message):
        parse_header(text)


_LINE = st.text(st.sampled_from("A1 .:/()+-xemV#\tDxAge,é0"), max_size=40)


@given(st.one_of(st.text(), st.lists(_LINE, max_size=6).map("\n".join)))
def test_any_text_is_a_header_or_a_record_error(text):
    try:
        header = parse_header(text)
    except RecordError:
        return
    assert len(header.leads) == len(header.adc_gains) == len(header.baselines) >= 1
    assert math.isfinite(header.fs)
