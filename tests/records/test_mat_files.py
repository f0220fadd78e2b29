import contextlib
import io
import struct
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat
from scipy.sparse import coo_matrix

from ecg.records import mat_files
from ecg.records.headers import RecordError
from ecg.records.mat_files import read_matrix

TYPES = ("i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8", "i8", "u8")
VERSIONS = {
    "4": {"format": "4"},
    "5": {"format": "5"},
    "7": {"format": "5", "do_compression": True},
}


class Bounded:
    """A decompressor that fails where it is asked again and again for bytes that it has not."""

    def __init__(self):
        self.stream, self.n_in_vain = zlib.decompressobj(), 0

    def decompress(self, *arguments):
        piece = self.stream.decompress(*arguments)
        self.n_in_vain = 0 if piece else self.n_in_vain + 1
        assert self.n_in_vain < 100, "asked for ever for bytes that are not there"
        return piece

    def __getattr__(self, name):
        return getattr(self.stream, name)


@pytest.fixture(autouse=True, scope="module")
def bounded_decompression():
    """Makes a test fail that would otherwise never end."""
    with pytest.MonkeyPatch.context() as patch:
        bounded = SimpleNamespace(decompressobj=Bounded, error=zlib.error)
        patch.setattr(mat_files, "zlib", bounded)
        yield


def written(tmp_path, version, **variables):
    path = tmp_path / "X.mat"
    savemat(path, variables, **VERSIONS[version])
    return path


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("dtype", TYPES)
def test_every_version_and_type_is_read_as_scipy_reads_it(tmp_path, version, dtype):
    stored = np.arange(36, dtype=dtype).reshape(3, 12)
    path = written(tmp_path, version, val=stored)
    found = read_matrix(path, "val")
    np.testing.assert_array_equal(found, loadmat(path)["val"])
    assert found.dtype.kind in "iuf"
    np.testing.assert_array_equal(read_matrix(path, "val", 5), stored[:, :5])
    np.testing.assert_array_equal(read_matrix(path, "val", 99), stored)
    found[0, 0] = 1


@pytest.mark.parametrize("version", VERSIONS)
def test_other_variables_are_passed_over(tmp_path, version):
    variables = {"before": np.ones((200, 3000)), "val": np.eye(2), "z": np.full((1, 3), 2.0)}
    path = written(tmp_path, version, **variables)
    for key, expected in variables.items():
        np.testing.assert_array_equal(read_matrix(path, key), expected)
    with pytest.raises(RecordError, match=r"X\.mat: expected a variable 'x', found none"):
        read_matrix(path, "x")


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_matrices_so_small_that_they_stand_in_their_tag_are_read(tmp_path, size):
    stored = np.arange(size, dtype=np.uint8).reshape(1, -1)
    np.testing.assert_array_equal(read_matrix(written(tmp_path, "5", val=stored), "val"), stored)


def test_big_endian_files_are_read(tmp_path):
    # By hand, as scipy writes none.
    path = tmp_path / "X.mat"
    header = struct.pack(">5i", 1030, 2, 3, 0, 4)
    path.write_bytes(header + b"val\0" + np.arange(6, dtype=">i2").tobytes())
    np.testing.assert_array_equal(read_matrix(path, "val"), [[0, 2, 4], [1, 3, 5]])


@pytest.mark.parametrize(
    ("version", "value", "message"),
    [
        ("4", coo_matrix(np.eye(3)), "full matrix of numbers"),
        ("4", np.eye(2) * 1j, "full matrix of numbers"),
        ("4", "text", "full matrix of numbers"),
        ("5", coo_matrix(np.eye(3)), "full matrix of numbers"),
        ("7", np.eye(2) * 1j, "full matrix of numbers"),
        ("5", "text", "full matrix of numbers"),
        ("7", {"a": 1}, "full matrix of numbers"),
        ("5", np.zeros((2, 3, 4)), "leads x samples"),
        ("7", np.zeros((2000, 2)), "2000 x 2"),
    ],
)
def test_what_is_no_matrix_of_numbers_is_told(tmp_path, version, value, message):
    with pytest.raises(RecordError, match=rf"X\.mat: .*{message}"):
        read_matrix(written(tmp_path, version, val=value), "val")


def test_a_file_that_unpacks_to_more_than_is_asked_for_takes_no_more(tmp_path):
    path = tmp_path / "X.mat"
    header = b"MATLAB 5.0".ljust(124) + b"\0\x01IM"
    n_columns = 2**28  # 1 GB, of zeros, in a megabyte
    parts = (
        struct.pack("<4I", 6, 8, 9, 0)
        + struct.pack("<2I2i", 5, 8, 2, n_columns)
        + struct.pack("<2I", 1 | 3 << 16, int.from_bytes(b"val", "little"))
        + struct.pack("<2I", 3, 4 * n_columns)
    )
    packer = zlib.compressobj(1)
    packed = packer.compress(struct.pack("<2I", 14, len(parts) + 4 * n_columns) + parts)
    piece = bytes(2**24)
    packed += b"".join(packer.compress(piece) for _ in range(4)) + packer.flush()
    path.write_bytes(header + struct.pack("<2I", 15, len(packed)) + packed)
    assert read_matrix(path, "val", 5000).shape == (2, 5000)
    with pytest.raises(RecordError, match="leads x 268435456 samples: expected"):
        read_matrix(path, "val")


def unpacked(tmp_path) -> bytes:
    """The element of a matrix, as it is before compression."""
    return written(tmp_path, "5", val=np.arange(600.0).reshape(3, 200)).read_bytes()[128:]


def with_packed(tmp_path, packed):
    """A file with a compressed element of these bytes."""
    path = tmp_path / "X.mat"
    path.write_bytes(
        b"MATLAB 5.0".ljust(124) + b"\0\x01IM" + struct.pack("<2I", 15, len(packed)) + packed
    )
    return path


@pytest.mark.parametrize("share", [0, 0.01, 0.1, 0.5, 0.9])
def test_compression_that_ends_too_early_is_told(tmp_path, share):
    packed = zlib.compress(unpacked(tmp_path))
    path = with_packed(tmp_path, packed[: int(share * len(packed))])
    with pytest.raises(RecordError, match=r"X\.mat: .*expected \d+ bytes more, found \d+"):
        read_matrix(path, "val")


def test_compressed_bytes_that_unpack_to_nothing_are_passed_over(tmp_path):
    content = unpacked(tmp_path)
    packer = zlib.compressobj(wbits=-15)  # without zlib's header and checksum
    empty_block = b"\0\0\0\xff\xff"
    packed = b"\x78\x01" + 50_000 * empty_block + packer.compress(content) + packer.flush()
    path = with_packed(tmp_path, packed + struct.pack(">I", zlib.adler32(content)))
    np.testing.assert_array_equal(read_matrix(path, "val"), np.arange(600.0).reshape(3, 200))


def _example(version) -> bytes:
    file = io.BytesIO()
    savemat(file, {"val": np.arange(40, dtype=np.int16).reshape(4, 10)}, **VERSIONS[version])
    return file.getvalue()


EXAMPLES = [_example(version) for version in VERSIONS]


@settings(deadline=None, max_examples=500)
@given(
    st.sampled_from(EXAMPLES),
    st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=6),
    st.integers(0, 600),
)
def test_no_change_of_a_file_leads_to_any_other_error(tmp_path_factory, example, changes, length):
    content = bytearray(example)
    for place, value in changes:
        content[place % len(content)] = value
    path = tmp_path_factory.getbasetemp() / "changed.mat"
    path.write_bytes(content[:length] if length < len(content) else content)
    with contextlib.suppress(RecordError):
        assert read_matrix(path, "val", 5).ndim == 2
