import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from ecg.models.decisions import DecisionOptions
from ecg.models.method import SizeStep
from ecg.models.registry import build_network, find_method
from ecg.signals.preprocessing import Preparation
from ecg.simulation.recordings import simulate_folder
from ecg.simulation.sources import SOURCES
from ecg.training import pretraining
from ecg.training.batches import window_batches
from ecg.training.dataset import prepare_dataset
from ecg.training.fit import Start, Trainer, TrainingRun, fit
from ecg.training.optimizers import FlatAdam
from ecg.training.pretraining import (
    Pretraining,
    Simulation,
    keep_pretrained,
    plan_pretraining,
    pretrain,
    pretraining_method,
    read_pretrained,
    run_pretraining,
    simulated_dataset,
    simulated_for,
)
from tests.conftest import ROOT
from tests.narrow import CPU, narrow_method

PREPARATION = Preparation()
N_RECORDS = 24


@pytest.fixture
def simulations(monkeypatch):
    """The numbers of records of the simulations that were run, not found in the cache."""
    numbers = []

    def counted(folder, n_records, *arguments, **options):
        numbers.append(n_records)
        simulate_folder(folder, n_records, *arguments, **options)

    monkeypatch.setattr(pretraining, "simulate_folder", counted)
    return numbers


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    return simulated_dataset(N_RECORDS, PREPARATION, tmp_path_factory.mktemp("cache"), workers=1)


# Simulated records -----------------------------------------------------------------------------


def test_the_simulated_records_are_of_all_sources(simulated):
    assert len(simulated) == N_RECORDS
    assert not simulated.rejected
    letters = {name.removeprefix("SIM")[0] for name in simulated.names}
    assert letters == {source.letter for source in SOURCES.values()}


def test_nobody_who_simulates_with_a_small_seed_gets_the_same_records(simulated, tmp_path):
    for seed in (0, 1, 2):
        simulate_folder(tmp_path / str(seed), N_RECORDS, seed)
        own = prepare_dataset(tmp_path / str(seed), PREPARATION, tmp_path / "cache", workers=1)
        assert not set(own.names) & set(simulated.names)
        assert not (own.waves[:, None] == simulated.waves).all(axis=(2, 3)).any()


def test_simulated_records_are_found_again_and_nothing_else_is_left(tmp_path, simulations):
    cache = tmp_path / "new" / "cache"
    first = simulated_dataset(4, PREPARATION, cache, workers=1)
    again = simulated_dataset(4, PREPARATION, cache, workers=2)
    assert simulations == [4]
    assert again.folder == first.folder
    assert again.fingerprint == first.fingerprint
    np.testing.assert_array_equal(again.windows(3), first.windows(3))
    assert os.listdir(cache) == [first.folder.name]


def test_another_number_or_preparation_is_simulated_anew(tmp_path, simulations):
    def place(n_records=2, preparation=PREPARATION):
        return simulated_dataset(n_records, preparation, tmp_path, workers=1).folder

    places = [place(), place(3), place(preparation=replace(PREPARATION, window_s=5.0))]
    assert simulations == [2, 3, 2]
    assert len(set(places)) == 3


def test_another_simulation_is_simulated_anew(tmp_path, simulations):
    def simulated(*arguments):
        return simulated_dataset(8, PREPARATION, tmp_path, 1, *arguments)

    usual, two = simulated(), tuple(SOURCES)[:2]
    others = [
        simulated(Simulation(5)),
        simulated(Simulation(5, two)),
        simulated(Simulation(5, two[::-1])),
        simulated(Simulation(5, two, label_errors=1.0)),
    ]
    assert simulations == [8] * 5
    assert len({dataset.folder for dataset in (usual, *others)}) == 5
    _, of_two, _, with_errors = others
    assert set(of_two.sources) == {f"SIM{SOURCES[name].letter}" for name in two}
    np.testing.assert_array_equal(with_errors.names, of_two.names)
    np.testing.assert_array_equal(with_errors.data, of_two.data)
    assert (with_errors.labels != of_two.labels).any()
    # Spelt out, the pretraining's is found again.
    assert simulated(Simulation(882_530, tuple(SOURCES), None)).folder == usual.folder


def test_a_simulation_that_was_cut_off_leaves_nothing_behind(tmp_path, monkeypatch):
    def cut_off(folder, *arguments, **options):
        simulate_folder(folder, *arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(pretraining, "simulate_folder", cut_off)
    with pytest.raises(KeyboardInterrupt):
        simulated_dataset(2, PREPARATION, tmp_path, workers=1)
    assert not list(tmp_path.iterdir())


def test_two_runs_may_simulate_into_one_cache(tmp_path, monkeypatch):
    def overtaken(folder, *arguments, **options):
        simulate_folder(folder, *arguments, **options)
        monkeypatch.setattr(pretraining, "simulate_folder", simulate_folder)
        simulated_dataset(2, PREPARATION, tmp_path, workers=1)

    monkeypatch.setattr(pretraining, "simulate_folder", overtaken)
    dataset = simulated_dataset(2, PREPARATION, tmp_path, workers=1)
    assert len(dataset) == 2
    assert os.listdir(tmp_path) == [dataset.folder.name]


def test_a_method_without_pretraining_simulates_nothing(tmp_path):
    assert simulated_for(narrow_method("mtfnet"), tmp_path, workers=1) is None
    assert not list(tmp_path.iterdir())


# Methods ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"training": {"epochs": 99}},
        {"training": {"learning_rate": 0.5}},
        {"training": {"batch_size": 7}},
        {"training": {"best": "loss"}},
        {"decision": {"rule": "fitted", "calibrated": False}},
    ],
)
def test_what_the_real_training_alone_has_does_not_count(change):
    method = find_method("multiscale_se")
    assert pretraining_method(changed(method, change)) == pretraining_method(method)


@pytest.mark.parametrize(
    "change",
    [
        {"pretraining": {"n_records": 99}},
        {"pretraining": {"measured_epochs": 99}},
        {"pretraining": {"epochs": 99}},
        {"pretraining": {"batch_size": 7}},
        {"pretraining": {"learning_rate": 0.5}},
        {"training": {"clip_norm": 7.0}},
        {"network": {"widths": (1, 2, 3, 4, 5)}},
        {"preparation": {"window_s": 7.0}},
        {"loss": {"epsilon": 0.5}},
    ],
)
def test_all_that_changes_the_weights_counts(change):
    method = find_method("multiscale_se")
    assert changed(method, change) != method
    assert pretraining_method(changed(method, change)) != pretraining_method(method)


def changed(method, change):
    parts = {name: replace(getattr(method, name), **own) for name, own in change.items()}
    return replace(method, **parts)


def test_the_pretraining_has_its_own_schedule_and_keeps_its_last_epoch():
    method = narrow_method("multiscale_se", epochs=50, batch_size=4, best="loss")
    method = changed(method, {"pretraining": {"epochs": 7, "batch_size": 5, "learning_rate": 0.1}})
    own = pretraining_method(method)
    assert own.training == replace(
        method.training,
        epochs=7,
        batch_size=5,
        learning_rate=0.1,
        largest_batch_size=None,
        best="last",
    )
    assert own.decision == DecisionOptions()
    assert (own.name, own.network) == (method.name, method.network)


@pytest.mark.parametrize(
    ("following", "batch_size", "rate"),
    [(1, 64, 2e-3), (16, 64, 2e-3), (64, 64, 2e-3), (256, 256, 4e-3)],
)
def test_batches_of_simulated_records_are_no_smaller_than_those_that_follow(
    following, batch_size, rate
):
    method = changed(find_method("multiscale_se"), {"training": {"batch_size": following}})
    training = pretraining_method(method).training
    assert training.batch_size == batch_size
    assert training.learning_rate == pytest.approx(rate)


# Training --------------------------------------------------------------------------------------


def trainer_of(method, lead_set=2, seed=0) -> Trainer:
    return Trainer(TrainingRun(method, lead_set, seed), CPU, N_RECORDS)


@pytest.mark.training
@pytest.mark.usefixtures("without_graphs")
@pytest.mark.parametrize("lead_set", [12, 2])
def test_a_start_has_the_weights_of_the_methods_network(lead_set, simulated):
    method = narrow_method("multiscale_se", N_RECORDS)
    start = pretrain(trainer_of(method, lead_set), simulated)
    network = build_network(method, lead_set, 26)
    assert [w.shape for w in start.weights] == [w.shape for w in network.get_weights()]
    assert all(np.isfinite(weights).all() for weights in start.weights)
    np.testing.assert_array_equal(start.prevalence, simulated.labels.mean(axis=0))


@pytest.mark.training
@pytest.mark.usefixtures("without_graphs")
@pytest.mark.parametrize("measured_epochs", [0, 1])
def test_a_seed_makes_a_start(measured_epochs, simulated):
    method = narrow_method("multiscale_se", N_RECORDS)
    method = changed(method, {"pretraining": {"measured_epochs": measured_epochs}})
    one, same, other = (
        pretrain(trainer_of(method, seed=seed), simulated).weights[0] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other, atol=1e-3)


@pytest.mark.training
@pytest.mark.usefixtures("without_graphs")
@pytest.mark.parametrize("name", ["branched_se", "se_ecgnet"])
def test_any_method_can_be_pretrained(name, tmp_path):
    # Whatever its rate goes by: there are no records set aside here.
    method = narrow_method(name, n_simulated=6)
    simulated = simulated_dataset(6, method.preparation, tmp_path, workers=1)
    start = pretrain(trainer_of(method, 3), simulated)
    build_network(method, 3, 26).set_weights(start.weights)


@pytest.fixture
def stages(monkeypatch):
    """Trainer, options, records, time limit, start, course and weights of each stage."""
    seen, train = [], Trainer.train

    def counted(self, stage, dataset, indices, start=None, validate=None):
        course = train(self, stage, dataset, indices, start, validate)
        stage = SimpleNamespace(
            trainer=self,
            options=stage.options,
            selected=indices,
            limit_s=stage.time_limit_s,
            start=start,
            validate=validate,
            course=course,
            weights=self.network.get_weights(),
        )
        seen.append(stage)
        return course

    monkeypatch.setattr(Trainer, "train", counted)
    return seen


@pytest.mark.training
@pytest.mark.usefixtures("without_graphs")
def test_the_measurements_are_learned_alone_before_the_whole(simulated, stages):
    method = narrow_method("multiscale_se", N_RECORDS)
    method = changed(method, {"pretraining": {"measured_epochs": 2}})
    start = pretrain(trainer_of(method, 4), simulated, time_limit_s=1000.0)
    part, whole = stages
    assert list(part.trainer.network.input) == ["measurements"]
    assert (part.course["epochs"], whole.course["epochs"]) == (2, 1)
    assert part.start is None
    assert whole.options == pretraining_method(method).training
    assert part.options == replace(whole.options, epochs=2)
    # What the part has learned is where the whole begins: it answers alike, whatever the signal.
    network = build_network(method, 4, 26)
    network.set_weights(whole.start.weights)
    (inputs,) = window_batches(simulated, [0, 5, 9], 4, network.input, 3)
    noise = np.random.default_rng(0).standard_normal(inputs["signal"].shape)
    expected = np.asarray(part.trainer.network({"measurements": inputs["measurements"]}))
    for signal in (inputs["signal"], noise.astype(np.float32)):
        given = np.asarray(network(inputs | {"signal": signal}))
        np.testing.assert_allclose(given, expected, atol=1e-5)
    assert np.ptp(expected, axis=0).max() > 1e-3
    # A model's JSON is to say where its weights come from.
    assert start.log == whole.course | {"n_training": N_RECORDS, "start": whole.start.log}
    assert whole.start.log == part.course | {"n_training": N_RECORDS, "start": None}
    # Both share the time.
    assert 999 < part.limit_s <= 1000
    assert 0 < whole.limit_s < part.limit_s
    for given, expected in zip(start.weights, whole.weights, strict=True):
        np.testing.assert_array_equal(given, expected)


@pytest.mark.training
@pytest.mark.usefixtures("without_graphs")
def test_all_simulated_records_are_trained_on_and_none_is_set_aside(simulated, stages):
    method = narrow_method("multiscale_se", N_RECORDS)
    method = changed(method, {"pretraining": {"measured_epochs": 1}})
    pretrain(trainer_of(method), simulated)
    assert len(stages) == 2
    for stage in stages:
        assert stage.selected.tolist() == list(range(N_RECORDS))
        assert stage.validate is None
        assert stage.course["history"].keys() == {"loss", "learning_rate"}


@pytest.mark.training
@pytest.mark.usefixtures("without_graphs")
def test_without_epochs_for_the_measurements_the_whole_starts_from_the_seed(simulated, stages):
    pretrain(trainer_of(narrow_method("multiscale_se", N_RECORDS)), simulated)
    (whole,) = stages
    assert whole.start is None
    assert "signal" in whole.trainer.network.input


@pytest.mark.training
def test_the_step_of_both_stages_is_traced_once(simulated, monkeypatch):
    n_traced, apply = [], FlatAdam.apply

    def counted(self, *arguments):
        n_traced.append(self)
        apply(self, *arguments)

    monkeypatch.setattr(FlatAdam, "apply", counted)
    trainer = trainer_of(narrow_method("multiscale_se", N_RECORDS, batch_size=4))
    start = pretrain(trainer, simulated)
    fit(trainer, simulated, np.arange(N_RECORDS), start=start)
    batch_size = trainer.run.method.training.batch_size
    assert (start.log["batch_size"], batch_size) == (16, 4)
    assert len(n_traced) == 1


IN_ONE_PROCESS_OR_TWO = """
import sys
from pathlib import Path
import numpy as np
from ecg.training.dataset import read_dataset
from ecg.models.devices import find_devices
from ecg.training.pretraining import pretrain
from ecg.training.fit import Start, Trainer, TrainingRun, fit
from tests.narrow import narrow_method
simulated = read_dataset(Path(sys.argv[1]))
method = narrow_method("multiscale_se", len(simulated), epochs=2, batch_size=4)
run = TrainingRun(method, 2, 0)
trainer = Trainer(run, find_devices(), len(simulated))
start = pretrain(trainer, simulated)
found = []
for trainer in (trainer, Trainer(run, find_devices(), len(simulated))):
    model = fit(trainer, simulated, np.arange(len(simulated)), start=start)
    found.append((model.network.get_weights(), model.training_log["history"]))
(one, course), (other, again) = found
assert all(np.array_equal(*pair) for pair in zip(one, other, strict=True))
assert course == again
assert not np.array_equal(one[0], start.weights[0])
"""


# A pretraining that is kept ---------------------------------------------------------------------

METHOD = narrow_method("multiscale_se", N_RECORDS)
RUN = TrainingRun(METHOD, 3, 7)


def planned(folder, simulated, run=RUN, n_records=12, devices=CPU) -> Pretraining:
    return plan_pretraining(folder, run, simulated, n_records, devices)


def test_a_pretrainings_file_has_a_readable_name(simulated, tmp_path):
    start = planned(tmp_path, simulated)
    assert start.run == RUN
    assert (start.simulated, start.n_records) == (simulated.folder, 12)
    assert start.file.parent == tmp_path
    assert start.file.name.startswith("pretrained-multiscale_se.3_leads.seed7.")
    assert start.file.suffix == ".npz"


def test_a_pretrainings_file_changes_with_all_that_its_weights_depend_on(simulated, tmp_path):
    longer = replace(METHOD, pretraining=replace(METHOD.pretraining, epochs=99))
    wider = replace(METHOD, network=replace(METHOD.network, measured_width=9))
    # Simulated records come in batches as large as those that follow.
    larger = replace(METHOD, training=replace(METHOD.training, batch_size=32))
    runs = [
        RUN,
        *(replace(RUN, method=method) for method in (longer, wider, larger)),
        replace(RUN, lead_set=2),
        replace(RUN, seed=8),
    ]
    made = [planned(tmp_path, simulated, run) for run in runs]
    made.append(planned(tmp_path, replace(simulated, fingerprint="other")))
    assert len({start.file for start in made}) == len({start.key for start in made}) == len(made)


def test_a_pretrainings_file_but_not_its_key_changes_with_the_machine(simulated, tmp_path):
    here = planned(tmp_path, simulated)
    other = planned(tmp_path, simulated, devices=replace(CPU, precision="mixed_float16"))
    assert here.file != other.file
    assert here.key == other.key


def test_methods_that_differ_in_their_real_training_share_a_pretraining(simulated, tmp_path):
    longer = replace(METHOD, training=replace(METHOD.training, epochs=99, learning_rate=0.5))
    assert planned(tmp_path, simulated) == replace(
        planned(tmp_path, simulated, replace(RUN, method=longer)), run=RUN
    )


def test_a_pretraining_is_for_a_number_of_records_only_by_the_recipe(simulated, tmp_path):
    few, same, many = (planned(tmp_path, simulated, n_records=n) for n in (12, 643, 88_253))
    assert few.file == same.file != many.file
    wider = replace(METHOD.network, widths=(4, 4, 4, 4, 4))
    by_size = (SizeStep(100, wider, METHOD.training),)
    run = replace(RUN, method=replace(METHOD, by_size=by_size))
    assert planned(tmp_path, simulated, run, 12).file == few.file
    assert planned(tmp_path, simulated, run, 643).file != few.file
    assert [one.n_records for one in (few, same, many)] == [12, 643, 88_253]


def test_a_kept_pretraining_is_read_as_it_was(tmp_path):
    # More arrays than ten, whose names in a file would be sorted otherwise.
    weights = [np.full((i, 2), i, np.float32) for i in range(13)]
    made = Start(weights, np.linspace(0, 1, 26), {"epochs": 2, "start": {"history": {"loss": [1]}}})
    keep_pretrained(made, tmp_path / "kept.npz")
    read = read_pretrained(tmp_path / "kept.npz")
    np.testing.assert_array_equal(read.prevalence, made.prevalence)
    assert read.log == made.log
    for array, expected in zip(read.weights, weights, strict=True):
        np.testing.assert_array_equal(array, expected)
        assert array.dtype == expected.dtype


def test_a_missing_or_damaged_pretraining_is_made_again(tmp_path):
    assert read_pretrained(tmp_path / "kept.npz") is None
    keep_pretrained(Start([np.ones(99)], np.ones(26)), tmp_path / "kept.npz")
    whole = (tmp_path / "kept.npz").read_bytes()
    for damaged in (b"", b"no archive", whole[: len(whole) // 2]):
        (tmp_path / "kept.npz").write_bytes(damaged)
        assert read_pretrained(tmp_path / "kept.npz") is None


def test_a_pretraining_that_fails_leaves_no_file(simulated, tmp_path, monkeypatch):
    def break_off(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(pretraining, "Trainer", lambda *arguments: None)
    monkeypatch.setattr(pretraining, "pretrain", break_off)
    with pytest.raises(KeyboardInterrupt):
        run_pretraining(planned(tmp_path, simulated))
    assert not list(tmp_path.iterdir())


@pytest.mark.nightly
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_stage_comes_to_the_same_whether_or_not_its_process_did_the_one_before(
    backend, simulated
):
    process = subprocess.run(
        [sys.executable, "-c", IN_ONE_PROCESS_OR_TWO, str(simulated.folder)],
        env=os.environ | {"KERAS_BACKEND": backend},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
