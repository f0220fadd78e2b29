"""What the readers of all formats share: how a record is put together, and how the libraries behind
them are asked."""

import contextlib
import math
import warnings
from pathlib import Path

import numpy as np

from ecg.records.headers import RecordError
from ecg.records.record import NOTHING_PRINTED, PrintedMeasurements, Record
from ecg.signals.preprocessing import check_fs

LONGEST_S = 3600.0  # of a file
_MOST_BYTES = 2**28  # of a file that is read as a whole
_QUOTED = 160  # characters of what a library says


def build_record(
    path: Path,
    signal,
    fs: float,
    leads,
    age: float = math.nan,
    sex: str = "Unknown",
    printed: PrintedMeasurements = NOTHING_PRINTED,
    doubts: tuple[str, ...] = (),
) -> Record:
    """The record of a signal in mV, whatever numbers it holds; what is not finite is missing.

    signal: (n_leads, n_samples). doubts: warnings, a sentence each.
    Raises RecordError naming the file where there is no sample, or where no ECG has that rate.
    """
    signal = np.asarray(signal, np.float64)
    if signal.ndim != 2 or not signal.size:
        raise RecordError(f"{path}: expected samples of at least one lead, found none")
    leads = tuple(leads)
    if len(leads) != len(signal):
        raise RecordError(f"{path}: expected {len(signal)} names of leads, found {len(leads)}")
    try:
        check_fs(fs)
    except ValueError as error:
        raise RecordError(f"{path}: {error}") from error
    with np.errstate(over="ignore"):
        signal = signal.astype(np.float32)
    signal[~np.isfinite(signal)] = np.nan
    age = age if 0 <= age < 150 else math.nan
    return Record(path.stem, signal, float(fs), leads, age, sex, (), doubts, printed=printed)


def printed_from(
    heart_rate=None, pr=None, qrs=None, qt=None, qtc=None, axis=None
) -> PrintedMeasurements:
    """Printed measurements; a rate or an interval that is not above 0 is none."""
    positive = (
        float(value) if value is not None and 0 < value < math.inf else None
        for value in (heart_rate, pr, qrs, qt, qtc)
    )
    is_angle = axis is not None and abs(axis) <= 360
    return PrintedMeasurements(*positive, float(axis) if is_angle else None)


def read_content(path: Path) -> bytes:
    """A file's bytes. Raises RecordError naming it where it cannot be read, or is far too large."""
    try:
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise RecordError(
                f"{path}: expected at most {_MOST_BYTES // 2**20} MiB for a file of this kind, "
                f"found {size // 2**20}"
            )
        return path.read_bytes()
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from error


@contextlib.contextmanager
def library(path: Path, kind: str):
    """Gives any error of the block, in which a library reads a file, the file's name.

    What the library warns of is not shown, since that may quote what the file says of the patient.
    Raises RecordError, also where the library is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except RecordError:
        raise
    except ImportError as error:
        raise RecordError(
            f"{path}: reading it needs {error.name}: pip install -r requirements-formats.txt"
        ) from error
    except Exception as error:  # on broken bytes libraries raise whatever the first misstep is
        said = str(error).replace(f"{path}: ", "").replace(str(path), "the file")
        said = said[:_QUOTED] or type(error).__name__
        raise RecordError(f"{path}: unreadable {kind} file: {said}") from error
