from dataclasses import replace

import numpy as np
import pytest

from benchmarks import candidates, scaling
from benchmarks.candidates import DEFAULT
from benchmarks.recipe import FIGURES, read_rows
from benchmarks.scaling import (
    COLUMNS,
    RECIPES,
    SCORED_ON,
    TRAINED_ON,
    Bench,
    main,
    recipe_of,
    table,
)
from ecg.models.method import SizeStep, changed, recipe_for
from ecg.models.registry import find_method
from ecg.models.settings import Settings
from ecg.simulation.sources import SOURCES
from tests.narrow import narrow_method

DROPOUT, BATCH_16, WIDE = "without feature dropout", "batch 16 at every size", "twice the width"
TINY = ("--size", "20", "--seeds", "3")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def few_records(monkeypatch):
    monkeypatch.setattr(scaling, "N_SCORED", 8)


@pytest.fixture
def command(cache, tmp_path, monkeypatch):
    """The benchmark with networks of next to no size; takes further arguments."""
    method = narrow_method("multiscale_se", learning_rate=0.05)
    method = changed("network", feature_dropout=0.5)(method)
    monkeypatch.setattr(candidates, "find_method", lambda *_: method)
    for name, text in {"METHOD": "", "EPOCHS": "", "WORKERS": "1", "CACHE": str(cache)}.items():
        monkeypatch.setenv(f"ECG_{name}", text)
    return lambda *arguments: main([str(tmp_path), *arguments])


def made_up_rows(candidate, seed, *figures, size="600") -> list[dict]:
    """A row for each source scored, with its figure in all three columns."""
    head = (size, candidate, "2", str(seed))
    return [
        dict(zip(COLUMNS, (*head, source, *[f"{figure:.4f}"] * 3, "0f"), strict=True))
        for source, figure in zip(SCORED_ON, figures, strict=True)
    ]


# Records ----------------------------------------------------------------------------------------


def test_every_source_is_either_trained_on_or_scored():
    assert sorted([*TRAINED_ON, *SCORED_ON]) == sorted(SOURCES)


def test_a_seed_and_a_size_decide_the_records_trained_on_but_not_those_scored(cache, tmp_path):
    bench = Bench(tmp_path, cache, Settings(workers=1))
    small, large, other = bench.corpus(8, 1), bench.corpus(16, 1), bench.corpus(8, 2)
    sources, counts = np.unique(small.sources, return_counts=True)
    assert set(sources) == {f"SIM{SOURCES[source].letter}" for source in TRAINED_ON}
    assert counts.tolist() == [2] * 4
    assert set(small.names) < set(large.names)
    same = np.flatnonzero(large.names == small.names[0])[0]
    np.testing.assert_array_equal(small.windows(0), large.windows(same))
    assert not set(small.names) & set(other.names)
    for source, dataset in bench.scored.items():
        assert set(dataset.sources) == {f"SIM{SOURCES[source].letter}"}
        assert len(dataset) == 8


def test_annotators_make_label_errors_in_all_records(tmp_path, monkeypatch):
    asked = []

    def simulated(n_records, preparation, cache, workers, simulation):
        asked.append((n_records, simulation.sources, simulation.label_errors))

    monkeypatch.setattr(scaling, "simulated_dataset", simulated)
    Bench(tmp_path, tmp_path, Settings()).corpus(40, 0)
    assert asked == [*((8, (source,), 0.1) for source in SCORED_ON), (40, TRAINED_ON, 0.1)]


# Candidates -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "batch_size"), [(600, 16), (6000, 16), (60000, 64)])
def test_candidates_differ_from_the_default_in_what_they_are_named_for(size, batch_size):
    methods = {name: recipe_of(one, size, Settings()) for name, one in RECIPES.items()}
    usual = methods[DEFAULT]
    assert usual.training.batch_size == batch_size
    assert usual.pretraining.n_records == 0
    wide = changed("network", widths=tuple(2 * width for width in usual.network.widths))
    longer = changed("training", epochs=2 * usual.training.epochs)
    assert methods == {
        DEFAULT: usual,
        "twice the epochs": longer(usual),
        WIDE: wide(usual),
        "twice the width and epochs": wide(longer(usual)),
        DROPOUT: changed("network", feature_dropout=0.0)(usual),
        BATCH_16: changed("training", batch_size=16, learning_rate=2e-3)(usual),
    }
    # What a trainer makes of them on that many records.
    assert all(recipe_for(method, size) == method for method in methods.values())


def test_steps_of_the_method_by_size_do_not_count(monkeypatch):
    before = recipe_of(RECIPES[WIDE], 6000, Settings())
    method = find_method("multiscale_se", "full")
    step = SizeStep(1000, method.network, replace(method.training, epochs=99))
    monkeypatch.setattr(candidates, "find_method", lambda *_: replace(method, by_size=(step,)))
    assert recipe_of(RECIPES[WIDE], 6000, Settings()) == before


def test_what_comes_to_the_default_is_skipped(command, monkeypatch, capsys):
    asked = []

    def scores(self, candidate, size, lead_set, seed):
        asked.append((size, next(name for name, one in RECIPES.items() if one is candidate)))
        return {source: dict.fromkeys(FIGURES, 0.5) for source in SCORED_ON}

    monkeypatch.setattr(Bench, "scores", scores)
    command("--size", "20", "--seeds", "0", "--candidate", DEFAULT, BATCH_16, WIDE)
    assert asked == [(20, DEFAULT), (20, WIDE)]
    assert f"20 records: equal to the default: {BATCH_16}\n" in capsys.readouterr().out


# From the command to the table ------------------------------------------------------------------


@pytest.mark.training
@pytest.mark.usefixtures("without_graphs")
def test_each_training_is_scored_once_on_each_source(command, tmp_path, monkeypatch, capsys):
    def cut_off(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(scaling, "answer_dataset", cut_off)
        with pytest.raises(SystemExit):
            command(*TINY, "--candidate", DEFAULT, DROPOUT)
    assert [path.name for path in tmp_path.glob("unfinished-*/*")] == ["training.npz"]
    capsys.readouterr()
    command(*TINY, "--candidate", DEFAULT, DROPOUT)
    printed = capsys.readouterr().out
    assert printed.count("resumed after epoch 1/1") == 1
    assert "20 records, 2 leads" in printed
    assert not list(tmp_path.glob("unfinished-*"))
    rows = read_rows(tmp_path / "scaling.csv", COLUMNS)
    assert [(row["candidate"], row["scored_on"]) for row in rows] == [
        (name, source) for name in (DEFAULT, DROPOUT) for source in SCORED_ON
    ]
    for row in rows:
        assert 0 <= float(row["AUROC"]) <= 1
        assert 0 <= float(row["AUPRC"]) <= 1
    assert len({row["AUROC"] for row in rows}) > len(SCORED_ON)
    assert len({row["key"] for row in rows}) == 2
    # Nothing is trained twice, and the table compares with the default, asked for or not.
    monkeypatch.setattr(Bench, "scores", lambda *_: pytest.fail("trained again"))
    command(*TINY, "--candidate", DROPOUT)
    assert read_rows(tmp_path / "scaling.csv", COLUMNS) == rows
    lines = capsys.readouterr().out.splitlines()
    assert {line[:36].strip() for line in lines} >= {DEFAULT, DROPOUT}


def test_the_table_compares_means_over_sources_by_seed():
    rows = [
        *made_up_rows(DEFAULT, 0, 0.4, 0.5, 0.6),
        *made_up_rows(DEFAULT, 1, 0.6, 0.7, 0.8),
        *made_up_rows(WIDE, 0, 0.41, 0.51, 0.61),
        *made_up_rows(WIDE, 1, 0.73, 0.73, 0.73),
        *made_up_rows(DEFAULT, 0, 0.8, 0.9, 1.0, size="6000"),
    ]
    lines = table(rows).splitlines()
    assert lines[1] == "600 records, 2 leads"
    assert lines[3].removeprefix(DEFAULT).split() == ["0.600", "±", "0.141"] * 3
    # Differences of 0.01 and 0.03.
    assert lines[4].removeprefix(WIDE).split() == (
        ["0.620", "±", "0.156", "(+0.020", "±", "0.010)"] * 3
    )
    alone = f"{DEFAULT:36s}" + f"{'0.900':>32s}" * 3
    assert lines[5:] == ["", "6000 records, 2 leads", lines[2], alone]
