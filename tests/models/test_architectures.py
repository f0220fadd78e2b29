import re
from dataclasses import replace

import keras
import numpy as np
import pytest

from ecg.models.architectures import multiscale_se
from ecg.models.architectures.antialiased_resnet18 import AntialiasedResNet18Options
from ecg.models.architectures.branched_se import BranchedSEOptions
from ecg.models.architectures.mtfnet import MTFNetOptions
from ecg.models.architectures.multiscale_se import MultiscaleSEOptions
from ecg.models.architectures.se_ecgnet import SEECGNetOptions
from ecg.models.layers import BlurPool1D
from ecg.models.registry import METHODS
from ecg.records.demographics import N_DEMOGRAPHICS, encode_demographics
from ecg.signals.measurements import n_measurements
from tests.narrow import logits_of, made_up_inputs, narrow_method, weights_without_gradient

# The default takes measurements beside the signal.
ALONE = {"multiscale_se": {"measured_width": None}}


def narrow(name, n_leads=2, n_samples=256, options=None) -> keras.Model:
    """A network of 26 classes, small and on a short signal where nothing else is asked for."""
    options = options or replace(narrow_method(name).network, **ALONE.get(name, {}))
    return METHODS[name].build(options, n_leads, n_samples, 26)


def full(name, n_leads=2, n_samples=5000) -> keras.Model:
    return METHODS[name].build(type(narrow_method(name).network)(), n_leads, n_samples, 26)


def named(network, pattern) -> list:
    """Layers whose whole name matches, from the input on."""
    return [layer for layer in network.layers if re.fullmatch(pattern, layer.name)]


def of_type(network, kind) -> list:
    return [layer for layer in network.layers if isinstance(layer, kind)]


def lengths(network, pattern) -> list[int]:
    """Samples of those layers' outputs."""
    return [layer.output.shape[-2] for layer in named(network, pattern)]


@pytest.mark.parametrize("name", ["se_ecgnet", "antialiased_resnet18"])
def test_age_and_sex_change_the_answer_and_unknown_differs_from_newborn(name):
    network = narrow(name)
    signal = made_up_inputs(network, n_records=1)["signal"]
    patients = [(70.0, "Female"), (70.0, "Male"), (0.0, "Male"), (np.nan, "Male"), (np.nan, "")]
    answers = [
        logits_of(network, {"signal": signal, "demographics": encode_demographics(*patient)[None]})
        for patient in patients
    ]
    assert len(np.unique(np.concatenate(answers), axis=0)) == len(patients)


def test_multiscale_kernels_are_those_of_the_paper():
    blocks = named(full("multiscale_se", 12, 1000), "step2_block._conv1")
    # Time before leads.
    assert [x.kernel_size for x in blocks] == [(15, 1), (15, 1), (3, 5), (9, 5), (27, 5)]
    assert [x.strides for x in blocks] == [(2, 1), (2, 1), (1, 1), (1, 1), (1, 1)]
    three = named(full("multiscale_se", 3, 1000), "step1_block[35]_conv1")
    assert [x.kernel_size for x in three] == [(1, 3), (2, 27)]


def test_multiscale_branches_see_every_first_second_and_fourth_sample():
    network = full("multiscale_se", 2, 1000)
    assert lengths(network, "step[124]_block1_conv1") == [500, 250, 125]


def test_time_before_leads_is_the_same_multiscale_network(monkeypatch):
    time_first = narrow("multiscale_se", 6)
    monkeypatch.setattr(multiscale_se, "_TIME_FIRST_FROM", 7)
    leads_first = narrow("multiscale_se", 6)
    weights = time_first.get_weights()
    turned = [one.swapaxes(0, 1) if one.ndim == 4 else one for one in weights]
    assert any(one.shape[:2] == (27, 3) for one in weights)
    leads_first.set_weights(turned)
    inputs = made_up_inputs(time_first)
    np.testing.assert_allclose(
        logits_of(leads_first, inputs), logits_of(time_first, inputs), atol=1e-5
    )


def test_the_published_ablations_of_multiscale_se_build():
    single = narrow("multiscale_se", options=MultiscaleSEOptions(steps=(2,)))
    without_se = narrow("multiscale_se", options=MultiscaleSEOptions(squeeze_ratio=None))
    assert single.output_shape == without_se.output_shape == (None, 26)
    assert not any("_se_" in layer.name for layer in without_se.layers)


def measured(steps=(1, 2), n_leads=2, **options) -> keras.Model:
    """Multiscale SE with a record's measurements beside the signal."""
    options = MultiscaleSEOptions(widths=(2,) * 5, steps=steps, measured_width=5, **options)
    return narrow("multiscale_se", n_leads, options=options)


@pytest.mark.parametrize("lead_set", [12, 2])
def test_measurements_can_stand_beside_the_signal_or_alone(lead_set):
    both, alone = measured(n_leads=lead_set), measured((), lead_set)
    n_measured = n_measurements(lead_set)
    assert {name: single.shape for name, single in both.input.items()} == {
        "signal": (None, lead_set, 256),
        "measurements": (None, n_measured),
    }
    assert list(alone.input) == ["measurements"]
    assert both.layers[-1].name == alone.layers[-1].name == "logits"
    # A dense layer with its normalisation, and its part of the last layer.
    plain = narrow("multiscale_se", lead_set, options=MultiscaleSEOptions((2,) * 5, steps=(1, 2)))
    more = 5 * n_measured + 4 * 5 + 5 * 26
    assert both.count_params() == plain.count_params() + more
    assert alone.count_params() == more + 26


def test_signal_and_measurements_both_change_the_answer():
    network = measured()
    inputs = made_up_inputs(network)
    for name in inputs:
        other = logits_of(network, inputs | {name: inputs[name][::-1]})
        assert not np.allclose(other, logits_of(network, inputs), atol=1e-4)


def test_the_gradient_reaches_every_weight_of_measurements_alone():
    assert not weights_without_gradient(measured(()))


def test_dropout_of_features_leaves_out_those_of_the_signal_in_training():
    network = measured(feature_dropout=0.5)
    dropout = network.get_layer("features_dropout")
    assert dropout.rate == 0.5
    assert dropout.output.shape == network.get_layer("features").output.shape == (None, 4)
    assert network.get_layer("all_features").output.shape == (None, 4 + 5)
    inputs = made_up_inputs(network)
    np.testing.assert_array_equal(logits_of(network, inputs), logits_of(network, inputs))


def test_branched_se_shares_three_convolutions_of_15_samples_and_a_pool_of_3():
    network = full("branched_se")
    shared = named(network, "shared_conv.")
    assert [(x.kernel_size, x.strides) for x in shared] == [((1, 15), (1, 1))] * 3
    assert network.get_layer("shared_pool").output.shape == (None, 1, 1667, 32)


@pytest.mark.parametrize(("kernel", "n_blocks"), [(3, 4), (5, 3)])
def test_branched_se_has_four_blocks_of_kernel_3_and_three_of_kernel_5(kernel, n_blocks):
    network = full("branched_se")
    convolutions = named(network, f"kernel{kernel}_block._conv.")
    assert [x.kernel_size[1] for x in convolutions] == [1, kernel, 1] * n_blocks
    assert len(named(network, f"kernel{kernel}_block._se_scale")) == n_blocks
    assert lengths(network, f"kernel{kernel}_block{n_blocks}_add") == [209]


@pytest.mark.parametrize(
    ("name", "block"), [("branched_se", "kernel3_block2"), ("se_ecgnet", "kernel5_block2")]
)
def test_blocks_normalise_and_activate_before_each_convolution(name, block):
    network = narrow(name)
    for i in (1, 2, 3):
        convolution = network.get_layer(f"{block}_conv{i}")
        relu = network.get_layer(f"{block}_pre{i}_relu")
        assert convolution.input is relu.output
        assert relu.input is network.get_layer(f"{block}_pre{i}_bn").output


def test_mtfnet_has_five_double_convolutions_of_3_samples_before_four_bilstms_of_64():
    network = full("mtfnet")
    convolutions = of_type(network, keras.layers.Conv1D)
    assert [(x.kernel_size, x.filters) for x in convolutions] == [((3,), 64)] * 10
    assert lengths(network, "double._pool") == [2500, 1250, 625, 312, 156]
    lstms = of_type(network, keras.layers.Bidirectional)
    assert [x.output.shape for x in lstms] == [(None, 156, 128)] * 4
    assert network.get_layer("features").output.shape == (None, 128)


def test_mtfnet_normalises_between_and_activates_after_the_two_convolutions():
    kinds = [type(layer).__name__ for layer in named(narrow("mtfnet"), "double2_.*")]
    assert kinds == [
        "Conv1D", "LeakyReLU", "BatchNormalization", "Conv1D", "LeakyReLU", "MaxPooling1D"
    ]  # fmt: skip


def test_mtfnet_drops_out_between_lstm_layers_and_never_within():
    network = full("mtfnet")
    dropouts = of_type(network, keras.layers.Dropout)
    assert [(x.name, x.rate) for x in dropouts] == [(f"bilstm{i}_dropout", 0.2) for i in (2, 3, 4)]
    lstm = network.get_layer("bilstm1").forward_layer
    assert lstm.dropout == lstm.recurrent_dropout == 0


def test_se_ecgnet_has_three_blocks_of_kernel_3_and_of_kernel_5_behind_50_and_15():
    network = full("se_ecgnet")
    stem = named(network, "stem_conv.")
    assert [(x.kernel_size, x.strides) for x in stem] == [((1, 50), (1, 4)), ((1, 15), (1, 2))]
    for kernel in (3, 5):
        convolutions = named(network, f"kernel{kernel}_block._conv.")
        assert [x.kernel_size for x in convolutions] == [(1, kernel)] * 9
        assert lengths(network, f"kernel{kernel}_block._add") == [313, 157, 79]


def test_se_ecgnet_kernels_do_not_depend_on_the_leads():
    shapes = [
        [x.kernel.shape for x in of_type(narrow("se_ecgnet", n_leads), keras.layers.Conv2D)]
        for n_leads in (12, 2)
    ]
    assert shapes[0] == shapes[1]


def test_se_ecgnet_keeps_leads_apart_up_to_the_dense_layers():
    network = narrow("se_ecgnet", n_leads=3)
    paths = keras.Model(network.input, network.get_layer("paths").output)
    inputs = made_up_inputs(network)
    swapped = inputs | {"signal": inputs["signal"][:, [2, 0, 1]]}
    features = np.asarray(paths(inputs))
    assert features.shape == (3, 3, 1, 4 * 4)  # mean and maximum of either path
    np.testing.assert_allclose(np.asarray(paths(swapped)), features[:, [2, 0, 1]], atol=1e-5)
    assert not np.allclose(logits_of(network, swapped), logits_of(network, inputs), atol=1e-4)


@pytest.mark.parametrize("dilation", [1, 2])
def test_resnet_branches_differ_in_dilation_alone(dilation):
    network = full("antialiased_resnet18", 12, 400)
    convolutions = named(network, f"dilation{dilation}_.*_conv.")
    assert [(x.kernel_size, x.dilation_rate) for x in convolutions] == [((3,), (dilation,))] * 16
    widths = [x.filters for x in convolutions]
    assert widths == [32] * 4 + [64] * 4 + [128] * 4 + [256] * 4


def test_resnet_goes_down_by_blur_pools_alone():
    network = full("antialiased_resnet18", 12, 400)
    strided = of_type(network, (keras.layers.Conv1D, keras.layers.MaxPooling1D))
    assert {x.strides for x in strided} == {(1,)}
    # The stem's, then the main path's and the shortcut's of three stages of two branches.
    assert len(of_type(network, BlurPool1D)) == 1 + 2 * 3 * 2
    assert lengths(network, "dilation2_stage._block2_add") == [200, 100, 50, 25]


def test_resnet_normalises_each_record_by_itself():
    options = AntialiasedResNet18Options(widths=(4, 4, 8, 8), dropout=0.0)
    network = narrow("antialiased_resnet18", options=options)
    assert not network.non_trainable_variables
    inputs = made_up_inputs(network, n_records=3)
    first = {name: values[:1] for name, values in inputs.items()}
    together = np.asarray(network(inputs, training=True))
    np.testing.assert_allclose(np.asarray(network(first, training=True)), together[:1], atol=1e-5)
    np.testing.assert_allclose(logits_of(network, inputs), together, atol=1e-5)


def test_resnet_drops_out_the_maps_features_and_never_the_demographics():
    network = narrow("antialiased_resnet18")
    assert network.get_layer("dropout").rate == 0.3
    assert network.get_layer("dropout").output.shape == (None, 8)
    assert network.get_layer("patient").output.shape == (None, 8 + N_DEMOGRAPHICS)


@pytest.mark.parametrize(
    ("options", "changes", "message"),
    [
        (MultiscaleSEOptions, {"widths": (8, 8)}, "expected 5 widths"),
        (MultiscaleSEOptions, {"time_kernels": (3, 9)}, "3 time_kernels"),
        (MultiscaleSEOptions, {"steps": ()}, "expected steps or a measured_width"),
        (BranchedSEOptions, {"kernels": (3,), "blocks": (4,)}, "at least 2 kernels"),
        (BranchedSEOptions, {"blocks": (4, 3, 2)}, "as many blocks"),
        (BranchedSEOptions, {"widths": (8, 8, 8)}, "a width for each block"),
        (BranchedSEOptions, {"pool": 0}, "expected sizes of at least 1"),
        (BranchedSEOptions, {"widths": (8, 8, 8, 1)}, "widths of at least 2"),
        (MTFNetOptions, {"bilstm_layers": 0}, "expected sizes and numbers of at least 1"),
        (MTFNetOptions, {"dropout": 1.0}, "expected 0 <= rate < 1, found 1.0"),
        (SEECGNetOptions, {"stem_kernels": (50, 15, 15)}, "for each stem kernel"),
        (SEECGNetOptions, {"widths": ()}, "at least one width"),
        (SEECGNetOptions, {"hidden": 0}, "expected sizes of at least 1"),
        (AntialiasedResNet18Options, {"widths": (8, 8)}, "expected 4 widths"),
        (AntialiasedResNet18Options, {"dilations": (1,)}, "at least 2 dilations"),
        (AntialiasedResNet18Options, {"dropout": -0.1}, "0 <= dropout < 1"),
    ],
)
def test_impossible_options_are_refused(options, changes, message):
    with pytest.raises(ValueError, match=message):
        options(**changes)


def test_impossible_inputs_are_refused():
    with pytest.raises(ValueError, match="expected one of 12, 6, 4, 3, 2 leads, found 5"):
        multiscale_se.build(MultiscaleSEOptions(), 5, 1000, 26)
    with pytest.raises(ValueError, match="expected at least 128 samples, found 127"):
        narrow("mtfnet", n_samples=127)
