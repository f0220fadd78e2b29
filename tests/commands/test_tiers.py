"""The tiers of the tests keep what they promise; tests/conftest.py sees to it."""

import multiprocessing
import subprocess
import sys

import keras
import numpy as np
import pytest

ANSWER = [sys.executable, "-c", "print(42)"]
refused = pytest.raises(pytest.fail.Exception, match="expected a marker among training, contract")


def small_network() -> keras.Model:
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    network.compile(loss="mse", run_eagerly=True)
    return network


def test_a_test_without_a_marker_starts_no_process():
    with refused:
        subprocess.run(ANSWER, check=True)
    with refused:
        multiprocessing.get_context("spawn").Process().start()


def test_a_test_without_a_marker_trains_nothing():
    network = small_network()
    with refused:
        network.fit(np.ones((4, 2)), np.ones(4))
    with refused:
        network.train_on_batch(np.ones((4, 2)), np.ones(4))


@pytest.mark.contract
def test_a_test_with_a_marker_starts_a_process():
    assert subprocess.run(ANSWER, check=True, capture_output=True).stdout == b"42\n"


@pytest.mark.training
def test_a_test_with_a_marker_trains():
    network = small_network()
    before = network.get_weights()[0]
    network.fit(np.ones((4, 2)), np.ones(4), verbose=0)
    assert not np.array_equal(network.get_weights()[0], before)
