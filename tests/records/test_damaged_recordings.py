"""Any damaged file gives a record or an error that names the file."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecg.records.formats import read_ecg
from ecg.records.headers import RecordError
from tests.recording_files import write_apple, write_csv
from tests.records.test_formats import SIX, TWELVE
from tests.synthetic import beats, write_record

FS = 500.0
WRITERS = TWELVE | SIX | {"CSV": lambda path, signal, fs: write_csv(path, signal)}
WRITERS |= {"Apple": lambda path, signal, fs: write_apple(path, signal[0])}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    signal = np.round(beats(1000, FS), 3)
    return {kind: write(folder / kind, signal, FS).read_bytes() for kind, write in WRITERS.items()}


def check(path) -> None:
    """Read the file and check that it gives a valid record or a RecordError that names it."""
    try:
        record = read_ecg(path, FS)
    except RecordError as error:
        message = str(error)
    else:
        check_record(record)
        return
    assert path.name in message


def check_record(record) -> None:
    assert not np.isinf(record.signal).any()
    assert record.signal.shape[0] == len(record.leads)
    assert 50 <= record.fs <= 4000


@pytest.mark.parametrize("kind", WRITERS)
@given(data=st.data())
@settings(max_examples=40, deadline=20_000, suppress_health_check=list(HealthCheck))
def test_damaged_files_are_records_or_errors_that_name_them(tmp_path, whole, kind, data):
    content = bytearray(whole[kind])
    if data.draw(st.booleans(), "cut"):
        del content[data.draw(st.integers(0, len(content) - 1), "length") :]
    # At the beginning, where most formats have their header, and anywhere.
    for limit in (600, len(content)):
        if content:
            offsets = st.integers(0, min(limit, len(content)) - 1)
            for offset in data.draw(st.lists(offsets, max_size=4), "offsets"):
                content[offset] = data.draw(st.integers(0, 255), "byte")
    path = tmp_path / "damaged"
    path.write_bytes(content)
    check(path)


@pytest.mark.parametrize("kind", WRITERS)
def test_truncated_files_are_records_or_errors_that_name_them(tmp_path, whole, kind):
    content = whole[kind]
    path = tmp_path / "damaged"
    for length in np.unique(np.geomspace(1, len(content), 30).astype(int)).tolist():
        path.write_bytes(content[:length])
        check(path)


@pytest.mark.parametrize("kind", ["MUSE", "Sierra", "aECG"])
def test_deeply_nested_xml_is_a_record_or_an_error(tmp_path, whole, kind):
    encoding = "utf-16" if kind == "Sierra" else "utf-8"
    head, _, tail = whole[kind].decode(encoding).rpartition("</")
    path = tmp_path / "damaged"
    path.write_bytes(f"{head}{'<x>' * 100_000}</{tail}".encode(encoding))
    check(path)


@pytest.mark.parametrize(
    "text",
    [
        '{"recordedAt": 1, "amplitudeResolution": ' + "[" * 100_000,
        *(part * 50_000 for part in ("<", "<?", "<!--", "<!DOCTYPE[", "<a:", "(", "I(", "[a", "T")),
        "x" + "1" * 120_000 + "\n1,2\n",
        "(" * 120_000 + ",I\n1,2\n",
        "time(" * 30_000 + ",I\n1,2\n",
        "I\n" + "1:" * 60_000 + "\n",
        "lead " * 30_000 + ",I\n1,2\n",
        "_ " * 60_000 + ",I\n1,2\n",
    ],
    ids=range(16),
)
def test_texts_that_make_patterns_backtrack_are_records_or_errors(tmp_path, text):
    # Patterns that backtrack need minutes for these.
    path = tmp_path / "damaged"
    path.write_text(text)
    check(path)


def test_damaged_headers_of_wfdb_records_are_errors_that_name_them(tmp_path):
    header = write_record(tmp_path, "A1", beats(1000, FS), FS)
    content = header.read_bytes()
    for length in range(0, 60, 3):
        header.write_bytes(content[:length])
        check(tmp_path / "A1.hea")
