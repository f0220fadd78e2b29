"""The inputs of a network, from a record.

Without Keras, so that processes that only read records need not load it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ecg.records.demographics import encode_demographics
from ecg.records.discovery import RecordFiles
from ecg.records.headers import RecordError
from ecg.records.leads import LEAD_SETS
from ecg.records.record import Record, read_record, select_leads
from ecg.signals.measurements import join_measurements, prepare_and_measure
from ecg.signals.preprocessing import Preparation, prepare, window_length


@dataclass(frozen=True)
class InputOptions:
    """What a network takes of a record.

    lead_set: number of leads. preparation: of the signal. names: of the network's inputs, among
    "signal", "measurements" and "demographics".
    """

    lead_set: int
    preparation: Preparation
    names: tuple[str, ...]


def network_inputs(names, signal, rhythm, waves, demographics) -> dict[str, np.ndarray]:
    """Return the inputs that a network takes, by name, float32; for training and prediction alike.

    names: see `InputOptions`; values for other inputs may be None. "signal" is `signal` itself.
    "measurements", (n, n_measurements), joins rhythm (n, N_RHYTHM) and waves (n, n_leads, N_WAVES),
    see `ecg.signals.measurements`. "demographics": (n, N_DEMOGRAPHICS).
    """
    inputs = {}
    if "signal" in names:
        inputs["signal"] = signal
    if "measurements" in names:
        inputs["measurements"] = join_measurements(rhythm, waves)
    if "demographics" in names:
        inputs["demographics"] = demographics
    return inputs


def record_inputs(record: Record, options: InputOptions) -> dict[str, np.ndarray]:
    """Return the `network_inputs` of a record, with one row for each of its windows.

    signal: (n_windows, lead_set, n_samples). The other inputs describe the whole record, so their
    rows are equal. Raises ValueError (RecordError where the record breaks the format) where the
    sampling rate is out of range or none of the leads holds a signal.
    """
    preparation, leads = options.preparation, LEAD_SETS[options.lead_set]
    n_samples = window_length(record.fs, preparation.duration_s)
    signal = select_leads(record, leads)[:, :n_samples]
    rhythm = waves = None
    if "measurements" in options.names:
        windows, *measured = prepare_and_measure(signal, record.fs, preparation)
        rhythm, waves = (np.stack([values] * len(windows)) for values in measured)
    else:
        windows = prepare(signal, record.fs, preparation)
    if not windows.any():
        raise RecordError(f"expected a signal in one of the leads {', '.join(leads)}, found none")
    demographics = np.stack([encode_demographics(record.age, record.sex)] * len(windows))
    return network_inputs(options.names, windows, rhythm, waves, demographics)


def read_inputs(files: Sequence[RecordFiles], options: InputOptions) -> list[dict | Exception]:
    """Read records; return the `record_inputs` of each, or the error that prevented it."""
    return [_read_inputs(record_files, options) for record_files in files]


def _read_inputs(files: RecordFiles, options: InputOptions) -> dict | Exception:
    try:
        return record_inputs(read_record(files, options.preparation.duration_s), options)
    except Exception as error:  # noqa: BLE001 - one bad record must not cost the others
        return error
