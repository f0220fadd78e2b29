"""Read a record's matrix from a MATLAB file of version 4 to 7.

scipy's reader is not used: some broken files of version 5 crash the process in it
(`benchmarks/fuzzing.py`), and it allocates whatever size a file claims. Here only the requested
part of a file is read. The formats: MathWorks, "MAT-File Format".
"""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ecg.records.headers import RecordError
from ecg.runtime.files import open_regular

# Types of stored numbers.
_V4_TYPES = {0: "f8", 1: "f4", 2: "i4", 3: "i2", 4: "u2", 5: "u1"}
_V5_TYPES = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # fmt: skip
_MATRIX, _COMPRESSED = 14, 15  # types of version 5's elements
_NUMBERS = range(6, 16)  # version 5's classes of numeric arrays
_COMPLEX = 0x0800  # version 5's flag
_V4_HEADER, _V5_HEADER = 20, 128  # bytes
_HDF5 = b"\x89HDF"
_MOST_ROWS = 1024  # leads; a file that claims more holds something else
_LONGEST_NAME = 64  # bytes, of a variable; MATLAB's limit is 63 characters
_ANOTHER = "expected a MATLAB file of version 4 to 7, found another"
_CHUNK = 2**16  # bytes, skipped or decompressed at a time

Read = Callable[[int], bytes]


def read_matrix(path: Path, key: str, n_columns: int | None = None) -> np.ndarray:
    """Return the matrix `key` (n_rows, n_columns) of a file, in its stored type, or its first
    columns.

    Raises RecordError naming the file where it has no such matrix, is truncated or broken, or is
    not a regular file.
    """
    try:
        descriptor = open_regular(path)
    except ValueError as error:
        raise RecordError(str(error)) from error
    with open(descriptor, "rb") as file:
        left = os.fstat(file.fileno()).st_size

        def read(n_bytes: int) -> bytes:
            nonlocal left
            if n_bytes > left:
                raise RecordError(f"expected {n_bytes} bytes more, found {left}")
            left -= n_bytes
            return file.read(n_bytes)

        try:
            if left < _V4_HEADER:
                raise RecordError(f"expected a MATLAB file, found {left} bytes")
            start = read(_V4_HEADER)
            if start.startswith(_HDF5) or b"MATLAB 7.3" in start:
                raise RecordError("expected a MATLAB file of version 4 to 7, found 7.3")
            # Version 5 begins with text: none of its first four bytes is 0.
            find = _find_v4 if 0 in start[:4] else _find_v5
            shape, dtype, read_data = find(start, read, key)
            return _read_columns(shape, dtype, read_data, n_columns)
        except RecordError as error:
            raise RecordError(f"{path}: {error}") from error


def _read_columns(
    shape: tuple[int, int], dtype: np.dtype, read: Read, n_columns: int | None
) -> np.ndarray:
    """Return the first `n_columns` columns, which are stored one after another."""
    n_rows, stored = shape
    if not 1 <= n_rows <= _MOST_ROWS or stored < 0:
        raise RecordError(f"expected a matrix of leads x samples, found one of {n_rows} x {stored}")
    wanted = stored if n_columns is None else min(stored, n_columns)
    try:
        content = read(n_rows * wanted * dtype.itemsize)
    except RecordError as error:
        raise RecordError(
            f"its header promises {n_rows} leads x {stored} samples: {error}"
        ) from error
    # A copy, as an array that views bytes is read-only.
    return np.array(np.frombuffer(content, dtype)).reshape(wanted, n_rows).T


def _find_v4(start: bytes, read: Read, key: str) -> tuple[tuple[int, int], np.dtype, Read]:
    """Shape, type and reader of the matrix `key` in a file of version 4."""
    while True:
        order = "<" if struct.unpack("<i", start[:4])[0] in range(10_000) else ">"
        kind, n_rows, n_columns, imaginary, name_length = struct.unpack(f"{order}5i", start)
        machine, number, contents = kind // 1000, kind // 10 % 10, kind % 10
        if machine not in (0, 1) or number not in _V4_TYPES or not 0 < name_length <= _LONGEST_NAME:
            raise RecordError(_ANOTHER)
        dtype = np.dtype(_V4_TYPES[number]).newbyteorder(order)
        name = read(name_length).rstrip(b"\0").decode("latin-1")
        if name == key:
            if contents or imaginary:
                raise RecordError(f"expected '{key}' as a full matrix of numbers, found another")
            return (n_rows, n_columns), dtype, read
        if min(n_rows, n_columns) < 0:
            raise RecordError(f"expected a matrix, found one of {n_rows} x {n_columns}")
        _skip(read, n_rows * n_columns * dtype.itemsize * (2 if imaginary else 1))
        start = _next(read, _V4_HEADER, key)


def _find_v5(start: bytes, read: Read, key: str) -> tuple[tuple[int, int], np.dtype, Read]:
    """Return the same in a file of version 5, 6 or 7."""
    try:
        mark = read(_V5_HEADER - len(start))[-2:]
    except RecordError as error:
        raise RecordError(_ANOTHER) from error
    if mark not in (b"IM", b"MI"):
        raise RecordError(_ANOTHER)
    order = "<" if mark == b"IM" else ">"
    while True:
        kind, size = struct.unpack(f"{order}2I", _next(read, 8, key))
        element = _Element(read, size)
        inner: Read = element.read
        if kind == _COMPRESSED:
            inner = _decompressed(element)
            kind, _ = struct.unpack(f"{order}2I", inner(8))
        if kind == _MATRIX:
            found = _matrix(inner, order, key)
            if found is not None:
                return found
        _skip(read, element.left)


def _matrix(read: Read, order: str, key: str) -> tuple[tuple[int, int], np.dtype, Read] | None:
    """Return the same of an element that holds a matrix; None where its name is not `key`."""
    flags, dimensions, name = (_part(read, order) for _ in range(3))
    if name.decode("latin-1") != key:
        return None
    if len(flags) != 8 or len(dimensions) != 8:
        raise RecordError(f"expected '{key}' as a matrix, leads x samples, found another array")
    (bits,) = struct.unpack(f"{order}I", flags[:4])
    if bits & 0xFF not in _NUMBERS or bits & _COMPLEX:
        raise RecordError(f"expected '{key}' as a full matrix of numbers, found another")
    shape = struct.unpack(f"{order}2i", dimensions)
    kind, size, small = _tag(read, order)
    if kind not in _V5_TYPES:
        raise RecordError(f"expected numbers as '{key}', found type {kind}")
    dtype = np.dtype(_V5_TYPES[kind]).newbyteorder(order)
    if shape[0] * shape[1] * dtype.itemsize != size:
        raise RecordError(f"its header promises {shape[0]} x {shape[1]} numbers, not {size} bytes")
    return shape, dtype, read if small is None else _from_bytes(small)


def _part(read: Read, order: str) -> bytes:
    """Return the content of a short element within a matrix, without its padding."""
    _, size, small = _tag(read, order)
    if small is not None:
        return small
    if size > _LONGEST_NAME:
        raise RecordError(f"expected a part of a matrix's header, found {size} bytes")
    return read(size + -size % 8)[:size]


def _tag(read: Read, order: str) -> tuple[int, int, bytes | None]:
    """Type, size and, if it is in the tag itself, content of an element."""
    tag = read(8)
    kind, size = struct.unpack(f"{order}2I", tag)
    if kind >> 16:  # at most four bytes, inside the tag
        kind, size = kind & 0xFFFF, kind >> 16
        if size > 4:
            raise RecordError("expected at most 4 bytes in a tag")
        return kind, size, tag[4 : 4 + size]
    return kind, size, None


class _Element:
    """Reads the bytes of an element, none beyond its end."""

    def __init__(self, read: Read, size: int):
        self.source, self.left = read, size

    def read(self, n_bytes: int) -> bytes:
        if n_bytes > self.left:
            raise RecordError(f"expected {n_bytes} bytes more, found {self.left}")
        content = self.source(n_bytes)
        self.left -= n_bytes
        return content


def _decompressed(element: _Element) -> Read:
    """Return a reader of the compressed bytes of an element, which decompresses no more than
    requested."""
    stream, pending = zlib.decompressobj(), b""

    def read(n_bytes: int) -> bytes:
        nonlocal pending
        content = bytearray()
        while len(content) < n_bytes:
            if not pending and element.left:
                pending = element.read(min(element.left, _CHUNK))
            try:
                chunk = stream.decompress(pending, n_bytes - len(content))
            except zlib.error as error:
                raise RecordError(f"broken compression: {error}") from error
            ended = not chunk and not element.left
            pending = stream.unconsumed_tail
            content += chunk
            if ended or (stream.eof and len(content) < n_bytes):
                raise RecordError(f"expected {n_bytes} bytes more, found {len(content)}")
        return bytes(content)

    return read


def _from_bytes(content: bytes) -> Read:
    return _Element(lambda n_bytes: content[:n_bytes], len(content)).read


def _next(read: Read, n_bytes: int, key: str) -> bytes:
    try:
        return read(n_bytes)
    except RecordError as error:
        raise RecordError(f"expected a variable '{key}', found none") from error


def _skip(read: Read, n_bytes: int) -> None:
    while n_bytes > 0:
        read(min(n_bytes, _CHUNK))
        n_bytes -= _CHUNK
