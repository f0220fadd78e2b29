import csv
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow

from benchmarks import candidates, recipe
from benchmarks.candidates import CANDIDATES, DEFAULT, NEEDS_SIGNAL, Candidate
from benchmarks.recipe import COLUMNS, FIGURES, Bench, read_rows, table
from ecg.models.settings import Settings
from ecg.records.diagnoses import read_weights
from ecg.records.metrics import challenge_metric, score
from ecg.runtime.files import write_rows
from ecg.training.dataset import DatasetError
from tests.narrow import narrow_method
from tests.synthetic import write_folder

MIXUP = "mixup"
TINY = ("--leads", "2", "--seeds", "0", "--folds", "2", "--measurements")
FAST = {"learning_rate": 0.05}  # for one epoch to show what it was on


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Sixteen made-up records: ten of source T, six of source U."""
    folder = write_folder(tmp_path_factory.mktemp("data"), 10, prefix="T")
    return write_folder(folder, 6, prefix="U")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def settings(monkeypatch, cache):
    for name in ("METHOD", "EPOCHS", "SEED", "LEADS"):
        monkeypatch.delenv(f"ECG_{name}", raising=False)
    for name, text in {"PRESET": "demo", "CACHE": str(cache), "WORKERS": "1"}.items():
        monkeypatch.setenv(f"ECG_{name}", text)


def narrow(monkeypatch, n_simulated=16, **training) -> None:
    """The recipe's method becomes as narrow as can be."""
    method = narrow_method("multiscale_se", n_simulated, **training)
    monkeypatch.setattr(candidates, "find_method", lambda *_: method)


def bench(data, cache, measured=False, n_simulated=None, **settings) -> Bench:
    settings = Settings(cache=cache, workers=1, **settings)
    return Bench(data, cache, settings, measured, n_simulated)


def run(data, out, *arguments) -> list[dict]:
    recipe.main([str(data), str(out), *arguments])
    return read_rows(out / "recipe.csv")


def made_up_row(candidate, seed, *figures, split="5 folds", key="0f") -> dict:
    head = (candidate, "demo", "2", str(seed), split)
    return dict(zip(COLUMNS, (*head, *(f"{figure:.4f}" for figure in figures), key), strict=True))


def trainer_of(run, devices, n_training):
    """Stands for a trainer, without the network."""
    return SimpleNamespace(run=run, n_training=n_training)


def no_training(*arguments):
    raise AssertionError("expected nothing to be trained")


@pytest.fixture
def scored(monkeypatch):
    """Figures without training; what they were asked of."""
    asked = []

    def scores(self, candidate, lead_set, seed, n_folds):
        name = next(name for name, one in CANDIDATES.items() if one is candidate)
        asked.append((name, lead_set, seed, n_folds))
        return dict.fromkeys(FIGURES, 0.1 * len(asked))

    monkeypatch.setattr(Bench, "scores", scores)
    return asked


# From the command to the file -------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(data, cache, tmp_path_factory):
    """The folder of a run that trained."""
    out = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        narrow(patch, **FAST)
        patch.setattr(recipe, "MIN_SOURCE_RECORDS", 1)
        patch.setenv("ECG_CACHE", str(cache))
        patch.setenv("ECG_WORKERS", "1")
        # Step by step, as the fixture `without_graphs` has it for a single test.
        tensorflow.config.run_functions_eagerly(True)
        try:
            run(data, out, *TINY, "--candidate", DEFAULT, MIXUP)
        finally:
            tensorflow.config.run_functions_eagerly(False)
    return out


def test_a_run_takes_a_row_per_candidate_and_split(finished):
    rows = read_rows(finished / "recipe.csv")
    assert [(row["candidate"], row["split"]) for row in rows] == [
        (DEFAULT, "2 folds"),
        (DEFAULT, "by source"),
        (MIXUP, "2 folds"),
        (MIXUP, "by source"),
    ]
    assert {(row["network"], row["leads"], row["seed"]) for row in rows} == {
        ("measurements alone", "2", "0")
    }
    for row in rows:
        assert 0 <= float(row["AUROC"]) <= 1
        assert 0 <= float(row["AUPRC"]) <= 1
        assert -5 < float(row["Challenge metric"]) <= 1
    assert rows[0]["key"] == rows[2]["key"] != rows[1]["key"] == rows[3]["key"]
    # The mixed batches came to something else.
    assert any(rows[i][name] != rows[i + 2][name] for i in (0, 1) for name in FIGURES)


def test_a_finished_run_computes_nothing_again(finished, data, monkeypatch, capsys):
    narrow(monkeypatch, **FAST)
    monkeypatch.setattr(Bench, "scores", no_training)
    before = read_rows(finished / "recipe.csv")
    assert run(data, finished, *TINY, "--candidate", MIXUP) == before
    # What it is compared with is in the table, asked for or not.
    assert {line[:36].strip() for line in capsys.readouterr().out.splitlines()} >= {DEFAULT, MIXUP}


def test_rows_of_another_method_are_neither_taken_over_nor_tabled(
    finished, data, tmp_path, monkeypatch, scored, capsys
):
    there = read_rows(finished / "recipe.csv")
    write_rows(tmp_path / "recipe.csv", there, COLUMNS)
    # Without the simulated records that it had there.
    narrow(monkeypatch, n_simulated=0, **FAST)
    rows = run(data, tmp_path, *TINY, "--candidate", DEFAULT)
    assert scored == [(DEFAULT, 2, 0, 2), (DEFAULT, 2, 0, None)]
    assert rows[:4] == there
    assert [row["AUROC"] for row in rows[4:]] == ["0.1000", "0.2000"]
    assert rows[4]["key"] != rows[0]["key"]
    tabled = capsys.readouterr().out.split("2 leads, 2 folds")[1]
    assert f"{DEFAULT:36s}{'0.100':>32s}" in tabled
    assert MIXUP not in tabled


def test_a_run_that_is_cut_off_goes_on_where_it_was(data, tmp_path, monkeypatch, scored):
    scores, n_done = Bench.scores, 3

    def cut_off(*arguments):
        if len(scored) == n_done:
            raise KeyboardInterrupt
        return scores(*arguments)

    asked = ("--leads", "2", "--seeds", "0", "1", "--candidate", DEFAULT, MIXUP)
    monkeypatch.setattr(Bench, "scores", cut_off)
    with pytest.raises(SystemExit):
        run(data, tmp_path, *asked)
    there = read_rows(tmp_path / "recipe.csv")
    assert len(there) == n_done
    monkeypatch.setattr(Bench, "scores", scores)
    rows = run(data, tmp_path, *asked)
    assert rows[:n_done] == there
    assert len({tuple(row.values())[:5] for row in rows}) == len(rows) == len(scored) == 8


def test_a_write_that_is_cut_off_leaves_the_rows_before(tmp_path, monkeypatch):
    file = tmp_path / "recipe.csv"
    rows = [made_up_row(DEFAULT, seed, 0.5, 0.4, 0.3) for seed in range(3)]
    write_rows(file, rows, COLUMNS)
    assert read_rows(file) == rows

    def cut_off(self, rows):
        self.writer.writerow(["half a row"])
        raise KeyboardInterrupt

    monkeypatch.setattr(csv.DictWriter, "writerows", cut_off)
    with pytest.raises(KeyboardInterrupt):
        write_rows(file, rows[:1], COLUMNS)
    assert read_rows(file) == rows
    assert list(tmp_path.iterdir()) == [file]


# Keys -------------------------------------------------------------------------------------------


def test_a_key_changes_with_the_method_the_records_and_the_split(
    data, cache, tmp_path, monkeypatch
):
    own = Candidate()
    usual = bench(data, cache)
    # Records of the same names and sources.
    other = write_folder(tmp_path / "other", 10, prefix="T", fs=400.0)
    write_folder(other, 6, prefix="U", fs=400.0)
    # The same records, told apart as sources by their folders.
    moved = tmp_path / "moved"
    for source in "TU":
        (moved / source / "all").mkdir(parents=True)
        for path in data.glob(f"{source}*"):
            (moved / source / "all" / path.name).write_bytes(path.read_bytes())
    for path in (moved / "U" / "all").glob("*0003.*"):
        path.rename(moved / "T" / "all" / path.name)
    keys = [
        usual.key(own, 5),
        usual.key(own, 4),
        usual.key(own, None),
        usual.key(CANDIDATES["equal class weights"], 5),
        bench(data, cache, measured=True).key(own, 5),
        bench(data, cache, n_simulated=40).key(own, 5),
        bench(data, cache, n_simulated=41).key(own, 5),
        bench(data, cache, n_simulated=40, epochs=1).key(own, 5),
        bench(other, cache).key(own, 5),
        bench(moved, cache).key(own, 5),
    ]
    assert bench(data, cache).key(own, 5) == keys[0]
    # At most ten epochs are what the method has anyway.
    assert bench(data, cache, epochs=10).key(own, 5) == keys[0]
    narrow(monkeypatch)
    keys.append(bench(data, cache).key(own, 5))
    assert len(set(keys)) == len(keys)


def test_presets_have_keys_of_their_own(data, cache):
    keys = {
        bench(data, cache, preset=preset).key(CANDIDATES[name], 5)
        for preset in ("full", "demo")
        for name in (DEFAULT, "as published")
    }
    assert len(keys) == 4
    published = CANDIDATES["as published"]
    demo = bench(data, cache, preset="demo")
    assert bench(data, cache, preset="demo", n_simulated=40).key(published, 5) == demo.key(
        published, 5
    )


def test_candidates_that_come_to_the_same_are_left_out(data, tmp_path, scored, capsys):
    # The preset has no simulated records unless it is told.
    names = ("without pre-training", "twice the simulated records", MIXUP, DEFAULT)
    asked = ("--leads", "2", "--seeds", "0", "--candidate", *names)
    run(data, tmp_path, *asked)
    assert [name for name, *_ in scored] == [MIXUP, MIXUP, DEFAULT, DEFAULT]
    assert f"equal to the default: {', '.join(names[:2])}\n" in capsys.readouterr().out
    scored.clear()
    run(data, tmp_path, *asked, "--simulated", "40")
    assert [name for name, *_ in scored] == [name for name in names for _ in range(2)]


# Figures ----------------------------------------------------------------------------------------


def test_figures_are_means_over_folds_and_the_metric_of_all_records(data, cache, monkeypatch):
    narrow(monkeypatch, n_simulated=0)
    own, trained = bench(data, cache), []
    labels, sources = own.dataset.labels, own.dataset.sources
    random = np.random.default_rng(0)
    probabilities = random.random(labels.shape)
    outputs = probabilities > 0.5
    monkeypatch.setattr(
        recipe,
        "answer_dataset",
        lambda model, dataset, indices: (outputs[indices], probabilities[indices]),
    )

    def fit(trainer, dataset, kept, start):
        trained.append((kept, trainer.run.lead_set, trainer.run.seed))
        assert trainer.n_training == len(kept)

    def auroc(positions):
        parts = (values[positions] for values in (labels, outputs, probabilities))
        return score(*parts, read_weights()).summary["AUROC"]

    everything, metric = np.arange(16), challenge_metric(labels, outputs, read_weights())
    monkeypatch.setattr(recipe, "MIN_SOURCE_RECORDS", 7)
    candidate = Candidate(trainer=trainer_of, fit=fit)
    found = own.scores(candidate, 3, 1, None)
    assert [kept.tolist() for kept, *_ in trained] == [
        np.flatnonzero(sources == source).tolist() for source in ("U", "T")
    ]
    assert [(lead_set, seed) for _, lead_set, seed in trained] == [(3, 1), (3, 1)]
    assert found["AUROC"] == pytest.approx(auroc(np.flatnonzero(sources == "T")))
    assert found["Challenge metric"] == pytest.approx(metric)
    monkeypatch.setattr(recipe, "MIN_SOURCE_RECORDS", 17)
    assert np.isnan(own.scores(candidate, 3, 1, None)["AUROC"])
    trained.clear()
    found = own.scores(candidate, 2, 0, 4)
    held_out = [np.setdiff1d(everything, kept) for kept, *_ in trained]
    assert sorted(np.concatenate(held_out)) == everything.tolist()
    assert found["AUROC"] == pytest.approx(np.mean([auroc(positions) for positions in held_out]))
    assert found["Challenge metric"] == pytest.approx(metric)


def test_folds_go_on_from_one_start_for_all_candidates_that_share_it(data, cache, monkeypatch):
    narrow(monkeypatch)
    own, starts, given = bench(data, cache), [], []
    monkeypatch.setattr(recipe, "simulated_for", lambda method, *_: own.dataset)
    monkeypatch.setattr(
        recipe,
        "answer_dataset",
        lambda model, dataset, indices: (dataset.labels[indices], dataset.labels[indices] / 2),
    )

    def pretrain(trainer, simulated):
        starts.append(trainer.run)
        assert trainer.n_training == len(own.dataset)
        return SimpleNamespace(number=len(starts))

    monkeypatch.setattr(recipe, "Trainer", trainer_of)
    monkeypatch.setattr(recipe, "pretrain", pretrain)

    def fit(trainer, dataset, kept, start):
        given.append(start.number)

    default = Candidate(trainer=trainer_of, fit=fit)
    own.scores(default, 2, 0, 2)
    own.scores(replace(default, change=CANDIDATES["twice the epochs"].change), 2, 0, 2)
    assert given == [1] * 4
    own.scores(replace(default, change=CANDIDATES["equal class weights"].change), 2, 0, 2)
    own.scores(replace(default, change=CANDIDATES["age and sex"].change), 2, 0, 2)
    own.scores(default, 2, 1, 2)
    own.scores(default, 3, 0, 2)
    assert given[4:] == [2, 2, 3, 3, 4, 4, 5, 5]


def test_the_table_has_means_spreads_and_differences_seed_by_seed():
    rows = [
        *(made_up_row(DEFAULT, seed, 0.80 + 0.1 * seed, 0.5, 0.3) for seed in range(3)),
        # +.01, +.02, +.03: mean .02, SE .0058. The AUPRC: +.1, -.1, 0. The metric: as it is.
        made_up_row(MIXUP, 0, 0.81, 0.6, 0.3),
        made_up_row(MIXUP, 1, 0.92, 0.4, 0.3),
        made_up_row(MIXUP, 2, 1.03, 0.5, 0.3),
        made_up_row("age and sex", 1, 0.85, np.nan, 0.31),
        made_up_row("age and sex", 7, 0.75, np.nan, 0.33),
        made_up_row(DEFAULT, 0, 0.1, 0.2, 0.3, split="by source"),
        made_up_row(MIXUP, 0, 0.2, 0.1, 0.4, split="by source"),
        made_up_row("half the epochs", 0, 0.2, 0.1, 0.4, split="leave one out"),
    ]
    lines = [
        [line[:36].strip(), *(line[start : start + 32].strip() for start in (36, 68, 100))]
        for line in table(rows).splitlines()
    ]
    assert lines == [
        ["", "", "", ""],
        ["demo, 2 leads, 5 folds", "", "", ""],
        ["", *FIGURES],
        [DEFAULT, "0.900 ± 0.100", "0.500 ± 0.000", "0.300 ± 0.000"],
        [
            MIXUP,
            "0.920 ± 0.110 (+0.020 ± 0.006*)",
            "0.500 ± 0.100 (+0.000 ± 0.058)",
            "0.300 ± 0.000",
        ],
        ["age and sex", "0.800 ± 0.071 (-0.050)", "nan ± nan", "0.320 ± 0.014 (+0.010)"],
        ["", "", "", ""],
        ["demo, 2 leads, by source", "", "", ""],
        ["", *FIGURES],
        [DEFAULT, "0.100", "0.200", "0.300"],
        [MIXUP, "0.200 (+0.100)", "0.100 (-0.100)", "0.400 (+0.100)"],
        ["", "", "", ""],
        ["demo, 2 leads, leave one out", "", "", ""],
        ["", *FIGURES],
        ["half the epochs", "0.200", "0.100", "0.400"],
    ]


# Errors -----------------------------------------------------------------------------------------


def error_of(capsys, *arguments) -> str:
    """The one line that says why the command ended."""
    with pytest.raises(SystemExit) as error:
        recipe.main([str(argument) for argument in arguments])
    if isinstance(error.value.code, str):
        message = error.value.code
    else:
        assert error.value.code == 2
        message = capsys.readouterr().err.split("error: ")[1].removesuffix("\n")
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--folds", "1"), "--folds: expected a whole number from 2 to 4294967295, found '1'"),
        (("--seeds", "-1"), "--seeds: expected"),
        (("--seeds", "0.5"), "--seeds: expected a whole number from 0 to 4294967295, found '0.5'"),
        (
            ("--simulated", "0"),
            "--simulated: expected a whole number from 1 to 4294967295, found '0'",
        ),
        (("--leads", "5"), "--leads: invalid choice"),
        (("--jobs", "2"), "unrecognized arguments: --jobs 2"),
    ],
)
def test_wrong_arguments_end_in_one_line(arguments, expected, data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Bench, "scores", no_training)
    assert expected in error_of(capsys, data, tmp_path, *arguments)


def test_an_unknown_candidate_is_answered_with_the_known_ones(data, tmp_path, capsys):
    message = error_of(capsys, data, tmp_path, "--candidate", DEFAULT, "mix-up")
    assert message.endswith("found 'mix-up'")
    assert all(repr(name) in message for name in CANDIDATES)
    message = error_of(capsys, data, tmp_path, "--measurements", "--candidate", "half the width")
    assert message.endswith("found 'half the width'")
    assert repr(MIXUP) in message
    assert not any(repr(name) in message.rpartition("found")[0] for name in NEEDS_SIGNAL)


def test_all_candidates_with_a_meaning_are_the_default(data, tmp_path, scored):
    run(data, tmp_path, "--leads", "2", "--seeds", "0", "--measurements", "--simulated", "40")
    asked = {name for name, *_ in scored}
    assert asked == set(CANDIDATES) - set(NEEDS_SIGNAL)


def test_records_that_cannot_be_split_end_in_one_line(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Bench, "scores", no_training)
    missing, out = tmp_path / "missing", tmp_path / "out"
    assert str(missing) in error_of(capsys, missing, out)
    alone = write_folder(tmp_path / "alone", 4)
    assert "at least 2 sources, found 'T' alone" in error_of(capsys, alone, out, "--folds", "2")
    assert "expected 2 to 16 folds" in error_of(capsys, data, out, "--folds", "17")


def test_records_that_cannot_be_trained_on_end_in_one_line(data, tmp_path, capsys, monkeypatch):
    def scores(*arguments):
        raise DatasetError("none of 3 records fits")

    monkeypatch.setattr(Bench, "scores", scores)
    assert error_of(capsys, data, tmp_path) == "benchmarks.recipe: none of 3 records fits"


def test_settings_that_the_recipe_is_not_for_end_in_one_line(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("ECG_METHOD", "mtfnet")
    assert "expected multiscale_se, found mtfnet" in error_of(capsys, data, tmp_path)
    monkeypatch.delenv("ECG_METHOD")
    monkeypatch.setenv("ECG_EPOCHS", "none")
    assert "ECG_EPOCHS: expected" in error_of(capsys, data, tmp_path)


@pytest.mark.parametrize("content", ["", "candidate,AUROC\nas it is,0.5\n", "half"])
def test_a_file_of_another_kind_is_left_alone(content, data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Bench, "scores", no_training)
    file = tmp_path / "recipe.csv"
    if content == "half":
        write_rows(file, [made_up_row(DEFAULT, 0, 0.5, 0.4, 0.3)], COLUMNS)
        content = file.read_text()[:-6]
    file.write_text(content)
    assert f"{file}: expected rows of candidate, network" in error_of(capsys, data, tmp_path)
    assert file.read_text() == content


def test_the_help_tells_all_options(capsys):
    with pytest.raises(SystemExit) as end:
        recipe.main(["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    options = ("leads", "seeds", "folds", "candidate", "measurements", "simulated")
    assert all(f"--{option}" in text for option in options)
