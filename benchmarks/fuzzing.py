"""`python -m benchmarks.fuzzing PARSER`: coverage-guided fuzzing of a file parser.

Needs the fuzzer atheris (`pip install atheris==3.0.0`; x86-64 Linux). The corpus starts with
synthetic records. An unexpected exception, or an input that takes more than ten seconds or 2 GB,
ends the run; the fuzzer saves that input in the working directory.
"""

import argparse
import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris
import numpy as np
from scipy.io import savemat

from tests.synthetic import beats, digitise, header_text

with atheris.instrument_imports(include=["ecg"]):
    from ecg.records.formats.tables import read_table
    from ecg.records.headers import RecordError, format_header, parse_header, read_dx
    from ecg.records.leads import TWELVE_LEADS
    from ecg.records.outputs import read_output
    from ecg.records.record import read_recording, to_record

_LIMITS = ("-timeout=10", "-rss_limit_mb=2048", "-max_len=4096")
_MEMORY = Path("/dev/shm")
_FILE = Path(tempfile.mkdtemp(dir=_MEMORY if _MEMORY.is_dir() else None)) / "X"


def header(data: bytes) -> None:
    """Any text is a header or a RecordError, and a header can be written again."""
    text = data.decode("latin-1")
    read_dx(text)
    try:
        found = parse_header(text)
    except RecordError:
        return
    check_conversion(found)


def check_conversion(found) -> None:
    """Return a recording is a record or a RecordError by any header."""
    if len(found.leads) > 64:
        return
    recording = np.arange(4 * len(found.leads), dtype=np.int16).reshape(len(found.leads), -1)
    try:
        signal = to_record(found, recording, 10.0).signal
    except RecordError:
        return
    if np.isinf(signal).any():
        raise AssertionError("a signal with infinite values")
    if signal.size and found.fs > 0:
        format_header(found, recording)


def mat(data: bytes) -> None:
    """Any bytes are a matrix or a RecordError."""
    path = _FILE.with_suffix(".mat")
    path.write_bytes(data)
    try:
        recording = read_recording(path, 5000)
    except RecordError:
        return
    if recording.ndim != 2:
        raise AssertionError(f"an array of shape {recording.shape}")


def table(data: bytes) -> None:
    """Any bytes are a table or a RecordError."""
    path = _FILE.with_suffix(".csv")
    path.write_bytes(data)
    try:
        read_table(path, 500.0, "mV", duration_s=10.0)
    except RecordError:
        return


def output(data: bytes) -> None:
    """Any bytes are an output with a finite probability for each code."""
    path = _FILE.with_suffix(".csv")
    path.write_bytes(data)
    _, codes, labels, probabilities = read_output(path)
    if not len(codes) == len(labels) == len(probabilities) or not np.isfinite(probabilities).all():
        raise AssertionError("an incomplete output")


def _mat(version: str, dtype) -> bytes:
    file = io.BytesIO()
    recording = digitise(beats(20, 500.0)).astype(dtype)
    savemat(file, {"val": recording}, format=version, do_compression=version == "5")
    return file.getvalue()


_LEADS = ",".join(TWELVE_LEADS)
PARSERS: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
    "header": (
        header,
        [
            header_text("A1", 500.0, 5000, TWELVE_LEADS, v103=v103, baseline=baseline).encode()
            for v103 in (False, True)
            for baseline in (0, -12)
        ],
    ),
    "mat": (mat, [_mat("4", np.int16), _mat("4", np.float64), _mat("5", np.int16)]),
    "table": (table, [f"{_LEADS}\n{_LEADS}\n".encode(), b"time;I;II\n0;.1;\n1;nan;2e-3\n"]),
    "output": (output, [b"#A1\n426783006,164889003\n1,0\n0.7,nan\n"]),
}


def main(arguments=None) -> None:
    """Run the command line; the exit status is the fuzzer's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parser", choices=PARSERS)
    parser.add_argument("--executions", type=int, default=1_000_000, help="default: a million")
    options = parser.parse_args(arguments)
    target, examples = PARSERS[options.parser]
    corpus = _FILE.parent / "corpus"
    corpus.mkdir()
    for i, example in enumerate(examples):
        (corpus / str(i)).write_bytes(example)
    atheris.Setup(
        [
            sys.argv[0],
            f"-runs={options.executions}",
            "-print_final_stats=1",
            *_LIMITS,
            str(corpus),
        ],
        target,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
