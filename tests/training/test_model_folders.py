import errno
import fcntl
import os
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from ecg.models.descriptions import ModelFolderError
from ecg.models.devices import Devices
from ecg.models.method import SizeStep
from ecg.models.model_files import load_trained_model
from ecg.models.settings import Settings
from ecg.runtime.files import held
from ecg.training import model_folders, pretraining
from ecg.training.dataset import DatasetError
from ecg.training.fit import Start, TrainingError
from ecg.training.model_folders import train_model_folder
from tests.narrow import narrow_method, untrained_model
from tests.synthetic import beats, write_folder, write_record


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


@pytest.mark.training
@pytest.mark.usefixtures("without_graphs")
def test_a_folder_is_trained_on_simulated_records_first(
    pretrained, training_folder, tmp_path, capsys
):
    folder = tmp_path / "new" / "model"
    train_model_folder(training_folder, folder, Settings(workers=1, lead_sets=(3, 2), seed=5))
    # The prepared arrays, real and simulated, were temporary.
    assert names_in(folder) == models_of(3, 2)
    for lead_set in (3, 2):
        model = load_trained_model(folder, lead_set)
        assert model.method == pretrained
        assert model.training_log["seed"] == 5
        first = model.training_log["start"]
        assert (first["n_training"], first["start"]) == (24, None)
        assert model.training_log["n_training"] + model.training_log["n_validation"] == 16
    printed, progress = capsys.readouterr()
    stages = [line.split(", epoch")[0] for line in printed.splitlines() if ", epoch 1/1" in line]
    name = "multiscale_se"
    assert stages == [
        *(f"{name}, simulated records, 3 leads", f"{name}, 3 leads"),
        *(f"{name}, simulated records, 2 leads", f"{name}, 2 leads"),
    ]
    assert progress.count("simulating records: 100%") == 1
    assert "16 records to train on, 0 left out" in printed
    assert "2 leads, on 1 validation records: AUROC" in printed
    assert printed.endswith(f"{folder}: no model yet for 12, 6, 4 leads\n")


@pytest.fixture
def trainings(monkeypatch):
    """(what, time limit, further facts) of each training, which takes as long as `take_s` says
    next; none is run, and the clock shows what they have taken."""
    seen = SimpleNamespace(calls=[], take_s=[], now_s=1000.0, cut=())

    def take(*call):
        seen.calls.append(call)
        seen.now_s += seen.take_s.pop(0) if seen.take_s else 1.0

    def trainer(run, devices, n_training, fine_tuning):
        return SimpleNamespace(run=run, n_training=n_training)

    def pretrain(trainer, simulated, time_limit_s, checkpoint):
        lead_set = trainer.run.lead_set
        take("simulated", lead_set, time_limit_s, len(simulated), trainer.run.seed)
        return Start([], np.zeros(26), {"of": lead_set, "cut_by_time_limit": False, "start": None})

    def fit(trainer, dataset, indices, time_limit_s, start, checkpoint):
        np.testing.assert_array_equal(indices, np.arange(len(dataset)))
        assert trainer.n_training == len(dataset)
        lead_set = trainer.run.lead_set
        if isinstance(start, Start):
            start = start.log.get("of")
        take("real", lead_set, time_limit_s, start, trainer.run.seed)
        log = {
            "validation_scores": {},
            "validated_on_training_records": True,
            "cut_by_time_limit": lead_set in seen.cut,
            "start": None,
        }
        return replace(untrained_model("multiscale_se", lead_set), training_log=log)

    clock = SimpleNamespace(monotonic=lambda: seen.now_s)
    monkeypatch.setattr(model_folders, "time", clock)
    monkeypatch.setattr(model_folders, "jobs_at_once", lambda: 1)
    monkeypatch.setattr(model_folders, "Trainer", trainer)
    monkeypatch.setattr(model_folders, "pretrain", pretrain)
    monkeypatch.setattr(model_folders, "fit", fit)
    return seen


def test_the_time_is_shared_by_the_models_and_at_most_half_of_it_is_for_simulated_records(
    pretrained, training_folder, tmp_path, trainings
):
    trainings.take_s = [700.0, 100.0, 300.0, 50.0, 3000.0, 10.0]
    settings = Settings(workers=1, lead_sets=(12, 6, 2), time_limit_h=1.0, seed=3)
    train_model_folder(training_folder, tmp_path, settings)
    assert trainings.calls == [
        ("simulated", 12, 600.0, 24, 3),  # half of a third of 3600 s
        ("real", 12, 500.0, 12, 3),  # what the first left of 1200 s
        ("simulated", 6, 700.0, 24, 3),  # half of a half of 2800 s
        ("real", 6, 1100.0, 6, 3),
        ("simulated", 2, 1225.0, 24, 3),  # half of 2450 s
        ("real", 2, -550.0, 2, 3),  # over, but not before one epoch
    ]
    assert names_in(tmp_path) == models_of(12, 6, 2)


def test_without_pretraining_the_training_has_all_the_time(
    training_folder, tmp_path, trainings, monkeypatch
):
    method = narrow_method("multiscale_se")
    monkeypatch.setattr(model_folders, "find_method", lambda name, preset: method)
    settings = Settings(workers=1, lead_sets=(4, 3), time_limit_h=0.1)
    train_model_folder(training_folder, tmp_path, settings)
    assert trainings.calls == [("real", 4, 180.0, None, 0), ("real", 3, 359.0, None, 0)]


def test_the_method_is_the_settings_own(training_folder, tmp_path, trainings, monkeypatch):
    asked = []

    def find(name, preset):
        asked.append((name, preset))
        return narrow_method(name, epochs=9)

    monkeypatch.setattr(model_folders, "find_method", find)
    monkeypatch.setattr(model_folders, "_train", lambda task, *rest: asked.append(task.run.method))
    settings = Settings(workers=1, method="mtfnet", preset="demo", lead_sets=(2,), epochs=4)
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
        settings = Settings(workers=1, lead_sets=(2,), cache=cache)
        train_model_folder(training_folder, tmp_path / name, settings)
        assert names_in(tmp_path / name) == models_of(2)
        assert {path.split("-")[0] for path in names_in(cache)} == {
            "dataset",
            "pretrained",
            "simulated",
        }
    assert len(simulations) == 1
    assert [stage for stage, *_ in trainings.calls] == ["simulated", "real", "real"]
    assert len(names_in(cache)) == 3


def test_a_training_that_breaks_off_goes_on_by_the_same_call_and_leaves_nothing_then(
    pretrained, training_folder, tmp_path, trainings, monkeypatch, capsys
):
    folder, settings = tmp_path / "model", Settings(workers=1, lead_sets=(6, 3, 2))
    fit = model_folders.fit

    def break_off(trainer, *rest):
        if trainer.run.lead_set == 3:
            raise KeyboardInterrupt
        return fit(trainer, *rest)

    monkeypatch.setattr(model_folders, "fit", break_off)
    with pytest.raises(KeyboardInterrupt):
        train_model_folder(training_folder, folder, settings)
    assert names_in(folder) == models_of(6) | {".training"}
    # Prepared records are the larger part of what a stopped training has done.
    monkeypatch.setattr(model_folders, "fit", fit)
    capsys.readouterr()
    train_model_folder(training_folder, folder, settings)
    assert names_in(folder) == models_of(6, 3, 2)
    printed, progress = capsys.readouterr()
    assert "6 leads: already trained, kept" in printed
    assert "preparing" not in progress
    assert "simulating" not in progress
    assert [call[1] for call in trainings.calls if call[0] == "real"] == [6, 3, 2]


@pytest.mark.training
@pytest.mark.usefixtures("pretrained", "without_graphs")
def test_training_goes_on_from_a_start_without_simulated_records(
    training_folder, untrained, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(pretraining, "simulate_folder", lambda *_: pytest.fail("simulated"))
    settings = Settings(workers=1, lead_sets=(3, 2), start=untrained)
    for _ in range(2):
        train_model_folder(training_folder, tmp_path, settings)
    assert names_in(tmp_path) == models_of(3, 2)
    for lead_set in (3, 2):
        model, before = (load_trained_model(f, lead_set) for f in (tmp_path, untrained))
        assert model.training_log["start"]["n_training"] == 15
        assert model.training_log["fine_tuning"]["rate_share"] == 0.5
        for one, other in zip(
            model.network.layers[-1].get_weights(),
            before.network.layers[-1].get_weights(),
            strict=True,
        ):
            assert not np.array_equal(one, other)
    printed, _ = capsys.readouterr()
    assert f"starting from {untrained}: training at 0.5 of the usual" in printed
    assert printed.count("already trained, kept") == 2


def test_a_few_records_go_on_with_the_network_of_a_start_from_many(
    training_folder, untrained, tmp_path, trainings, monkeypatch
):
    method = narrow_method("multiscale_se")
    narrower = replace(method.network, widths=(1, 1, 1, 1, 1))
    steps = (SizeStep(50, method.network, method.training),)
    usual = replace(method, network=narrower, by_size=steps)
    monkeypatch.setattr(model_folders, "find_method", lambda *_: usual)
    monkeypatch.setattr(model_folders, "read_start", lambda start: start)
    seen = []
    trainer = model_folders.Trainer
    monkeypatch.setattr(
        model_folders, "Trainer", lambda run, *rest: seen.append(run.method) or trainer(run, *rest)
    )
    settings = Settings(workers=1, lead_sets=(2,), start=untrained)
    train_model_folder(training_folder, tmp_path, settings)
    assert [method.network for method in seen] == [steps[0].network]


def test_a_start_that_does_not_fit_is_told_before_anything_is_prepared(
    pretrained, training_folder, untrained, tmp_path, monkeypatch
):
    monkeypatch.setattr(model_folders, "prepare_dataset", lambda *_: pytest.fail("prepared"))
    settings = Settings(workers=1, lead_sets=(3, 2), start=untrained)
    with pytest.raises(ModelFolderError, match="expected another folder for the models"):
        train_model_folder(training_folder, untrained, settings)
    start = tmp_path / "start"
    shutil.copytree(untrained, start)
    (start / "2_leads.json").unlink()
    with pytest.raises(ModelFolderError, match=r"2_leads\.json: expected a trained model"):
        train_model_folder(training_folder, tmp_path / "model", replace(settings, start=start))
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("change", ["seed", "epochs", "record", "weights", "code", "start"])
def test_a_model_is_kept_only_where_the_training_would_come_to_the_same(
    change, untrained, tmp_path, trainings, monkeypatch
):
    method = narrow_method("multiscale_se", epochs=3)
    monkeypatch.setattr(model_folders, "find_method", lambda name, preset: method)
    data, folder = write_folder(tmp_path / "data", 4), tmp_path / "model"
    settings = Settings(workers=1, lead_sets=(2,))
    for _ in range(2):
        train_model_folder(data, folder, settings)
    assert len(trainings.calls) == 1
    if change == "seed":
        settings = replace(settings, seed=1)
    elif change == "epochs":
        settings = replace(settings, epochs=2)
    elif change == "record":
        write_record(data, "T120001", beats(4000, 500), 500)
    elif change == "weights":
        (folder / "2_leads.weights.h5").write_bytes(b"cut off")
    elif change == "start":
        shutil.copytree(untrained, tmp_path / "start")
        settings = replace(settings, start=tmp_path / "start")
        train_model_folder(data, folder, settings)
        description = tmp_path / "start" / "2_leads.json"
        description.write_text(
            description.read_text().replace('"n_training": 15', '"n_training": 9')
        )
        trainings.calls.pop()
    else:
        monkeypatch.setattr(model_folders, "digest_files", lambda *paths: "of other code")
    train_model_folder(data, folder, settings)
    assert len(trainings.calls) == 2


def test_a_model_that_its_time_limit_has_cut_is_trained_anew(
    training_folder, tmp_path, trainings, monkeypatch, capsys
):
    monkeypatch.setattr(
        model_folders, "find_method", lambda name, preset: narrow_method("multiscale_se")
    )
    trainings.cut = (3,)
    for _ in range(2):
        train_model_folder(training_folder, tmp_path, Settings(workers=1, lead_sets=(3, 2)))
    assert [call[1] for call in trainings.calls] == [3, 2, 3]
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.endswith("; cut by the time limit") for line in lines) == 2


def test_two_trainings_do_not_share_a_folder(pretrained, training_folder, tmp_path, trainings):
    work = tmp_path / ".training"
    work.mkdir()
    (work / "2_leads.records.npz").touch()
    refused = pytest.raises(TrainingError, match=f"{tmp_path}: another training is using")
    with held(tmp_path), refused:
        train_model_folder(training_folder, tmp_path, Settings(workers=1, lead_sets=(2,)))
    assert names_in(work) == {"2_leads.records.npz"}


def test_a_file_system_without_locks_trains_too(
    pretrained, training_folder, tmp_path, trainings, monkeypatch
):
    def no_locks(*arguments):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    train_model_folder(training_folder, tmp_path, Settings(workers=1, lead_sets=(2,)))
    assert names_in(tmp_path) == models_of(2)


def test_models_side_by_side_on_gpus_have_an_equal_share_of_the_time(
    training_folder, tmp_path, monkeypatch, capsys
):
    devices = Devices(("one", "two"), "mixed_bfloat16", "auto")
    monkeypatch.setattr(model_folders, "find_devices", lambda: devices)
    monkeypatch.setattr(model_folders, "jobs_at_once", lambda: 2)
    kept = []
    monkeypatch.setattr(model_folders, "keep_compiled", kept.append)
    method = narrow_method("multiscale_se")
    monkeypatch.setattr(model_folders, "find_method", lambda name, preset: method)
    clock = SimpleNamespace(monotonic=lambda: 0.0)
    monkeypatch.setattr(model_folders, "time", clock)
    seen = []

    def run_jobs(function, tasks, client):
        assert client is None
        for task in tasks:
            seen.append((task.run.lead_set, task.time_limit_s))
            yield task, f"scores of {task.run.lead_set}"

    monkeypatch.setattr(model_folders, "run_jobs", run_jobs)
    cache = tmp_path / "cache"
    train_model_folder(
        training_folder, tmp_path, Settings(workers=1, time_limit_h=3.0, cache=cache)
    )
    assert seen == [(lead_set, 3600.0) for lead_set in (12, 6, 4, 3, 2)]
    assert kept == [cache / "compiled"]
    assert "scores of 4" in capsys.readouterr().out


def test_a_folder_without_records_is_told_before_anything_is_simulated(
    pretrained, tmp_path, monkeypatch
):
    monkeypatch.setattr(model_folders, "simulated_for", lambda *arguments: pytest.fail("simulated"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="expected records"):
        train_model_folder(tmp_path / "empty", tmp_path / "model", Settings(workers=1))
    assert not names_in(tmp_path / "model")
