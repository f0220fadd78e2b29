"""ISHNE Holter files: Badilini, "The ISHNE Holter Standard Output File Format", Annals of
Noninvasive Electrocardiology 3 (1998), 263-266.

A reader of our own: a day of ECG is mapped, not read, and only its first hour is converted.
"""

import binascii
import math
import struct
from datetime import date
from pathlib import Path

import numpy as np

from ecg.records.formats.building import LONGEST_S, build_record
from ecg.records.headers import RecordError
from ecg.records.leads import TWELVE_LEADS
from ecg.records.record import Record
from ecg.signals.preprocessing import window_length

# Bytes: where the checksum's block begins, and where the header of fixed size ends.
_CHECKED_FROM, _FIXED = 10, 522
_MOST_LEADS = 12
_MISSING = -32768
_LEADS = dict(enumerate(TWELVE_LEADS, start=5))  # table 1; other codes are no standard leads
_NV_PER_MV = 1e6


def read_ishne(path: Path, duration_s: float = LONGEST_S) -> Record:
    """The record of an ISHNE file. A header whose checksum is wrong is a warning, since it covers
    no sample and many recorders leave it out or get it wrong.

    Raises RecordError naming the file.
    """
    try:
        with open(path, "rb") as file:
            header = file.read(_FIXED)
            if len(header) < _FIXED:
                raise RecordError(
                    f"{path}: expected an ISHNE header of {_FIXED} bytes, found {len(header)}"
                )
            (n_comment,) = struct.unpack_from("<i", header, 10)
            n_bytes = path.stat().st_size - _FIXED - n_comment
            n_leads, fs = (struct.unpack_from("<h", header, place)[0] for place in (156, 272))
            if n_comment < 0 or not 1 <= n_leads <= _MOST_LEADS or n_bytes < 2 * n_leads:
                raise RecordError(
                    f"{path}: expected an ISHNE header and samples of 1 to {_MOST_LEADS} leads, "
                    f"found {n_leads} leads and {max(n_bytes, 0)} bytes of samples"
                )
            checked = header[_CHECKED_FROM:] + file.read(n_comment)
        n_stored = n_bytes // (2 * n_leads)
        samples = np.memmap(path, "<i2", "r", _FIXED + n_comment, (n_stored, n_leads))
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from error
    resolutions = struct.unpack_from(f"<{n_leads}h", header, 206)
    if min(resolutions) <= 0:
        raise RecordError(f"{path}: expected an amplitude resolution above 0 nV for each lead")
    values = np.array(samples[: window_length(fs, duration_s)].T, np.float64)
    signal = np.where(values == _MISSING, np.nan, values) * np.array(resolutions)[:, None]
    codes = struct.unpack_from(f"<{n_leads}h", header, 158)
    leads = (_LEADS.get(code, f"channel {i}") for i, code in enumerate(codes, start=1))
    sex = {1: "Male", 2: "Female"}.get(struct.unpack_from("<h", header, 128)[0], "Unknown")
    doubts = _doubts(header, checked, n_stored)
    return build_record(path, signal / _NV_PER_MV, fs, leads, _age(header), sex, doubts=doubts)


def _doubts(header: bytes, checked: bytes, n_stored: int) -> tuple[str, ...]:
    doubts = []
    (stored,) = struct.unpack_from("<H", header, 8)
    computed = binascii.crc_hqx(checked, 0xFFFF)
    # The standard leaves the order of the two bytes open; 0 stands for no checksum.
    if stored not in (0, computed, (computed & 0xFF) << 8 | computed >> 8):
        doubts.append("the header's checksum is wrong: its leads, gains and rate may be, too")
    (n_promised,) = struct.unpack_from("<i", header, 14)
    if n_stored < n_promised:
        doubts.append(f"the file ends after {n_stored} of {n_promised} samples")
    return tuple(doubts)


def _age(header: bytes) -> float:
    born, recorded = (_date(header, place) for place in (132, 138))
    if born is None or recorded is None:
        return math.nan
    had_birthday = (recorded.month, recorded.day) >= (born.month, born.day)
    return float(recorded.year - born.year - (not had_birthday))


def _date(header: bytes, place: int) -> date | None:
    day, month, year = struct.unpack_from("<3h", header, place)
    try:
        return date(year, month, day)
    except ValueError:
        return None
