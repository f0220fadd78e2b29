"""EDF and EDF+ files, by edfio."""

from pathlib import Path

import numpy as np

from ecg.records.formats.building import LONGEST_S, build_record, library
from ecg.records.formats.labels import is_lead, lead_in, units_per_mv
from ecg.records.headers import RecordError
from ecg.records.record import Record
from ecg.signals.preprocessing import window_length


def read_edf(path: Path, duration_s: float = LONGEST_S) -> Record:
    """The record of an EDF or EDF+ file: its signals with the label of a lead.

    Raises RecordError naming the file.
    """
    with library(path, "EDF"):
        import edfio

        # The whole file is mapped, not read.
        file = edfio.read_edf(path)
        signals = {lead_in(one.label): one for one in file.signals if is_lead(one.label)}
        rates = {signal.sampling_frequency for signal in signals.values()}
        if len(rates) != 1:
            found = ", ".join(f"{rate:g} Hz" for rate in sorted(rates)) or "no lead at all"
            raise RecordError(f"{path}: expected leads of one sampling rate, found {found}")
        fs = float(rates.pop())
        n_samples = window_length(fs, duration_s)
        values = [
            np.asarray(signal.data[:n_samples]) / _per_mv(path, signal.physical_dimension)
            for signal in signals.values()
        ]
        return build_record(path, values, fs, tuple(signals), sex=_sex(file))


def _per_mv(path: Path, unit: str) -> float:
    try:
        return units_per_mv(unit.strip())
    except ValueError as error:
        raise RecordError(f"{path}: {error}") from error


def _sex(file) -> str:
    # EDF+ writes "code sex birthdate name".
    fields = str(file.local_patient_identification).split()
    return {"M": "Male", "F": "Female"}.get(fields[1] if len(fields) > 1 else "", "Unknown")
