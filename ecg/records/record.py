"""Read a record's files into a `Record` in mV, and write them."""

import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.io import savemat

from ecg.records.discovery import RecordFiles, read_header_text
from ecg.records.headers import Header, RecordError, format_header, parse_header
from ecg.records.mat_files import read_matrix
from ecg.runtime.files import written_whole
from ecg.signals.global_measurements import NOT_MEASURED, GlobalMeasurements
from ecg.signals.preprocessing import check_fs, window_length

# Digital values of a missing sample: WFDB's for format 16, and the lowest of int32.
_MISSING = (-32768, -(2**31))


class NoSamplesError(RecordError):
    """A file, or the part of it that was to be read, has no samples."""


@dataclass(frozen=True)
class Record:
    """One ECG.

    signal: (n_leads, n_samples), float32, mV, NaN where a sample is missing.
    leads: the names of its rows in standard spelling. fs: Hz.
    age: years or NaN. sex: "Male", "Female" or "Unknown". dx: SNOMED CT codes of the header.
    warnings: what is doubtful about the file. notes: what was changed in the signal when it was
    read. printed: the cardiograph's measurements.
    """

    name: str
    signal: np.ndarray
    fs: float
    leads: tuple[str, ...]
    age: float
    sex: str
    dx: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    printed: GlobalMeasurements = NOT_MEASURED


def read_record(
    files: RecordFiles, duration_s: float | None = None, start_s: float = 0.0
) -> Record:
    """Return the record of a header and its signal file, or `duration_s` seconds of it from
    `start_s` on.

    Raises RecordError naming the file that cannot be read.
    """
    try:
        header = parse_header(read_header_text(files.header))
        check_fs(header.fs)
    except (OSError, ValueError) as error:  # RecordError is a ValueError
        raise RecordError(f"{files.header}: {error}") from error
    n_samples = None if duration_s is None else window_length(header.fs, duration_s)
    start = round(start_s * header.fs)
    return to_record(header, read_recording(files.recording, n_samples, start=start))


def to_record(header: Header, recording, duration_s: float | None = None) -> Record:
    """Return the record of a header and its raw digital values, or its first `duration_s` seconds.

    recording: (n_leads, n_samples), numbers, rows in the header's lead order.
    Raises RecordError for any other array, or where no lead's unit is a voltage.
    """
    recording = np.asanyarray(recording)
    if recording.dtype.kind not in "iuf":
        raise RecordError(f"{header.name}: expected numbers as signal, found {recording.dtype}")
    if recording.ndim != 2 or len(recording) != len(header.leads) or recording.shape[1] == 0:
        error = NoSamplesError if recording.size == 0 else RecordError
        raise error(
            f"{header.name}: expected {len(header.leads)} leads x at least 1 sample, "
            f"found an array of shape {recording.shape}"
        )
    if all(math.isnan(gain) for gain in header.adc_gains):
        raise RecordError(f"{header.name}: expected a lead in mV, uV or V, found none")
    if duration_s is not None:
        recording = recording[:, : window_length(header.fs, duration_s)]
    signal = _to_millivolts(recording, header.adc_gains, header.baselines)
    return Record(
        header.name,
        signal,
        header.fs,
        header.leads,
        header.age,
        header.sex,
        header.dx,
        header.warnings,
    )


def _to_millivolts(recording, adc_gains, baselines) -> np.ndarray:
    """Return the signal (n_leads, n_samples), mV, float32, C-ordered; NaN where a sample is
    missing.

    adc_gains: per mV; baselines: in the recording's unit; one for each lead.
    """
    # Integers this small are exact in float32, so the result is the same as with float64.
    scales = np.array([adc_gains, baselines])[:, :, None]
    small = recording.dtype.kind in "iu" and recording.dtype.itemsize <= 2
    exact = small and ((np.abs(scales) < 2**16) & (scales == np.rint(scales))).all()
    gains, baselines = scales.astype(np.float32 if exact else np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        signal = recording.astype(gains.dtype, order="C")
        signal -= baselines
        signal /= gains
        signal = signal.astype(np.float32, copy=False)
    for value in _MISSING:
        missing = recording == value
        if missing.any():
            signal[missing] = np.nan
    finite = np.isfinite(signal)
    if not finite.all():
        signal[~finite] = np.nan
    return signal


def select_leads(record: Record, leads) -> np.ndarray:
    """Return the signal (len(leads), n_samples), mV, of these leads in this order; NaN for absent
    ones.

    The record's array itself where it has exactly these leads.
    """
    if record.leads == tuple(leads):
        return record.signal
    rows = [record.leads.index(lead) if lead in record.leads else -1 for lead in leads]
    signal = record.signal[rows]
    signal[[row < 0 for row in rows]] = np.nan
    return signal


def read_recording(
    path: str | Path, n_samples: int | None = None, key: str = "val", start: int = 0
) -> np.ndarray:
    """Raw digital values (n_leads, n_samples) of a signal file, or `n_samples` from `start` on.

    Of a `.mat` file the matrix `key` as stored, see `ecg.records.mat_files`. Other WFDB formats are
    read by wfdb, missing samples as -32768; their header must be beside them. Raises RecordError
    naming the file where it is missing, truncated or of an unknown format.
    """
    path = Path(path)
    try:
        if path.suffix != ".mat":
            return _read_wfdb(path, start, n_samples)
        end = None if n_samples is None else start + n_samples
        return read_matrix(path, key, end)[:, start:]
    except FileNotFoundError as error:
        raise RecordError(f"{path}: expected a signal file, found none") from error
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error}") from error


def write_record(folder: Path, header: Header, recording, physionet: bool = False) -> None:
    """Write NAME.mat (MATLAB v4) and then NAME.hea, each whole or not at all.

    recording: (n_leads, n_samples), int16. physionet: whether to write the header in the dialect of
    PhysioNet 1.0.3.
    """
    content = io.BytesIO()
    savemat(content, {"val": recording}, format="4")
    text = format_header(header, recording, physionet)
    for suffix, data in ((".mat", content.getvalue()), (".hea", text.encode())):
        with written_whole(folder / f"{header.name}{suffix}") as unfinished:
            unfinished.write_bytes(data)


def _read_wfdb(path: Path, start: int, n_samples: int | None) -> np.ndarray:
    # Imported here because it imports pandas and matplotlib, which no other record needs.
    import wfdb

    header_path = path.with_suffix(".hea")
    header = parse_header(read_header_text(header_path))
    for file in header.files:
        if Path(file).name != file:
            raise RecordError(f"{header_path}: expected signal files beside it, found '{file}'")
        if not path.with_name(file).is_file():
            raise RecordError(f"{path.with_name(file)}: expected a signal file, found none")
    if start and start >= header.n_samples:
        return np.empty((len(header.leads), 0), np.int32)
    # wfdb refuses an end beyond the record's, and any end where that is unknown.
    end = start + n_samples if n_samples and header.n_samples else None
    end = end and min(end, header.n_samples)
    try:
        name = str(path.with_suffix(""))
        record = wfdb.rdrecord(name, physical=False, sampfrom=start, sampto=end)
        recording = record.d_signal.astype(np.int32)
        recording[np.isnan(record.dac())] = _MISSING[0]
    except Exception as error:  # wfdb raises errors of many types
        raise RecordError(f"{path}: unreadable WFDB record: {error}") from error
    return recording.T[:, :n_samples]
