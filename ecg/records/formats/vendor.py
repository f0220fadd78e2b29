"""What cardiographs and their archives export, by ecgdatakit: GE MUSE XML, Philips Sierra XML,
HL7 aECG, SCP-ECG, Kardia's JSON.

The library decodes; that a file is sound, and what its numbers mean in mV, is settled here.
"""

import importlib
import math
import re
import warnings
from pathlib import Path

import numpy as np

from ecg.records.formats.building import (
    LONGEST_S,
    build_record,
    library,
    printed_from,
    read_content,
)
from ecg.records.formats.detection import encoding_of
from ecg.records.formats.scp import check_scp
from ecg.records.headers import RecordError
from ecg.records.record import PrintedMeasurements, Record
from ecg.signals.preprocessing import window_length

# Kind of file -> what people call it, and where ecgdatakit's parser of it is.
_PARSERS = {
    "MUSE": ("GE MUSE", "ge_muse_xml", "GEMuseXMLParser"),
    "Sierra": ("Philips Sierra", "sierra_xml", "SierraXMLParser"),
    "aECG": ("HL7 aECG", "hl7_aecg", "HL7aECGParser"),
    "SCP": ("SCP-ECG", "scp_ecg", "SCPECGParser"),
    "Kardia": ("Kardia", "alivecor_kardia", "AliveCorKardiaParser"),
}
KINDS = frozenset(_PARSERS)
_XML = ("MUSE", "Sierra", "aECG")
_MV = {"mV": 1.0, "uV": 1e-3, "nV": 1e-6, "V": 1e3}
# Where the QTc stands for which the file gives no formula, and that of Bazett.
_QTC_NOTES = ("QTCorrected", "qtc", "MDC_ECG_TIME_PD_QTc")
_UNDEFINED_MS = (29999, 65535)  # SCP-ECG's
_QUOTED = 160  # characters of a warning


def read_vendor(path: Path, kind: str, duration_s: float = LONGEST_S) -> Record:
    """The record of a file of one of KINDS. Raises RecordError naming the file."""
    content = read_content(path)
    if kind == "SCP":
        check_scp(path, content)
    elif kind in _XML:
        _refuse_entities(path, content)
    name, module, parser = _PARSERS[kind]
    with library(path, name):
        parsers = importlib.import_module(f"ecgdatakit.parsing.parsers.{module}")
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found = getattr(parsers, parser)().parse(path)
        fs = _exact_fs(found)
        signal = _signal(path, found.leads)[:, : window_length(fs, duration_s)]
        age = math.nan if found.patient.age is None else float(found.patient.age)
        sex = {"M": "Male", "F": "Female"}.get(found.patient.sex, "Unknown")
        leads = (lead.label for lead in found.leads)
        return build_record(path, signal, fs, leads, age, sex, _printed(found), _doubts(said))


def _refuse_entities(path: Path, content: bytes) -> None:
    """Raise RecordError naming the file where the XML declares entities: none of these formats
    does, but they can swell to gigabytes or stand for other files."""
    encoding = encoding_of(content) or "utf-8"
    if re.search(r"<!ENTITY", content.decode(encoding, "replace"), re.IGNORECASE):
        raise RecordError(f"{path}: declares XML entities, which are refused")


def _signal(path: Path, leads) -> np.ndarray:
    """(n_leads, n_samples), mV; NaN before a lead that starts late, and behind a shorter one."""
    if len({lead.sampling_rate for lead in leads}) > 1:
        raise RecordError(f"{path}: expected leads of one sampling rate, found several")
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
        raise RecordError(f"{path}: expected an amplitude in a unit of voltage, found none")
    samples = np.asarray(lead.samples, np.float64)
    if lead.is_raw:
        samples = samples * lead.resolution + lead.offset
    return samples * _MV[unit]


def _exact_fs(found) -> float:
    """The sampling rate, Hz, which the library rounds to a whole number."""
    facts = found.raw_metadata
    interval_us = facts.get("rhythm_sample_interval_us")
    if interval_us:
        return 1e6 / interval_us
    rate = facts.get("rhythm_time", {}).get("sampling_rate_exact")
    if rate is None and isinstance(facts.get("raw"), dict):
        rate = facts["raw"].get("frequency")
    return float(rate or found.leads[0].sampling_rate)


def _printed(found) -> PrintedMeasurements:
    stated = found.measurements
    rate = stated.heart_rate
    if rate is None and stated.rr_interval:
        rate = 60_000 / stated.rr_interval
    pr, qrs, qt = _intervals(found)
    return printed_from(
        rate,
        stated.pr_interval or pr,
        stated.qrs_duration or qrs,
        stated.qt_interval or qt,
        _qtc(found),
        stated.qrs_axis,
    )


def _intervals(found) -> tuple[float | None, float | None, float | None]:
    """PR, QRS and QT, ms, from the ends of the waves, where a file has only these (SCP-ECG)."""
    blocks = found.raw_metadata.get("measurement_blocks")
    ends = blocks[0] if blocks else found.raw_metadata.get("fiducials_ms", {})

    def between(start: str, end: str) -> float | None:
        times = ends.get(start), ends.get(end)
        known = all(time is not None and time not in _UNDEFINED_MS for time in times)
        return times[1] - times[0] if known else None

    return (
        between("p_onset", "qrs_onset"),
        between("qrs_onset", "qrs_offset"),
        between("qrs_onset", "t_offset"),
    )


def _qtc(found) -> float | None:
    for name in _QTC_NOTES:
        number = re.match(r"\d+(?:\.\d+)?", str(found.annotations.get(name, "")))
        if number:
            return float(number[0])
    return found.measurements.qtc_bazett or found.measurements.qtc_fridericia


def _doubts(said) -> tuple[str, ...]:
    """What the library warns of, apart from averaged beats, which nobody reads here."""
    texts = dict.fromkeys(str(warning.message) for warning in said)
    return tuple(
        text[:_QUOTED] for text in texts if not re.search("median|beat", text, re.IGNORECASE)
    )
