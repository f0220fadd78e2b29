import csv

import numpy as np
import pytest

from benchmarks.clinical_rule import COLUMNS, main, rows_of
from ecg.evaluation.folds import FoldOutputs
from ecg.records.diagnoses import DIAGNOSES

AF = [diagnosis.abbreviation for diagnosis in DIAGNOSES].index("AF")


def fold(seed, n_records=60) -> FoldOutputs:
    """Records of which half have atrial fibrillation, nearly all of it seen; little else.
    The outputs name every finding."""
    random = np.random.default_rng(seed)
    labels = np.zeros((n_records, 26), bool)
    labels[::2, AF] = True
    probabilities = np.full((n_records, 26), 0.01)
    probabilities[:, AF] = np.where(labels[:, AF], 0.9, 0.1)
    probabilities[random.integers(n_records), AF] = 0.5
    return FoldOutputs(
        names=np.array([f"{seed}_{i}" for i in range(n_records)]),
        labels=labels,
        outputs=np.ones((n_records, 26), bool),
        probabilities=probabilities,
        training={},
    )


def test_a_run_has_a_row_for_all_and_for_each_finding():
    together, of_af = rows_of("run", [fold(0), fold(1), fold(2)])
    assert (together["finding"], of_af["finding"]) == ("all", "AF")
    assert of_af["n_positive"] == 90
    assert float(of_af["clinical_sensitivity"]) > 0.95
    assert float(of_af["clinical_ppv"]) > 0.95
    assert together["clinical_contradictions"] == ".000"
    assert (of_af["challenge_sensitivity"], of_af["challenge_ppv"]) == ("1.000", ".500")
    assert together["challenge_contradictions"] == "1.000"


def test_the_rows_go_to_a_file(tmp_path, capsys):
    (tmp_path / "folds").mkdir()
    for number in (1, 2):
        made = fold(number)
        name = f"mtfnet.default.2_leads.seed0.fold_{number}.0f.npz"
        np.savez(
            tmp_path / "folds" / name,
            names=made.names,
            labels=made.labels,
            outputs=made.outputs,
            probabilities=made.probabilities,
            training="{}",
        )
    main([str(tmp_path), "--out", str(tmp_path / "rule.csv")])
    with open(tmp_path / "rule.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(COLUMNS)
    assert [row["finding"] for row in rows] == ["all", "AF"]
    assert "mtfnet default, 2 leads, seed 0" in capsys.readouterr().out


def test_a_folder_without_folds_is_an_error(tmp_path):
    with pytest.raises(SystemExit, match="expected predictions of folds"):
        main([str(tmp_path)])
