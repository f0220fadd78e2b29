import pickle
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from ecg.evaluation import folds
from ecg.evaluation.folds import (
    Fold,
    Split,
    plan_fold,
    read_fold_outputs,
    run_fold,
    split_dataset,
)
from ecg.models.devices import find_devices
from ecg.records.diagnoses import read_weights
from ecg.records.metrics import score
from ecg.training.dataset import prepare_dataset
from ecg.training.fit import Start, TrainingRun
from ecg.training.pretraining import (
    Pretraining,
    keep_pretrained,
    plan_pretraining,
    run_pretraining,
    simulated_dataset,
)
from tests.narrow import narrow_method
from tests.synthetic import write_folder

METHOD = narrow_method("multiscale_se", n_simulated=12)
RUN = TrainingRun(METHOD, 3, 7)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Four records of one source, eight of another."""
    folder = tmp_path_factory.mktemp("two_sources")
    write_folder(folder / "data" / "ningbo", 4, prefix="JS")
    write_folder(folder / "data" / "ptb" / "g1", 8, prefix="S")
    return prepare_dataset(folder / "data", METHOD.preparation, folder, workers=1)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    return simulated_dataset(12, METHOD.preparation, tmp_path_factory.mktemp("cache"), workers=1)


@pytest.fixture
def fold(dataset, tmp_path):
    file = tmp_path / "answers.npz"
    held_out = np.array([1, 5, 9])
    kept = np.setdiff1d(np.arange(12), held_out)
    return Fold(RUN, "published", Split("2", kept, held_out), dataset.folder, file)


@pytest.fixture
def calls(monkeypatch):
    """What training and answering were given; the answers are made up."""
    calls = []

    def trainer(run, devices, n_training):
        return run, n_training

    def fit(trainer, dataset, indices, start):
        calls.append((trainer, dataset.names[indices].tolist(), start))
        return SimpleNamespace(
            training_log={"epochs": 5, "best_epoch": 3, "history": {}},
            decision=SimpleNamespace(temperature=1.25),
        )

    def answer_dataset(model, dataset, indices):
        calls.append(dataset.names[indices].tolist())
        probabilities = np.random.default_rng(0).random((len(indices), 26))
        return probabilities > 0.8, probabilities

    monkeypatch.setattr(folds, "Trainer", trainer)
    monkeypatch.setattr(folds, "fit", fit)
    monkeypatch.setattr(folds, "answer_dataset", answer_dataset)
    return calls


def test_every_record_is_held_out_once(dataset):
    splits = split_dataset(dataset, 3, seed=0)
    assert [split.name for split in splits] == ["1", "2", "3"]
    assert sorted(np.concatenate([split.held_out for split in splits])) == list(range(12))
    for split in splits:
        held_out = split.held_out
        assert sorted([*split.kept, *held_out]) == list(range(12))
        # Three records of each of four diagnoses: one in each fold.
        assert (dataset.labels[held_out].sum(axis=0) == dataset.labels.sum(axis=0) / 3).all()


def test_the_split_follows_from_the_seed(dataset):
    held_out = [
        np.concatenate([split.held_out for split in split_dataset(dataset, 3, seed)]).tolist()
        for seed in (0, 0, 1)
    ]
    assert held_out[0] == held_out[1] != held_out[2]


def test_a_source_is_left_out_at_a_time(dataset):
    splits = split_dataset(dataset, None, seed=0)
    assert [split.name for split in splits] == ["ningbo", "ptb"]
    for split in splits:
        assert set(dataset.sources[split.held_out]) == {split.name}
        assert set(dataset.sources[split.kept]) == {"ningbo", "ptb"} - {split.name}
        assert len(split.kept) + len(split.held_out) == 12


def test_too_few_records_or_sources_are_refused(dataset):
    for n_folds in (1, 13):
        with pytest.raises(ValueError, match=f"expected 2 to 12 folds .*found {n_folds}"):
            split_dataset(dataset, n_folds, seed=0)
    one = replace(dataset, sources=np.full(12, "ptb"))
    with pytest.raises(ValueError, match="at least 2 sources, found 'ptb' alone"):
        split_dataset(one, None, seed=0)


def test_a_folds_file_has_a_readable_name(dataset, tmp_path):
    split = Split("ptb", np.arange(4), np.arange(4, 12))
    fold = plan_fold(tmp_path, RUN, "without_se", split, dataset, None)
    assert (fold.run, fold.variant, fold.split) == (RUN, "without_se", split)
    file = fold.file
    assert file.parent == tmp_path
    assert file.name.startswith("multiscale_se.without_se.3_leads.seed7.fold_ptb.")
    assert file.suffix == ".npz"


def test_a_folds_file_changes_with_all_that_its_answers_depend_on(dataset, simulated, tmp_path):
    longer = replace(METHOD, training=replace(METHOD.training, epochs=99))
    others = (simulated, replace(simulated, fingerprint="other"))
    start, other_start = (
        plan_pretraining(tmp_path, RUN, other, 12, find_devices()) for other in others
    )
    others = [
        (METHOD, 3, 7, dataset, np.arange(4), None),
        (longer, 3, 7, dataset, np.arange(4), None),
        (METHOD, 2, 7, dataset, np.arange(4), None),
        (METHOD, 3, 8, dataset, np.arange(4), None),
        (METHOD, 3, 7, dataset, np.arange(5), None),
        (METHOD, 3, 7, dataset, np.arange(1, 5), None),
        (METHOD, 3, 7, replace(dataset, fingerprint="other"), np.arange(4), None),
        (METHOD, 3, 7, replace(dataset, sources=dataset.sources[::-1]), np.arange(4), None),
        (METHOD, 3, 7, dataset, np.arange(4), start),
        (METHOD, 3, 7, dataset, np.arange(4), other_start),
    ]

    def key(method, lead_set, seed, dataset, kept, start):
        run, split = TrainingRun(method, lead_set, seed), Split("1", kept, kept)
        fold = plan_fold(tmp_path, run, "published", split, dataset, start)
        return fold.file.name.split(".")[-2]

    assert len({key(*other) for other in others}) == len(others)
    assert key(*others[0]) == key(*others[0])


def test_a_fold_is_trained_on_what_is_kept_and_answers_what_is_held_out(fold, dataset, calls):
    run_fold(fold)
    assert calls == [
        ((RUN, 9), dataset.names[fold.split.kept].tolist(), None),
        dataset.names[fold.split.held_out].tolist(),
    ]
    answers = read_fold_outputs(fold.file)
    np.testing.assert_array_equal(answers.names, dataset.names[fold.split.held_out])
    np.testing.assert_array_equal(answers.labels, dataset.labels[fold.split.held_out])
    probabilities = np.random.default_rng(0).random((3, 26))
    np.testing.assert_array_equal(answers.probabilities, probabilities)
    np.testing.assert_array_equal(answers.outputs, probabilities > 0.8)
    assert answers.outputs.dtype == answers.labels.dtype == bool
    assert answers.training.pop("seconds") >= 0
    assert answers.training == {"epochs": 5, "best_epoch": 3, "temperature": 1.25}
    assert list(fold.file.parent.iterdir()) == [fold.file]


def test_a_fold_has_the_scores_of_both_years(fold, calls):
    run_fold(fold)
    answers = read_fold_outputs(fold.file)
    expected = score(answers.labels, answers.outputs, answers.probabilities, read_weights())
    for name, value in expected.summary.items():
        np.testing.assert_equal(answers.scores[name], value)
    assert list(answers.scores)[-2:] == ["F-beta", "G-beta"]
    assert 0 <= answers.scores["G-beta"] <= answers.scores["F-beta"] <= 1


def test_a_fold_that_fails_leaves_no_file(fold, calls, monkeypatch):
    def break_off(file, **arrays):
        file.write_bytes(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", break_off)
    with pytest.raises(KeyboardInterrupt):
        run_fold(fold)
    assert not list(fold.file.parent.iterdir())


@pytest.fixture
def first(simulated, tmp_path) -> Pretraining:
    return plan_pretraining(tmp_path, RUN, simulated, 12, find_devices())


def test_a_fold_goes_on_from_its_pretraining(fold, first, calls):
    made = Start([np.full((i, 2), i, np.float32) for i in range(3)], np.linspace(0, 1, 26))
    keep_pretrained(made, first.file)
    run_fold(replace(fold, pretraining=first))
    given = calls[0][-1]
    np.testing.assert_array_equal(given.prevalence, made.prevalence)
    for one, expected in zip(given.weights, made.weights, strict=True):
        np.testing.assert_array_equal(one, expected)
        assert one.dtype == expected.dtype


def test_a_fold_without_its_pretraining_is_not_trained(fold, first, calls):
    with pytest.raises(OSError, match="expected a pretraining"):
        run_fold(replace(fold, pretraining=first))
    assert not calls
    assert not fold.file.exists()


@pytest.mark.training
@pytest.mark.usefixtures("without_graphs")
def test_a_fold_is_trained_on_simulated_and_real_records(fold, first):
    run_pretraining(first)
    run_fold(replace(fold, pretraining=first))
    answers = read_fold_outputs(fold.file)
    assert answers.training["epochs"] == 1
    assert np.isfinite(answers.probabilities).all()
    assert answers.outputs.any(axis=1).all()
    assert {path.name for path in fold.file.parent.iterdir()} == {fold.file.name, first.file.name}


def test_folds_and_pretrainings_can_be_sent_to_another_process(fold, first):
    sent = pickle.loads(pickle.dumps(replace(fold, pretraining=first)))
    assert sent.pretraining == first
    assert hash(sent.pretraining) == hash(first)
    assert sent.run == fold.run
    np.testing.assert_array_equal(sent.split.kept, fold.split.kept)
