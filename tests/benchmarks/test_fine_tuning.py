import csv
from functools import partial

import numpy as np
import pytest

from benchmarks import fine_tuning
from benchmarks.fine_tuning import COLUMNS, FIGURES, TRAININGS, divide, main, table
from ecg.training.dataset import prepare_dataset
from tests.narrow import narrow_method
from tests.synthetic import write_folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Twelve made-up records of source T, and sixteen of the hospital U."""
    folder = write_folder(tmp_path_factory.mktemp("data"), 12, prefix="T")
    return write_folder(folder, 16, prefix="U")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def command(data, cache, tmp_path, monkeypatch):
    """The benchmark on U with networks of next to no size; takes further arguments."""
    method = narrow_method("multiscale_se", n_simulated=16, epochs=2, learning_rate=0.05)
    monkeypatch.setattr(fine_tuning, "find_method", lambda *_: method)
    for name, text in {"METHOD": "", "EPOCHS": "", "START": "", "WORKERS": "1"}.items():
        monkeypatch.setenv(f"ECG_{name}", text)
    monkeypatch.setenv("ECG_CACHE", str(cache))
    where = [str(data), "--out", str(tmp_path), "--source", "U", "--leads", "2"]
    return lambda *arguments: main([*where, *arguments])


def rows_in(folder) -> list[dict]:
    with open(folder / "fine_tuning.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.training
@pytest.mark.usefixtures("without_graphs")
def test_each_training_is_scored_once_on_the_same_records(command, tmp_path, monkeypatch, capsys):
    command("--sizes", "6", "10", "--seeds", "3")
    rows = rows_in(tmp_path)
    assert [(row["training"], row["size"]) for row in rows] == [
        ("start alone", "0"),
        *(("fine-tuned", size) for size in ("6", "10")),
        *(("from scratch", size) for size in ("6", "10")),
    ]
    assert {row["n_scored"] for row in rows} == {"6"}
    assert len({row["AUROC"] for row in rows}) > 1
    for row in rows:
        assert 0 <= float(row["AUROC"]) <= 1
    assert len([*tmp_path.glob("start-*")]) == 1
    printed = capsys.readouterr().out
    assert all(f"records, {training}" in printed for training in TRAININGS)
    # Only what is new is trained.
    monkeypatch.setattr(fine_tuning, "run_pretraining", lambda _: pytest.fail("trained again"))
    command("--sizes", "6", "10", "--seeds", "3", "--rate-share", "0.5")
    added = rows_in(tmp_path)[len(rows) :]
    assert [(row["training"], row["size"]) for row in added] == [
        ("fine-tuned", "6"),
        ("fine-tuned", "10"),
    ]


def test_the_records_of_a_source_are_trained_on_or_scored(data, cache):
    prepare = partial(prepare_dataset, data, narrow_method("multiscale_se").preparation)
    dataset = prepare(cache, 1)
    parts = divide(dataset, "U", 10, seed=0)
    everything = np.concatenate([parts.others, parts.pool, parts.scored])
    np.testing.assert_array_equal(np.sort(everything), np.arange(28))
    assert set(dataset.sources[parts.others]) == {"T"}
    assert (len(parts.pool), len(parts.scored)) == (10, 6)
    assert not np.array_equal(parts.pool, divide(dataset, "U", 10, seed=1).pool)
    with pytest.raises(ValueError, match=r"more than 16 records of U.*found 12 of T, 16 of U"):
        divide(dataset, "U", 16, seed=0)
    with pytest.raises(ValueError, match="more than 2 records of V"):
        divide(dataset, "V", 2, seed=0)


def test_the_table_has_means_and_deviations_over_seeds():
    rows = [
        dict(
            zip(
                COLUMNS, ("fine-tuned", "U", "2", "20", str(seed), "9", *figures, "0f"), strict=True
            )
        )
        for seed, figures in enumerate([("0.5", "0.25", "0.1"), ("0.7", "0.25", "0.3")])
    ]
    header, line = table(rows).splitlines()
    assert all(figure in header for figure in FIGURES)
    assert line.split(", ")[-1].split() == (
        ["fine-tuned", "0.600", "±", "0.100", "0.250", "±", "0.000", "0.200", "±", "0.100"]
    )
