"""Verify the checksums of SCP-ECG records (EN 1064, ISO 11073-91064), which decoders often skip."""

import binascii
from pathlib import Path

from ecg.records.headers import RecordError

_RECORD_HEADER, _SECTION_HEADER, _POINTER = 6, 16, 10  # bytes
_LAST_STANDARD = 11  # later sections are manufacturer-specific, with headers of any form


def check_scp(path: Path, content: bytes) -> None:
    """Raise RecordError naming the file if the record is truncated or a checksum is wrong.

    The record and each section begin with the CRC-CCITT (initial value 0xFFFF) of the rest.
    """
    size = int.from_bytes(content[2:6], "little")
    if not _RECORD_HEADER + _SECTION_HEADER <= size <= len(content):
        raise RecordError(
            f"{path}: expected an SCP-ECG record of {size} bytes, found {len(content)}"
        )
    record = content[:size]
    _check(path, "the record", record)
    length = int.from_bytes(record[10:14], "little")
    first, end = _RECORD_HEADER + _SECTION_HEADER, _RECORD_HEADER + length
    for pointer in range(first, min(end, size) - _POINTER + 1, _POINTER):
        number = int.from_bytes(record[pointer : pointer + 2], "little")
        length, start = (
            int.from_bytes(record[pointer + i : pointer + i + 4], "little") for i in (2, 6)
        )
        if length and number <= _LAST_STANDARD:
            section = record[start - 1 : start - 1 + length] if start else b""
            if len(section) < length:
                raise RecordError(f"{path}: damaged: section {number} lies outside the record")
            _check(path, f"section {number}", section)


def _check(path: Path, name: str, part: bytes) -> None:
    if binascii.crc_hqx(part[2:], 0xFFFF) != int.from_bytes(part[:2], "little"):
        raise RecordError(f"{path}: damaged: wrong checksum of {name}")
