import keras
import numpy as np
import pytest

from ecg.models.layers import (
    BlurPool1D,
    activate,
    classify,
    convolve_time,
    dual_pool,
    embed_measurements,
    se_residual_block,
    squeeze_excite,
)


def model(block, shape) -> keras.Model:
    """A model that is the block alone, on inputs (batch, *shape)."""
    x = keras.Input(shape)
    return keras.Model(x, block(x))


def computed(block, x):
    return np.asarray(model(block, x.shape[1:])(x, training=False))


def maps(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def blurred(samples):
    """BlurPool1D of one channel, as a list."""
    return np.asarray(BlurPool1D()(np.array(samples, np.float32)[None, :, None])).ravel().tolist()


def test_blur_pool_weighs_a_sample_and_its_neighbours_1_2_1():
    assert blurred([1, 2, 4, 8, 16]) == [1.5, 4.5, 12.0]
    assert blurred([1, 2, 4, 8]) == [1.5, 4.5]


def test_blur_pool_keeps_channels_apart():
    x = maps(2, 7, 3)
    together = np.asarray(BlurPool1D()(x))
    assert together.shape == (2, 4, 3)
    np.testing.assert_allclose(together[1, :, 2], blurred(x[1, :, 2]), rtol=1e-5)


def test_blur_pool_of_the_fastest_wave_is_zero_wherever_it_starts():
    wave = np.tile([1.0, -1.0], 6)
    assert blurred(wave) == blurred(-wave) == [0.0] * 6  # every second sample: all 1 or all -1


def test_blur_pool_keeps_a_constant():
    assert blurred([3.0] * 9) == [3.0] * 5


def test_a_shift_by_two_samples_shifts_the_blur_pool_by_one():
    signal = maps(20)
    np.testing.assert_allclose(blurred(signal[2:])[1:], blurred(signal)[2:], rtol=1e-5)


def test_a_shift_by_one_sample_changes_the_blur_pool_less_than_every_second_sample():
    signal = maps(200)
    here, later = np.array(blurred(signal[:-1])), np.array(blurred(signal[1:]))
    plain = np.abs(signal[1::2] - signal[:-1:2]).mean()
    assert np.abs(later[:100] - here[:100]).mean() < plain / 2


def test_blur_pool_has_no_weights_and_its_shape_is_known_beforehand():
    layer = BlurPool1D()
    assert layer(keras.Input((7, 3))).shape == (None, 4, 3)
    assert not layer.weights


def test_dual_pool_is_the_mean_and_maximum_over_time_of_each_row():
    x = maps(2, 3, 5, 4)
    pooled = computed(lambda x: dual_pool(x, "pool"), x)
    assert pooled.shape == (2, 3, 1, 8)
    np.testing.assert_allclose(pooled[:, :, 0, :4], x.mean(axis=2), atol=1e-6)
    np.testing.assert_allclose(pooled[:, :, 0, 4:], x.max(axis=2))


@pytest.mark.parametrize("ratio", [2, 100])
def test_squeeze_excite_weighs_each_channel_by_one_number_between_0_and_1(ratio):
    x = maps(2, 3, 5, 4)
    gates = computed(lambda x: squeeze_excite(x, ratio, "se"), x) / x
    np.testing.assert_allclose(gates, np.broadcast_to(gates[:, :1, :1], gates.shape), rtol=1e-4)
    assert ((gates > 0) & (gates < 1)).all()


def test_rows_share_the_kernel_of_a_convolution_over_time():
    row = maps(1, 1, 9, 2)
    convolved = computed(lambda x: convolve_time(x, 3, 5, 2, "conv"), np.repeat(row, 4, axis=1))
    assert convolved.shape == (1, 4, 5, 3)
    np.testing.assert_allclose(convolved, np.repeat(convolved[:, :1], 4, axis=1), atol=1e-6)


def test_activation_is_of_the_normalised_maps():
    network = model(lambda x: activate(x, "pre"), (2, 50, 3))
    x = 100 + 5 * maps(8, 2, 50, 3)
    activated = np.asarray(network(x, training=True))
    expected = (x - x.mean((0, 1, 2))) / x.std((0, 1, 2))
    np.testing.assert_allclose(activated, np.maximum(expected, 0), atol=1e-2)


def test_a_residual_block_that_keeps_the_shape_passes_its_input_on():
    network = model(lambda x: se_residual_block(x, [(4, 3, 1), (4, 3, 1)], 2, "block"), (2, 9, 4))
    network.get_layer("block_conv2").kernel.assign(np.zeros((1, 3, 4, 4)))
    x = maps(2, 2, 9, 4)
    np.testing.assert_array_equal(np.asarray(network(x)), x)


@pytest.mark.parametrize("n_samples", [8, 9])
def test_a_residual_block_that_changes_the_shape_projects_its_shortcut(n_samples):
    def block(x):
        return se_residual_block(x, [(4, 1, 1), (4, 5, 2), (6, 1, 1)], 2, "block")

    network = model(block, (2, n_samples, 4))
    assert network.output_shape == (None, 2, -(-n_samples // 2), 6)
    mean = network.get_layer("block_shortcut_mean")
    assert mean.input is network.get_layer("block_pre1_relu").output
    assert network.get_layer("block_shortcut").strides == (1, 1)


def embedding(noise=0.0, dropout=0.0) -> keras.Model:
    return model(lambda x: embed_measurements(x, 5, noise, dropout), (7,))


def test_measurements_become_as_many_features_as_asked_for_none_below_zero():
    features = np.asarray(embedding(0.1, 0.4)(maps(64, 7), training=False))
    assert features.shape == (64, 5)
    assert (features >= 0).all()
    assert len(np.unique(features[:, features.any(axis=0)], axis=0)) > 32


def changed_in_training(changing, n_records) -> tuple[np.ndarray, np.ndarray]:
    """Features in training of an embedding that changes nothing, and of this one with the same
    weights, which answers like it outside of training."""
    x, still = maps(n_records, 7), embedding()
    changing.set_weights(still.get_weights())
    np.testing.assert_array_equal(changing(x, training=False), still(x, training=False))
    return tuple(np.asarray(network(x, training=True)) for network in (still, changing))


def test_measurements_are_noisy_in_training_alone():
    expected, given = changed_in_training(embedding(noise=0.1), 64)
    assert 0.01 < np.abs(given - expected).mean() < 0.3


def test_a_share_of_the_measured_features_is_dropped_in_training_alone():
    expected, given = changed_in_training(embedding(dropout=0.4), 2000)
    assert np.mean(given[expected > 0] == 0) == pytest.approx(0.4, abs=0.03)


def test_a_network_ends_in_a_dense_layer_without_bounds():
    network = model(lambda x: classify(x, 3), (2,))
    network.layers[-1].set_weights([np.diag([10.0, -10.0, 1.0])[:2], np.array([0.0, 2.0, -40.0])])
    np.testing.assert_allclose(np.asarray(network(np.ones((1, 2)))), [[10, -8, -40]], rtol=1e-6)
