import csv

import numpy as np
import pytest
from scipy.special import expit, logit

from benchmarks.one_site import COLUMNS, main, rows_of
from ecg.evaluation.folds import FoldOutputs
from ecg.records.diagnoses import DIAGNOSES, SINUS_RHYTHM

SB = [diagnosis.abbreviation for diagnosis in DIAGNOSES].index("SB")


def hospital(share, share_in_training, seed, n_records=200) -> FoldOutputs:
    """Records with sinus rhythm at this share, else sinus bradycardia, and the probabilities that
    are right at the share in training."""
    random = np.random.default_rng(seed)
    labels = np.zeros((n_records, 26), bool)
    labels[:, SINUS_RHYTHM] = random.random(n_records) < share
    labels[:, SB] = ~labels[:, SINUS_RHYTHM]
    evidence = np.where(labels[:, SINUS_RHYTHM], 1, -1) + random.normal(0, 1, n_records)
    probabilities = np.full((n_records, 26), 0.001)
    probabilities[:, SINUS_RHYTHM] = expit(2 * evidence + logit(share_in_training))
    probabilities[:, SB] = 1 - probabilities[:, SINUS_RHYTHM]
    return FoldOutputs(
        names=np.array([f"{seed}_{i}" for i in range(n_records)]),
        labels=labels,
        outputs=labels,
        probabilities=probabilities,
        training={},
    )


def test_a_hospital_with_more_sinus_rhythm_gains_and_the_others_stay_as_they_are():
    folds = {
        "A": hospital(0.51, 0.51, seed=0),
        "B": hospital(0.12, 0.7, seed=1),
        "HR": hospital(0.9, 0.315, seed=2),
    }
    *rows, together = rows_of("run", folds)
    by_name = {row["held_out"]: row for row in rows}
    assert list(by_name) == ["A", "B", "HR"]
    assert by_name["A"]["share_estimated"] == "not applied"
    for name in ("B", "HR"):
        row = by_name[name]
        shares = [float(row[key]) for key in ("share_in_training", "share", "share_estimated")]
        assert abs(shares[2] - shares[1]) < 0.25 * abs(shares[0] - shares[1])
        assert float(row["metric_one_site"]) > float(row["metric"])
    assert together["n_records"] == 600
    assert float(together["metric_one_site"]) > float(together["metric"])


def test_a_share_that_agrees_with_training_changes_nothing():
    for row in rows_of("run", {"A": hospital(0.3, 0.3, 0), "B": hospital(0.3, 0.3, 1)})[:-1]:
        assert row["share_estimated"] == "not applied"
        assert row["metric_one_site"] == row["metric"]


def test_the_rows_go_to_a_file(tmp_path, capsys):
    (tmp_path / "folds").mkdir()
    for name, share in (("A", 0.12), ("HR", 0.9)):
        made = hospital(share, 0.5, seed=len(name))
        np.savez(
            tmp_path / "folds" / f"multiscale_se.default.2_leads.seed0.fold_{name}.0f.npz",
            names=made.names,
            labels=made.labels,
            outputs=made.outputs,
            probabilities=made.probabilities,
            training="{}",
        )
    main([str(tmp_path), "--out", str(tmp_path / "sites.csv")])
    with open(tmp_path / "sites.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(COLUMNS)
    assert [row["held_out"] for row in rows] == ["A", "HR", "all"]
    assert "multiscale_se default, 2 leads, seed 0" in capsys.readouterr().out


def test_a_folder_without_folds_is_an_error(tmp_path):
    with pytest.raises(SystemExit, match="expected predictions of folds"):
        main([str(tmp_path)])
