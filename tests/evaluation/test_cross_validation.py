import csv
import os
import signal
import subprocess
import sys
import time
import zlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from ecg import cross_validation
from ecg.evaluation import comparison, folds
from ecg.evaluation.folds import read_fold_outputs
from ecg.models.method import SizeStep
from ecg.models.training_options import PretrainingOptions
from ecg.records.diagnoses import read_weights
from ecg.records.metrics import score
from ecg.training import pretraining
from ecg.training.dataset import DatasetError
from ecg.training.fit import Start
from tests.conftest import ROOT
from tests.narrow import narrow_method
from tests.synthetic import write_folder

TWO_FOLDS = ("--leads", "2", "--folds", "2")
TRAINED = ("--method", "branched_se", *TWO_FOLDS)
QUICK = {"ECG_PRESET": "demo", "ECG_EPOCHS": "1", "ECG_WORKERS": "1"}


def rows_of(out, *left_out) -> list[dict]:
    with open(out / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return [{name: row[name] for name in row if name not in left_out} for row in rows]


def fold_names(out) -> list[str]:
    return sorted(path.name for path in (out / "folds").iterdir() if ".fold_" in path.name)


def start_names(out) -> list[str]:
    """The files of the pre-trainings, by their readable part."""
    names = (path.name for path in (out / "folds").glob("pretrained-*"))
    return sorted(name.removeprefix("pretrained-").rsplit(".", 2)[0] for name in names)


def run(data, out, *arguments) -> None:
    cross_validation.main([str(data), str(out), *arguments])


@pytest.fixture(autouse=True)
def settings(monkeypatch):
    for name, text in QUICK.items():
        monkeypatch.setenv(name, text)


@pytest.fixture(scope="module")
def whole(training_folder, tmp_path_factory):
    """What a run of two folds that trains wrote."""
    out = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        for name, text in QUICK.items():
            patch.setenv(name, text)
        run(training_folder, out, *TRAINED)
    return out


@pytest.mark.contract
def test_every_record_is_answered_out_of_fold_and_scored(whole):
    answers = [read_fold_outputs(whole / "folds" / name) for name in fold_names(whole)]
    names = np.concatenate([fold.names for fold in answers])
    assert sorted(names) == [f"T12{i:04d}" for i in range(16)]
    rows = rows_of(whole)
    assert [row["fold"] for row in rows] == [
        *("1", "2", "mean", "together", "mean", "SD over folds")
    ]
    assert {(row["method"], row["variant"], row["leads"]) for row in rows} == {
        ("branched_se", "default", "2")
    }
    labels, outputs, probabilities = (
        np.concatenate([getattr(fold, part) for fold in answers])
        for part in ("labels", "outputs", "probabilities")
    )
    assert len(np.unique(probabilities)) > 100
    expected = score(labels, outputs, probabilities, read_weights()).summary
    for name, value in expected.items():
        assert float(rows[3][name]) == round(value, 4)
    # The prepared arrays were temporary.
    assert {path.name for path in whole.iterdir()} == {"folds", "scores.csv", "tables.txt"}


@pytest.mark.contract
def test_the_papers_table_holds_the_mean_and_spread(whole):
    text = (whole / "tables.txt").read_text()
    assert "2 folds, preset demo; most epochs: branched_se default 1." in text
    mean, spread = (float(row["Challenge metric"]) for row in rows_of(whole)[-2:])
    assert f"{mean:.3f} ± {spread:.3f}" in text
    assert "CQUPT_Dontwant, Computing in Cardiology 2021, table" in text
    assert "AIRCAS_MEL1" not in text


@pytest.mark.nightly
def test_a_killed_run_goes_on_to_the_same_scores(whole, training_folder, tmp_path):
    command = subprocess.Popen(
        [sys.executable, "-m", "ecg.cross_validation", training_folder, tmp_path, *TRAINED],
        env=os.environ | QUICK,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 300
        while not list(tmp_path.glob("folds/[!.]*.npz")):
            assert command.poll() is None
            assert time.monotonic() < until
            time.sleep(0.02)
    finally:
        command.send_signal(signal.SIGKILL)
        command.wait()
    (first,) = tmp_path.glob("folds/[!.]*.npz")
    assert not (tmp_path / "scores.csv").exists()
    written = first.stat().st_mtime_ns
    run(training_folder, tmp_path, *TRAINED)
    assert first.stat().st_mtime_ns == written
    assert fold_names(tmp_path) == fold_names(whole)
    assert rows_of(tmp_path, "seconds") == rows_of(whole, "seconds")
    assert (tmp_path / "tables.txt").read_text() == (whole / "tables.txt").read_text()


@pytest.mark.nightly
def test_two_folds_at_a_time_are_the_same_folds(whole, training_folder, tmp_path):
    run(training_folder, tmp_path, *TRAINED, "--jobs", "2")
    assert fold_names(tmp_path) == fold_names(whole)
    for name in fold_names(whole):
        given, expected = (read_fold_outputs(out / "folds" / name) for out in (tmp_path, whole))
        np.testing.assert_array_equal(given.names, expected.names)
        # Another number of cores adds in another order.
        np.testing.assert_allclose(given.probabilities, expected.probabilities, atol=1e-3)
    assert [row["fold"] for row in rows_of(tmp_path)] == [row["fold"] for row in rows_of(whole)]


@pytest.fixture
def trained(monkeypatch):
    """(method, lead set, seed, number of records) of each training of this process, which answers
    at once, by these facts alone; those in `fails` raise what stands there. starts: what each went
    on from. pretrainings: (method, lead set, seed, number of records) of each."""
    seen = SimpleNamespace(fits=[], fails={}, at_once=[], starts=[], pretrainings=[])

    def run_jobs(function, jobs, n_at_once, client):
        assert client is None
        seen.at_once.append(n_at_once)
        for job in jobs:
            yield job, function(job)

    def trainer(run, devices, n_training):
        return run.method, run.lead_set, run.seed

    def pretrain(trainer, simulated):
        _, lead_set, seed = trainer
        seen.pretrainings.append((*trainer, len(simulated)))
        return Start([np.full(3, seed), np.full((2, lead_set), 7)], np.full(26, 0.1))

    def fit(trainer, dataset, indices, start):
        if len(seen.fits) in seen.fails:
            raise seen.fails.pop(len(seen.fits))
        seen.fits.append((*trainer, len(indices)))
        seen.starts.append(start)
        return SimpleNamespace(
            training_log={"epochs": 1, "best_epoch": 1},
            decision=SimpleNamespace(temperature=1.0),
            key=(*trainer, indices.tolist()),
        )

    def answer_dataset(model, dataset, indices):
        random = np.random.default_rng(zlib.crc32(repr(model.key).encode()))
        probabilities = random.random((len(indices), 26))
        return probabilities > 0.7, probabilities

    monkeypatch.setattr(comparison, "run_jobs", run_jobs)
    for module in (folds, pretraining):
        monkeypatch.setattr(module, "Trainer", trainer)
    monkeypatch.setattr(pretraining, "pretrain", pretrain)
    monkeypatch.setattr(folds, "fit", fit)
    monkeypatch.setattr(folds, "answer_dataset", answer_dataset)
    return seen


def test_a_run_that_broke_off_goes_on_to_the_same_scores(training_folder, tmp_path, trained):
    arguments = ("--leads", "12", "2", "--folds", "3", "--seeds", "4", "5")
    run(training_folder, tmp_path / "whole", *arguments)
    in_order = trained.fits[:]
    assert len(in_order) == 12
    trained.fits.clear()

    broken = tmp_path / "broken"
    for n_done in (1, 7):
        trained.fails[n_done] = KeyboardInterrupt()
        with pytest.raises(SystemExit):
            run(training_folder, broken, *arguments)
        assert len(fold_names(broken)) == n_done
        assert not (broken / "scores.csv").exists()
    run(training_folder, broken, *arguments)
    assert trained.fits == in_order
    assert fold_names(broken) == fold_names(tmp_path / "whole")
    assert rows_of(broken, "seconds") == rows_of(tmp_path / "whole", "seconds")
    assert (broken / "tables.txt").read_bytes() == (tmp_path / "whole/tables.txt").read_bytes()

    # A third call has nothing to train; a longer one only what is new.
    run(training_folder, broken, *arguments)
    assert len(trained.fits) == 12
    run(training_folder, broken, "--leads", "12", "--folds", "3", "--seeds", "4", "5", "6")
    assert [(lead_set, seed) for _, lead_set, seed, _ in trained.fits[12:]] == [(12, 6)] * 3


def test_all_lead_sets_seeds_and_variants_share_the_split(training_folder, tmp_path, trained):
    arguments = ("--leads", "12", "2", "--folds", "2", "--seeds", "1", "2", "--variant", "all")
    run(training_folder, tmp_path, *arguments)
    held_out = {}
    for name in fold_names(tmp_path):
        number = name.split(".fold_")[1][0]
        held_out.setdefault(number, set()).add(
            tuple(read_fold_outputs(tmp_path / "folds" / name).names)
        )
    assert {number: len(names) for number, names in held_out.items()} == {"1": 1, "2": 1}


@pytest.fixture
def simulating(monkeypatch):
    """All methods are narrow, the default one with 12 simulated records before the real ones."""

    def find(name, preset, variant):
        method = narrow_method(name, 12 if name == "multiscale_se" else 0)
        if name == "multiscale_se" and variant != "default":
            network = replace(method.network, measured_width=None)
            method = replace(method, network=network, pretraining=PretrainingOptions())
        return method

    monkeypatch.setattr(comparison, "find_method", find)


def test_a_pretraining_is_made_once_for_all_folds_of_a_lead_set_and_seed(
    training_folder, tmp_path, trained, simulating
):
    method = narrow_method("multiscale_se", 12)
    what = ("--folds", "2", "--leads", "12", "2", "--seeds")
    run(training_folder, tmp_path, *what, "4", "5")
    pairs = [(12, 4), (12, 5), (2, 4), (2, 5)]
    assert trained.pretrainings == [(method, *pair, 12) for pair in pairs]
    assert start_names(tmp_path) == [
        f"multiscale_se.{lead_set}_leads.seed{seed}" for lead_set, seed in sorted(pairs, key=str)
    ]
    assert len(fold_names(tmp_path)) == len(trained.fits) == 8
    for (_, lead_set, seed, _), start in zip(trained.fits, trained.starts, strict=True):
        np.testing.assert_array_equal(start.weights[0], np.full(3, seed))
        assert start.weights[1].shape == (2, lead_set)
        np.testing.assert_array_equal(start.prevalence, np.full(26, 0.1))

    # Another call has nothing to make; one that lacks folds makes these alone.
    run(training_folder, tmp_path, *what, "4", "5")
    assert (len(trained.pretrainings), len(trained.fits)) == (4, 8)
    for name in fold_names(tmp_path)[:3]:
        (tmp_path / "folds" / name).unlink()
    run(training_folder, tmp_path, *what, "4", "5")
    assert (len(trained.pretrainings), len(trained.fits)) == (4, 11)
    run(training_folder, tmp_path, *what, "6")
    assert trained.pretrainings[4:] == [(method, 12, 6, 12), (method, 2, 6, 12)]
    # The simulated records were temporary.
    assert {path.name for path in tmp_path.iterdir()} == {"folds", "scores.csv", "tables.txt"}


def test_without_a_fold_to_train_no_pretraining_is_made(
    training_folder, tmp_path, trained, simulating
):
    run(training_folder, tmp_path, *TWO_FOLDS)
    for path in (tmp_path / "folds").glob("pretrained-*"):
        path.unlink()
    run(training_folder, tmp_path, *TWO_FOLDS)
    assert len(trained.pretrainings) == 1
    assert not start_names(tmp_path)


def test_a_run_that_broke_off_keeps_its_pretraining(training_folder, tmp_path, trained, simulating):
    trained.fails[1] = KeyboardInterrupt()
    with pytest.raises(SystemExit):
        run(training_folder, tmp_path, *TWO_FOLDS)
    run(training_folder, tmp_path, *TWO_FOLDS)
    assert (len(trained.pretrainings), len(trained.fits)) == (1, 2)


def test_the_default_is_pretrained_and_what_is_published_is_not(
    training_folder, tmp_path, trained, simulating
):
    arguments = (*TWO_FOLDS, "--method", "multiscale_se", "mtfnet")
    run(training_folder, tmp_path, *arguments, "--variant", "default", "published")
    rows = rows_of(tmp_path)
    named = list(dict.fromkeys((row["method"], row["variant"]) for row in rows))
    # MTFNet is as published.
    default = ("multiscale_se", "default")
    assert named == [default, ("multiscale_se", "published"), ("mtfnet", "default")]
    assert [start is not None for start in trained.starts] == [True] * 2 + [False] * 4
    assert len(trained.pretrainings) == 1
    methods = list(dict.fromkeys(method for method, *_ in trained.fits))
    assert methods[1].pretraining.n_records == 0
    assert methods[1].network.measured_width is None
    # Each has its own line of the paper's table 1.
    text = (tmp_path / "tables.txt").read_text()
    for variant, above in (
        ("default", "with this project's changes"),
        ("published", "5-fold cross validation"),
    ):
        (mean,) = [
            float(row["Challenge metric"])
            for row in rows
            if (row["method"], row["variant"]) == ("multiscale_se", variant)
            and (row["seed"], row["fold"]) == ("all", "mean")
        ]
        here = text.split(above)[1].splitlines()[1]
        assert here.split()[0] == "here"
        assert f"{mean:.3f} ± " in here


def test_the_epochs_asked_for_cap_every_variant(training_folder, tmp_path, trained, monkeypatch):
    monkeypatch.setenv("ECG_EPOCHS", "3")
    run(training_folder, tmp_path, *TWO_FOLDS, "--variant", "default", "published")
    assert len(trained.fits) == 4
    assert {method.training.epochs for method, *_ in trained.fits} == {3}


@pytest.mark.nightly
def test_folds_in_processes_of_their_own_go_on_from_a_pretraining(
    training_folder, tmp_path, simulating
):
    run(training_folder, tmp_path, *TWO_FOLDS)
    assert start_names(tmp_path) == ["multiscale_se.2_leads.seed0"]
    answers = [read_fold_outputs(tmp_path / "folds" / name) for name in fold_names(tmp_path)]
    assert sum(len(fold.names) for fold in answers) == 16
    assert {row["variant"] for row in rows_of(tmp_path)} == {"default"}


def test_one_source_is_left_out_at_a_time(tmp_path, trained):
    for source, prefix, n_records in (("ningbo", "JS", 4), ("ptb", "S", 5), ("g1", "A", 6)):
        write_folder(tmp_path / "data" / source, n_records, prefix=prefix)
    run(tmp_path / "data", tmp_path / "out", "--leads", "2", "--by-source")
    sources = ["A", "ningbo", "ptb"]
    assert [n_kept for _, _, _, n_kept in trained.fits] == [9, 11, 10]
    assert [row["fold"] for row in rows_of(tmp_path / "out")][:3] == sources
    for name, prefix in zip(fold_names(tmp_path / "out"), ("A", "JS", "S"), strict=True):
        names = read_fold_outputs(tmp_path / "out" / "folds" / name).names
        assert {record.rstrip("0123456789") for record in names} == {prefix}
    assert "one source left out at a time" in (tmp_path / "out" / "tables.txt").read_text()


def test_folds_of_any_size_have_the_recipe_of_their_mean(tmp_path, trained, monkeypatch):
    for source, prefix, n_records in (("ningbo", "JS", 4), ("ptb", "S", 5), ("g1", "A", 6)):
        write_folder(tmp_path / "data" / source, n_records, prefix=prefix)
    monkeypatch.delenv("ECG_EPOCHS")
    methods = {}
    for n_records in (10, 11):
        method = narrow_method("multiscale_se")
        longer = replace(method.training, epochs=7)
        method = replace(method, by_size=(SizeStep(n_records, method.network, longer),))
        monkeypatch.setattr(comparison, "find_method", lambda *_, method=method: method)
        out = tmp_path / f"from {n_records}"
        run(tmp_path / "data", out, "--leads", "2", "--by-source")
        methods[n_records] = {method for method, *_ in trained.fits[-3:]}
        epochs = 7 if n_records == 10 else 1
        assert f"most epochs: multiscale_se default {epochs}." in (out / "tables.txt").read_text()
    assert [n_kept for *_, n_kept in trained.fits[:3]] == [9, 11, 10]
    assert [len(of_folds) for of_folds in methods.values()] == [1, 1]
    assert [method.training.epochs for (method,) in methods.values()] == [7, 1]


def test_a_variant_is_trained_as_its_row_of_the_table_says(training_folder, tmp_path, trained):
    run(training_folder, tmp_path, *TWO_FOLDS, "--variant", "without_se")
    assert {method.network.squeeze_ratio for method, *_ in trained.fits} == {None}
    assert {row["variant"] for row in rows_of(tmp_path)} == {"without_se"}
    here = f"{float(rows_of(tmp_path)[-2]['Challenge metric']):.3f} ± "
    tables = (tmp_path / "tables.txt").read_text().split("\n\n")
    # Tables 2, 3 and 4 have that network; table 1 has not.
    assert sum(here in table for table in tables) == 3
    assert "table 1:" not in " ".join(tables)


def test_all_variants_of_all_methods_are_trained_once_each(training_folder, tmp_path, trained):
    run(training_folder, tmp_path, *TWO_FOLDS, "--method", "all", "--variant", "all")
    methods = [method for method, *_ in trained.fits]
    assert len(set(methods)) == len(methods) / 2
    rows = {(row["method"], row["variant"]) for row in rows_of(tmp_path)}
    assert len(rows) == len(set(methods))
    assert {("mtfnet", "channels_12"), ("antialiased_resnet18", "fs_60")} < rows
    assert ("mtfnet", "bilstm_2") not in rows  # the published one, as the demo's has two layers


def test_a_network_with_two_names_is_trained_once_and_stands_in_both_rows(
    training_folder, tmp_path, trained
):
    run(training_folder, tmp_path, "--method", "mtfnet", "--leads", "12", "--folds", "2")
    assert len(trained.fits) == 2
    here = f"{float(rows_of(tmp_path)[-2]['Challenge metric']):.3f} ± "
    table = (tmp_path / "tables.txt").read_text().partition("Layers of Bi-LSTM")[2].splitlines()
    # As published and as measured, of one to four layers.
    assert [here in line for line in table[1:9]] == [False] * 3 + [True] + [False] * 4


def test_the_number_of_jobs_is_handed_on(training_folder, tmp_path, trained):
    run(training_folder, tmp_path, *TWO_FOLDS)
    run(training_folder, tmp_path, *TWO_FOLDS, "--jobs", "3")
    assert list(dict.fromkeys(trained.at_once)) == [None, 3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--variant", "x", "without_se"],
            "ecg.cross_validation: --variant: expected all or some of default, first_branch, "
            "kernels_3_3_3, kernels_3_6_12, published, second_branch, third_branch, without_se; "
            "found x",
        ),
        (
            ["--method", "multiscale_se", "mtfnet", "--variant", "bilstm_1"],
            "ecg.cross_validation: --variant: expected some of default, published, without_se, "
            "kernels_3_3_3, kernels_3_6_12, first_branch, second_branch, third_branch for "
            "multiscale_se; found bilstm_1",
        ),
        (["--folds", "17"], "ecg.cross_validation: expected 2 to 16 folds"),
        (["--folds", "1"], "ecg.cross_validation: expected 2 to 16 folds"),
        (
            ["--by-source"],
            "ecg.cross_validation: expected records of at least 2 sources, found 'T'",
        ),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    training_folder, tmp_path, trained, arguments, message
):
    with pytest.raises(SystemExit) as caught:
        run(training_folder, tmp_path, "--leads", "2", *arguments)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert not trained.fits


def test_wrong_settings_folders_and_selections_are_said_in_one_line(
    training_folder, tmp_path, trained, monkeypatch
):
    def message(data):
        with pytest.raises(SystemExit) as caught:
            run(data, tmp_path / "out", *TWO_FOLDS)
        return str(caught.value)

    (tmp_path / "empty").mkdir()
    assert message(tmp_path / "empty").endswith("(NAME.hea beside NAME.mat), found none")
    assert "nowhere" in message(tmp_path / "nowhere")
    trained.fails[0] = DatasetError("none of 7 records fits")
    assert message(training_folder) == "ecg.cross_validation: none of 7 records fits"
    monkeypatch.setenv("ECG_SEED", "-1")
    assert message(training_folder).startswith("ecg.cross_validation: ECG_SEED: expected a whole")


def test_with_ecg_debug_an_error_keeps_its_traceback(
    training_folder, tmp_path, trained, monkeypatch
):
    monkeypatch.setenv("ECG_DEBUG", "1")
    trained.fails[1] = ValueError("shapes do not match")
    with pytest.raises(ValueError, match="shapes do not match"):
        run(training_folder, tmp_path, *TWO_FOLDS)


@pytest.mark.parametrize("jobs", ["0", "-1", "two"])
def test_a_number_of_jobs_below_one_is_refused(jobs, training_folder, tmp_path, trained, capsys):
    with pytest.raises(SystemExit):
        run(training_folder, tmp_path, *TWO_FOLDS, f"--jobs={jobs}")
    assert f"expected a whole number from 1, found '{jobs}'" in capsys.readouterr().err
