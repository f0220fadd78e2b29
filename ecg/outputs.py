"""The output file of a record: four lines, `#record id`, codes, labels, probabilities."""

from pathlib import Path

import numpy as np

from ecg.classes import CLASS_OF_CODE, N_CLASSES
from ecg.files import written_whole


def write_output(path: str | Path, record_id: str, codes, labels, probabilities) -> None:
    """Writes one output file, whole or not at all; the three sequences are equally long."""
    path = Path(path)
    lines = (
        f"#{record_id}",
        ",".join(str(code) for code in codes),
        ",".join(str(int(label)) for label in labels),
        ",".join(repr(float(probability)) for probability in probabilities),
    )
    with written_whole(path) as unfinished:
        unfinished.write_text("\n".join(lines) + "\n")


def read_output(
    path: str | Path,
) -> tuple[str, tuple[str, ...], tuple[int, ...], tuple[float, ...]]:
    """(record id, codes, labels, probabilities) of an output file.

    A label is 1 where its text is the number 1, else 0; a probability that is no finite number
    is 0. What a short or empty file lacks is 0 as well.
    Raises FileNotFoundError naming the file where there is none.
    """
    try:
        text = Path(path).read_text(errors="replace")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: expected an output file, found none") from None
    lines = [line.strip() for line in text.splitlines()] + [""] * 4
    codes = tuple(code.strip() for code in lines[1].split(",")) if lines[1] else ()
    labels = _numbers(lines[2], len(codes))
    return (
        lines[0].lstrip("#").strip(),
        codes,
        tuple(int(label == 1) for label in labels),
        _numbers(lines[3], len(codes)),
    )


def to_classes(codes, labels, probabilities) -> tuple[np.ndarray, np.ndarray]:
    """Labels (26,), bool, and probabilities (26,) of the scored classes of one output.

    A class is positive where any of its codes is; its probability is the mean over its codes that
    are there. Codes that are not scored are left out.
    """
    positive, total, count = np.zeros(N_CLASSES, bool), np.zeros(N_CLASSES), np.zeros(N_CLASSES)
    for code, label, probability in zip(codes, labels, probabilities, strict=True):
        if code in CLASS_OF_CODE:
            i = CLASS_OF_CODE[code]
            positive[i] |= label == 1
            total[i] += probability
            count[i] += 1
    return positive, total / np.maximum(count, 1)


def _numbers(line: str, count: int) -> tuple[float, ...]:
    fields = (line.split(",") + [""] * count)[:count]
    return tuple(_number(field) for field in fields)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if np.isfinite(value) else 0.0
