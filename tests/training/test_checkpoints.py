from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from ecg.models.training_options import TrainingOptions
from ecg.training import checkpoints
from ecg.training.checkpoints import Checkpoint, CheckpointCallback, TrainingState
from ecg.training.dataset import prepare_dataset
from ecg.training.epochs import METRIC, NotFiniteError, Stage, make_optimizer, run_epochs
from ecg.training.fit import Trainer, TrainingError, TrainingRun, fit
from ecg.training.pretraining import pretrain, simulated_dataset
from tests.narrow import CPU, fitted, narrow_method

STATE = TrainingState(
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
    """Stops a training, once, after so many epochs of a stage of that name."""
    write = Checkpoint.write
    stops = []

    def stop(n_epochs, stage=""):
        stops.append((n_epochs, stage))

    def counted(self, state):
        write(self, state)
        if stops and stops[0][0] == state.n_epochs and stops[0][1] in self.file.name:
            stops.pop()
            raise StoppedError

    monkeypatch.setattr(Checkpoint, "write", counted)
    return stop


# A state in its file ---------------------------------------------------------------------------


def test_a_state_is_read_as_it_was_written(tmp_path):
    checkpoint = Checkpoint(tmp_path / "12_leads.npz", "key").for_stage("records")
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
    tracked = {"schedule": (schedule, ("wait", "best"))}
    CheckpointCallback(None, STATE, 0.0, tracked, best).on_train_begin()
    assert vars(schedule) == {"wait": 1, "best": 0.1, "patience": 3}
    np.testing.assert_array_equal(best.best_weights, STATE.best)


def test_a_training_that_begins_leaves_callbacks_as_they_are():
    schedule, best = callback(wait=0, best=None), callback(best_weights=None)
    CheckpointCallback(
        None, TrainingState(), 0.0, {"schedule": (schedule, ("wait",))}, best
    ).on_train_begin()
    assert vars(schedule) == {"wait": 0, "best": None}
    assert best.best_weights is None


def test_best_weights_that_no_callback_looks_for_are_left_where_they_are():
    schedule = callback()
    CheckpointCallback(
        None, STATE, 0.0, {"schedule": (schedule, ("wait", "best"))}
    ).on_train_begin()
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
    own, training = TrainingOptions(**({"epochs": 6} | own)), Noisy()
    network.compile(
        make_optimizer(own, len(training)),
        keras.losses.MeanSquaredError(),
        jit_compile="auto" if keras.backend.backend() == "jax" else False,
    )
    network.optimizer.build(network.trainable_variables)
    held_out, answers = Noisy(1)[0]

    def validate():
        figure = float(np.cos(5 * np.abs(network.get_weights()[0]).sum()))
        loss = np.mean((np.asarray(network(held_out)) - answers) ** 2)
        return {"val_loss": float(loss), METRIC: figure}

    course = run_epochs(network, training, Stage("noisy", own, time_limit_s, checkpoint), validate)
    del course["seconds"]
    return network.get_weights(), course


@pytest.mark.training
@pytest.mark.usefixtures("without_graphs")
@pytest.mark.parametrize(
    ("options", "n_epochs"),
    [*((name, 2) for name in OPTIONS), ("plateau, lowest loss", None)],
)
def test_a_training_stopped_after_an_epoch_comes_to_the_same(
    options, n_epochs, tmp_path, stop_after, capsys
):
    options = OPTIONS[options]
    expected, course = run(options)
    n_epochs = n_epochs or course["epochs"]
    checkpoint = Checkpoint(tmp_path / "x.npz", "key")
    stop_after(n_epochs)
    with pytest.raises(StoppedError):
        run(options, checkpoint)
    weights, again = run(options, checkpoint)
    assert f"noisy: resumed after epoch {n_epochs}/6" in capsys.readouterr().out
    assert again == course
    for given, own in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(given, own)


@pytest.mark.training
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


@pytest.mark.training
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
def dataset_of(training_folder, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return lambda method: prepare_dataset(training_folder, method.preparation, cache, workers=1)


@pytest.mark.training
@pytest.mark.usefixtures("without_graphs")
@pytest.mark.parametrize(
    ("name", "precision"),
    [
        pytest.param("multiscale_se", "mixed_bfloat16", marks=pytest.mark.nightly),
        ("antialiased_resnet18", "float32"),
    ],
)
def test_a_method_that_is_stopped_comes_to_the_same_model(
    name, precision, dataset_of, tmp_path, stop_after
):
    method, devices = narrow_method(name, epochs=2), replace(CPU, precision=precision)
    dataset = dataset_of(method)
    whole = fitted(method, dataset, devices=devices)
    checkpoint = Checkpoint(tmp_path / "2_leads.npz", "key")
    stop_after(1)
    with pytest.raises(StoppedError):
        fitted(method, dataset, devices=devices, checkpoint=checkpoint)
    stopped = fitted(method, dataset, devices=devices, checkpoint=checkpoint)
    assert_same_weights(whole, stopped)
    assert whole.training_log["history"] == stopped.training_log["history"]
    np.testing.assert_array_equal(whole.decision.thresholds, stopped.decision.thresholds)
    assert whole.decision.temperature == stopped.decision.temperature


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """Records that a network is trained on first."""
    method, cache = narrow_method("multiscale_se"), tmp_path_factory.mktemp("simulated")
    return simulated_dataset(20, method.preparation, cache, workers=1)


@pytest.fixture(scope="module")
def staged():
    """A method of three stages, two epochs each."""
    method = narrow_method("multiscale_se", 20, epochs=2, batch_size=4)
    pretraining = replace(method.pretraining, measured_epochs=2, epochs=2, batch_size=8)
    return replace(method, pretraining=pretraining)


def train_in_stages(method, simulated, dataset, precision, checkpoint=None):
    """The model, as a process of its own comes to it."""
    devices = replace(CPU, precision=precision)
    trainer = Trainer(TrainingRun(method, 2, 0), devices, len(dataset))
    start = pretrain(trainer, simulated, checkpoint=checkpoint)
    stage = checkpoint and checkpoint.for_stage("records")
    return fit(trainer, dataset, np.arange(len(dataset)), start=start, checkpoint=stage)


@pytest.fixture(scope="module")
def undisturbed(staged, simulated, dataset_of):
    """Gives the model of a training in that precision that nothing stops."""

    @cache
    def train(precision):
        return train_in_stages(staged, simulated, dataset_of(staged), precision)

    return train


@pytest.mark.training
@pytest.mark.usefixtures("without_graphs")
@pytest.mark.parametrize(
    ("stage", "n_epochs", "precision"),
    [
        pytest.param("measurements", 1, "float32", marks=pytest.mark.nightly),
        ("measurements", 2, "mixed_float16"),
        ("simulated", 1, "mixed_float16"),
        pytest.param("simulated", 2, "float32", marks=pytest.mark.nightly),
        pytest.param("records", 1, "float32", marks=pytest.mark.nightly),
        ("records", 1, "mixed_float16"),
    ],
)
def test_a_training_stopped_in_any_of_its_stages_comes_to_the_same_model(
    stage, n_epochs, precision, staged, simulated, dataset_of, undisturbed, tmp_path, stop_after
):
    checkpoint = Checkpoint(tmp_path / "2_leads.npz", "key")
    what = (staged, simulated, dataset_of(staged), precision, checkpoint)
    stop_after(n_epochs, stage)
    with pytest.raises(StoppedError):
        train_in_stages(*what)
    stopped, whole = train_in_stages(*what), undisturbed(precision)
    assert_same_weights(stopped, whole)
    for one, other in zip(histories(stopped), histories(whole), strict=True):
        assert one == other
    assert stopped.decision.temperature == whole.decision.temperature


def histories(model) -> list[dict]:
    """Of its stages, the last one first."""
    found, log = [], model.training_log
    while log is not None:
        found.append(log["history"])
        log = log["start"]
    return found


def assert_same_weights(one, other):
    pairs = zip(one.network.get_weights(), other.network.get_weights(), strict=True)
    assert all(np.array_equal(given, expected) for given, expected in pairs)


# A loss that is no number ----------------------------------------------------------------------


@pytest.fixture
def not_finite_above(monkeypatch):
    """Makes each epoch's loss infinite whose rate is above a limit."""
    limit = []
    on_epoch_end = checkpoints.CheckpointCallback.on_epoch_end

    def find(self, epoch, logs=None):
        if float(self.model.optimizer.learning_rate) > limit[0] and epoch == 1:
            raise NotFiniteError("epoch 2: expected a finite loss, found inf")
        on_epoch_end(self, epoch, logs)

    monkeypatch.setattr(checkpoints.CheckpointCallback, "on_epoch_end", find)
    return limit.append


@pytest.mark.training
@pytest.mark.usefixtures("without_graphs")
def test_a_training_whose_loss_is_not_finite_begins_anew_at_a_lower_rate(
    dataset_of, tmp_path, not_finite_above, capsys
):
    method = narrow_method("branched_se", epochs=2, learning_rate=0.02)
    dataset = dataset_of(method)
    not_finite_above(0.01)
    model = fitted(method, dataset, checkpoint=Checkpoint(tmp_path / "2_leads.npz", "key"))
    line = "epoch 2: expected a finite loss, found inf"
    assert f"{line}; starting again at 0.002" in capsys.readouterr().out
    assert model.training_log["slower_because"] == line
    assert model.method == method
    rate = model.training_log["learning_rate"]
    assert rate == pytest.approx(0.002)
    # Nothing is left of the first attempt.
    assert_same_weights(
        model, fitted(narrow_method("branched_se", epochs=2, learning_rate=rate), dataset)
    )
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"2_leads.npz", "2_leads.slower.npz"}


@pytest.mark.training
@pytest.mark.usefixtures("without_graphs")
def test_a_loss_that_is_never_finite_ends_training_with_its_cause(dataset_of):
    method = narrow_method("branched_se", learning_rate=1e30)
    cause = r"branched_se, 2 leads, epoch 1: expected a finite \w+, found nan .* rate of 1e\+30"
    with pytest.raises(TrainingError, match=cause):
        fitted(method, dataset_of(method))
