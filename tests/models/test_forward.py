import keras
import numpy as np
import pytest

from ecg.models.forward import logits_of

N_CLASSES, SIZE = 3, 4


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """Of a signal and demographics, with what behaves otherwise in training; compiled."""
    keras.utils.set_random_seed(0)
    signal, patient = keras.Input((2, 5), name="signal"), keras.Input((4,), name="demographics")
    x = keras.layers.Concatenate()([keras.layers.Flatten()(signal), patient])
    x = keras.layers.Dropout(0.5)(keras.layers.BatchNormalization()(x))
    logits = keras.layers.Dense(N_CLASSES)(x)
    made = keras.Model({"signal": signal, "demographics": patient}, logits)
    made.compile()
    return made


def made_up(n_windows, seed=0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    shapes = {"signal": (2, 5), "demographics": (4,)}
    return {
        name: random.normal(0, 50, (n_windows, *shape)).astype(np.float32)
        for name, shape in shapes.items()
    }


def in_batches(inputs, *sizes):
    """The inputs cut into batches of so many windows."""
    start = 0
    for size in sizes:
        yield {name: values[start : start + size] for name, values in inputs.items()}
        start += size


@pytest.mark.parametrize("sizes", [(4, 4, 1), (4, 3, 2), (1,) * 9, (2, 4, 3)])
def test_neither_the_size_of_batches_nor_what_fills_them_changes_a_logit(network, sizes):
    inputs = made_up(9)
    expected = np.asarray(network(inputs, training=False))
    logits = logits_of(network, in_batches(inputs, *sizes), SIZE)
    assert logits.shape == (9, N_CLASSES)
    assert logits.dtype == np.float64
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-4)
    assert np.abs(logits).max() > 10  # and nothing squeezes them into probabilities


class Recording:
    """Stands for a network; the shapes and types that it was given, and its sums as the logits."""

    def __init__(self):
        self.seen = []

    def predict_on_batch(self, inputs):
        self.seen.append({name: (one.shape, one.dtype) for name, one in inputs.items()})
        return sum(one.reshape(len(one), -1).sum(axis=1) for one in inputs.values())[:, None]


def test_batches_of_one_shape_reach_the_network():
    network, inputs = Recording(), made_up(10)
    logits = logits_of(network, in_batches(inputs, 4, 1, 3, 2), SIZE)
    expected = inputs["signal"].sum(axis=(1, 2)) + inputs["demographics"].sum(axis=1)
    np.testing.assert_allclose(logits[:, 0], expected, rtol=1e-5)
    shape = {"signal": ((SIZE, 2, 5), np.float32), "demographics": ((SIZE, 4), np.float32)}
    assert network.seen == [shape] * 4


def test_what_it_was_given_stays_as_it_was(network):
    (batch,) = in_batches(made_up(3), 3)
    before = {name: values.copy() for name, values in batch.items()}
    logits_of(network, [batch], SIZE)
    assert batch.keys() == before.keys()
    for name, values in batch.items():
        np.testing.assert_array_equal(values, before[name])


def test_an_overflow_is_left_to_see(network):
    inputs = made_up(5)
    inputs["signal"][2] = np.inf
    logits = logits_of(network, in_batches(inputs, 4, 1), SIZE)
    assert np.isfinite(logits).all(axis=1).tolist() == [True, True, False, True, True]
