"""Prepare a shard of a dataset: a file of windows and the table's rows for some of the records."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from ecg.records.demographics import N_DEMOGRAPHICS, encode_demographics
from ecg.records.diagnoses import N_CLASSES, encode_dx
from ecg.records.discovery import RecordFiles
from ecg.records.headers import RecordError
from ecg.records.leads import TWELVE_LEADS
from ecg.records.record import read_record, select_leads
from ecg.runtime.files import digest_files, naming
from ecg.signals.measurements import N_RHYTHM, N_WAVES, prepare_and_measure
from ecg.signals.preprocessing import Preparation, lead_deviation

_COLUMNS = {  # type and shape of a row
    "first_window": (np.int64, ()),
    "n_windows": (np.int64, ()),
    "labels": (bool, (N_CLASSES,)),
    "demographics": (np.float32, (N_DEMOGRAPHICS,)),
    "lead_deviation_mv": (np.float32, (len(TWELVE_LEADS),)),
    "rhythm": (np.float32, (N_RHYTHM,)),
    "waves": (np.float32, (len(TWELVE_LEADS), N_WAVES)),
    "digest": (str, ()),
}


@dataclass(frozen=True)
class Shard:
    """Part of a dataset's table.

    columns: a row for each usable record, see `_COLUMNS`; first_window counts from the start of the
    shard's file. errors: what is wrong with each record, or None. transient: whether an error was
    the machine's fault, not the record's, so that it may not recur.
    """

    columns: dict[str, np.ndarray]
    errors: list[str | None]
    transient: bool


def write_shard(files: Sequence[RecordFiles], shard_file: Path, preparation: Preparation) -> Shard:
    """Prepare the records, write their windows to the file and return their part of the table.

    Raises OSError naming the file where it cannot be written.
    """
    rows, errors, n_written, transient = [], [], 0, False
    # One thread, so that sums do not depend on the number of cores.
    with naming(shard_file), open(shard_file, "wb") as shard, threadpool_limits(1, "blas"):
        for file in files:
            try:
                windows, row = _prepare_record(file, preparation)
            except (OSError, ValueError) as error:  # RecordError is a ValueError
                errors.append(str(error))
                transient |= _is_transient(error)
                continue
            shard.write(windows)
            rows.append({"first_window": n_written, "n_windows": len(windows), **row})
            errors.append(None)
            n_written += len(windows)
    columns = {
        # Of the right type and shape even without rows.
        name: np.array([row[name] for row in rows], dtype).reshape(-1, *shape)
        for name, (dtype, shape) in _COLUMNS.items()
    }
    return Shard(columns, errors, transient)


def _prepare_record(file: RecordFiles, preparation: Preparation) -> tuple[np.ndarray, dict]:
    """Return a record's windows (n_windows, 12, n_samples), float32, and its row of the table."""
    record = read_record(file, preparation.duration_s)
    if not record.dx:
        raise RecordError("has no diagnosis code in a '#Dx' line")
    signal = select_leads(record, TWELVE_LEADS)
    windows, rhythm, waves = prepare_and_measure(signal, record.fs, preparation)
    return windows, {
        "labels": encode_dx(record.dx),
        "demographics": encode_demographics(record.age, record.sex),
        "lead_deviation_mv": lead_deviation(signal),
        "rhythm": rhythm,
        "waves": waves,
        "digest": digest_files(file.header, file.recording),
    }


def _is_transient(error: Exception) -> bool:
    """Whether the machine caused it: too many open files, a failing disk, missing permissions."""
    causes = (error, error.__cause__)
    return any(
        isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError) for cause in causes
    )
