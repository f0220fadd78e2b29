import math
from dataclasses import replace
from itertools import chain, repeat
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecg.models.registry import find_method
from ecg.models.training_options import PretrainingOptions, TrainingOptions
from ecg.training import epochs
from ecg.training.epochs import (
    METRIC,
    NotFiniteError,
    Stage,
    cosine_rate,
    make_optimizer,
    run_epochs,
    steps_per_execution,
)

EPOCHS = 6
RATE = 0.1  # of a step of Adam while all gradients have one sign, so the weight moves by as much
FITTING = {"epochs": EPOCHS, "learning_rate": RATE, "schedule": "step", "lr_patience": EPOCHS}


class Pairs(keras.utils.PyDataset):
    """Batches ({"signal": (n, 1)}, (n, 1)) of y = target * x, a step for each list of x."""

    def __init__(self, target, steps=((1.0, 2.0),)):
        super().__init__()
        self.target = target
        self.steps = [np.array(x, np.float32)[:, None] for x in steps]

    def __len__(self):
        return len(self.steps)

    def __getitem__(self, i):
        return {"signal": self.steps[i]}, self.target * self.steps[i]


def one_weight(start=0.0) -> keras.Model:
    """y = weight * x."""
    signal = keras.Input((1,), name="signal")
    dense = keras.layers.Dense(1, use_bias=False, name="dense")
    network = keras.Model({"signal": signal}, dense(signal))
    dense.kernel.assign([[start]])
    return network


def weight(network) -> float:
    return float(network.get_weights()[0][0, 0])


def compiled(network, options, n_steps, at_once=1) -> keras.Model:
    """The network as training compiles it, for epochs of so many steps."""
    network.compile(
        make_optimizer(options, n_steps),
        keras.losses.MeanSquaredError(),
        jit_compile="auto" if keras.backend.backend() == "jax" else False,
        steps_per_execution=at_once,
    )
    network.optimizer.build(network.trainable_variables)
    return network


def run(
    network, options, training, validation=None, metric=None, time_limit_s=math.inf, at_once=1
) -> dict:
    """validation: pairs whose loss is asked for after every epoch, beside the metric."""

    def validate():
        ((inputs, targets),) = validation
        loss = np.mean((weight(network) * inputs["signal"] - targets) ** 2)
        return {"val_loss": float(loss)} | ({METRIC: metric()} if metric else {})

    compiled(network, options, len(training), at_once)
    asked = None if validation is None else validate
    return run_epochs(network, training, Stage("tiny", options, time_limit_s), asked)


def rates_of(options, n_steps=1, time_limit_s=math.inf) -> list[float]:
    """The rate of the last step of each epoch of so many steps."""
    steps = [[1.0]] * n_steps
    course = run(one_weight(), options, Pairs(5.0, steps), Pairs(5.0), None, time_limit_s)
    return course["history"]["learning_rate"]


@pytest.mark.training
def test_the_rate_of_a_step_falls_once():
    options = TrainingOptions(
        epochs=5, schedule="step", learning_rate=1e-3, lr_factor=0.1, lr_patience=3
    )
    assert rates_of(options) == pytest.approx([1e-3] * 3 + [1e-4] * 2)


def test_the_rate_of_a_cosine_falls_from_its_full_height_to_nothing():
    options = TrainingOptions(schedule="cosine", learning_rate=1e-4)
    rates = [cosine_rate(options, share) for share in np.linspace(0, 1, 201)]
    assert rates[0] == 1e-4
    assert rates[50] == pytest.approx(1e-4 * (0.5 + 0.5 * math.sqrt(0.5)))
    assert rates[100] == pytest.approx(0.5e-4)
    assert rates[200] == pytest.approx(0, abs=1e-12)
    assert (np.diff(rates) < 0).all()


def test_a_warm_up_climbs_from_nothing_to_the_full_rate_before_the_cosine():
    options = TrainingOptions(schedule="cosine", learning_rate=0.08, warmup_share=0.2)
    rates = np.array([cosine_rate(options, share) for share in np.linspace(0, 1, 101)])
    np.testing.assert_allclose(rates[:21], np.linspace(0, 0.08, 21), atol=1e-12)
    assert rates[60] == pytest.approx(0.04)
    assert rates[100] == pytest.approx(0, abs=1e-12)
    assert (np.diff(rates[20:]) < 0).all()


@pytest.mark.parametrize(
    ("n_steps", "share"), [(0, 0.1), (200, 0.1), (5000, 0.1), (10_000, 0.05), (100_000, 0.005)]
)
def test_a_warm_up_takes_500_steps_at_most(n_steps, share):
    options = TrainingOptions(schedule="cosine", learning_rate=0.08, warmup_share=0.1)
    for part in (0.0, 0.25, 1.0):
        assert cosine_rate(options, part * share, n_steps) == pytest.approx(part * 0.08)
    # From there on it falls, to nothing at the end.
    half_way = (share + 1) / 2
    assert cosine_rate(options, half_way, n_steps) == pytest.approx(0.04)
    assert cosine_rate(options, 1.0, n_steps) == pytest.approx(0, abs=1e-12)


@pytest.mark.training
def test_the_steps_of_a_warm_up_are_those_of_the_whole_training(monkeypatch):
    monkeypatch.setattr(epochs, "_MAX_WARMUP_STEPS", 3)
    options = TrainingOptions(
        epochs=4, learning_rate=RATE, schedule="cosine", warmup_share=0.75, best="last"
    )
    course = run(one_weight(), options, Pairs(500.0, [[1.0]] * 3))
    short = replace(options, warmup_share=0.25)  # 3 of 12 steps
    rates = [cosine_rate(short, (step + 0.5) / 12) for step in (2, 5, 8, 11)]
    assert course["history"]["learning_rate"] == pytest.approx(rates)


@pytest.mark.training
@pytest.mark.parametrize("warmup_share", [0.0, 0.25])
def test_the_rate_of_a_cosine_changes_with_every_step(warmup_share):
    options = TrainingOptions(
        epochs=4, learning_rate=RATE, schedule="cosine", warmup_share=warmup_share, best="last"
    )
    network = one_weight()
    course = run(network, options, Pairs(500.0, [[1.0]] * 3), Pairs(500.0))
    # Each at its middle, so that neither the first nor the last one is lost.
    rates = [cosine_rate(options, (step + 0.5) / 12) for step in range(12)]
    assert min(rates) > 0
    assert course["history"]["learning_rate"] == pytest.approx(rates[2::3])
    # All gradients are nearly the same, so each step moves the weight by its rate.
    assert weight(network) == pytest.approx(sum(rates), rel=1e-3)


@pytest.mark.training
def test_steps_taken_at_once_share_the_rate_of_their_middle():
    options = TrainingOptions(epochs=2, learning_rate=RATE, schedule="cosine", best="last")
    network = one_weight()
    # Four steps and the two that are left, of each epoch.
    course = run(network, options, Pairs(500.0, [[1.0]] * 6), at_once=4)
    first, second, third, fourth = (cosine_rate(options, step / 12) for step in (2, 5, 8, 11))
    assert course["history"]["learning_rate"] == pytest.approx([second, fourth])
    expected = 4 * first + 2 * second + 4 * third + 2 * fourth
    assert weight(network) == pytest.approx(expected, rel=1e-3)


@pytest.mark.training
@pytest.mark.parametrize("n_steps", [1, 3, 4, 6, 8])
def test_at_one_rate_steps_taken_at_once_come_to_the_same_bits(n_steps):
    random = np.random.default_rng(0)
    training = Pairs(0.7, random.normal(size=(n_steps, 5)))
    options = TrainingOptions(**FITTING, best="last", accumulation_steps=2, clip_norm=0.5)
    found = []
    for at_once in (1, 4):
        network = one_weight()
        course = run(network, options, training, Pairs(0.7), at_once=at_once)
        found.append((network.get_weights()[0], course["history"]))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]


@pytest.mark.training
def test_where_the_time_limit_is_nearer_the_rate_follows_the_time(monkeypatch):
    def at_once_half_of_the_limit_is_over():
        clock = chain([0.0], repeat(50.0))
        monkeypatch.setattr(epochs, "time", SimpleNamespace(monotonic=lambda: next(clock)))

    options = TrainingOptions(epochs=4, learning_rate=0.08, schedule="cosine", best="last")
    at_once_half_of_the_limit_is_over()
    expected = [cosine_rate(options, share) for share in (0.5, 0.5, 0.625, 0.875)]
    assert rates_of(options, time_limit_s=100.0) == pytest.approx(expected)
    at_once_half_of_the_limit_is_over()
    by_steps = [cosine_rate(options, share) for share in (0.125, 0.375, 0.625, 0.875)]
    assert rates_of(options, time_limit_s=1e6) == pytest.approx(by_steps, rel=1e-3)


@pytest.mark.training
@pytest.mark.parametrize("time_limit_s", [-5.0, 0.0, 1e-9])
def test_an_epoch_that_the_time_limit_ends_in_comes_down_the_whole_cosine(time_limit_s):
    options = TrainingOptions(epochs=4, learning_rate=RATE, schedule="cosine", best="last")
    network = one_weight()
    course = run(network, options, Pairs(500.0, [[1.0]] * 8), Pairs(500.0), None, time_limit_s)
    assert course["epochs"] == 1
    rates = [cosine_rate(options, (step + 0.5) / 8) for step in range(8)]
    assert course["history"]["learning_rate"] == pytest.approx(rates[-1:])
    assert weight(network) == pytest.approx(sum(rates), rel=1e-3)


@pytest.mark.training
def test_a_gradient_counts_for_no_more_than_its_largest_norm():
    options = {"epochs": 1, "learning_rate": RATE, "schedule": "step", "best": "last"}
    moved = {}
    for clip_norm in (None, 1.0, 1e6):
        network = one_weight()
        # Of the second step the gradient is a hundred times as large.
        training = Pairs(500.0, [[1.0], [10.0]])
        run(network, TrainingOptions(**options, clip_norm=clip_norm), training, Pairs(500.0))
        moved[clip_norm] = weight(network)
    # Gradients of one size each move the weight by the rate.
    assert moved[1.0] == pytest.approx(2 * RATE, rel=1e-3)
    assert moved[None] == moved[1e6] < 1.8 * RATE


@pytest.mark.training
@pytest.mark.parametrize("at_once", [1, 4])
def test_a_loss_that_is_no_number_ends_training_within_the_epoch(at_once):
    steps = [[1.0]] * 3 + [[math.inf]] + [[1.0]] * 60
    options = TrainingOptions(**FITTING, best="last")
    seen = []

    class Counted(Pairs):
        def __getitem__(self, i):
            seen.append(i)
            return super().__getitem__(i)

    cause = r"tiny, epoch 1: expected a finite loss, found \w+ at a learning rate of 0.1"
    with pytest.raises(NotFiniteError, match=cause):
        run(one_weight(), options, Counted(5.0, steps), at_once=at_once)
    assert max(seen) < 60


@pytest.mark.training
def test_a_loss_of_the_records_set_aside_that_is_no_number_ends_training_too():
    options = TrainingOptions(**FITTING)
    cause = "tiny, epoch 1: expected a finite val_loss, found inf at a learning rate of 0.1"
    with pytest.raises(NotFiniteError, match=cause):
        run(one_weight(), options, Pairs(5.0), Pairs(math.inf))


@pytest.mark.training
def test_an_epoch_that_a_network_is_trained_again_for_is_like_its_first():
    options = TrainingOptions(epochs=3, learning_rate=RATE, schedule="cosine", best="last")
    network, courses = compiled(one_weight(), options, 2), []
    for _ in range(2):
        network.layers[-1].kernel.assign([[0.0]])
        training = Pairs(0.7, [[1.0], [2.0]])
        course = run_epochs(network, training, Stage("tiny", options))
        courses.append((weight(network), course["history"]))
    # Neither Adam's moments nor its count of steps go on.
    assert courses[0] == courses[1]


@pytest.mark.training
def test_a_network_is_trained_at_the_rate_of_each_call():
    network = compiled(one_weight(), TrainingOptions(**FITTING), 1)
    moved = [weight(network)]
    for rate in (0.1, 0.2):
        options = TrainingOptions(epochs=1, learning_rate=rate, schedule="step", best="last")
        course = run_epochs(network, Pairs(500.0), Stage("tiny", options))
        assert course["learning_rate"] == rate
        moved.append(weight(network))
    assert np.diff(moved) == pytest.approx([0.1, 0.2], rel=1e-3)


@pytest.mark.training
def test_the_epoch_of_the_lowest_loss_is_kept_and_patience_ends_training():
    network = one_weight()
    # The weight goes 0.1, 0.2, … towards 5 and passes 0.3, where the validation loss is lowest.
    options = TrainingOptions(**FITTING, best="loss", stop_patience=2)
    course = run(network, options, Pairs(5.0), Pairs(0.3))
    assert (course["epochs"], course["best_epoch"]) == (5, 3)
    assert weight(network) == pytest.approx(0.3, abs=1e-3)
    assert int(np.argmin(course["history"]["val_loss"])) == 2
    assert not course["cut_by_time_limit"]


@pytest.mark.training
def test_the_epoch_of_the_highest_metric_is_kept(capsys):
    network, seen, metrics = one_weight(), [], [0.1, 0.4, 0.2, 0.4, 0.3, -0.1]

    def metric():
        seen.append(weight(network))
        return metrics[len(seen) - 1]

    # The validation loss would choose the last epoch.
    options = TrainingOptions(**FITTING, best="challenge_metric", stop_patience=None)
    course = run(network, options, Pairs(5.0), Pairs(5.0), metric)
    assert seen == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], abs=5e-3)
    assert (course["epochs"], course["best_epoch"]) == (EPOCHS, 2)
    assert weight(network) == seen[1]
    assert course["history"]["val_challenge_metric"] == metrics
    assert "Challenge metric 0.200" in capsys.readouterr().out.splitlines()[2]


@pytest.mark.training
def test_patience_counts_epochs_without_a_better_metric():
    metrics = iter([0.1, 0.4, 0.2, 0.3])
    options = TrainingOptions(**FITTING, best="challenge_metric", stop_patience=2)
    course = run(one_weight(), options, Pairs(5.0), Pairs(5.0), lambda: next(metrics))
    assert (course["epochs"], course["best_epoch"]) == (4, 2)


@pytest.mark.training
def test_the_last_epoch_is_kept_whatever_the_validation_says():
    network = one_weight()
    options = TrainingOptions(**FITTING, best="last", stop_patience=1)
    course = run(network, options, Pairs(5.0), Pairs(0.0))
    assert (course["epochs"], course["best_epoch"]) == (EPOCHS, EPOCHS)
    assert (np.diff(course["history"]["val_loss"]) > 0).all()
    assert weight(network) == pytest.approx(0.6, abs=5e-3)


@pytest.mark.training
def test_without_records_set_aside_a_line_tells_what_there_is(capsys):
    options = TrainingOptions(**FITTING, best="last")
    course = run(one_weight(), options, Pairs(5.0))
    assert (course["epochs"], course["best_epoch"]) == (EPOCHS, EPOCHS)
    assert course["history"].keys() == {"loss", "learning_rate"}
    line = capsys.readouterr().out.splitlines()[1]
    loss = course["history"]["loss"][1]
    assert line.startswith(f"tiny, epoch 2/6: loss {loss:.4f}, learning rate 0.1, ")


@pytest.mark.training
def test_on_a_plateau_the_rate_is_multiplied():
    options = TrainingOptions(
        epochs=6, learning_rate=0.08, schedule="plateau", lr_factor=0.5, lr_patience=2, best="last"
    )
    # All inputs 0: the loss stays as it is.
    course = run(one_weight(), options, Pairs(5.0), Pairs(1.0, [[0.0]]))
    rates = [0.08, 0.08, 0.08, 0.04, 0.04, 0.02]
    assert course["history"]["learning_rate"] == pytest.approx(rates)


@pytest.mark.training
def test_without_records_set_aside_a_plateau_is_that_of_the_loss():
    options = TrainingOptions(
        epochs=4, learning_rate=0.08, schedule="plateau", lr_factor=0.5, lr_patience=2, best="last"
    )
    course = run(one_weight(), options, Pairs(5.0, [[0.0]]))
    rates = [0.08, 0.08, 0.08, 0.04]
    assert course["history"]["learning_rate"] == pytest.approx(rates)


@pytest.mark.training
def test_every_epoch_prints_its_rate(capsys):
    options = TrainingOptions(epochs=3, learning_rate=0.08, schedule="cosine")
    rates = rates_of(options)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[1].startswith("tiny, epoch 2/3: loss ")
    assert f"learning rate {rates[1]:.2g}" in lines[1]


@pytest.mark.training
def test_accumulated_steps_make_one_update_as_of_the_joined_batch():
    steps = [[1.0, 3.0], [-2.0, 0.5], [4.0, 1.0], [0.25, 2.0]]
    joined = [[*steps[0], *steps[1]], [*steps[2], *steps[3]]]
    options = {"epochs": 2, "learning_rate": RATE, "schedule": "step", "best": "last"}
    weights = {}
    for name, batches, accumulation in (
        ("accumulated", steps, 2),
        ("joined", joined, 1),
        ("apart", steps, 1),
    ):
        network = one_weight()
        own = TrainingOptions(**options, accumulation_steps=accumulation)
        run(network, own, Pairs(0.17, batches), Pairs(0.17))
        weights[name] = weight(network)
    assert weights["accumulated"] == pytest.approx(weights["joined"], abs=1e-6)
    assert abs(weights["apart"] - weights["joined"]) > 1e-3


@pytest.mark.training
def test_an_epoch_of_fewer_steps_than_an_update_takes_has_one():
    options = TrainingOptions(**FITTING, best="last", accumulation_steps=4)
    network = one_weight()
    run(network, options, Pairs(5.0, [[1.0], [2.0]]), Pairs(5.0))
    assert weight(network) == pytest.approx(EPOCHS * RATE, abs=5e-3)


@pytest.mark.training
def test_adamw_decays_weights_and_adam_does_not():
    options = {"epochs": 1, "learning_rate": 0.5, "best": "last"}
    kept = {}
    for optimizer in ("adam", "adamw"):
        network = one_weight(2.0)
        # Without an input there is no gradient.
        run(network, TrainingOptions(**options, optimizer=optimizer), Pairs(1.0, [[0.0]]), Pairs(1))
        kept[optimizer] = weight(network)
    assert kept["adam"] == 2.0
    assert kept["adamw"] == pytest.approx(2.0 * (1 - 0.5 * 0.004))


@pytest.mark.training
@pytest.mark.parametrize(
    ("time_limit_s", "epochs", "cut"), [(0.0, 1, True), (-5.0, 1, True), (1e6, EPOCHS, False)]
)
def test_the_time_limit_ends_training_but_not_before_one_epoch(time_limit_s, epochs, cut, capsys):
    options = TrainingOptions(**FITTING, best="last")
    course = run(one_weight(), options, Pairs(5.0), Pairs(5.0), time_limit_s=time_limit_s)
    assert (course["epochs"], course["best_epoch"]) == (epochs, epochs)
    assert course["cut_by_time_limit"] == cut
    assert ("tiny: stopped by the time limit after epoch 1" in capsys.readouterr().out) == cut


@pytest.mark.training
def test_the_last_epoch_is_never_cut():
    course = run(one_weight(), TrainingOptions(epochs=1), Pairs(5.0), Pairs(5.0), time_limit_s=0.0)
    assert not course["cut_by_time_limit"]


# Sizes that follow from the number of records ---------------------------------------------------

SCALED = find_method("multiscale_se").training


@pytest.mark.parametrize(
    ("n_training", "batch_size", "rate"),
    [
        (1, 16, 2e-3),
        (643, 16, 2e-3),
        (13_000, 16, 2e-3),
        (16_000, 32, 2e-3 * math.sqrt(2)),
        (38_000, 64, 4e-3),
        (88_253, 128, 4e-3),
        (10**7, 128, 4e-3),
    ],
)
def test_batch_and_rate_of_the_default_grow_with_the_records(n_training, batch_size, rate):
    scaled = SCALED.scaled_to(n_training)
    assert scaled.batch_size == batch_size
    assert scaled.learning_rate == pytest.approx(rate)
    assert replace(scaled, batch_size=16, learning_rate=2e-3) == SCALED


@given(
    n_training=st.integers(1, 10**8),
    batch_size=st.integers(1, 300),
    largest=st.integers(0, 10).map(lambda power: 2**power),
)
def test_a_batch_grows_by_powers_of_two_within_its_limits(n_training, batch_size, largest):
    options = TrainingOptions(batch_size=batch_size, largest_batch_size=largest)
    scaled = options.scaled_to(n_training)
    assert scaled.batch_size >= batch_size
    assert scaled.batch_size <= max(largest, batch_size)
    assert scaled.batch_size == batch_size or math.log2(scaled.batch_size).is_integer()
    growth = scaled.learning_rate / options.learning_rate
    assert growth == pytest.approx(min(math.sqrt(scaled.batch_size / batch_size), 2.0))
    assert scaled.scaled_to(n_training) == scaled
    assert options.scaled_to(2 * n_training).batch_size >= scaled.batch_size


@pytest.mark.parametrize("n_training", [1, 643, 88_253])
def test_without_a_largest_batch_nothing_grows(n_training):
    options = replace(SCALED, largest_batch_size=None)
    assert options.scaled_to(n_training) == options


@pytest.mark.parametrize("n_training", [1, 643, 88_253])
def test_without_a_gpu_steps_are_taken_one_by_one(n_training):
    assert steps_per_execution(SCALED.scaled_to(n_training), n_training, has_gpu=False) == 1


@pytest.mark.parametrize(("n_training", "at_once"), [(1, 1), (643, 2), (6000, 18), (88_253, 32)])
def test_on_a_gpu_steps_are_taken_at_once_but_never_a_large_part_of_all(n_training, at_once):
    options = SCALED.scaled_to(n_training)
    assert steps_per_execution(options, n_training, has_gpu=True) == at_once
    n_steps = options.epochs * math.ceil(n_training / options.batch_size)
    assert at_once == 1 or n_steps / at_once >= 200


# Options that are refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"epochs": 0}, "expected epochs, sizes and patiences of at least 1"),
        ({"batch_size": 0}, "expected epochs, sizes and patiences of at least 1"),
        ({"accumulation_steps": 0}, "expected epochs, sizes and patiences of at least 1"),
        ({"bag_size": 0}, "expected epochs, sizes and patiences of at least 1"),
        ({"lr_patience": 0}, "expected epochs, sizes and patiences of at least 1"),
        ({"stop_patience": 0}, "expected epochs, sizes and patiences of at least 1"),
        ({"largest_batch_size": 0}, "expected epochs, sizes and patiences of at least 1"),
        ({"validation_share": 0}, "validation_share: expected 0 < share < 1, found 0"),
        ({"validation_share": 1}, "validation_share: expected 0 < share < 1, found 1"),
        ({"warmup_share": -0.1}, "expected 0 <= warmup_share < 1 .*found -0.1 and None"),
        ({"warmup_share": 1}, "expected 0 <= warmup_share < 1 .*found 1 and None"),
        ({"clip_norm": 0}, "a positive clip_norm, found 0.0 and 0"),
        ({"clip_norm": -1.0}, "a positive clip_norm, found 0.0 and -1.0"),
        ({"optimizer": "sgd"}, "optimizer: expected one of adam, adamw; found sgd"),
        ({"schedule": "none"}, "schedule: expected one of plateau, step, cosine; found none"),
        ({"best": "auroc"}, "best: expected one of loss, challenge_metric, last; found auroc"),
    ],
)
def test_options_out_of_range_are_refused(option, message):
    with pytest.raises(ValueError, match=message):
        TrainingOptions(**option)


@pytest.mark.parametrize(
    "option",
    [
        {"n_records": -1},
        {"measured_epochs": -1},
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"learning_rate": -1e-3},
    ],
)
def test_options_of_pretraining_out_of_range_are_refused(option):
    with pytest.raises(ValueError, match="expected n_records and measured_epochs of at least 0"):
        PretrainingOptions(**option)


def test_by_default_nothing_is_simulated():
    assert PretrainingOptions().n_records == 0
