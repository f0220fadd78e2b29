import re

import numpy as np
import pytest

from benchmarks.scoring_speed import (
    check_figures,
    main,
    plain_areas,
    plain_evaluate,
    plain_scores,
    random_answers,
    random_dx,
    write_case,
)
from ecg.records.diagnoses import CLASS_OF_CODE, N_CLASSES, WEIGHTS_FILE, encode_dx, read_weights
from ecg.records.discovery import find_records, read_header_text
from ecg.records.headers import parse_header
from ecg.records.metrics import score
from evaluate_model import evaluate_model


def random_arrays(seed):
    """Labels, outputs and probabilities of up to 40 records, with what makes figures differ."""
    random = np.random.default_rng(seed)
    n_records = int(random.integers(1, 40))
    labels = random.random((n_records, N_CLASSES)) < random.random(N_CLASSES) * 0.4
    outputs, probabilities = random_answers(random, labels)
    labels[:, random.random(N_CLASSES) < 0.2] = False  # no curve, and where not answered no F
    labels[:, random.random(N_CLASSES) < 0.1] = True  # no AUROC
    outputs &= random.random(N_CLASSES) < 0.7
    if seed % 3:
        probabilities = probabilities.round(1)  # ties
    return labels, outputs, probabilities


@pytest.mark.parametrize("seed", range(30))
def test_arrays_score_as_by_plain_loops(seed):
    arrays, weights = random_arrays(seed), read_weights()
    check_figures(score(*arrays, weights).summary, plain_scores(*arrays, weights))


@pytest.mark.parametrize("seed", range(3))
def test_each_class_has_the_areas_of_the_plain_loops(seed):
    # More records than the metrics take in one go.
    random = np.random.default_rng(seed)
    labels = np.array([encode_dx(dx) for dx in random_dx(random, 2500)])
    outputs, probabilities = random_answers(random, labels)
    scores = score(labels, outputs, probabilities, read_weights())
    for i in range(N_CLASSES):
        areas = plain_areas(labels[:, i], probabilities[:, i])
        assert (scores.auroc[i], scores.auprc[i]) == areas
    expected = plain_scores(labels, outputs, probabilities, read_weights())
    check_figures(scores.summary, expected)


def test_files_score_as_by_plain_loops(tmp_path):
    labels, outputs = write_case(tmp_path, 60)
    changed = outputs / "A00001.csv"
    lines = changed.read_text().splitlines()
    lines[2] = "x" + lines[2][1:]
    lines[3] = re.sub(r"^[^,]*,[^,]*", "nan,", lines[3])
    changed.write_text("\n".join(lines))
    fewer_codes = outputs / "A00002.csv"
    fewer_codes.write_text("#A00002\n164909002, 999,426783006\n1,1,0\n.5,.25,1e-3\n")
    expected = plain_evaluate(labels, outputs, WEIGHTS_FILE)
    check_figures(evaluate_model(labels, outputs).summary, expected)


def test_made_up_headers_are_whole_and_name_some_codes_that_are_not_scored(tmp_path):
    labels, _ = write_case(tmp_path, 60)
    records = find_records(labels)
    headers = [parse_header(read_header_text(files.header)) for files in records]
    assert [header.name for header in headers] == [files.name for files in records]
    assert {len(header.dx) for header in headers} == {1, 2, 3}
    assert {code in CLASS_OF_CODE for header in headers for code in header.dx} == {True, False}


def test_a_figure_that_differs_is_told():
    figures = {"AUROC": 0.5, "F-measure": np.nan}
    check_figures(figures, [0.5 + 1e-12, np.nan])
    with pytest.raises(ValueError, match=r"AUROC: plain loops give 0\.51, ours 0\.5"):
        check_figures(figures, [0.51, np.nan])
    with pytest.raises(ValueError, match="F-measure"):
        check_figures(figures, [0.5, 0.0])


def test_every_row_is_printed(capsys):
    main(["--records", "20", "--full", "30", "--rounds", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "scorer, 20 records",
        "scorer, 30 records",
        "scorer, 30 records",
        "metrics, 30 x 26",
        "all figures agree to 1e-09",
    ]
