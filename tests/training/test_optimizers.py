"""Every test runs on Keras's backend of this process; the last one runs them all on JAX."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from ecg.training.optimizers import FlatAdam
from tests.conftest import ROOT

pytestmark = pytest.mark.training

JAX = keras.backend.backend() == "jax"
RATE, DECAY, CLIP = 0.05, 0.004, 0.5
_RANDOM = np.random.default_rng(0)
# Of nine windows each; the norm of the gradients grows from a fifth of CLIP to three times as much.
BATCHES = [
    (
        _RANDOM.normal(0, 1, (9, 8, 2)).astype(np.float32),
        _RANDOM.normal(0, size, (9, 3)).astype(np.float32),
    )
    for size in (0.1, 0.3, 1, 1, 2, 2, 3, 3, 4)
]


def small_network(optimizer, policy="float32") -> keras.Model:
    """A network with weights of several shapes and a layer that is not trained, compiled."""
    keras.config.set_dtype_policy(policy)
    try:
        network = keras.Sequential(
            [
                keras.Input((8, 2)),
                keras.layers.Conv1D(4, 3, activation="tanh"),
                keras.layers.Conv1D(4, 3, activation="tanh", trainable=False),
                keras.layers.Flatten(),
                keras.layers.Dense(3, dtype="float32"),
            ]
        )
    finally:
        keras.config.set_dtype_policy("float32")
    random = np.random.default_rng(1)  # the same on every backend
    network.set_weights([random.normal(0, 0.1, one.shape) for one in network.get_weights()])
    network.compile(optimizer, "mse", jit_compile="auto" if JAX else False)
    return network


def values(variables) -> np.ndarray:
    return np.concatenate([keras.ops.convert_to_numpy(one).ravel() for one in variables])


def course(optimizer, batches=BATCHES, policy="float32", rates=()) -> np.ndarray:
    """Trained weights before the first and after each step; rates: learning rates of the steps."""
    network = small_network(optimizer, policy)
    weights = [values(network.trainable_variables)]
    for i, batch in enumerate(batches):
        if rates:
            network.optimizer.learning_rate = rates[i]
        network.train_on_batch(*batch)
        weights.append(values(network.trainable_variables))
    return np.stack(weights)


def assert_same(ours, expected):
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-6)
    assert np.abs(np.diff(expected, axis=0)).max() > 0.5 * RATE


def test_the_steps_are_those_of_adam():
    expected = course(keras.optimizers.Adam(RATE))
    assert_same(course(FlatAdam(RATE)), expected)


def test_with_a_weight_decay_the_steps_are_those_of_adamw():
    expected = course(keras.optimizers.AdamW(RATE, weight_decay=DECAY))
    assert_same(course(FlatAdam(RATE, weight_decay=DECAY)), expected)
    assert np.abs(expected - course(keras.optimizers.Adam(RATE))).max() > 1e-4


def test_gradients_are_clipped_by_their_common_norm():
    expected = course(keras.optimizers.Adam(RATE, global_clipnorm=CLIP))
    assert_same(course(FlatAdam(RATE, clip_norm=CLIP)), expected)
    difference = np.abs(expected - course(keras.optimizers.Adam(RATE))).max(axis=1)
    assert difference[3] < 1e-6
    assert difference[-1] > 1e-2


@pytest.mark.parametrize("n_steps", [2, 3])
def test_the_steps_of_accumulated_gradients_are_those_of_adamw(n_steps):
    expected = course(
        keras.optimizers.AdamW(
            RATE, weight_decay=DECAY, global_clipnorm=CLIP, gradient_accumulation_steps=n_steps
        )
    )
    ours = FlatAdam(RATE, weight_decay=DECAY, clip_norm=CLIP, accumulation_steps=n_steps)
    assert_same(course(ours), expected)


def test_an_update_comes_every_few_steps_by_their_mean_gradient_and_nothing_in_between():
    weights = course(FlatAdam(RATE, DECAY, CLIP, accumulation_steps=3))
    for i in range(9):
        assert np.array_equal(weights[i], weights[i + 1]) == (i % 3 != 2)
    together = [
        tuple(np.concatenate([batch[part] for batch in BATCHES[i : i + 3]]) for part in (0, 1))
        for i in (0, 3, 6)
    ]
    assert_same(weights[::3], course(FlatAdam(RATE, DECAY, CLIP), together))


def test_the_rate_can_change_from_step_to_step():
    rates = [0.05, 0.0, 0.01, 0.05, 0.002, 0.05, 0.0, 0.05, 0.01]
    weights = course(FlatAdam(RATE, weight_decay=DECAY), rates=rates)
    expected = course(keras.optimizers.AdamW(RATE, weight_decay=DECAY), rates=rates)
    assert_same(weights, expected)
    np.testing.assert_array_equal(weights[2], weights[1])


@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_a_network_in_float16_takes_the_same_steps_with_a_scaled_loss(accumulation_steps):
    ours = FlatAdam(RATE, DECAY, CLIP, accumulation_steps)
    expected = course(
        keras.optimizers.AdamW(
            RATE,
            weight_decay=DECAY,
            global_clipnorm=CLIP,
            gradient_accumulation_steps=accumulation_steps if accumulation_steps > 1 else None,
        ),
        policy="mixed_float16",
    )
    assert_same(course(ours, policy="mixed_float16"), expected)


def test_a_step_that_overflows_in_float16_changes_nothing_but_the_scale():
    network = small_network(FlatAdam(RATE, DECAY, CLIP), "mixed_float16")
    optimizer = network.optimizer
    assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    network.train_on_batch(*BATCHES[0])
    watched = [*network.trainable_variables, *optimizer.inner_optimizer.variables]
    before, scale = values(watched), float(optimizer.dynamic_scale)
    signal, targets = BATCHES[1]
    network.train_on_batch(np.where(signal > 1, np.float32(1e30), signal), targets)
    np.testing.assert_array_equal(values(watched), before)
    assert float(optimizer.dynamic_scale) == scale / 2
    network.train_on_batch(signal, targets)
    assert not np.array_equal(values(network.trainable_variables), before)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
@pytest.mark.parametrize(("accumulation_steps", "n_vectors"), [(1, 2), (3, 3)])
def test_its_variables_are_none_of_the_networks(accumulation_steps, n_vectors, policy):
    network = small_network(FlatAdam(RATE, accumulation_steps=accumulation_steps), policy)
    network.train_on_batch(*BATCHES[0])
    optimizer = network.optimizer
    own = {id(variable) for variable in optimizer.variables}
    assert len(own) == len(optimizer.variables)
    assert own.isdisjoint(id(variable) for variable in network.variables)
    # Steps, rate; moments, gathered gradients.
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    n_numbers = values(network.trainable_variables).size
    sizes = sorted(values([variable]).size for variable in inner.variables)
    assert sizes == [1, 1] + [n_numbers] * n_vectors


def test_it_goes_on_from_its_variables_amid_an_update():
    first, second = (small_network(FlatAdam(RATE, DECAY, CLIP, 2)) for _ in range(2))
    for batch in BATCHES[:5]:
        first.train_on_batch(*batch)
    second.optimizer.build(second.trainable_variables)
    for of in (lambda network: network.variables, lambda network: network.optimizer.variables):
        for source, target in zip(of(first), of(second), strict=True):
            target.assign(keras.ops.convert_to_numpy(source))
    for batch in BATCHES[5:]:
        first.train_on_batch(*batch)
        second.train_on_batch(*batch)
    np.testing.assert_array_equal(
        values(first.trainable_variables), values(second.trainable_variables)
    )


@pytest.mark.nightly
@pytest.mark.skipif(JAX, reason="these are the tests on JAX")
def test_all_this_holds_on_jax():
    process = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__],
        env=os.environ | {"KERAS_BACKEND": "jax"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout
