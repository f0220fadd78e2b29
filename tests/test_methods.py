import dataclasses
import json

import pytest

from ecg.methods import METHODS, TrainingOptions, find_method, method_from_dict, method_to_dict


@pytest.mark.parametrize("preset", ["full", "demo"])
@pytest.mark.parametrize("name", METHODS)
def test_a_method_survives_json(name, preset):
    method = find_method(name, preset)
    assert method_from_dict(json.loads(json.dumps(method_to_dict(method)))) == method


def test_the_default_method_has_the_papers_values():
    method = find_method("multiscale_se")
    assert method.preparation.fs == 100
    assert method.preparation.band_hz == (0.05, 35.0)
    assert method.preparation.window_s == 10
    assert method.training.learning_rate == 1e-3
    assert method.training.lr_factor == 0.5
    assert method.training.validation_share == 0.1
    assert method.loss.epsilon == 0.01


def test_unknown_methods_and_presets_list_the_known_ones():
    with pytest.raises(ValueError, match="expected a method among multiscale_se; found 'x'"):
        find_method("x")
    with pytest.raises(ValueError, match="expected a preset among full, demo; found 'x'"):
        find_method("multiscale_se", "x")


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": "none"},
        {"network": {"depth": 3}},
        {"training": {"epochs": 0}},
        {"training": None},
        {"loss": {"epsilon": 0}},
        {"surprise": 1},
    ],
)
def test_a_description_that_does_not_fit_is_refused(change):
    values = json.loads(json.dumps(method_to_dict(find_method("multiscale_se")))) | change
    with pytest.raises(ValueError, match=r"expected|unreadable method description"):
        method_from_dict(values)


def test_a_variant_is_a_replaced_copy():
    method = find_method("multiscale_se")
    variant = dataclasses.replace(method.network, squeeze_ratio=None)
    assert variant.widths == method.network.widths
    with pytest.raises(ValueError, match="validation_share"):
        TrainingOptions(validation_share=1)
