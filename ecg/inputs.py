"""A record -> what a network takes of it. Without Keras, which processes that read ahead need not
load."""

from collections.abc import Sequence

import numpy as np

from ecg.demographics import encode_demographics
from ecg.headers import RecordError
from ecg.leads import LEAD_SETS
from ecg.measurements import join_measurements, prepare_and_measure
from ecg.record_files import RecordFiles
from ecg.records import Record, read_record, select_leads
from ecg.signals import Preparation, prepare, window_length


def network_inputs(record: Record, lead_set: int, preparation: Preparation, names) -> dict:
    """The inputs of these names, float32, a row for each window of the record.

    "signal": (n_windows, lead_set, n_samples); "demographics" and "measurements", (n_windows, …),
    are the record's own in every row.
    Raises ValueError (RecordError where the record breaks the format) where its sampling rate is
    out of range or none of the lead set's leads holds a signal.
    """
    leads = LEAD_SETS[lead_set]
    used = window_length(record.fs, preparation.duration_s)
    signal = select_leads(record, leads)[:, :used]
    of_record = {}
    if "measurements" in names:
        windows, *measured = prepare_and_measure(signal, record.fs, preparation)
        of_record["measurements"] = join_measurements(*measured)
    else:
        windows = prepare(signal, record.fs, preparation)
    if not windows.any():
        raise RecordError(f"expected a signal in one of the leads {', '.join(leads)}, found none")
    if "demographics" in names:
        of_record["demographics"] = encode_demographics(record.age, record.sex)
    inputs = {name: np.tile(values, (len(windows), 1)) for name, values in of_record.items()}
    return inputs | {"signal": windows} if "signal" in names else inputs


def read_inputs(files: Sequence[RecordFiles], lead_set: int, preparation: Preparation, names):
    """`network_inputs` of each record, or the error that says why there are none."""
    return [_read_inputs(one, lead_set, preparation, names) for one in files]


def _read_inputs(files: RecordFiles, lead_set, preparation, names) -> dict | Exception:
    try:
        record = read_record(files, preparation.duration_s)
        return network_inputs(record, lead_set, preparation, names)
    except Exception as error:  # noqa: BLE001 - one bad record never costs the others
        return error
