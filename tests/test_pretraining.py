import os
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from ecg import pretraining
from ecg.batches import Windows
from ecg.corpus import prepare_corpus
from ecg.decisions import DecisionOptions
from ecg.devices import Devices
from ecg.leads import LEAD_SETS
from ecg.methods import build_network, find_method
from ecg.pretraining import pretrain, pretraining_method, simulated_corpus, simulated_for
from ecg.signals import Preparation
from ecg.simulation.recordings import simulate_folder
from ecg.simulation.sources import SOURCES
from ecg.splits import hold_out
from tests.narrow import narrow_method

CPU = Devices(gpus=(), precision="float32", jit_compile=False)
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
    return simulated_corpus(N_RECORDS, PREPARATION, tmp_path_factory.mktemp("cache"), workers=1)


# Simulated records -----------------------------------------------------------------------------


def test_the_simulated_records_are_of_all_sources(simulated):
    assert len(simulated) == N_RECORDS
    assert not simulated.bad
    letters = {name.removeprefix("SIM")[0] for name in simulated.names}
    assert letters == {source.letter for source in SOURCES.values()}


def test_nobody_who_simulates_with_a_small_seed_gets_the_same_records(simulated, tmp_path):
    for seed in (0, 1, 2):
        simulate_folder(tmp_path / str(seed), N_RECORDS, seed)
        own = prepare_corpus(tmp_path / str(seed), PREPARATION, tmp_path / "cache", workers=1)
        assert not set(own.names) & set(simulated.names)
        assert not (own.waves[:, None] == simulated.waves).all(axis=(2, 3)).any()


def test_simulated_records_are_found_again_and_nothing_else_is_left(tmp_path, simulations):
    cache = tmp_path / "new" / "cache"
    first = simulated_corpus(4, PREPARATION, cache, workers=1)
    again = simulated_corpus(4, PREPARATION, cache, workers=2)
    assert simulations == [4]
    assert again.place == first.place
    assert again.fingerprint == first.fingerprint
    np.testing.assert_array_equal(again.windows(3), first.windows(3))
    assert os.listdir(cache) == [first.place.name]


def test_another_number_or_preparation_is_simulated_anew(tmp_path, simulations):
    def place(n_records=2, preparation=PREPARATION):
        return simulated_corpus(n_records, preparation, tmp_path, workers=1).place

    places = [place(), place(3), place(preparation=replace(PREPARATION, window_s=5.0))]
    assert simulations == [2, 3, 2]
    assert len(set(places)) == 3


def test_a_simulation_that_was_cut_off_leaves_nothing_behind(tmp_path, monkeypatch):
    def cut_off(folder, *arguments, **options):
        simulate_folder(folder, *arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(pretraining, "simulate_folder", cut_off)
    with pytest.raises(KeyboardInterrupt):
        simulated_corpus(2, PREPARATION, tmp_path, workers=1)
    assert not list(tmp_path.iterdir())


def test_two_runs_may_simulate_into_one_cache(tmp_path, monkeypatch):
    def overtaken(folder, *arguments, **options):
        simulate_folder(folder, *arguments, **options)
        monkeypatch.setattr(pretraining, "simulate_folder", simulate_folder)
        simulated_corpus(2, PREPARATION, tmp_path, workers=1)

    monkeypatch.setattr(pretraining, "simulate_folder", overtaken)
    corpus = simulated_corpus(2, PREPARATION, tmp_path, workers=1)
    assert len(corpus) == 2
    assert os.listdir(tmp_path) == [corpus.place.name]


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
    method = narrow_method("multiscale_se", epochs=50, best="loss")
    method = changed(method, {"pretraining": {"epochs": 7, "batch_size": 5, "learning_rate": 0.1}})
    own = pretraining_method(method)
    assert own.training == replace(
        method.training, epochs=7, batch_size=5, learning_rate=0.1, best="last"
    )
    assert own.name == "multiscale_se, simulated records"
    assert own.decision == DecisionOptions()
    assert own.network == method.network


# Training --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("without_graphs")
@pytest.mark.parametrize("lead_set", LEAD_SETS)
def test_a_start_has_the_weights_of_the_methods_network(lead_set, simulated):
    method = narrow_method("multiscale_se", N_RECORDS)
    start = pretrain(method, simulated, lead_set, 0, CPU)
    network = build_network(method, lead_set, 26)
    assert [w.shape for w in start.weights] == [w.shape for w in network.get_weights()]
    assert all(np.isfinite(weights).all() for weights in start.weights)
    kept, _ = hold_out(simulated.labels, method.training.validation_share, seed=0)
    np.testing.assert_array_equal(start.prevalence, simulated.labels[kept].mean(axis=0))


@pytest.mark.usefixtures("without_graphs")
@pytest.mark.parametrize("measured_epochs", [0, 1])
def test_a_seed_makes_a_start(measured_epochs, simulated):
    method = narrow_method("multiscale_se", N_RECORDS)
    method = changed(method, {"pretraining": {"measured_epochs": measured_epochs}})
    one, same, other = (pretrain(method, simulated, 2, seed, CPU).weights[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other, atol=1e-3)


@pytest.mark.usefixtures("without_graphs")
def test_any_method_can_be_pretrained(tmp_path):
    method = narrow_method("branched_se", n_simulated=6)
    simulated = simulated_corpus(6, method.preparation, tmp_path, workers=1)
    start = pretrain(method, simulated, 3, 0, CPU)
    build_network(method, 3, 26).set_weights(start.weights)


@pytest.fixture
def stages(monkeypatch):
    """(method, model, time limit, start) of each training."""
    seen, fit = [], pretraining.fit

    def counted(method, *what, start=None, checkpoint=None):
        *what, time_limit_s = what
        model = fit(method, *what, time_limit_s, start, checkpoint)
        seen.append(SimpleNamespace(method=method, model=model, limit_s=time_limit_s, start=start))
        return model

    monkeypatch.setattr(pretraining, "fit", counted)
    return seen


@pytest.mark.usefixtures("without_graphs")
def test_the_measurements_are_learned_alone_before_the_whole(simulated, stages):
    method = narrow_method("multiscale_se", N_RECORDS)
    method = changed(method, {"pretraining": {"measured_epochs": 2}})
    start = pretrain(method, simulated, 4, 0, CPU, time_limit_s=1000.0)
    part, whole = stages
    assert list(part.model.network.input) == ["measurements"]
    assert (part.model.evidence["epochs"], whole.model.evidence["epochs"]) == (2, 1)
    assert part.start is None
    assert whole.method == pretraining_method(method)
    # What the part has learned is where the whole begins: it answers alike, whatever the signal.
    network = build_network(method, 4, 26)
    network.set_weights(whole.start.weights)
    (inputs,) = Windows(simulated, [0, 5, 9], 4, network.input, batch_size=3)[0]
    noise = np.random.default_rng(0).standard_normal(inputs["signal"].shape)
    expected = np.asarray(part.model.network({"measurements": inputs["measurements"]}))
    for signal in (inputs["signal"], noise.astype(np.float32)):
        given = np.asarray(network(inputs | {"signal": signal}))
        np.testing.assert_allclose(given, expected, atol=1e-5)
    assert np.ptp(expected, axis=0).max() > 1e-3
    # A model's JSON is to say where its weights come from.
    assert start.evidence["epochs"] == 1
    assert start.evidence["data_fingerprint"] == simulated.fingerprint
    assert start.evidence["start"]["epochs"] == 2
    assert start.evidence["start"]["start"] is None
    # Both share the time.
    assert part.limit_s == 1000
    assert 0 < whole.limit_s < 1000
    for given, expected in zip(start.weights, whole.model.network.get_weights(), strict=True):
        np.testing.assert_array_equal(given, expected)


@pytest.mark.usefixtures("without_graphs")
def test_without_epochs_for_the_measurements_the_whole_starts_from_the_seed(simulated, stages):
    pretrain(narrow_method("multiscale_se", N_RECORDS), simulated, 2, 0, CPU)
    (whole,) = stages
    assert whole.start is None
    assert "signal" in whole.model.network.input
