"""Write recordings in the formats of other devices, for tests."""

import base64
import binascii
import json
import struct
import zlib
from pathlib import Path

import edfio
import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, TwelveLeadECGWaveformStorage, generate_uid

from ecg.records.leads import TWELVE_LEADS

PATIENT = "Doejane"  # in every file that can hold a name; no message may contain it
_MICROVOLTS_PER_UNIT = 2.5
_SCP_LEADS = dict(zip(TWELVE_LEADS, (1, 2, 61, 62, 63, 64, *range(3, 9)), strict=True))
_STORED_BY_MUSE = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
_NUMBERS = (1, 2, 61, 62, 63, 64, 3, 4, 5, 6, 7, 8)


def write_csv(path: Path, signal, leads=TWELVE_LEADS) -> Path:
    """Write a table with one column per lead."""
    lines = [",".join(leads), *(",".join(f"{value:.6g}" for value in row) for row in signal.T)]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_edf(path: Path, signal, fs, labels=TWELVE_LEADS, unit="mV") -> Path:
    """Write an EDF file of a signal in mV."""
    scale = {"mV": 1.0, "uV": 1e3}[unit]
    signals = [
        edfio.EdfSignal(
            row * scale,
            fs,
            label=label,
            physical_dimension=unit,
            physical_range=(-5 * scale, 5 * scale),
        )
        for row, label in zip(signal, labels, strict=True)
    ]
    edfio.Edf(signals).write(path)
    return path


def write_dicom(
    path: Path, signal, fs, age="060Y", sex="M", codes="MDC", median_beat=False, printed=()
) -> Path:
    """Write a DICOM 12-lead ECG of a signal in mV.

    codes: coding scheme of the leads. printed: (meaning, value) of measurements.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = TwelveLeadECGWaveformStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.PatientAge, dataset.PatientSex, dataset.PatientName = age, sex, PATIENT
    dataset.WaveformAnnotationSequence = Sequence([_annotation(*pair) for pair in printed])
    groups = [_waveform(signal, fs, codes)]
    if median_beat:
        groups.insert(0, _waveform(signal[:, : round(fs)], fs, codes))
    dataset.WaveformSequence = Sequence(groups)
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_muse(path: Path, signal, fs, measurements="", head="", checksum=None) -> Path:
    """Write a GE MUSE XML file of a 12-lead signal in mV; it stores eight leads."""
    leads = []
    for lead in _STORED_BY_MUSE:
        values = _digital(signal[TWELVE_LEADS.index(lead)]).tobytes()
        leads.append(
            f"<LeadData><LeadByteCountTotal>{len(values)}</LeadByteCountTotal>"
            f"<LeadSampleCountTotal>{len(values) // 2}</LeadSampleCountTotal>"
            f"<LeadAmplitudeUnitsPerBit>{_MICROVOLTS_PER_UNIT}</LeadAmplitudeUnitsPerBit>"
            f"<LeadAmplitudeUnits>MICROVOLTS</LeadAmplitudeUnits><LeadID>{lead}</LeadID>"
            f"<LeadSampleSize>2</LeadSampleSize>"
            f"<LeadDataCRC32>{zlib.crc32(values) if checksum is None else checksum}</LeadDataCRC32>"
            f"<WaveFormData>{base64.b64encode(values).decode()}</WaveFormData></LeadData>"
        )
    path.write_text(
        f'<?xml version="1.0" encoding="ISO-8859-1"?>\n<!DOCTYPE RestingECG SYSTEM "restecg.dtd">'
        f"{head}<RestingECG><PatientDemographics><PatientLastName>{PATIENT}</PatientLastName>"
        f"<PatientAge>61</PatientAge><AgeUnits>YEARS</AgeUnits><Gender>FEMALE</Gender>"
        f"</PatientDemographics>"
        f"<RestingECGMeasurements>{measurements}</RestingECGMeasurements>"
        f"<Waveform><WaveformType>Rhythm</WaveformType><SampleBase>{fs:g}</SampleBase>"
        f"<SampleExponent>0</SampleExponent>{''.join(leads)}</Waveform></RestingECG>",
        encoding="latin-1",
    )
    return path


def write_sierra(path: Path, signal, fs) -> Path:
    """Write an uncompressed Philips Sierra XML file, in UTF-16, of a 12-lead signal in mV."""
    values = base64.b64encode(_digital(signal).tobytes()).decode()
    path.write_text(
        f'<?xml version="1.0" encoding="utf-16"?>\n<restingecgdata>'
        f"<documentinfo><documenttype>PhilipsECG</documenttype>"
        f"<documentversion>1.04</documentversion></documentinfo>"
        f"<patient><generalpatientdata><name><lastname>{PATIENT}</lastname></name>"
        f"<age><years>61</years></age><sex>Female</sex></generalpatientdata></patient>"
        f"<interpretations><interpretation><globalmeasurements><heartrate>75</heartrate>"
        f"<print>150</print><qrsdur>90</qrsdur><qtint>400</qtint></globalmeasurements>"
        f"</interpretation></interpretations>"
        f'<waveforms><parsedwaveforms dataencoding="Base64" numberofleads="12" '
        f'leadlabels="{" ".join(TWELVE_LEADS)}" samplespersecond="{fs:g}" '
        f'durationperchannel="{1000 * signal.shape[1] / fs:g}" '
        f'resolution="{_MICROVOLTS_PER_UNIT}" signaloffset="0" signalsigned="True">'
        f"{values}</parsedwaveforms></waveforms></restingecgdata>",
        encoding="utf-16",
    )
    return path


def write_aecg(path: Path, signal, fs) -> Path:
    """Write an HL7 aECG file of a 12-lead signal in mV."""
    sequences = "".join(
        f'<component><sequence><code code="MDC_ECG_LEAD_{lead.upper()}"/>'
        f'<value><origin value="0" unit="uV"/>'
        f'<scale value="{_MICROVOLTS_PER_UNIT}" unit="uV"/>'
        f"<digits>{' '.join(map(str, _digital(row)))}</digits></value></sequence></component>"
        for lead, row in zip(TWELVE_LEADS, signal, strict=True)
    )
    path.write_text(
        f'<?xml version="1.0" encoding="UTF-8"?>\n<AnnotatedECG xmlns="urn:hl7-org:v3">'
        f"<componentOf><timepointEvent><componentOf><subjectAssignment><subject><trialSubject>"
        f"<subjectDemographicPerson><name>{PATIENT}</name>"
        f'<administrativeGenderCode code="F"/></subjectDemographicPerson></trialSubject></subject>'
        f"</subjectAssignment></componentOf></timepointEvent></componentOf>"
        f"<component><series><component><sequenceSet><component><sequence>"
        f'<code code="TIME_RELATIVE"/><value><head value="0" unit="s"/>'
        f'<increment value="{1 / fs:.9g}" unit="s"/></value></sequence></component>'
        f"{sequences}</sequenceSet></component></series></component></AnnotatedECG>"
    )
    return path


def write_scp(path: Path, signal, fs, leads=TWELVE_LEADS, starts=(1,) * 12) -> Path:
    """Write an uncompressed SCP-ECG record of a signal in mV; starts: first sample per lead."""
    digital = _digital(signal)
    patient = b"".join(
        struct.pack("<BH", tag, len(value)) + value
        for tag, value in (
            (0, PATIENT.encode() + b"\0"),
            (4, struct.pack("<HB", 61, 1)),
            (8, b"\x02"),
            (255, b""),
        )
    )
    definition = struct.pack("<BB", len(leads), 4 | len(leads) << 3) + b"".join(
        struct.pack("<IIB", start, start + digital.shape[1] - 1, _SCP_LEADS[lead])
        for lead, start in zip(leads, starts, strict=False)
    )
    rhythm = struct.pack(
        f"<HHBB{len(leads)}H",
        round(1000 * _MICROVOLTS_PER_UNIT),
        round(1e6 / fs),
        0,
        0,
        *[2 * digital.shape[1]] * len(leads),
    )
    fiducials = struct.pack("<BBHH5H3h", 1, 0, 800, 800, 100, 200, 260, 350, 640, 50, 40, 30)
    bodies = {1: patient, 3: definition, 6: rhythm + digital.tobytes(), 7: fiducials}
    pointers, sections, start = b"", b"", 6 + 16 + 10 * 12
    for number in range(1, 12):
        section = _scp_section(number, bodies[number]) if number in bodies else b""
        index = start + len(sections) + 1 if section else 0
        pointers += struct.pack("<HII", number, len(section), index)
        sections += section
    first = struct.pack("<HII", 0, start - 6, 7)
    parts = _scp_section(0, first + pointers, b"SCPECG") + sections
    record = struct.pack("<I", 6 + len(parts)) + parts
    path.write_bytes(struct.pack("<H", binascii.crc_hqx(record, 0xFFFF)) + record)
    return path


def _scp_section(number, body, reserved=bytes(6)) -> bytes:
    content = struct.pack("<HIBB", number, 16 + len(body), 20, 20) + reserved + body
    return struct.pack("<H", binascii.crc_hqx(content, 0xFFFF)) + content


def write_ishne(path: Path, signal, fs, leads=TWELVE_LEADS, checksum=None) -> Path:
    """Write an ISHNE Holter file of a signal in mV."""
    header = bytearray(522)
    header[28:68] = PATIENT.encode().ljust(40, b"\0")
    struct.pack_into("<iiiih", header, 10, 0, signal.shape[1], 522, 522, 1)
    struct.pack_into("<hh3h3h", header, 128, 2, 0, 1, 2, 1960, 1, 1, 2022)
    struct.pack_into("<h", header, 156, len(leads))
    codes = [TWELVE_LEADS.index(lead) + 5 for lead in leads]
    struct.pack_into(f"<{len(leads)}h", header, 158, *codes)
    resolution_nv = round(1000 * _MICROVOLTS_PER_UNIT)
    struct.pack_into(f"<{len(leads)}h", header, 206, *[resolution_nv] * len(leads))
    struct.pack_into("<h", header, 272, round(fs))
    computed = binascii.crc_hqx(bytes(header[10:]), 0xFFFF)
    header[:10] = b"ISHNE1.0" + struct.pack("<H", computed if checksum is None else checksum)
    path.write_bytes(bytes(header) + _digital(signal).T.tobytes())
    return path


def write_atc(path: Path, signal, fs, crc=False) -> Path:
    """Write a KardiaMobile ATC file of a signal in mV of at most twelve leads."""
    names = (b"ecg ", b"ecg2", b"ecg3", b"ecg4", b"ecg5", b"ecg6")
    resolution_nv = round(1000 * _MICROVOLTS_PER_UNIT)
    blocks = [(b"fmt ", struct.pack("<BHHBH", 1, round(fs), resolution_nv, 0, 0))]
    blocks += zip(names, map(bytes, map(np.ndarray.tobytes, _digital(signal))), strict=False)
    content = b"ALIVE\0\0\0" + struct.pack("<I", 3)
    for name, data in blocks:
        block = name + struct.pack("<I", len(data)) + data
        content += block + struct.pack("<I", zlib.crc32(block) if crc else sum(block))
    path.write_bytes(content)
    return path


def write_kardia_json(path: Path, signal, fs) -> Path:
    """Write a JSON export of the Kardia service, of the first six leads of a signal in mV."""
    names = ("leadI", "leadII", "leadIII", "AVR", "AVL", "AVF")
    samples = dict(zip(names, _digital(signal).tolist(), strict=False))
    recording = {
        "id": "1",
        "recordedAt": "2024-01-01T10:00:00Z",
        "patientID": PATIENT,
        "algorithmDetermination": "normal",
        "heartRate": 75,
        "data": {
            "raw": {
                "frequency": fs,
                "amplitudeResolution": 1000 * _MICROVOLTS_PER_UNIT,
                "samples": samples,
            }
        },
    }
    path.write_text(json.dumps(recording))
    return path


def write_apple(path: Path, lead_i, rate="512 hertz", decimal=".") -> Path:
    """Write an Apple Health export of a watch's recording in mV."""
    lines = [
        f"Name,{PATIENT} II",
        'Date of Birth,"Feb 5, 1952"',
        "Recorded Date,2020-02-05 09:14:40 -0400",
        "Classification,Sinus Rhythm",
        "Symptoms,",
        'Device,"Watch5,4"',
        f"Sample Rate,{rate}",
        "",
        "Lead,Lead I",
        "Unit,µV",
        "",
        *(f"{1000 * value:.3f}".replace(".", decimal) for value in lead_i),
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _digital(signal):
    return np.round(np.asarray(signal) * 1000 / _MICROVOLTS_PER_UNIT).astype("<i2")


def _annotation(meaning, value) -> Dataset:
    annotation, concept = Dataset(), Dataset()
    concept.CodeMeaning, concept.CodeValue, concept.CodingSchemeDesignator = meaning, "1", "99X"
    annotation.ConceptNameCodeSequence = Sequence([concept])
    annotation.NumericValue = str(value)
    return annotation


def _waveform(signal, fs, codes) -> Dataset:
    group = Dataset()
    group.SamplingFrequency = fs
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = signal.shape
    group.WaveformBitsAllocated, group.WaveformSampleInterpretation = 16, "SS"
    group.WaveformOriginality = "ORIGINAL"
    group.ChannelDefinitionSequence = Sequence(
        [_channel(lead, number, codes) for lead, number in zip(TWELVE_LEADS, _NUMBERS, strict=True)]
    )
    group.WaveformData = _digital(signal.T).tobytes()
    return group


def _channel(lead, number, codes) -> Dataset:
    source, unit, channel = Dataset(), Dataset(), Dataset()
    source.CodeValue = {"MDC": f"2:{number}", "SCPECG": f"5.6.3-9-{number}", "meaning": "X"}[codes]
    source.CodingSchemeDesignator = "MDC" if codes == "MDC" else "SCPECG"
    source.CodeMeaning = f"Lead {lead} (Einthoven)"
    unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = "uV", "UCUM", "microvolt"
    channel.ChannelSourceSequence = Sequence([source])
    channel.ChannelSensitivity = str(_MICROVOLTS_PER_UNIT)
    channel.ChannelSensitivityUnitsSequence = Sequence([unit])
    channel.ChannelSensitivityCorrectionFactor, channel.ChannelBaseline = "1", "0"
    channel.WaveformBitsStored = 16
    return channel
