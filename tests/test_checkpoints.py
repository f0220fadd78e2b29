from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from ecg import checkpoints
from ecg.checkpoints import Checkpoint, Keeper, State
from ecg.corpus import prepare_corpus
from ecg.devices import Devices
from ecg.epochs import NotFiniteError, TrainingOptions, run_epochs
from ecg.training import TrainingError, fit
from tests.narrow import narrow_method

CPU = Devices(gpus=(), precision="float32", jit_compile=False)
STATE = State(
    {"loss": [0.1, 0.2]},
    3.5,
    {"schedule": {"wait": 1, "best": 0.1}},
    [np.array([1.5, 2.5], np.float32), np.array([7, 8], np.uint32)],
    [np.array(3)],
    [np.zeros((2, 1), np.float32)],
)


class StoppedError(Exception):
    """Stands for a signal that ends the process."""


@pytest.fixture
def stop_after(monkeypatch):
    """Stops each training once its state has been kept so many times."""
    write = Checkpoint.write
    left = []

    def counted(self, state):
        write(self, state)
        if left and len(state.history["loss"]) == left[0]:
            left.pop()
            raise StoppedError

    monkeypatch.setattr(Checkpoint, "write", counted)
    return left.append


# A state in its file ---------------------------------------------------------------------------


def test_a_state_is_read_as_it_was_written(tmp_path):
    checkpoint = Checkpoint(tmp_path / "12_leads.npz", "key").stage("records")
    assert checkpoint.file == tmp_path / "12_leads.records.npz"
    assert checkpoint.read() is None
    checkpoint.write(STATE)
    found = checkpoint.read()
    assert (found.history, found.seconds, found.callbacks) == (
        STATE.history,
        STATE.seconds,
        STATE.callbacks,
    )
    assert found.n_epochs == 2
    for name in ("network", "optimizer", "best"):
        for given, expected in zip(getattr(found, name), getattr(STATE, name), strict=True):
            np.testing.assert_array_equal(given, expected)
            assert given.dtype == expected.dtype
    assert [path.name for path in tmp_path.iterdir()] == ["12_leads.records.npz"]


def test_the_state_of_another_training_is_not_taken_up(tmp_path):
    Checkpoint(tmp_path / "2_leads.npz", "one").write(STATE)
    assert Checkpoint(tmp_path / "2_leads.npz", "two").read() is None


@pytest.mark.parametrize("length", [0, 1, 100, 500, 1000])
def test_a_file_that_was_cut_off_is_none(length, tmp_path):
    checkpoint = Checkpoint(tmp_path / "2_leads.npz", "key")
    checkpoint.write(STATE)
    content = checkpoint.file.read_bytes()
    assert length < len(content)
    checkpoint.file.write_bytes(content[:length])
    assert checkpoint.read() is None


def test_a_changed_bit_is_found(tmp_path):
    checkpoint = Checkpoint(tmp_path / "2_leads.npz", "key")
    checkpoint.write(STATE)
    content = bytearray(checkpoint.file.read_bytes())
    content[content.index(STATE.network[0].tobytes())] ^= 1
    checkpoint.file.write_bytes(content)
    assert checkpoint.read() is None


# What callbacks are given back --------------------------------------------------------------------


def callback(**attributes):
    """Stands for one of Keras's callbacks."""
    return SimpleNamespace(**attributes)


def test_callbacks_get_back_what_they_knew_and_the_best_weights():
    schedule, best = callback(wait=0, best=None, patience=3), callback(best_weights=None)
    followed = {"schedule": (schedule, ("wait", "best"))}
    Keeper(None, STATE, 0.0, followed, best).on_train_begin()
    assert vars(schedule) == {"wait": 1, "best": 0.1, "patience": 3}
    np.testing.assert_array_equal(best.best_weights, STATE.best)


def test_a_training_that_begins_leaves_callbacks_as_they_are():
    schedule, best = callback(wait=0, best=None), callback(best_weights=None)
    Keeper(None, State(), 0.0, {"schedule": (schedule, ("wait",))}, best).on_train_begin()
    assert vars(schedule) == {"wait": 0, "best": None}
    assert best.best_weights is None


def test_best_weights_that_no_callback_looks_for_are_left_where_they_are():
    schedule = callback()
    Keeper(None, STATE, 0.0, {"schedule": (schedule, ("wait", "best"))}).on_train_begin()
    assert vars(schedule) == {"wait": 1, "best": 0.1}


# A training that goes on -----------------------------------------------------------------------


class Noisy(keras.utils.PyDataset):
    """Batches whose numbers and order change from epoch to epoch."""

    def __init__(self, seed=0):
        super().__init__()
        self.seed, self.epoch = seed, 0

    def __len__(self):
        return 3

    def __getitem__(self, i):
        random = np.random.default_rng([self.seed, self.epoch, i])
        signal = random.standard_normal((8, 4)).astype(np.float32)
        return {"signal": signal}, signal.sum(axis=1, keepdims=True) + random.standard_normal()

    def on_epoch_end(self):
        self.skip_epochs(1)

    def skip_epochs(self, n_epochs):
        self.epoch += n_epochs


def noisy_network(precision) -> keras.Model:
    """With dropout and normalisation, whose states are no weights of the gradient's."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(precision)
    try:
        signal = keras.Input((4,), name="signal")
        hidden = keras.layers.Dropout(0.3)(keras.layers.Dense(6)(signal))
        hidden = keras.layers.BatchNormalization()(hidden)
        return keras.Model({"signal": signal}, keras.layers.Dense(1, dtype="float32")(hidden))
    finally:
        keras.config.set_dtype_policy("float32")


OPTIONS = {
    "plateau, lowest loss": {"lr_patience": 1, "stop_patience": 2, "learning_rate": 0.3},
    "step, highest metric": {"schedule": "step", "lr_patience": 3, "best": "challenge_metric"},
    "cosine, last": {"schedule": "cosine", "optimizer": "adamw", "best": "last"},
    "accumulated": {"accumulation_steps": 2, "best": "last", "clip_norm": 1.0},
    "float16": {"precision": "mixed_float16"},
}


def run(options, checkpoint=None, time_limit_s=1e6):
    precision = options.get("precision", "float32")
    own = {name: value for name, value in options.items() if name != "precision"}
    network = noisy_network(precision)
    training, validation = Noisy(), Noisy(1)
    validation.skip_epochs = lambda n_epochs: None

    def metric():
        return float(np.cos(5 * np.abs(network.get_weights()[0]).sum()))

    course = run_epochs(
        network,
        keras.losses.MeanSquaredError(),
        TrainingOptions(**({"epochs": 6} | own)),
        training,
        validation,
        metric,
        "auto" if keras.backend.backend() == "jax" else False,
        "noisy",
        time_limit_s,
        checkpoint,
    )
    del course["seconds"]
    return network.get_weights(), course


@pytest.mark.usefixtures("without_graphs")
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_training_stopped_after_an_epoch_comes_to_the_same(options, tmp_path, stop_after, capsys):
    expected, course = run(options)
    for n_epochs in (2, course["epochs"]):
        checkpoint = Checkpoint(tmp_path / f"{n_epochs}.npz", "key")
        stop_after(n_epochs)
        with pytest.raises(StoppedError):
            run(options, checkpoint)
        weights, again = run(options, checkpoint)
        assert f"noisy: goes on after epoch {n_epochs}/6" in capsys.readouterr().out
        assert again == course
        for given, own in zip(weights, expected, strict=True):
            np.testing.assert_array_equal(given, own)


@pytest.mark.usefixtures("without_graphs")
def test_patience_that_ended_a_training_ends_it_when_it_goes_on(tmp_path, stop_after):
    options = {"stop_patience": 1, "learning_rate": 3.0}
    expected, course = run(options)
    assert course["epochs"] < 6
    stop_after(course["epochs"])
    checkpoint = Checkpoint(tmp_path / "x.npz", "key")
    with pytest.raises(StoppedError):
        run(options, checkpoint)
    weights, again = run(options, checkpoint)
    assert again == course
    np.testing.assert_array_equal(weights[0], expected[0])


@pytest.mark.usefixtures("without_graphs")
def test_what_a_time_limit_has_cut_goes_on_where_there_is_time_again(tmp_path):
    expected, course = run({"best": "last"})
    checkpoint = Checkpoint(tmp_path / "x.npz", "key")
    for n_epochs in (1, 2):
        _, cut = run({"best": "last"}, checkpoint, time_limit_s=0.0)
        assert (cut["epochs"], cut["cut_by_time_limit"]) == (n_epochs, True)
    weights, again = run({"best": "last"}, checkpoint)
    assert again == course
    np.testing.assert_array_equal(weights[0], expected[0])


@pytest.fixture(scope="module")
def corpus_of(training_folder, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return lambda method: prepare_corpus(training_folder, method.preparation, cache, workers=1)


@pytest.mark.usefixtures("without_graphs")
@pytest.mark.parametrize(
    ("name", "precision"),
    [("multiscale_se", "mixed_bfloat16"), ("antialiased_resnet18", "float32")],
)
def test_a_method_that_is_stopped_comes_to_the_same_model(
    name, precision, corpus_of, tmp_path, stop_after
):
    method, devices = narrow_method(name, epochs=2), replace(CPU, precision=precision)
    corpus = corpus_of(method)
    what = (method, corpus, np.arange(len(corpus)), 2, 0, devices)
    whole = fit(*what)
    checkpoint = Checkpoint(tmp_path / "2_leads.npz", "key")
    stop_after(1)
    with pytest.raises(StoppedError):
        fit(*what, checkpoint=checkpoint)
    stopped = fit(*what, checkpoint=checkpoint)
    pairs = zip(whole.network.get_weights(), stopped.network.get_weights(), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)
    assert whole.evidence["history"] == stopped.evidence["history"]
    np.testing.assert_array_equal(whole.decision.thresholds, stopped.decision.thresholds)
    assert whole.decision.temperature == stopped.decision.temperature


# A loss that is no number ----------------------------------------------------------------------


@pytest.fixture
def not_finite_above(monkeypatch):
    """Makes each epoch's loss infinite whose rate is above a limit."""
    limit = []
    on_epoch_end = checkpoints.Keeper.on_epoch_end

    def find(self, epoch, logs=None):
        if float(self.model.optimizer.learning_rate) > limit[0] and epoch == 1:
            raise NotFiniteError("epoch 2: expected a finite loss, found inf")
        on_epoch_end(self, epoch, logs)

    monkeypatch.setattr(checkpoints.Keeper, "on_epoch_end", find)
    return limit.append


@pytest.mark.usefixtures("without_graphs")
def test_a_training_whose_loss_is_not_finite_begins_anew_at_a_lower_rate(
    corpus_of, tmp_path, not_finite_above, capsys
):
    method = narrow_method("branched_se", epochs=2, learning_rate=0.02)
    corpus = corpus_of(method)
    what = (corpus, np.arange(len(corpus)), 2, 0, CPU)
    not_finite_above(0.01)
    model = fit(method, *what, checkpoint=Checkpoint(tmp_path / "2_leads.npz", "key"))
    line = "epoch 2: expected a finite loss, found inf"
    assert f"{line}; begins anew at 0.002" in capsys.readouterr().out
    assert model.evidence["slower_because"] == line
    assert model.method.training.learning_rate == pytest.approx(0.002)
    calm = fit(model.method, *what)
    pairs = zip(model.network.get_weights(), calm.network.get_weights(), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"2_leads.npz", "2_leads.slower.npz"}


@pytest.mark.usefixtures("without_graphs")
def test_a_loss_that_is_never_finite_ends_training_with_its_cause(corpus_of):
    method = narrow_method("branched_se", learning_rate=1e30)
    corpus = corpus_of(method)
    cause = r"branched_se, 2 leads, epoch 1: expected a finite \w+, found nan .* rate of 1e\+30"
    with pytest.raises(TrainingError, match=cause):
        fit(method, corpus, np.arange(len(corpus)), 2, 0, CPU)
