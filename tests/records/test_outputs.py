import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecg.records.diagnoses import CLASS_OF_CODE, OUTPUT_CODES
from ecg.records.outputs import read_output, read_outputs, to_classes, write_output


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


_fields = st.lists(
    st.sampled_from(["0", "1", " 1 ", "1.0", "0.5", "-1", "1e-3", "x", "", "nan", "inf", "1e999"]),
    max_size=5,
).map(",".join)
_codes = st.lists(st.sampled_from([*OUTPUT_CODES[:8], "7", ""]), max_size=4).map(",".join)
_text = st.tuples(st.just("#A"), _codes, _fields, _fields).map("\n".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(_text, min_size=1, max_size=6), st.sampled_from(["\n", "\r\n", "\r"]))
def test_many_outputs_are_read_as_each_alone(tmp_path, texts, line_end):
    paths = [tmp_path / f"{i}.csv" for i in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_bytes(text.replace("\n", line_end).encode())
    positive, probability = read_outputs(paths)
    assert (positive.dtype, positive.shape) == (bool, (len(texts), 26))
    alone = [to_classes(*read_output(path)[1:]) for path in paths]
    np.testing.assert_array_equal(positive, [part for part, _ in alone])
    np.testing.assert_array_equal(probability, [part for _, part in alone])


def test_no_output_is_no_row():
    positive, probability = read_outputs([])
    assert positive.shape == probability.shape == (0, 26)


def test_the_first_missing_output_of_many_is_named(tmp_path):
    write_output(tmp_path / "A.csv", "A", ["1"], [1], [1])
    with pytest.raises(FileNotFoundError, match=r"B\.csv: expected an output file, found none"):
        read_outputs(tmp_path / f"{name}.csv" for name in "ABC")


def test_a_long_output_is_read_whole(tmp_path):
    path, n_codes = tmp_path / "A.csv", 30_000
    write_output(path, "A", range(n_codes), [0] * n_codes, [0.125] * n_codes)
    _, codes, _, probabilities = read_output(path)
    assert codes[-1] == str(n_codes - 1)
    assert probabilities == (0.125,) * n_codes


def test_bytes_that_are_no_text_cost_the_line_alone(tmp_path):
    path = tmp_path / "A.csv"
    path.write_bytes(b"#\xff\n1,2\n1,\xff\n\xfe,0.5\n")
    assert read_output(path)[1:] == (("1", "2"), (1, 0), (0.0, 0.5))


@pytest.mark.parametrize("label", ["1", "1.0", " 1 ", "1e0", "True", "true", "T", "t", " T"])
def test_labels_of_other_teams_files_are_positive(tmp_path, label):
    (tmp_path / "X.csv").write_text(f"#X\n426783006,164889003\n{label},0\n0.5,0.5\n")
    assert read_output(tmp_path / "X.csv")[2] == (1, 0)


@pytest.mark.parametrize("label", ["TRUE", "yes", "2", "nan", "inf", "", "False", "tt"])
def test_other_labels_are_negative(tmp_path, label):
    (tmp_path / "X.csv").write_text(f"#X\n426783006\n{label}\n0.5\n")
    assert read_output(tmp_path / "X.csv")[2] == (0,)


def test_a_joined_name_stands_for_each_class_that_it_shares_a_code_with():
    codes = ("733534002|164909002", "164889003|164890007|1", "164909002")
    positive, probability = to_classes(codes, [0, 1, 0], np.array([0.2, 0.6, 0.4]))
    assert np.flatnonzero(positive).tolist() == [0, 1]
    np.testing.assert_allclose(probability[[0, 1, 4]], [0.6, 0.6, 0.3])
