"""Recordings in the forms that other devices write, for tests."""

from pathlib import Path

import edfio
import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, TwelveLeadECGWaveformStorage, generate_uid

from ecg.leads import TWELVE_LEADS

_MICROVOLTS_PER_UNIT = 2.5
_NUMBERS = (1, 2, 61, 62, 63, 64, 3, 4, 5, 6, 7, 8)


def write_csv(path: Path, signal, leads=TWELVE_LEADS) -> Path:
    """A table of these values, a column a lead."""
    lines = [",".join(leads), *(",".join(f"{value:.6g}" for value in row) for row in signal.T)]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_edf(path: Path, signal, fs, labels=TWELVE_LEADS, unit="mV") -> Path:
    """An EDF file of a signal in mV."""
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
    path: Path, signal, fs, age="060Y", sex="M", codes="MDC", median_beat=False
) -> Path:
    """A DICOM 12-lead ECG of a signal in mV; codes: how it names leads."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = TwelveLeadECGWaveformStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.PatientAge, dataset.PatientSex = age, sex
    groups = [_waveform(signal, fs, codes)]
    if median_beat:
        groups.insert(0, _waveform(signal[:, : round(fs)], fs, codes))
    dataset.WaveformSequence = Sequence(groups)
    dataset.save_as(path, enforce_file_format=True)
    return path


def _waveform(signal, fs, codes) -> Dataset:
    group = Dataset()
    group.SamplingFrequency = fs
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = signal.shape
    group.WaveformBitsAllocated, group.WaveformSampleInterpretation = 16, "SS"
    group.WaveformOriginality = "ORIGINAL"
    group.ChannelDefinitionSequence = Sequence(
        [_channel(lead, number, codes) for lead, number in zip(TWELVE_LEADS, _NUMBERS, strict=True)]
    )
    digital = np.round(signal.T * 1000 / _MICROVOLTS_PER_UNIT).astype("<i2")
    group.WaveformData = digital.tobytes()
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
