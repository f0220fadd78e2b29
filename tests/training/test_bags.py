import keras
import numpy as np
import pytest
from keras import layers

from ecg.models.augmentation import AugmentationOptions
from ecg.training.bags import bag_network

FS = 100.0
RANDOM = np.random.default_rng(0)
SIGNALS = RANDOM.normal(0, 1, (4, 3, 2, 50)).astype(np.float32)  # 4 bags of 3 windows
OTHERS = {  # of each record
    "demographics": RANDOM.uniform(0, 1, (4, 4)).astype(np.float32),
    "measurements": RANDOM.uniform(-1, 1, (4, 7)).astype(np.float32),
}
STILL = AugmentationOptions()


def small_network(names=("signal",)) -> keras.Model:
    """Network over one window of 2 leads, or without any, as the architectures build theirs."""
    keras.utils.set_random_seed(0)
    inputs, features = {}, []
    for name in names:
        shape = (2, 50) if name == "signal" else OTHERS[name].shape[1:]
        inputs[name] = keras.Input(shape, name=name)
        flat = layers.Flatten()(inputs[name])
        features.append(layers.Dense(5, activation="tanh", name=f"{name}_features")(flat))
    x = layers.Concatenate(name="features")(features) if len(names) > 1 else features[0]
    return keras.Model(inputs, layers.Dense(6, name="logits")(x))


def answer(model, signals=SIGNALS, training=False) -> np.ndarray:
    inputs = {name: signals if name == "signal" else OTHERS[name] for name in model.input}
    return np.array(model(inputs, training=training))


@pytest.mark.parametrize(
    "names",
    [
        ("signal",),
        ("signal", "demographics"),
        ("signal", "measurements"),
        ("signal", "demographics", "measurements"),
        ("measurements",),
    ],
)
def test_a_bag_has_the_logits_of_its_windows_one_by_one(names):
    network = small_network(names)
    bags = bag_network(network, 3, STILL, FS)
    assert list(bags.input) == list(names)
    logits = answer(bags)
    assert logits.shape == (4, 3, 6)
    for i in range(3):
        np.testing.assert_allclose(logits[:, i], answer(network, SIGNALS[:, i]), atol=1e-5)


def test_the_logits_are_not_squeezed_into_probabilities():
    network = small_network()
    network.get_layer("logits").bias.assign(np.full(6, -40.0))
    assert (answer(bag_network(network, 3, STILL, FS)) < -30).all()


@pytest.mark.training
def test_a_step_on_bags_trains_the_network_itself():
    network = small_network(("signal", "demographics", "measurements"))
    bags = bag_network(network, 3, AugmentationOptions(shift_s=0.1, noise=0.1, erase_s=0.1), FS)
    own = {id(variable) for variable in network.trainable_variables}
    assert {id(variable) for variable in bags.trainable_variables} == own
    before = [np.array(weights) for weights in network.get_weights()]
    bags.compile(keras.optimizers.SGD(0.1), "mse")
    bags.train_on_batch({"signal": SIGNALS, **OTHERS}, np.ones((4, 3, 6), np.float32))
    for old, new in zip(before, network.get_weights(), strict=True):
        assert not np.array_equal(old, new)


def test_the_network_is_in_training_where_its_bags_are():
    signal = keras.Input((2, 50), name="signal")
    x = layers.BatchNormalization(name="normalised")(layers.Flatten()(signal))
    network = keras.Model({"signal": signal}, layers.Dense(6)(layers.Dropout(0.5)(x)))
    bags = bag_network(network, 3, STILL, FS)
    averages = network.get_layer("normalised").moving_mean
    still = answer(bags)
    assert not np.array(averages).any()
    assert not np.allclose(answer(bags, training=True), still, atol=1e-3)
    assert np.array(averages).all()


@pytest.mark.parametrize("changed", [{"shift_s": 0.2}, {"noise": 0.5}, {"erase_s": 0.4}])
def test_windows_are_augmented_in_training_only(changed):
    network = small_network()
    still = answer(bag_network(network, 3, STILL, FS), training=True)
    moving = bag_network(network, 3, AugmentationOptions(**changed), FS)
    np.testing.assert_array_equal(answer(moving), still)
    assert not np.allclose(answer(moving, training=True), still, atol=1e-3)


def test_the_windows_of_a_bag_are_augmented_each_in_its_own_way():
    network = small_network()
    moving = bag_network(network, 3, AugmentationOptions(noise=0.5), FS)
    alike = np.repeat(SIGNALS[:, :1], 3, axis=1)
    logits = answer(moving, alike, training=True)
    assert not np.allclose(logits[:, 0], logits[:, 1], atol=1e-3)
