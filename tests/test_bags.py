import keras
import numpy as np
import pytest
from keras import layers

from ecg.augmentation import AugmentationOptions
from ecg.bags import bag_network

FS = 100.0
RANDOM = np.random.default_rng(0)
SIGNALS = RANDOM.normal(0, 1, (4, 3, 2, 50)).astype(np.float32)  # 4 bags of 3 windows
DEMOGRAPHICS = RANDOM.uniform(0, 1, (4, 4)).astype(np.float32)
STILL = AugmentationOptions()


def small_network(demographics) -> keras.Model:
    """Network over one window of 2 leads, as the architectures build theirs."""
    keras.utils.set_random_seed(0)
    inputs = {"signal": keras.Input((2, 50), name="signal")}
    x = layers.Dense(5, activation="tanh", name="features")(layers.Flatten()(inputs["signal"]))
    if demographics:
        inputs["demographics"] = keras.Input((4,), name="demographics")
        x = layers.Concatenate(name="with_demographics")([x, inputs["demographics"]])
    logits = layers.Dense(6, name="logits")(x)
    return keras.Model(inputs, layers.Activation("sigmoid", name="probabilities")(logits))


def answer(model, demographics, signals=SIGNALS, training=False) -> np.ndarray:
    inputs = {"signal": signals}
    if demographics is not None:
        inputs["demographics"] = demographics
    return np.array(model(inputs, training=training))


@pytest.mark.parametrize("demographics", [None, DEMOGRAPHICS])
def test_a_bag_has_the_logits_of_its_windows_one_by_one(demographics):
    network = small_network(demographics is not None)
    logits = answer(bag_network(network, 3, STILL, FS), demographics)
    assert logits.shape == (4, 3, 6)
    for record in range(4):
        for window in range(3):
            own = None if demographics is None else demographics[[record]]
            expected = answer(network, own, SIGNALS[record, [window]])[0]
            probabilities = 1 / (1 + np.exp(-logits[record, window]))
            np.testing.assert_allclose(probabilities, expected, atol=1e-6)


def test_the_logits_are_not_squeezed_into_probabilities():
    network = small_network(demographics=False)
    network.get_layer("logits").bias.assign(np.full(6, -40.0))
    assert (answer(bag_network(network, 3, STILL, FS), None) < -30).all()


def test_a_step_on_bags_trains_the_network_itself():
    network = small_network(demographics=True)
    bags = bag_network(network, 3, AugmentationOptions(shift_s=0.1, noise=0.1, erase_s=0.1), FS)
    own = {id(variable) for variable in network.trainable_variables}
    assert {id(variable) for variable in bags.trainable_variables} == own
    before = [np.array(weights) for weights in network.get_weights()]
    bags.compile(keras.optimizers.SGD(0.1), "mse")
    inputs = {"signal": SIGNALS, "demographics": DEMOGRAPHICS}
    bags.train_on_batch(inputs, np.ones((4, 3, 6), np.float32))
    for old, new in zip(before, network.get_weights(), strict=True):
        assert not np.array_equal(old, new)


@pytest.mark.parametrize("changed", [{"shift_s": 0.2}, {"noise": 0.5}, {"erase_s": 0.4}])
def test_windows_are_augmented_in_training_only(changed):
    network = small_network(demographics=False)
    still = answer(bag_network(network, 3, STILL, FS), None, training=True)
    moving = bag_network(network, 3, AugmentationOptions(**changed), FS)
    np.testing.assert_array_equal(answer(moving, None), still)
    assert not np.allclose(answer(moving, None, training=True), still, atol=1e-3)


def test_the_windows_of_a_bag_are_augmented_each_in_its_own_way():
    network = small_network(demographics=False)
    moving = bag_network(network, 3, AugmentationOptions(noise=0.5), FS)
    alike = np.repeat(SIGNALS[:, :1], 3, axis=1)
    logits = answer(moving, None, alike, training=True)
    assert not np.allclose(logits[:, 0], logits[:, 1], atol=1e-3)
