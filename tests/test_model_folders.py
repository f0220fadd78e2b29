from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from ecg import model_folders, pretraining
from ecg.corpus import CorpusError
from ecg.model_files import load_trained_model
from ecg.model_folders import train_model_folder
from ecg.settings import Settings
from tests.narrow import narrow_method, untrained_model


def models_of(*lead_sets) -> set[str]:
    return {f"{n}_leads{end}" for n in lead_sets for end in (".json", ".weights.h5")}


def names_in(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def pretrained(monkeypatch):
    """The method that is trained: narrow, on 24 simulated records before the real ones."""
    method = narrow_method("multiscale_se", n_simulated=24)
    monkeypatch.setattr(model_folders, "find_method", lambda name, preset: method)
    return method


@pytest.mark.usefixtures("without_graphs")
def test_a_folder_is_trained_on_simulated_records_first(
    pretrained, training_folder, tmp_path, capsys
):
    folder = tmp_path / "new" / "model"
    train_model_folder(training_folder, folder, Settings(lead_sets=(3, 2), seed=5))
    # The prepared arrays, real and simulated, were temporary.
    assert names_in(folder) == models_of(3, 2)
    for lead_set in (3, 2):
        model = load_trained_model(folder, lead_set)
        assert model.method == pretrained
        assert model.evidence["seed"] == 5
        first = model.evidence["start"]
        assert first["n_training"] + first["n_validation"] == 24
        assert first["data_fingerprint"] != model.evidence["data_fingerprint"]
        assert model.evidence["n_training"] + model.evidence["n_validation"] == 16
    printed, progress = capsys.readouterr()
    stages = [line.split(", epoch")[0] for line in printed.splitlines() if ", epoch 1/1" in line]
    name = "multiscale_se"
    assert stages == [
        *(f"{name}, simulated records, 3 leads", f"{name}, 3 leads"),
        *(f"{name}, simulated records, 2 leads", f"{name}, 2 leads"),
    ]
    assert progress.count("simulating records: 100%") == 1
    assert "16 records to train on, 0 left out" in printed
    assert "2 leads, on the 1 records set aside for its choices: AUROC" in printed
    assert printed.endswith(f"{folder}: no model yet for 12, 6, 4 leads\n")


@pytest.fixture
def trainings(monkeypatch):
    """(what, time limit, further facts) of each training, which takes as long as `take_s` says
    next; none is run, and the clock shows what they have taken."""
    seen = SimpleNamespace(calls=[], take_s=[], now_s=1000.0)

    def take(*call):
        seen.calls.append(call)
        seen.now_s += seen.take_s.pop(0) if seen.take_s else 1.0

    def pretrain(method, simulated, lead_set, seed, devices, time_limit_s):
        take("simulated", lead_set, time_limit_s, len(simulated), seed)
        return f"start of {lead_set} leads"

    def fit(method, corpus, indices, lead_set, seed, devices, time_limit_s, start):
        np.testing.assert_array_equal(indices, np.arange(len(corpus)))
        take("real", lead_set, time_limit_s, start, seed)
        evidence = {"validation_scores": {}, "validated_on_training_records": True}
        return replace(untrained_model("multiscale_se", lead_set), evidence=evidence)

    clock = SimpleNamespace(monotonic=lambda: seen.now_s)
    monkeypatch.setattr(model_folders, "time", clock)
    monkeypatch.setattr(model_folders, "pretrain", pretrain)
    monkeypatch.setattr(model_folders, "fit", fit)
    return seen


def test_the_time_is_shared_by_the_models_and_at_most_half_of_it_is_for_simulated_records(
    pretrained, training_folder, tmp_path, trainings
):
    trainings.take_s = [700.0, 100.0, 300.0, 50.0, 3000.0, 10.0]
    settings = Settings(lead_sets=(12, 6, 2), time_limit_h=1.0, seed=3)
    train_model_folder(training_folder, tmp_path, settings)
    assert trainings.calls == [
        ("simulated", 12, 600.0, 24, 3),  # half of a third of 3600 s
        ("real", 12, 500.0, "start of 12 leads", 3),  # what the first left of 1200 s
        ("simulated", 6, 700.0, 24, 3),  # half of a half of 2800 s
        ("real", 6, 1100.0, "start of 6 leads", 3),
        ("simulated", 2, 1225.0, 24, 3),  # half of 2450 s
        ("real", 2, -550.0, "start of 2 leads", 3),  # over, but not before one epoch
    ]
    assert names_in(tmp_path) == models_of(12, 6, 2)


def test_without_pretraining_the_training_has_all_the_time(
    training_folder, tmp_path, trainings, monkeypatch
):
    method = narrow_method("multiscale_se")
    monkeypatch.setattr(model_folders, "find_method", lambda name, preset: method)
    settings = Settings(lead_sets=(4, 3), time_limit_h=0.1)
    train_model_folder(training_folder, tmp_path, settings)
    assert trainings.calls == [("real", 4, 180.0, None, 0), ("real", 3, 359.0, None, 0)]


def test_the_method_is_the_settings_own(training_folder, tmp_path, trainings, monkeypatch):
    asked = []

    def find(name, preset):
        asked.append((name, preset))
        return narrow_method(name, epochs=9)

    monkeypatch.setattr(model_folders, "find_method", find)
    monkeypatch.setattr(model_folders, "_train", lambda method, *rest: asked.append(method))
    monkeypatch.setattr(model_folders, "save_model", lambda *arguments: None)
    monkeypatch.setattr(model_folders, "_print_scores", lambda model: None)
    settings = Settings(method="mtfnet", preset="demo", lead_sets=(2,), epochs=4)
    train_model_folder(training_folder, tmp_path, settings)
    assert asked == [("mtfnet", "demo"), narrow_method("mtfnet", epochs=4)]


def test_a_kept_cache_has_the_simulated_records_for_the_next_training(
    pretrained, training_folder, tmp_path, trainings, monkeypatch
):
    simulations = []
    simulate = pretraining.simulate_folder

    def counted(*arguments, **options):
        simulations.append(arguments)
        simulate(*arguments, **options)

    monkeypatch.setattr(pretraining, "simulate_folder", counted)
    cache = tmp_path / "cache"
    for name in ("one", "two"):
        settings = Settings(lead_sets=(2,), cache=cache)
        train_model_folder(training_folder, tmp_path / name, settings)
        assert names_in(tmp_path / name) == models_of(2)
        assert {path.split("-")[0] for path in names_in(cache)} == {"corpus", "simulated"}
    assert len(simulations) == 1
    assert len(names_in(cache)) == 2


def test_a_training_that_breaks_off_leaves_nothing_temporary(
    pretrained, training_folder, tmp_path, monkeypatch
):
    def break_off(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(model_folders, "fit", break_off)
    monkeypatch.setattr(model_folders, "pretrain", lambda *arguments: None)
    with pytest.raises(KeyboardInterrupt):
        train_model_folder(training_folder, tmp_path / "model", Settings(lead_sets=(2,)))
    assert not names_in(tmp_path / "model")


def test_a_folder_without_records_is_told_before_anything_is_simulated(
    pretrained, tmp_path, monkeypatch
):
    monkeypatch.setattr(model_folders, "simulated_for", lambda *arguments: pytest.fail("simulated"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="expected records"):
        train_model_folder(tmp_path / "empty", tmp_path / "model", Settings())
    assert not names_in(tmp_path / "model")
