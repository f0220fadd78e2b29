import csv

import numpy as np

from ecg import cross_validation
from ecg.classes import read_weights
from ecg.scoring import score


def test_every_record_is_answered_out_of_fold_and_scored(training_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("ECG_PRESET", "demo")
    monkeypatch.setenv("ECG_EPOCHS", "1")
    arguments = [str(training_folder), str(tmp_path), "--leads", "2", "--folds", "2"]
    cross_validation.main(arguments)

    folds = [
        np.load(tmp_path / f"multiscale_se_2_leads_fold{i}.npz", allow_pickle=False) for i in (1, 2)
    ]
    names = np.concatenate([fold["names"] for fold in folds])
    assert sorted(names) == [f"T12{i:04d}" for i in range(16)]
    labels, outputs, probabilities = (
        np.concatenate([fold[part] for fold in folds])
        for part in ("labels", "outputs", "probabilities")
    )
    with open(tmp_path / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["fold"] for row in rows] == ["1", "2", "all"]
    assert {row["leads"] for row in rows} == {"2"}
    expected = score(labels, outputs, probabilities, read_weights()).summary
    for name, value in expected.items():
        assert float(rows[2][name]) == round(value, 4)
    # The prepared arrays were temporary.
    assert {path.suffix for path in tmp_path.iterdir()} == {".npz", ".csv"}
