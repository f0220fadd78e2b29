"""A record -> what a network takes of it. Without Keras, which processes that read ahead need not
load."""

from collections.abc import Sequence

import numpy as np

from ecg.records.demographics import encode_demographics
from ecg.records.discovery import RecordFiles
from ecg.records.headers import RecordError
from ecg.records.leads import LEAD_SETS
from ecg.records.record import Record, read_record, select_leads
from ecg.signals.measurements import join_measurements, prepare_and_measure
from ecg.signals.preprocessing import Preparation, prepare, window_length


def network_inputs(names, signal, rhythm, waves, demographics) -> dict[str, np.ndarray]:
    """Those of a network's inputs that it takes, float32, for training and answering alike.

    "signal": as it is given; "measurements", (n, n_measurements): of rhythm (n, N_RHYTHM) and waves
    (n, n_leads, N_WAVES), see `ecg.signals.measurements`; "demographics", (n, N_DEMOGRAPHICS).
    """
    inputs = {}
    if "signal" in names:
        inputs["signal"] = signal
    if "measurements" in names:
        inputs["measurements"] = join_measurements(rhythm, waves)
    if "demographics" in names:
        inputs["demographics"] = demographics
    return inputs


def record_inputs(record: Record, lead_set: int, preparation: Preparation, names) -> dict:
    """`network_inputs` of a record, a row for each of its windows.

    signal: (n_windows, lead_set, n_samples); the others are the record's own in every row.
    Raises ValueError (RecordError where the record breaks the format) where its sampling rate is
    out of range or none of the lead set's leads holds a signal.
    """
    leads = LEAD_SETS[lead_set]
    used = window_length(record.fs, preparation.duration_s)
    signal = select_leads(record, leads)[:, :used]
    rhythm = waves = None
    if "measurements" in names:
        windows, rhythm, waves = prepare_and_measure(signal, record.fs, preparation)
    else:
        windows = prepare(signal, record.fs, preparation)
    if not windows.any():
        raise RecordError(f"expected a signal in one of the leads {', '.join(leads)}, found none")
    of_record = (rhythm, waves, encode_demographics(record.age, record.sex))
    rows = (None if one is None else np.stack([one] * len(windows)) for one in of_record)
    return network_inputs(names, windows, *rows)


def read_inputs(files: Sequence[RecordFiles], lead_set: int, preparation: Preparation, names):
    """`record_inputs` of each record, or the error that says why there are none."""
    return [_read_inputs(one, lead_set, preparation, names) for one in files]


def _read_inputs(files: RecordFiles, lead_set, preparation, names) -> dict | Exception:
    try:
        record = read_record(files, preparation.duration_s)
        return record_inputs(record, lead_set, preparation, names)
    except Exception as error:  # noqa: BLE001 - one bad record never costs the others
        return error
