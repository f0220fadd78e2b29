import numpy as np
import pytest

from ecg.architectures import ARCHITECTURES
from ecg.architectures.multiscale_se import MultiscaleSEOptions, build
from ecg.leads import LEAD_SETS
from ecg.methods import METHODS, build_network, find_method

# Trainable and fixed parameters of the full networks: a change here is a change of every model.
PARAMETERS = {
    "multiscale_se": {12: 1255541, 6: 780917, 4: 543605, 3: 527477, 2: 472181},
}


def test_every_architecture_is_held_by_the_table():
    assert set(PARAMETERS) == set(ARCHITECTURES)
    assert {presets["full"].architecture for presets in METHODS.values()} == set(ARCHITECTURES)


@pytest.mark.parametrize("lead_set", LEAD_SETS)
@pytest.mark.parametrize("name", METHODS)
def test_full_networks_have_the_parameters_of_the_table(name, lead_set):
    network = build_network(find_method(name), lead_set, 26)
    assert network.count_params() == PARAMETERS[name][lead_set]


@pytest.mark.parametrize("lead_set", LEAD_SETS)
@pytest.mark.parametrize("name", METHODS)
def test_networks_answer_probabilities(name, lead_set):
    network = build_network(find_method(name, "demo"), lead_set, 26)
    signals = np.random.default_rng(0).standard_normal((2, *network.input_shape[1:]))
    probabilities = np.asarray(network(signals, training=False))
    assert probabilities.shape == (2, 26)
    assert probabilities.dtype == np.float32
    assert ((probabilities >= 0) & (probabilities <= 1)).all()


def test_kernels_are_those_of_the_paper():
    network = build(MultiscaleSEOptions(), 12, 1000, 26)
    kernels = [network.get_layer(f"step2_block{i}_conv1").kernel_size for i in range(1, 6)]
    assert kernels == [(1, 15), (1, 15), (5, 3), (5, 9), (5, 27)]
    strides = [network.get_layer(f"step2_block{i}_conv1").strides for i in range(1, 6)]
    assert strides == [(1, 2), (1, 2), (1, 1), (1, 1), (1, 1)]
    three = build(MultiscaleSEOptions(), 3, 1000, 26)
    assert three.get_layer("step1_block3_conv1").kernel_size == (1, 3)
    assert three.get_layer("step1_block5_conv1").kernel_size == (2, 27)


def test_branches_see_every_first_second_and_fourth_sample():
    network = build(MultiscaleSEOptions(), 2, 1000, 26)
    lengths = [network.get_layer(f"step{step}_block1_conv1").output.shape for step in (1, 2, 4)]
    assert lengths == [(None, 2, 500, 16), (None, 2, 250, 16), (None, 2, 125, 16)]


def test_the_published_ablations_build():
    single = build(MultiscaleSEOptions(steps=(2,)), 2, 1000, 26)
    without_se = build(MultiscaleSEOptions(squeeze_ratio=None), 2, 1000, 26)
    assert single.output_shape == without_se.output_shape == (None, 26)
    assert not any("_se_" in layer.name for layer in without_se.layers)


def test_impossible_options_are_refused():
    with pytest.raises(ValueError, match="expected 5 widths"):
        MultiscaleSEOptions(widths=(8, 8))
    with pytest.raises(ValueError, match="expected one of 12, 6, 4, 3, 2 leads, found 5"):
        build(MultiscaleSEOptions(), 5, 1000, 26)
