"""The Challenge's helper functions under their contract names, on top of the package `ecg`.

`header` is always a header's whole text, `leads` a sequence of lead names, `recording` the raw
digital values (n_leads, n_samples) in the header's lead order. Both dialects of headers are read.
Functions of a header raise ecg.headers.RecordError where it cannot be parsed.
"""

import math

import numpy as np

from ecg.records import discovery as record_files
from ecg.records import headers, outputs
from ecg.records import leads as lead_names
from ecg.records import record as records


def is_number(x) -> bool:
    """Whether float() takes it."""
    try:
        float(x)
    except (ValueError, TypeError, OverflowError):
        return False
    return True


def is_integer(x) -> bool:
    """Whether it is a number without a fraction: 3, "3", "3.0"."""
    return is_finite_number(x) and float(x).is_integer()


def is_finite_number(x) -> bool:
    """Whether it is a number, and neither infinite nor NaN."""
    return is_number(x) and math.isfinite(float(x))


def sort_leads(leads) -> tuple[str, ...]:
    """Leads in the standard order I, II, III, aVR, aVL, aVF, V1..V6; others after them."""
    return lead_names.sort_leads(leads)


def find_challenge_files(data_directory) -> tuple[list[str], list[str]]:
    """(header files, recording files) of every record below the folder, by record name.

    A recording file may be absent: its record is listed, so that it gets an answer.
    """
    found = record_files.find_records(data_directory)
    return [str(files.header) for files in found], [str(files.recording) for files in found]


def load_header(header_file) -> str:
    """The header's text."""
    return record_files.read_header_text(header_file)


def load_recording(recording_file, header=None, leads=None, key="val") -> np.ndarray:
    """Digital values of a signal file; with `header` and `leads`, those leads in that order.

    key: name of the array in a MATLAB file. Raises RecordError naming the file.
    """
    recording = records.read_recording(recording_file, key=key)
    if header is not None and leads is not None:
        return choose_leads(recording, header, leads)
    return recording


def choose_leads(recording, header, leads) -> np.ndarray:
    """Rows of the recording for these leads, in this order."""
    parsed = headers.parse_header(header)
    if len(recording) != len(parsed.leads):
        raise headers.RecordError(
            f"{parsed.name}: expected {len(parsed.leads)} leads, found {len(recording)} rows"
        )
    return recording[_positions(parsed, leads)]


def get_recording_id(header) -> str:
    """The record's id, from line 1."""
    return headers.parse_header(header).name


def get_leads(header) -> tuple[str, ...]:
    """The header's leads in its order, in standard spelling."""
    return headers.parse_header(header).leads


def get_age(header) -> float:
    """Years; NaN where unknown."""
    return headers.parse_header(header).age


def get_sex(header) -> str:
    """'Male', 'Female' or 'Unknown'."""
    return headers.parse_header(header).sex


def get_num_leads(header) -> int:
    """How many leads the header lists."""
    return len(headers.parse_header(header).leads)


def get_frequency(header) -> float:
    """Sampling rate in Hz."""
    return headers.parse_header(header).fs


def get_num_samples(header) -> int | None:
    """Samples per lead; None where line 1 does not say."""
    return headers.parse_header(header).n_samples


def get_adc_gains(header, leads) -> np.ndarray:
    """ADC units per mV of these leads."""
    parsed = headers.parse_header(header)
    return np.array(parsed.adc_gains)[_positions(parsed, leads)]


def get_baselines(header, leads) -> np.ndarray:
    """ADC value of 0 mV of these leads."""
    parsed = headers.parse_header(header)
    return np.array(parsed.baselines)[_positions(parsed, leads)]


def get_labels(header) -> list[str]:
    """The diagnosis codes of the header, each once."""
    return list(headers.read_dx(header))


def save_outputs(output_file, recording_id, classes, labels, probabilities) -> None:
    """Writes a record's output file."""
    outputs.write_output(output_file, recording_id, classes, labels, probabilities)


def load_outputs(output_file):
    """(recording id, classes, labels, probabilities) of an output file."""
    return outputs.read_output(output_file)


def _positions(header, leads) -> list[int]:
    wanted = [lead_names.canonical_lead(lead) for lead in leads]
    absent = [lead for lead in wanted if lead not in header.leads]
    if absent:
        raise headers.RecordError(
            f"{header.name}: expected the leads {', '.join(wanted)}; "
            f"the header has {', '.join(header.leads)}"
        )
    return [header.leads.index(lead) for lead in wanted]
