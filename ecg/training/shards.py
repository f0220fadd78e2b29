"""Some records -> a file of their windows, and what a dataset's table says of each: the work of one
process among several."""

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

_LARGE_BLOCK = 2**25 - 2**16  # bytes; from 32 MiB on glibc does not learn from a block

_COLUMNS = {  # type, and shape of a row
    "first": (np.int64, ()),
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
    """What is said of some records. columns: of those that can be used, see `_COLUMNS`, windows
    counted from the file's first. errors: of every record what is wrong with it, or None.
    transient: whether some error is not the record's own, but the machine's, so that it may not
    come again."""

    columns: dict[str, np.ndarray]
    errors: list[str | None]
    transient: bool


def write_shard(files: Sequence[RecordFiles], shard_file: Path, preparation: Preparation) -> Shard:
    """What is said of these records, whose windows are written to the file.

    Raises OSError naming the file where it cannot be written.
    """
    _keep_freed_memory()
    rows, errors, n_written, transient = [], [], 0, False
    # One thread, so that the sums are those of any machine.
    with naming(shard_file), open(shard_file, "wb") as shard, threadpool_limits(1, "blas"):
        for file in files:
            try:
                windows, facts = _prepare_record(file, preparation)
            except (OSError, ValueError) as error:  # RecordError is a ValueError
                errors.append(str(error))
                transient |= _is_transient(error)
                continue
            shard.write(windows)
            rows.append({"first": n_written, "n_windows": len(windows), **facts})
            errors.append(None)
            n_written += len(windows)
    columns = {
        # With their types and widths even where there are no rows.
        name: np.array([row[name] for row in rows], dtype).reshape(-1, *shape)
        for name, (dtype, shape) in _COLUMNS.items()
    }
    return Shard(columns, errors, transient)


def _prepare_record(file: RecordFiles, preparation: Preparation) -> tuple[np.ndarray, dict]:
    """A record's windows (n_windows, 12, n_samples), float32, and what the table says of it."""
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
    """Whether it came of the machine: too many open files, a disk that fails, missing rights."""
    causes = (error, error.__cause__)
    return any(
        isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError) for cause in causes
    )


def _keep_freed_memory() -> None:
    """Lets this process use its memory again without asking the system for it.

    glibc gives back what is free above a limit, and asking anew for each record's arrays takes a
    fifth of the time; the limit rises to twice the largest block freed so far, see mallopt(3).
    """
    np.empty(_LARGE_BLOCK, np.uint8)
