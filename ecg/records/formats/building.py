"""Build a record from what a format's reader found, and turn a library's errors into ours."""

import contextlib
import math
import warnings
from pathlib import Path

import numpy as np

from ecg.records.headers import RecordError
from ecg.records.record import NoSamplesError, Record
from ecg.signals.global_measurements import NOT_MEASURED, GlobalMeasurements
from ecg.signals.preprocessing import check_fs

MAX_DURATION_S = 3600.0  # read from a file at a time
_MAX_BYTES = 2**28  # size of a file that is read into memory
_MAX_QUOTED = 160  # characters of a library's message


def build_record(
    path: Path,
    signal,
    fs: float,
    leads,
    age: float = math.nan,
    sex: str = "Unknown",
    printed: GlobalMeasurements = NOT_MEASURED,
    warnings: tuple[str, ...] = (),
) -> Record:
    """Return a record of `signal`, with NaN for any value that is not finite.

    signal: (n_leads, n_samples), mV. printed: measurements stated in the file. warnings: a sentence
    each.
    Raises RecordError naming the file if there are no samples (NoSamplesError) or the sampling rate
    is impossible.
    """
    signal = np.asarray(signal, np.float64)
    if signal.ndim != 2 or not signal.size:
        raise NoSamplesError(f"{path}: expected samples of at least one lead, found none")
    leads = tuple(leads)
    if len(leads) != len(signal):
        raise RecordError(f"{path}: expected {len(signal)} lead names, found {len(leads)}")
    try:
        check_fs(fs)
    except ValueError as error:
        raise RecordError(f"{path}: {error}") from error
    with np.errstate(over="ignore"):
        signal = signal.astype(np.float32)
    signal[~np.isfinite(signal)] = np.nan
    age = age if 0 <= age < 150 else math.nan
    return Record(path.stem, signal, float(fs), leads, age, sex, (), warnings, printed=printed)


def printed_measurements(
    heart_rate=None, pr=None, qrs=None, qt=None, qtc=None, axis=None
) -> GlobalMeasurements:
    """Return the measurements that a file states; rates and intervals must be positive."""
    positive = (
        float(value) if value is not None and 0 < value < math.inf else None
        for value in (heart_rate, pr, qrs, qt, qtc)
    )
    is_angle = axis is not None and abs(axis) <= 360
    return GlobalMeasurements(*positive, float(axis) if is_angle else None)


def read_bytes(path: Path) -> bytes:
    """Read a file. Raises RecordError naming it if it cannot be read or is far too large."""
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise RecordError(
                f"{path}: expected at most {_MAX_BYTES // 2**20} MiB for a file of this kind, "
                f"found {size // 2**20} MiB"
            )
        return path.read_bytes()
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from error


@contextlib.contextmanager
def library_errors(path: Path, kind: str):
    """Raise any error of the block, in which a library reads `path`, as RecordError.

    A missing library is a RecordError, too. The library's warnings are not shown, since they may
    quote patient data.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except RecordError:
        raise
    except ImportError as error:
        raise RecordError(
            f"{path}: {kind} files need {error.name}: pip install -r requirements-formats.txt"
        ) from error
    except Exception as error:  # libraries raise errors of any type on damaged files
        message = str(error).replace(f"{path}: ", "").replace(str(path), "the file")
        message = message[:_MAX_QUOTED] or type(error).__name__
        raise RecordError(f"{path}: cannot be read as {kind}: {message}") from error
