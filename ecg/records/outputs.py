"""Output files, one for each record: four lines, `#record id`, codes, labels, probabilities."""

import math
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np

from ecg.records.diagnoses import CLASS_OF_CODE, N_CLASSES
from ecg.runtime.files import printable, read_bytes, written_whole

_TRUE = {"True", "true", "T", "t"}  # other teams' files contain Python's booleans


def write_output(path: str | Path, record_id: str, codes, labels, probabilities) -> None:
    """Write an output file, UTF-8, whole or not at all; the three sequences are equally long.

    Characters of the id that cannot be printed, such as a line break, are written as escapes.
    """
    path = Path(path)
    lines = (
        f"#{printable(record_id)}",
        ",".join(str(code) for code in codes),
        ",".join(str(int(label)) for label in labels),
        ",".join(repr(float(probability)) for probability in probabilities),
    )
    with written_whole(path) as unfinished:
        unfinished.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_output(
    path: str | Path,
) -> tuple[str, tuple[str, ...], tuple[int, ...], tuple[float, ...]]:
    """(record id, codes, labels, probabilities) of an output file.

    A label is 1 where its text is the number 1, "True", "true", "T" or "t", otherwise 0; a
    probability that is not a finite number is 0. Values missing from a short or empty file are 0.
    Raises FileNotFoundError naming the file where it is missing.
    """
    record_line, code_line, label_line, probability_line = _read_lines(path)
    codes = _codes(code_line)
    return (
        record_line.lstrip("#").strip(),
        codes,
        tuple(_labels(label_line, len(codes))),
        tuple(_numbers(probability_line, len(codes))),
    )


def read_outputs(paths: Iterable[str | Path]) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n_files, 26), bool, and probabilities (n_files, 26) of the scored classes in files.

    Each file is read by `read_output` and converted by `to_classes`. Raises FileNotFoundError
    naming the first file that is missing.
    """
    # Nearly all files list the same codes, so their numbers are converted together.
    rows: dict[tuple[str, ...], list[tuple]] = {}
    n_files = 0
    for i, path in enumerate(paths):
        _, codes, labels, probabilities = read_output(path)
        rows.setdefault(codes, []).append((i, labels, probabilities))
        n_files += 1
    positive, probability = np.zeros((n_files, N_CLASSES), bool), np.zeros((n_files, N_CLASSES))
    for codes, same in rows.items():
        indices, *answers = map(np.array, zip(*same, strict=True))
        positive[indices], probability[indices] = to_classes(codes, *answers)
    return positive, probability


def to_classes(codes, labels, probabilities) -> tuple[np.ndarray, np.ndarray]:
    """Labels (…, 26), bool, and probabilities (…, 26) of the scored classes.

    labels, probabilities: (…, n_codes), of one output or of several that list the same codes.
    A class is positive where any of its codes is; its probability is the mean over those of its
    codes that are listed. Codes that are not scored are ignored. An entry may consist of several
    codes joined by bars; it then counts for every class that has one of them.
    """
    of_class = np.zeros((len(codes), N_CLASSES))
    for i, joined in enumerate(codes):
        for code in joined.split("|"):
            if code in CLASS_OF_CODE:
                of_class[i, CLASS_OF_CODE[code]] = 1
    positive = np.equal(labels, 1) @ of_class > 0
    total = np.zeros((*np.shape(probabilities)[:-1], N_CLASSES))
    with np.errstate(over="ignore"):
        # Added one by one: a matrix product adds in an order that depends on the other columns,
        # which would break ties between equal probabilities.
        for i, k in np.argwhere(of_class):
            total[..., k] += np.asarray(probabilities)[..., i]
    return positive, total / np.maximum(of_class.sum(axis=0), 1)


def _read_lines(path: str | Path) -> list[str]:
    """Return the four lines of an output file, stripped; missing ones are empty."""
    try:
        text = read_bytes(path).decode(errors="replace")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: expected an output file, found none") from None
    lines = [line.strip() for line in text.splitlines()[:4]]
    return lines + [""] * (4 - len(lines))


@lru_cache(1024)
def _codes(line: str) -> tuple[str, ...]:
    return tuple(code.strip() for code in line.split(",")) if line else ()


def _fields(line: str, count: int) -> list[str]:
    """Return the first `count` fields of a line; missing ones are empty."""
    fields = line.split(",")
    return fields if len(fields) == count else (fields + [""] * count)[:count]


def _labels(line: str, count: int) -> list[int]:
    return list(map(_label, _fields(line, count)))


def _numbers(line: str, count: int) -> list[float]:
    fields = _fields(line, count)
    try:
        values = list(map(float, fields))
    except ValueError:
        return list(map(_number, fields))
    return values if math.isfinite(sum(values)) else list(map(_number, fields))


@lru_cache(1024)
def _label(text: str) -> int:
    return int(text.strip() in _TRUE or _number(text) == 1)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0
