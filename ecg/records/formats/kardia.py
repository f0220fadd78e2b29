"""Read the ATC files of AliveCor's KardiaMobile.

Format: "ATC File Format Specification 1.7" (AliveCor, 2021). The JSON exports of the Kardia service
are read by `ecg.records.formats.vendor`.
"""

import struct
import zlib
from pathlib import Path

import numpy as np

from ecg.records.formats.building import MAX_DURATION_S, build_record, read_bytes
from ecg.records.headers import RecordError
from ecg.records.leads import TWELVE_LEADS
from ecg.records.record import Record
from ecg.signals.preprocessing import window_length

_PREAMBLE_BYTES = 12  # signature and version
_BLOCKS = (b"ecg ", *(f"ecg{number:x}".encode() for number in range(2, 13)))
_LEADS = dict(zip(_BLOCKS, TWELVE_LEADS, strict=True))
_INT16_FORMAT = 1
_NV_PER_MV = 1e6


def read_atc(path: Path, duration_s: float = MAX_DURATION_S) -> Record:
    """Read an ATC file. Raises RecordError naming the file, also for a wrong checksum."""
    blocks = _blocks(path, read_bytes(path))
    if b"fmt " not in blocks or len(blocks[b"fmt "]) < 6:
        raise RecordError(f"{path}: expected a 'fmt ' block with rate and resolution, found none")
    sample_format, fs, resolution_nv, _ = struct.unpack_from("<BHHB", blocks[b"fmt "])
    if sample_format != _INT16_FORMAT or not resolution_nv:
        raise RecordError(
            f"{path}: expected 16-bit samples (format 1) and a resolution above 0 nV, found "
            f"format {sample_format} and {resolution_nv} nV"
        )
    leads = [name for name in _LEADS if name in blocks]
    n_samples = min((len(blocks[name]) // 2 for name in leads), default=0)
    n_samples = min(n_samples, window_length(fs, duration_s))
    values = [np.frombuffer(blocks[name], "<i2", n_samples) for name in leads]
    signal = np.array(values, np.float64) * (resolution_nv / _NV_PER_MV)
    return build_record(path, signal, fs, (_LEADS[name] for name in leads))


def _blocks(path: Path, content: bytes) -> dict[bytes, bytes]:
    """Return the data of each block by name, the first block of each name."""
    blocks: dict[bytes, bytes] = {}
    start = _PREAMBLE_BYTES
    while start < len(content):
        name, length = content[start : start + 4], content[start + 4 : start + 8]
        end = start + 8 + int.from_bytes(length, "little")
        if len(length) < 4 or end + 4 > len(content):
            raise RecordError(
                f"{path}: truncated or damaged: the block at byte {start} is incomplete"
            )
        block, stored = content[start:end], int.from_bytes(content[end : end + 4], "little")
        # The specification requires a CRC-32; AliveCor's software writes the sum of the bytes.
        if stored not in (zlib.crc32(block), sum(block)):
            raise RecordError(f"{path}: damaged: wrong checksum of the block at byte {start}")
        blocks.setdefault(name, block[8:])
        start = end + 4
    return blocks
