import numpy as np
import pytest

from ecg.classes import CLASS_OF_CODE
from ecg.outputs import read_output, to_classes, write_output


def test_an_output_file_has_four_lines_and_is_read_back(tmp_path):
    path = tmp_path / "A1.csv"
    write_output(path, "A1", ["10370003", "39732003"], [1, 0], [0.25, np.float32(0.5)])
    assert path.read_text() == "#A1\n10370003,39732003\n1,0\n0.25,0.5\n"
    assert read_output(path) == ("A1", ("10370003", "39732003"), (1, 0), (0.25, 0.5))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "labels", "probabilities"),
    [
        ("#A\n1,2,3\n1,x,1.0\n0.5,,nan\n", (1, 0, 1), (0.5, 0.0, 0.0)),
        ("#A\n1,2,3\n1\n0.5,inf\n", (1, 0, 0), (0.5, 0.0, 0.0)),
        ("#A\r\n1, 2 ,3\r\n 0, 1 ,2\r\n.1, 1e-1 ,-1\r\n", (0, 1, 0), (0.1, 0.1, -1.0)),
    ],
)
def test_what_is_no_number_counts_as_zero(tmp_path, text, labels, probabilities):
    path = tmp_path / "A.csv"
    path.write_text(text)
    assert read_output(path) == ("A", ("1", "2", "3"), labels, probabilities)


@pytest.mark.parametrize("text", ["", "\n\n\n\n", "#A\n"])
def test_an_empty_output_answers_nothing(tmp_path, text):
    path = tmp_path / "A.csv"
    path.write_text(text)
    _, codes, labels, probabilities = read_output(path)
    assert codes == labels == probabilities == ()
    positive, probability = to_classes(codes, labels, probabilities)
    assert not positive.any()
    assert not probability.any()


def test_a_missing_output_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"A\.csv: expected an output file"):
        read_output(tmp_path / "A.csv")


def test_a_class_is_positive_by_any_code_and_has_their_mean_probability():
    positive, probability = to_classes(
        ("733534002", "164909002", "59118001", "7"), (0, 1, 0, 1), (0.2, 0.6, 0.3, 0.9)
    )
    left, right = CLASS_OF_CODE["164909002"], CLASS_OF_CODE["59118001"]
    assert np.flatnonzero(positive) == [left]
    assert probability[left] == pytest.approx(0.4)
    assert probability[right] == 0.3  # the pair's other code is not there
    assert probability.sum() == pytest.approx(0.7)
