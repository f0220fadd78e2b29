"""Read ISHNE Holter files.

Format: Badilini, "The ISHNE Holter Standard Output File Format", Annals of Noninvasive
Electrocardiology 3 (1998), 263-266. The file, often a day long, is memory-mapped, and an hour of it
is converted at a time.
"""

import binascii
import math
import struct
from datetime import date
from pathlib import Path

import numpy as np

from ecg.records.formats.building import MAX_DURATION_S, build_record
from ecg.records.headers import RecordError
from ecg.records.leads import TWELVE_LEADS
from ecg.records.record import Record
from ecg.signals.preprocessing import window_length

# Byte offsets: start of the block covered by the checksum, and end of the fixed-size header.
_CHECKED_FROM, _HEADER_SIZE = 10, 522
_MAX_LEADS = 12
_MISSING = -32768
_LEADS = dict(enumerate(TWELVE_LEADS, start=5))  # table 1; other codes are not standard leads
_NV_PER_MV = 1e6


def read_ishne(path: Path, start_s: float = 0.0, duration_s: float = MAX_DURATION_S) -> Record:
    """Read an ISHNE file, from `start_s` on. Raises RecordError naming the file.

    A wrong checksum is a warning: it covers only the header, and many recorders omit it or get it
    wrong.
    """
    try:
        with open(path, "rb") as file:
            header = file.read(_HEADER_SIZE)
            if len(header) < _HEADER_SIZE:
                raise RecordError(
                    f"{path}: expected an ISHNE header of {_HEADER_SIZE} bytes, found {len(header)}"
                )
            (n_comment,) = struct.unpack_from("<i", header, 10)
            n_bytes = path.stat().st_size - _HEADER_SIZE - n_comment
            n_leads, fs = (struct.unpack_from("<h", header, offset)[0] for offset in (156, 272))
            if n_comment < 0 or not 1 <= n_leads <= _MAX_LEADS or n_bytes < 2 * n_leads:
                raise RecordError(
                    f"{path}: expected an ISHNE header and samples of 1 to {_MAX_LEADS} leads, "
                    f"found {n_leads} leads and {max(n_bytes, 0)} bytes of samples"
                )
            checked = header[_CHECKED_FROM:] + file.read(n_comment)
        n_stored = n_bytes // (2 * n_leads)
        samples = np.memmap(path, "<i2", "r", _HEADER_SIZE + n_comment, (n_stored, n_leads))
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from error
    resolutions = struct.unpack_from(f"<{n_leads}h", header, 206)
    if min(resolutions) <= 0:
        raise RecordError(f"{path}: expected an amplitude resolution above 0 nV for each lead")
    start = round(start_s * fs)
    values = np.array(samples[start : start + window_length(fs, duration_s)].T, np.float64)
    signal = np.where(values == _MISSING, np.nan, values) * np.array(resolutions)[:, None]
    codes = struct.unpack_from(f"<{n_leads}h", header, 158)
    leads = (_LEADS.get(code, f"channel {i}") for i, code in enumerate(codes, start=1))
    sex = {1: "Male", 2: "Female"}.get(struct.unpack_from("<h", header, 128)[0], "Unknown")
    warnings = _warnings(header, checked, n_stored)
    return build_record(path, signal / _NV_PER_MV, fs, leads, _age(header), sex, warnings=warnings)


def _warnings(header: bytes, checked: bytes, n_stored: int) -> tuple[str, ...]:
    warnings = []
    (stored,) = struct.unpack_from("<H", header, 8)
    computed = binascii.crc_hqx(checked, 0xFFFF)
    # The standard does not fix the byte order; 0 means no checksum.
    if stored not in (0, computed, (computed & 0xFF) << 8 | computed >> 8):
        warnings.append("wrong header checksum: leads, gains and sampling rate may be wrong, too")
    (n_expected,) = struct.unpack_from("<i", header, 14)
    if n_stored < n_expected:
        warnings.append(f"the file ends after {n_stored} of {n_expected} samples")
    return tuple(warnings)


def _age(header: bytes) -> float:
    born, recorded = (_date(header, offset) for offset in (132, 138))
    if born is None or recorded is None:
        return math.nan
    had_birthday = (recorded.month, recorded.day) >= (born.month, born.day)
    return float(recorded.year - born.year - (not had_birthday))


def _date(header: bytes, offset: int) -> date | None:
    day, month, year = struct.unpack_from("<3h", header, offset)
    try:
        return date(year, month, day)
    except ValueError:
        return None
