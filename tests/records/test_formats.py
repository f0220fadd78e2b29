"""Each format is recognised by its content and gives the same record."""

import binascii
import math
import struct

import numpy as np
import pytest

from ecg.records.formats import read_ecg
from ecg.records.formats.channel_labels import units_per_mv
from ecg.records.headers import RecordError
from ecg.records.leads import LEAD_SETS, TWELVE_LEADS
from ecg.records.record import select_leads
from ecg.signals.global_measurements import GlobalMeasurements
from tests.conftest import ROOT
from tests.recording_files import (
    PATIENT,
    write_aecg,
    write_apple,
    write_atc,
    write_csv,
    write_dicom,
    write_edf,
    write_ishne,
    write_kardia_json,
    write_muse,
    write_scp,
    write_sierra,
)
from tests.synthetic import beats, write_record

FS = 500.0
TWELVE = {
    "DICOM": write_dicom,
    "EDF": write_edf,
    "MUSE": write_muse,
    "Sierra": write_sierra,
    "aECG": write_aecg,
    "SCP": write_scp,
    "ISHNE": write_ishne,
}
SIX = {"ATC": write_atc, "Kardia": write_kardia_json}


@pytest.fixture
def signal():
    return np.round(beats(5000, FS, noise_mv=0.0), 3)


@pytest.fixture(scope="session")
def samples():
    """Vendors' sample recordings, which the project may not ship; skips without them."""
    folder = ROOT.parent / "shared" / "formats"
    if not folder.is_dir():
        pytest.skip(f"{folder} does not exist")
    return folder


@pytest.mark.parametrize("kind", TWELVE)
@pytest.mark.parametrize("name", ["recording", "recording.txt", "recording.dat"])
def test_the_format_is_detected_whatever_the_extension(tmp_path, signal, kind, name):
    record = read_ecg(TWELVE[kind](tmp_path / name, signal, FS))
    assert record.fs == FS
    assert set(record.leads) == set(TWELVE_LEADS)
    assert record.signal.dtype == np.float32
    # MUSE stores eight leads; the others are computed from rounded I and II.
    np.testing.assert_allclose(select_leads(record, TWELVE_LEADS), signal, atol=4e-3)


@pytest.mark.parametrize("kind", SIX)
def test_kardiamobile_files_are_read(tmp_path, signal, kind):
    record = read_ecg(SIX[kind](tmp_path / "recording", signal, 300))
    assert record.fs == 300
    assert record.leads == LEAD_SETS[6]
    np.testing.assert_allclose(record.signal, signal[:6], atol=2e-3)


def test_both_kinds_of_kardia_checksum_are_accepted(tmp_path, signal):
    path = write_atc(tmp_path / "A1.atc", signal, 300, crc=True)
    assert read_ecg(path).leads == LEAD_SETS[6]


def test_wfdb_records_are_read_by_any_of_their_names(tmp_path, signal):
    write_record(tmp_path, "A1", signal, FS)
    for name in ("A1.hea", "A1.mat", "A1"):
        record = read_ecg(tmp_path / name)
        assert record.leads == TWELVE_LEADS
        np.testing.assert_allclose(record.signal, signal, atol=1e-3)


@pytest.mark.parametrize(("rate", "decimal"), [("512.844 hertz", "."), ("512,844 Hertz", ",")])
def test_an_apple_health_export_is_lead_i_in_microvolts(tmp_path, signal, rate, decimal):
    record = read_ecg(write_apple(tmp_path / "ecg.csv", signal[0], rate, decimal))
    assert record.fs == 512.844
    assert record.leads == ("I",)
    np.testing.assert_allclose(record.signal[0], signal[0], atol=1e-5)
    assert any("one lead only (I)" in warning for warning in record.warnings)


def test_the_eight_leads_of_muse_are_completed_to_twelve(tmp_path, signal):
    record = read_ecg(write_muse(tmp_path / "A1.xml", signal, FS))
    assert record.notes == ("III, aVR, aVL, aVF computed from I and II",)
    lead_i, lead_ii, avf = select_leads(record, ("I", "II", "aVF"))
    np.testing.assert_allclose(avf, lead_ii - lead_i / 2, atol=1e-6)


@pytest.mark.parametrize("kind", ["MUSE", "Sierra", "SCP"])
def test_age_and_sex_are_kept(tmp_path, signal, kind):
    record = read_ecg(TWELVE[kind](tmp_path / "A1", signal, FS))
    assert (record.age, record.sex) == (61, "Female")


def test_the_age_in_an_ishne_file_is_that_at_recording(tmp_path, signal):
    record = read_ecg(write_ishne(tmp_path / "A1.ecg", signal, FS))
    assert (record.age, record.sex) == (61, "Female")


def test_printed_measurements_are_kept(tmp_path, signal):
    muse = "<VentricularRate>48</VentricularRate><QTCorrected>403</QTCorrected><RAxis>-5</RAxis>"
    found = read_ecg(write_muse(tmp_path / "A1", signal, FS, muse)).printed
    assert found == GlobalMeasurements(heart_rate_bpm=48, qtc_ms=403, qrs_axis_deg=-5)
    found = read_ecg(write_sierra(tmp_path / "A2", signal, FS)).printed
    assert found == GlobalMeasurements(heart_rate_bpm=75, pr_ms=150, qrs_ms=90, qt_ms=400)
    # SCP-ECG stores onsets and offsets of waves.
    found = read_ecg(write_scp(tmp_path / "A3", signal, FS)).printed
    assert found == GlobalMeasurements(75, 160, 90, 380, None, 40)
    printed = (("PR Interval", 148), ("QTc Interval", 443), ("QT Interval", 420))
    found = read_ecg(write_dicom(tmp_path / "A4", signal, FS, printed=printed)).printed
    assert found == GlobalMeasurements(pr_ms=148, qt_ms=420, qtc_ms=443)
    assert read_ecg(write_kardia_json(tmp_path / "A5", signal, 300)).printed.heart_rate_bpm == 75


def test_the_longest_waveform_of_a_dicom_file_is_read_with_age_and_sex(tmp_path, signal):
    write_dicom(tmp_path / "A1.dcm", signal, FS, age="045Y", sex="F", median_beat=True)
    record = read_ecg(tmp_path / "A1.dcm")
    assert record.signal.shape == (12, 5000)
    assert record.age == 45
    assert record.sex == "Female"


@pytest.mark.parametrize("codes", ["MDC", "SCPECG", "meaning"])
def test_dicom_leads_are_recognised_in_any_coding_scheme(tmp_path, signal, codes):
    write_dicom(tmp_path / "A1.dcm", signal, FS, codes=codes)
    assert read_ecg(tmp_path / "A1.dcm").leads == TWELVE_LEADS


def test_a_dicom_data_set_without_preamble_is_read(tmp_path, signal):
    path = write_dicom(tmp_path / "A1", signal, FS)
    path.write_bytes(path.read_bytes()[132:])
    assert read_ecg(path).leads == TWELVE_LEADS


def test_edf_signals_other_than_leads_are_ignored(tmp_path, signal):
    write_edf(tmp_path / "A1.edf", signal[:3], FS, ["ECG I", "EKG II", "Resp chest"], unit="uV")
    record = read_ecg(tmp_path / "A1.edf")
    assert record.leads[:2] == ("I", "II")
    np.testing.assert_allclose(record.signal[:2], signal[:2], atol=2e-3)
    assert math.isnan(record.age)


def test_an_edf_file_without_leads_is_an_error(tmp_path, signal):
    write_edf(tmp_path / "A1.edf", signal[:1], FS, ["EEG Fpz"])
    with pytest.raises(RecordError, match=r"A1\.edf: .*found no leads"):
        read_ecg(tmp_path / "A1.edf")


def test_an_scp_lead_that_starts_late_is_missing_before(tmp_path, signal):
    path = write_scp(tmp_path / "A1.scp", signal[:2, :1000], FS, ("II", "V1"), starts=(1, 501))
    record = read_ecg(path)
    assert record.leads == ("II", "V1")
    assert record.signal.shape == (2, 1500)
    assert np.isnan(record.signal[0]).tolist() == [False] * 1000 + [True] * 500
    assert np.isnan(record.signal[1]).tolist() == [True] * 500 + [False] * 1000


def test_a_wrong_checksum_of_an_scp_record_is_an_error(tmp_path, signal):
    path = write_scp(tmp_path / "A1.scp", signal, FS)
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"A1\.scp: damaged: wrong checksum of the record"):
        read_ecg(path)


def test_a_wrong_checksum_of_an_scp_section_is_an_error(tmp_path, signal):
    path = write_scp(tmp_path / "A1.scp", signal, FS)
    content = bytearray(path.read_bytes())
    section = content.rindex(struct.pack("<HI", 3, 16 + 2 + 9 * 12))
    content[section + 20] ^= 1
    content[:2] = struct.pack("<H", binascii.crc_hqx(bytes(content[2:]), 0xFFFF))
    path.write_bytes(content)
    with pytest.raises(RecordError, match="wrong checksum of section 3"):
        read_ecg(path)


def test_wrong_checksums_of_muse_and_ishne_are_warnings(tmp_path, signal):
    record = read_ecg(write_muse(tmp_path / "A1.xml", signal, FS, checksum=1))
    assert any("CRC32 mismatch in lead I " in warning for warning in record.warnings)
    record = read_ecg(write_ishne(tmp_path / "A1.ecg", signal, FS, checksum=1))
    assert any("checksum" in warning for warning in record.warnings)


ENTITIES = (
    '<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">',
    '<!ENTITY a SYSTEM "file:///etc/passwd">',
    '<!ENTITY % a SYSTEM "http://localhost/x.dtd"> %a;',
)


@pytest.mark.parametrize("entities", ENTITIES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("root", ["AnnotatedECG", "RestingECG", "restingecgdata"])
def test_entities_in_xml_are_refused(tmp_path, root, encoding, entities):
    path = tmp_path / "A1.xml"
    text = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE {root} [{entities}]>'
    path.write_text(f"{text}<{root}>&a;</{root}>", encoding=encoding)
    with pytest.raises(RecordError, match=r"A1\.xml: declares XML entities, which are refused"):
        read_ecg(path)


def test_errors_for_unsupported_and_missing_files_state_what_was_found(tmp_path):
    for content, found in (
        (b"?", "an unknown kind of file"),
        (b"", "an empty file"),
        (b"%PDF-1.4\n1 0 obj", "a PDF"),
        (bytes(range(256)), "a binary file"),
        (b"<html><body>1</body></html>", "an HTML page"),
        (b"<?xml version='1.0'?><!-- <RestingECG> --><x/>", "an XML file"),
    ):
        (tmp_path / "A1").write_bytes(content)
        with pytest.raises(RecordError, match=rf"A1: expected a WFDB record .* found {found}"):
            read_ecg(tmp_path / "A1")
    with pytest.raises(RecordError, match=r"expected a WFDB record .* found none"):
        read_ecg(tmp_path / "B1")
    with pytest.raises(RecordError, match="found a folder"):
        read_ecg(tmp_path)


@pytest.mark.parametrize("kind", [*TWELVE, *SIX])
def test_neither_messages_nor_records_contain_the_patients_name(tmp_path, signal, kind):
    path = (TWELVE | SIX)[kind](tmp_path / "A1", signal[:, :1000], FS)
    content = path.read_bytes()
    assert PATIENT not in repr(read_ecg(path))
    generator = np.random.default_rng(1)
    for offset in generator.integers(0, min(len(content), 3000), 60):
        damaged = bytearray(content)
        damaged[offset] ^= 1 << int(generator.integers(8))
        path.write_bytes(damaged)
        try:
            text = repr(read_ecg(path))
        except RecordError as error:
            text = str(error)
        assert PATIENT not in text


@pytest.mark.parametrize("unit", ["", "adu", "adu/0", "adu/x", "kV", "mV2"])
def test_an_unknown_unit_is_an_error(unit):
    with pytest.raises(ValueError, match="expected mV, uV, V or adu/GAIN"):
        units_per_mv(unit)


def test_one_recording_in_three_formats_gives_the_same_record(samples):
    dicom = read_ecg(samples / "toolkit_example.dcm")
    assert np.isfinite(dicom.signal).all()
    for name in ("toolkit_example.scp", "toolkit_example_aecg.xml"):
        record = read_ecg(samples / name)
        assert record.fs == dicom.fs == 500
        np.testing.assert_array_equal(select_leads(record, TWELVE_LEADS), dicom.signal)
        assert record.printed == dicom.printed == GlobalMeasurements(None, 148, 120, 420, 443, -61)


@pytest.mark.parametrize(
    ("name", "printed", "length_s", "age"),
    [
        ("muse_example1.xml", (48, 138, 96, 452, 403, 20), 10.0, math.nan),
        ("philips_sierra_1_03.xml", (41, 151, 135, 476, 393, -21), 10.5, 50),
        ("philips_sierra_1_04.xml", (84, 144, 84, 352, 416, 78), 10.6, 60),
        ("fda_aecg_subject1_0.xml", (None, 148, 120, 420, 443, -61), 10.0, 46),
    ],
)
def test_vendors_samples_are_read_with_their_measurements(samples, name, printed, length_s, age):
    record = read_ecg(samples / name)
    assert record.printed == GlobalMeasurements(*printed)
    assert record.fs == 500
    assert set(record.leads) == set(TWELVE_LEADS)
    assert record.signal.shape[1] / 500 == pytest.approx(length_s, abs=0.05)
    assert record.age == pytest.approx(age, nan_ok=True)
    assert np.isfinite(record.signal).all()
    assert 0.8 < np.abs(record.signal).max() < 5
    # The limb leads obey Einthoven's law within two quantisation steps.
    lead_i, lead_ii, lead_iii = select_leads(record, ("I", "II", "III"))
    np.testing.assert_allclose(lead_iii, lead_ii - lead_i, atol=0.011)


def test_real_records_are_read_without_changes_or_warnings(shared_records):
    headers = sorted(shared_records.glob("*.hea"))
    records = {header.stem: read_ecg(header) for header in headers[::10]}
    assert [name for name, record in records.items() if record.notes or record.warnings] == []


def test_a_table_without_extension_is_read(tmp_path, signal):
    record = read_ecg(write_csv(tmp_path / "A1", signal), FS)
    np.testing.assert_allclose(record.signal, signal, atol=1e-5)
