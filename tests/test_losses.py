import keras
import numpy as np
import pytest

from ecg.losses import WeightedBinaryCrossentropy, inverse_frequency_weights


def test_weights_are_those_of_the_paper_and_stay_positive():
    labels = np.zeros((100, 4), bool)
    labels[:24, 0] = labels[:, 1] = labels[:99, 2] = True
    weights = inverse_frequency_weights(labels, epsilon=0.01, floor=0.05)
    np.testing.assert_allclose(
        weights, [np.log2(1 / 0.25), 0.05, 0.05, np.log2(1 / 0.01)], rtol=1e-6
    )


def test_loss_worked_by_hand():
    loss = WeightedBinaryCrossentropy([1.0, 3.0])
    truth = np.array([[1.0, 0.0], [0.0, 0.0]])
    probability = np.array([[0.5, 0.75], [0.5, 0.5]])
    by_record = [(np.log(2) + 3 * np.log(4)) / 2, (np.log(2) + 3 * np.log(2)) / 2]
    assert float(loss(truth, probability)) == pytest.approx(np.mean(by_record), rel=1e-6)


def test_equal_weights_give_plain_binary_crossentropy():
    random = np.random.default_rng(0)
    truth = (random.random((5, 26)) < 0.3).astype(np.float32)
    probability = random.random((5, 26)).astype(np.float32)
    plain = keras.losses.BinaryCrossentropy()(truth, probability)
    ours = WeightedBinaryCrossentropy(np.ones(26))(truth, probability)
    assert float(ours) == pytest.approx(float(plain), rel=1e-5)


def test_certain_and_wrong_is_finite():
    loss = WeightedBinaryCrossentropy(np.ones(2))(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]))
    assert 10 < float(loss) < 20
