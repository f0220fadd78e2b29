"""Read GE MUSE XML, Philips Sierra XML, HL7 aECG, SCP-ECG and Kardia JSON with ecgdatakit.

The library decodes the files; this module verifies them and converts amplitudes to mV.
"""

import importlib
import math
import re
import warnings
from pathlib import Path

import numpy as np

from ecg.records.formats.building import (
    MAX_DURATION_S,
    build_record,
    library_errors,
    printed_measurements,
    read_bytes,
)
from ecg.records.formats.detection import detect_encoding
from ecg.records.formats.scp import check_scp
from ecg.records.headers import RecordError
from ecg.records.record import Record
from ecg.signals.global_measurements import GlobalMeasurements
from ecg.signals.preprocessing import window_length

# Format -> display name, module and class of ecgdatakit's parser.
_PARSERS = {
    "MUSE": ("GE MUSE", "ge_muse_xml", "GEMuseXMLParser"),
    "Sierra": ("Philips Sierra", "sierra_xml", "SierraXMLParser"),
    "aECG": ("HL7 aECG", "hl7_aecg", "HL7aECGParser"),
    "SCP": ("SCP-ECG", "scp_ecg", "SCPECGParser"),
    "Kardia": ("Kardia", "alivecor_kardia", "AliveCorKardiaParser"),
}
VENDOR_FORMATS = frozenset(_PARSERS)
_XML = ("MUSE", "Sierra", "aECG")
_MV = {"mV": 1.0, "uV": 1e-3, "nV": 1e-6, "V": 1e3}
# Annotations that hold a QTc by an unstated formula.
_QTC_ANNOTATIONS = ("QTCorrected", "qtc", "MDC_ECG_TIME_PD_QTc")
_UNDEFINED_MS = (29999, 65535)  # in SCP-ECG
_MAX_QUOTED = 160  # characters of a warning


def read_vendor(path: Path, kind: str, duration_s: float = MAX_DURATION_S) -> Record:
    """Read a file of one of VENDOR_FORMATS. Raises RecordError naming the file."""
    content = read_bytes(path)
    if kind == "SCP":
        check_scp(path, content)
    elif kind in _XML:
        _refuse_entities(path, content)
    name, module, parser = _PARSERS[kind]
    with library_errors(path, name):
        parsers = importlib.import_module(f"ecgdatakit.parsing.parsers.{module}")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = getattr(parsers, parser)().parse(path)
        fs = _exact_fs(found)
        signal = _signal(path, found.leads)[:, : window_length(fs, duration_s)]
        age = math.nan if found.patient.age is None else float(found.patient.age)
        sex = {"M": "Male", "F": "Female"}.get(found.patient.sex, "Unknown")
        leads = (lead.label for lead in found.leads)
        return build_record(path, signal, fs, leads, age, sex, _printed(found), _warnings(caught))


def _refuse_entities(path: Path, content: bytes) -> None:
    """Raise RecordError naming the file if the XML declares entities.

    None of these formats does, and entities can expand to gigabytes or include other files.
    """
    encoding = detect_encoding(content) or "utf-8"
    if re.search(r"<!ENTITY", content.decode(encoding, "replace"), re.IGNORECASE):
        raise RecordError(f"{path}: declares XML entities, which are refused")


def _signal(path: Path, leads) -> np.ndarray:
    """Return the signal (n_leads, n_samples), mV; NaN where a lead starts late or ends early."""
    if len({lead.sampling_rate for lead in leads}) > 1:
        raise RecordError(f"{path}: expected leads of one sampling rate, found several rates")
    # SCP-ECG counts samples from 1.
    starts = [int(lead.annotations.get("start_sample", 1)) - 1 for lead in leads]
    ends = [start + len(lead.samples) for start, lead in zip(starts, leads, strict=True)]
    first = min(starts, default=0)
    signal = np.full((len(leads), max(ends, default=0) - first), np.nan)
    for row, start, end, lead in zip(signal, starts, ends, leads, strict=True):
        row[start - first : end - first] = _millivolts(path, lead)
    return signal


def _millivolts(path: Path, lead) -> np.ndarray:
    unit = lead.resolution_unit if lead.is_raw else lead.units
    if unit not in _MV or (lead.is_raw and not lead.resolution):
        raise RecordError(f"{path}: expected amplitudes in a unit of voltage, found none")
    samples = np.asarray(lead.samples, np.float64)
    if lead.is_raw:
        samples = samples * lead.resolution + lead.offset
    return samples * _MV[unit]


def _exact_fs(found) -> float:
    """Return the sampling rate, Hz, before the library rounds it to a whole number."""
    metadata = found.raw_metadata
    interval_us = metadata.get("rhythm_sample_interval_us")
    if interval_us:
        return 1e6 / interval_us
    rate = metadata.get("rhythm_time", {}).get("sampling_rate_exact")
    if rate is None and isinstance(metadata.get("raw"), dict):
        rate = metadata["raw"].get("frequency")
    return float(rate or found.leads[0].sampling_rate)


def _printed(found) -> GlobalMeasurements:
    stated = found.measurements
    rate = stated.heart_rate
    if rate is None and stated.rr_interval:
        rate = 60_000 / stated.rr_interval
    pr, qrs, qt = _intervals(found)
    return printed_measurements(
        rate,
        stated.pr_interval or pr,
        stated.qrs_duration or qrs,
        stated.qt_interval or qt,
        _qtc(found),
        stated.qrs_axis,
    )


def _intervals(found) -> tuple[float | None, float | None, float | None]:
    """Return PR, QRS and QT, ms, from the fiducial points; SCP-ECG stores only these."""
    blocks = found.raw_metadata.get("measurement_blocks")
    fiducials = blocks[0] if blocks else found.raw_metadata.get("fiducials_ms", {})

    def between(start: str, end: str) -> float | None:
        times = fiducials.get(start), fiducials.get(end)
        known = all(time is not None and time not in _UNDEFINED_MS for time in times)
        return times[1] - times[0] if known else None

    return (
        between("p_onset", "qrs_onset"),
        between("qrs_onset", "qrs_offset"),
        between("qrs_onset", "t_offset"),
    )


def _qtc(found) -> float | None:
    for name in _QTC_ANNOTATIONS:
        number = re.match(r"\d+(?:\.\d+)?", str(found.annotations.get(name, "")))
        if number:
            return float(number[0])
    return found.measurements.qtc_bazett or found.measurements.qtc_fridericia


def _warnings(caught) -> tuple[str, ...]:
    """Return the library's warnings, except those about median beats, which are not read here."""
    texts = dict.fromkeys(str(warning.message) for warning in caught)
    return tuple(
        text[:_MAX_QUOTED] for text in texts if not re.search("median|beat", text, re.IGNORECASE)
    )
