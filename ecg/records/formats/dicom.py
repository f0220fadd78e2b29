"""Read DICOM ECG waveforms with pydicom."""

import math
import re
from datetime import date
from pathlib import Path

import numpy as np

from ecg.records.formats.building import (
    MAX_DURATION_S,
    build_record,
    library_errors,
    printed_measurements,
)
from ecg.records.formats.channel_labels import parse_lead, units_per_mv
from ecg.records.headers import RecordError
from ecg.records.leads import TWELVE_LEADS
from ecg.records.record import Record
from ecg.signals.global_measurements import GlobalMeasurements
from ecg.signals.preprocessing import window_length

# Lead codes: MDC's 2:n (DICOM part 16, CID 3001) and SCP-ECG's 5.6.3-9-n use the same numbers n.
_LEADS = dict(zip((1, 2, 61, 62, 63, 64, *range(3, 9)), TWELVE_LEADS, strict=True))
_LEAD_CODE = re.compile(r"(?:2:|5\.6\.3-9-)(\d+)")
_AGE = re.compile(r"(\d+)([DWMY])")
_YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}
_DAYS_PER_YEAR = 365.25
# Measurements are found by the meaning of their codes, since several coding schemes are in use.
_MEANINGS = {
    "heart_rate": re.compile(r"(?:ventricular|heart) rate\b", re.IGNORECASE),
    "pr": re.compile(r"pr (?:interval|duration)\b", re.IGNORECASE),
    "qrs": re.compile(r"qrs (?:duration|interval)\b", re.IGNORECASE),
    "qt": re.compile(r"qt (?:interval|duration)\b", re.IGNORECASE),
    "qtc": re.compile(r"qtc\b", re.IGNORECASE),
    "axis": re.compile(r"qrs axis\b", re.IGNORECASE),
}


def read_dicom(path: Path, duration_s: float = MAX_DURATION_S) -> Record:
    """Read the longest waveform with standard leads. Raises RecordError naming the file."""
    with library_errors(path, "DICOM"):
        import pydicom
        from pydicom.waveforms import multiplex_array

        # Some archives export data sets without the preamble of a DICOM file; `force` accepts them.
        dataset = pydicom.dcmread(path, force=True)
        groups = list(dataset.get("WaveformSequence", ()))
        if not groups:
            raise RecordError(f"{path}: expected an ECG waveform, found none")
        # Cardiographs add a median beat of about a second to the recording.
        best = max(range(len(groups)), key=lambda i: _n_standard_samples(groups[i]))
        group = groups[best]
        channels = group.ChannelDefinitionSequence
        values = multiplex_array(dataset, best, as_raw=False).T
        per_mv = np.array([_per_mv(path, channel) for channel in channels])[:, None]
        fs = float(group.SamplingFrequency)
        signal = values[:, : window_length(fs, duration_s)] / per_mv
        sex = {"M": "Male", "F": "Female"}.get(str(dataset.get("PatientSex", "")), "Unknown")
        leads = tuple(map(_lead_name, channels))
        return build_record(path, signal, fs, leads, _age(dataset), sex, _printed(dataset))


def _n_standard_samples(group) -> int:
    leads = set(map(_lead_name, group.ChannelDefinitionSequence)) & set(TWELVE_LEADS)
    return len(leads) * int(group.NumberOfWaveformSamples)


def _lead_name(channel) -> str:
    source = channel.ChannelSourceSequence[0]
    code = _LEAD_CODE.fullmatch(str(source.get("CodeValue", "")))
    lead = _LEADS.get(int(code[1])) if code else None
    return lead or parse_lead(str(source.get("CodeMeaning", "")))


def _per_mv(path: Path, channel) -> float:
    units = channel.get("ChannelSensitivityUnitsSequence")
    try:
        return units_per_mv(str(units[0].CodeValue) if units else "none")
    except ValueError as error:
        raise RecordError(f"{path}: {error}") from error


def _age(dataset) -> float:
    """Return the patient's age in years, as stated or from the dates of birth and recording."""
    stated = _AGE.fullmatch(str(dataset.get("PatientAge", "")))
    if stated:
        return float(stated[1]) * _YEARS[stated[2]]
    born = _date(dataset.get("PatientBirthDate"))
    recorded = _date(dataset.get("AcquisitionDateTime")) or _date(dataset.get("StudyDate"))
    if born is None or recorded is None:
        return math.nan
    return float(math.floor((recorded - born).days / _DAYS_PER_YEAR))


def _date(value) -> date | None:
    text = str(value or "")[:8]
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:8]))
    except ValueError:
        return None


def _printed(dataset) -> GlobalMeasurements:
    found = {}
    for annotation in dataset.get("WaveformAnnotationSequence", ()):
        concepts = annotation.get("ConceptNameCodeSequence")
        number = annotation.get("NumericValue")
        if concepts and number is not None:
            meaning = str(concepts[0].get("CodeMeaning", "")).strip()
            for name, pattern in _MEANINGS.items():
                if pattern.match(meaning) and name not in found:
                    # There may be one value per beat; the first one is taken.
                    found[name] = float(np.ravel(np.asarray(number, np.float64))[0])
    return printed_measurements(**found)
