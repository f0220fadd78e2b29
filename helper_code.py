"""The Challenge's helper functions, implemented with the package `ecg`.

`header` is the text of a header file, `leads` a sequence of lead names, and `recording` an array of
digital values (n_leads, n_samples) in the header's lead order. Both header dialects are supported.
Functions that take a header raise ecg.records.headers.RecordError if it cannot be parsed.
"""

import math

import numpy as np

from ecg.records import discovery, headers, outputs, record
from ecg.records import leads as lead_names


def is_number(x) -> bool:
    """Return whether `x` can be converted by float()."""
    try:
        float(x)
    except (ValueError, TypeError, OverflowError):
        return False
    return True


def is_integer(x) -> bool:
    """Return whether `x` is a whole number, such as 3, "3" or "3.0"."""
    return is_finite_number(x) and float(x).is_integer()


def is_finite_number(x) -> bool:
    """Return whether `x` is a number that is neither infinite nor NaN."""
    return is_number(x) and math.isfinite(float(x))


def sort_leads(leads) -> tuple[str, ...]:
    """Sort leads in the standard order I, II, III, aVR, aVL, aVF, V1..V6, other leads last."""
    return lead_names.sort_leads(leads)


def find_challenge_files(data_directory) -> tuple[list[str], list[str]]:
    """Return the header files and recording files of all records below a folder, sorted by name.

    A record without a recording file is listed, too.
    """
    records = discovery.find_records(data_directory)
    return [str(files.header) for files in records], [str(files.recording) for files in records]


def load_header(header_file) -> str:
    """Return the text of a header file."""
    return discovery.read_header_text(header_file)


def load_recording(recording_file, header=None, leads=None, key="val") -> np.ndarray:
    """Return the digital values of a signal file; with `header` and `leads`, only those leads.

    key: name of the array in a MATLAB file. Raises RecordError naming the file.
    """
    recording = record.read_recording(recording_file, key=key)
    if header is not None and leads is not None:
        return choose_leads(recording, header, leads)
    return recording


def choose_leads(recording, header, leads) -> np.ndarray:
    """Return the rows of a recording for these leads, in this order."""
    parsed = headers.parse_header(header)
    if len(recording) != len(parsed.leads):
        raise headers.RecordError(
            f"{parsed.name}: expected {len(parsed.leads)} leads, found {len(recording)} rows"
        )
    return recording[_lead_rows(parsed, leads)]


def get_recording_id(header) -> str:
    """Return the id of the record."""
    return headers.parse_header(header).name


def get_leads(header) -> tuple[str, ...]:
    """Return the leads in the header's order and standard spelling."""
    return headers.parse_header(header).leads


def get_age(header) -> float:
    """Return the age in years; NaN if unknown."""
    return headers.parse_header(header).age


def get_sex(header) -> str:
    """Return 'Male', 'Female' or 'Unknown'."""
    return headers.parse_header(header).sex


def get_num_leads(header) -> int:
    """Return the number of leads."""
    return len(headers.parse_header(header).leads)


def get_frequency(header) -> float:
    """Return the sampling rate in Hz."""
    return headers.parse_header(header).fs


def get_num_samples(header) -> int | None:
    """Return the number of samples per lead; None if not stated."""
    return headers.parse_header(header).n_samples


def get_adc_gains(header, leads) -> np.ndarray:
    """Return the ADC units per mV of these leads."""
    parsed = headers.parse_header(header)
    return np.array(parsed.adc_gains)[_lead_rows(parsed, leads)]


def get_baselines(header, leads) -> np.ndarray:
    """Return the ADC values of these leads at 0 mV."""
    parsed = headers.parse_header(header)
    return np.array(parsed.baselines)[_lead_rows(parsed, leads)]


def get_labels(header) -> list[str]:
    """Return the diagnosis codes, without duplicates."""
    return list(headers.read_dx(header))


def save_outputs(output_file, recording_id, classes, labels, probabilities) -> None:
    """Write the output file of a record."""
    outputs.write_output(output_file, recording_id, classes, labels, probabilities)


def load_outputs(output_file):
    """Return (recording id, classes, labels, probabilities) of an output file."""
    return outputs.read_output(output_file)


def _lead_rows(header, leads) -> list[int]:
    requested = [lead_names.canonical_lead(lead) for lead in leads]
    if not set(requested) <= set(header.leads):
        raise headers.RecordError(
            f"{header.name}: expected leads {', '.join(requested)}; "
            f"found {', '.join(header.leads)} in the header"
        )
    return [header.leads.index(lead) for lead in requested]
