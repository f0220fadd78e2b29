"""ATC files, in which AliveCor's apps keep what KardiaMobile records: the "ATC File Format
Specification 1.7" (AliveCor, 2021).

What the Kardia service hands out as JSON is read by `ecg.records.formats.vendor`.
"""

import struct
import zlib
from pathlib import Path

import numpy as np

from ecg.records.formats.building import LONGEST_S, build_record, read_content
from ecg.records.headers import RecordError
from ecg.records.leads import TWELVE_LEADS
from ecg.records.record import Record
from ecg.signals.preprocessing import window_length

_FIRST_BLOCK = 12  # bytes: behind the signature and the version
_BLOCKS = (b"ecg ", *(f"ecg{number:x}".encode() for number in range(2, 13)))
_LEADS = dict(zip(_BLOCKS, TWELVE_LEADS, strict=True))
_SIXTEEN_BITS = 1
_NV_PER_MV = 1e6


def read_atc(path: Path, duration_s: float = LONGEST_S) -> Record:
    """The record of an ATC file. Raises RecordError naming the file, also where a block's checksum
    is wrong."""
    blocks = _blocks(path, read_content(path))
    if b"fmt " not in blocks or len(blocks[b"fmt "]) < 6:
        raise RecordError(f"{path}: expected a block 'fmt ' with rate and resolution, found none")
    kind, fs, resolution_nv, _ = struct.unpack_from("<BHHB", blocks[b"fmt "])
    if kind != _SIXTEEN_BITS or not resolution_nv:
        raise RecordError(
            f"{path}: expected samples of 16 bits (format 1) and a resolution above 0 nV, found "
            f"format {kind} and {resolution_nv} nV"
        )
    leads = [name for name in _LEADS if name in blocks]
    n_samples = min((len(blocks[name]) // 2 for name in leads), default=0)
    n_samples = min(n_samples, window_length(fs, duration_s))
    values = [np.frombuffer(blocks[name], "<i2", n_samples) for name in leads]
    signal = np.array(values, np.float64) * (resolution_nv / _NV_PER_MV)
    return build_record(path, signal, fs, (_LEADS[name] for name in leads))


def _blocks(path: Path, content: bytes) -> dict[bytes, bytes]:
    """Name -> data of each block, the first of each name."""
    blocks: dict[bytes, bytes] = {}
    place = _FIRST_BLOCK
    while place < len(content):
        name, length = content[place : place + 4], content[place + 4 : place + 8]
        end = place + 8 + int.from_bytes(length, "little")
        if len(length) < 4 or end + 4 > len(content):
            raise RecordError(f"{path}: cut short, or damaged, within a block at byte {place}")
        block, stored = content[place:end], int.from_bytes(content[end : end + 4], "little")
        # The specification names a CRC-32; AliveCor's own programs write the sum of the bytes.
        if stored not in (zlib.crc32(block), sum(block)):
            raise RecordError(f"{path}: damaged: wrong checksum of the block at byte {place}")
        blocks.setdefault(name, block[8:])
        place = end + 4
    return blocks
