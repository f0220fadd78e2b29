import dataclasses
import json
from dataclasses import replace

import pytest

from ecg.models.augmentation import AugmentationOptions
from ecg.models.decisions import DecisionOptions
from ecg.models.losses import LossOptions
from ecg.models.method import Method, SizeStep, changed, method_to_dict, recipe_for, with_epochs
from ecg.models.registry import METHODS, build_network, find_method, method_from_dict
from ecg.models.training_options import PretrainingOptions, SelectionOptions
from ecg.signals.preprocessing import Preparation

WHOLE_RECORD_500_HZ = Preparation(
    fs=500, band_hz=None, window_s=10, max_windows=180, drop_tail=False, scale="mV"
)


@pytest.mark.parametrize("preset", ["full", "demo"])
@pytest.mark.parametrize(
    ("name", "variant"), [(name, variant) for name in METHODS for variant in METHODS[name].variants]
)
def test_a_method_survives_json(name, variant, preset):
    method = recipe_for(find_method(name, preset, variant), 643)
    again = method_from_dict(json.loads(json.dumps(method_to_dict(method))))
    assert again == method
    # As a key too: tuples come back as tuples.
    assert hash(again) == hash(method)


def test_multiscale_se_as_published_has_the_papers_values():
    method = find_method("multiscale_se", variant="published")
    assert method.preparation == Preparation(
        fs=100, band_hz=(0.05, 35.0), window_s=10, max_windows=1, scale="z_score"
    )
    assert method.network.time_kernels == (3, 9, 27)
    assert method.network.steps == (1, 2, 4)
    assert method.selection == SelectionOptions(scored_only=False)
    assert method.augmentation == AugmentationOptions(shift_s=0, noise=0, erase_s=0)
    assert method.loss == LossOptions(
        kind="binary_crossentropy", class_weights="inverse_frequency", epsilon=0.01
    )
    training = method.training
    assert (training.optimizer, training.learning_rate) == ("adam", 1e-3)
    assert (training.schedule, training.lr_factor) == ("plateau", 0.5)
    assert (training.best, training.validation_share) == ("loss", 0.1)
    assert training.stop_patience is not None
    assert (training.clip_norm, training.warmup_share) == (None, 0)
    assert method.network.measured_width is None
    assert method.network.feature_dropout == 0
    assert method.pretraining.n_records == 0
    assert (training.epochs, training.batch_size) == (60, 32)
    demo = find_method("multiscale_se", "demo", "published").training
    assert (demo.epochs, demo.batch_size) == (10, 16)


@pytest.mark.parametrize("preset", ["full", "demo"])
def test_the_default_method_differs_from_its_paper_in_what_its_head_says(preset):
    method = find_method("multiscale_se", preset)
    published = find_method("multiscale_se", preset, "published")
    assert (method.pretraining.n_records > 0) == (preset == "full")
    assert method.network.measured_width is not None
    assert method.decision.rule == "expected_score"
    for part in ("preparation", "selection", "augmentation", "loss", "source"):
        assert getattr(method, part) == getattr(published, part)
    for option in ("widths", "large_kernel", "time_kernels", "steps", "squeeze_ratio", "dropout"):
        assert getattr(method.network, option) == getattr(published.network, option)


@pytest.mark.parametrize("preset", ["full", "demo"])
@pytest.mark.parametrize("name", [name for name in METHODS if name != "multiscale_se"])
def test_the_other_methods_are_as_published(name, preset):
    method = find_method(name, preset)
    assert find_method(name, preset, "published") == method
    assert method.pretraining == PretrainingOptions()
    assert method.training.clip_norm is None


def test_branched_se_has_the_papers_values():
    method = find_method("branched_se")
    assert method.preparation == WHOLE_RECORD_500_HZ
    assert (method.network.shared_kernel, method.network.pool) == (15, 3)
    assert (method.network.kernels, method.network.blocks) == ((3, 5), (4, 3))
    assert method.selection == SelectionOptions(scored_only=True)
    assert method.augmentation.shift_s > 0
    assert method.augmentation.noise > 0
    assert method.augmentation.erase_s == 0
    assert method.loss == LossOptions(kind="binary_crossentropy", class_weights="equal")
    training = method.training
    assert (training.optimizer, training.learning_rate) == ("adam", 1e-3)
    assert (training.schedule, training.lr_factor, training.lr_patience) == ("step", 0.1, 9)
    assert (training.epochs, training.batch_size, training.best) == (13, 64, "last")


def test_mtfnet_has_the_papers_values():
    method = find_method("mtfnet")
    assert (method.preparation.fs, method.preparation.n_samples) == (500, 5000)
    assert (method.preparation.max_windows, method.preparation.band_hz) == (1, None)
    assert (method.network.n_blocks, method.network.channels) == (5, 64)
    assert (method.network.bilstm_layers, method.network.hidden) == (4, 64)
    assert method.network.dropout == 0.2
    assert method.loss == LossOptions(kind="binary_crossentropy", class_weights="equal")
    training = method.training
    assert (training.optimizer, training.learning_rate) == ("adamw", 1e-4)
    assert (training.schedule, training.epochs) == ("cosine", 200)
    assert (training.batch_size, training.best) == (128, "challenge_metric")
    assert training.stop_patience is None
    assert (training.validation_share, training.validation_by_source) == (0.2, True)


def test_se_ecgnet_has_the_papers_values():
    method = find_method("se_ecgnet")
    assert method.preparation == WHOLE_RECORD_500_HZ
    assert method.network.stem_kernels == (50, 15)
    assert method.network.kernels == (3, 5)
    assert len(method.network.widths) == 3
    assert method.augmentation.shift_s > 0
    assert method.augmentation.noise > 0
    assert method.loss == LossOptions(class_weights="inverse_log_count", hardest_share=0.7)


def test_antialiased_resnet18_has_the_papers_values():
    method = find_method("antialiased_resnet18")
    assert (method.preparation.fs, method.preparation.band_hz) == (80, None)
    assert (method.preparation.drop_tail, method.preparation.scale) == (True, "mV")
    assert (method.network.dilations, method.network.dropout) == ((1, 2), 0.3)
    assert method.selection.sinus_left_out == 0.3
    assert method.selection.deviation_mv is not None
    changes = method.augmentation
    assert min(changes.shift_s, changes.noise, changes.erase_s) > 0
    assert method.loss.kind == "softmax_or_lovasz"
    training = method.training
    assert (training.optimizer, training.learning_rate) == ("adam", 3e-4)
    assert training.batch_size * training.accumulation_steps == 64
    # The record's mean over its segments is what the loss sees.
    assert training.bag_size > 1


@pytest.mark.parametrize(
    ("name", "decision"),
    [
        ("multiscale_se", DecisionOptions(vote="mean", rule="fitted")),
        ("branched_se", DecisionOptions(vote="any", rule="fitted")),
        ("mtfnet", DecisionOptions(vote="mean", rule="fitted")),
        ("se_ecgnet", DecisionOptions(vote="any", rule="record_maximum", divisor=5)),
        ("antialiased_resnet18", DecisionOptions(vote="mean", fitted_on="training")),
    ],
)
def test_a_record_is_answered_by_the_papers_rule(name, decision):
    assert find_method(name, variant="published").decision == decision


@pytest.mark.parametrize("name", METHODS)
def test_the_demo_copy_differs_in_size_and_schedule_alone(name):
    full, demo = find_method(name, "full"), find_method(name, "demo")
    for part in ("architecture", "preparation", "selection", "augmentation", "loss", "decision"):
        assert getattr(demo, part) == getattr(full, part)
    assert demo.source == f"{full.source}; narrow copy"
    assert demo.training.epochs <= full.training.epochs
    assert demo.training.batch_size <= full.training.batch_size
    for option in ("optimizer", "schedule", "best", "bag_size", "validation_share"):
        assert getattr(demo.training, option) == getattr(full.training, option)
    # Nor has it seen the simulated sources that it is there to be tried on.
    assert demo.pretraining == PretrainingOptions()


def test_unknown_methods_and_presets_list_the_known_ones():
    with pytest.raises(ValueError, match=rf"^expected a method among {', '.join(METHODS)}; found"):
        find_method("x")
    with pytest.raises(ValueError, match="expected a preset among full, demo; found 'x'"):
        find_method("mtfnet", "x")


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": "none"},
        {"architecture": "mtfnet"},
        {"network": {"depth": 3}},
        {"preparation": {"fs": 10}},
        {"selection": {"sinus_left_out": 1}},
        {"augmentation": {"noise": 2}},
        {"loss": {"epsilon": 0}},
        {"decision": {"vote": "most"}},
        {"training": {"epochs": 0}},
        {"training": None},
        {"pretraining": {"n_records": -1}},
        {"pretraining": {"folder": "simulated"}},
        {"pretraining": None},
        {"surprise": 1},
    ],
)
def test_a_description_that_does_not_fit_is_refused(change):
    values = json.loads(json.dumps(method_to_dict(find_method("multiscale_se"))))
    for part, new in change.items():
        values[part] = values[part] | new if isinstance(new, dict) else new
    with pytest.raises(ValueError, match=r"expected|unreadable method description"):
        method_from_dict(values)


def test_a_description_that_lacks_an_option_does_not_take_its_default():
    values = method_to_dict(find_method("mtfnet"))
    del values["training"]["stop_patience"]
    with pytest.raises(ValueError, match=r"unreadable method description.*stop_patience"):
        method_from_dict(values)


@pytest.mark.parametrize("part", method_to_dict(find_method("se_ecgnet")))
def test_a_description_that_lacks_a_part_is_refused(part):
    values = method_to_dict(find_method("se_ecgnet"))
    del values[part]
    with pytest.raises(ValueError, match=f"unreadable method description.*{part}"):
        method_from_dict(values)


WITHOUT_SE = {"network.squeeze_ratio": None}
# What each ablation sets; all else is as published, at the preset's size.
CHANGES = {
    ("multiscale_se", "without_se"): WITHOUT_SE,
    ("multiscale_se", "kernels_3_3_3"): WITHOUT_SE | {"network.time_kernels": (3, 3, 3)},
    ("multiscale_se", "kernels_3_6_12"): WITHOUT_SE | {"network.time_kernels": (3, 6, 12)},
    ("multiscale_se", "first_branch"): WITHOUT_SE | {"network.steps": (1,)},
    ("multiscale_se", "second_branch"): WITHOUT_SE | {"network.steps": (2,)},
    ("multiscale_se", "third_branch"): WITHOUT_SE | {"network.steps": (4,)},
    ("mtfnet", "channels_12"): {"network.channels": 12},
    ("mtfnet", "channels_32"): {"network.channels": 32},
    ("mtfnet", "channels_64"): {"network.channels": 64},
    ("mtfnet", "bilstm_1"): {"network.bilstm_layers": 1},
    ("mtfnet", "bilstm_2"): {"network.bilstm_layers": 2},
    ("mtfnet", "bilstm_3"): {"network.bilstm_layers": 3},
    ("mtfnet", "bilstm_4"): {"network.bilstm_layers": 4},
    ("antialiased_resnet18", "fs_60"): {"preparation.fs": 60},
    ("antialiased_resnet18", "fs_100"): {"preparation.fs": 100},
}


def flat(method) -> dict:
    """The method's options by their dotted names."""
    options = {}
    for name, value in dataclasses.asdict(method).items():
        if isinstance(value, dict):
            options |= {f"{name}.{inner}": option for inner, option in value.items()}
        else:
            options[name] = value
    return options


def test_every_ablation_is_in_the_table():
    assert set(CHANGES) == {(name, row) for name in METHODS for row in METHODS[name].ablations}


@pytest.mark.parametrize("preset", ["full", "demo"])
@pytest.mark.parametrize(("name", "variant"), CHANGES)
def test_an_ablation_changes_what_its_name_says_and_nothing_else(name, variant, preset):
    published, change = find_method(name, preset, "published"), CHANGES[name, variant]
    assert set(change) <= set(flat(published))
    assert flat(find_method(name, preset, variant)) == flat(published) | change


@pytest.mark.parametrize("preset", ["full", "demo"])
def test_rows_that_a_preset_stands_for_have_the_papers_values_at_every_width(preset):
    network = find_method("multiscale_se", preset).network
    assert (network.time_kernels, network.steps) == ((3, 9, 27), (1, 2, 4))
    assert network.squeeze_ratio is not None
    assert find_method("antialiased_resnet18", preset).preparation.fs == 80


@pytest.mark.parametrize("variant", ["x", "channels_12", ""])
def test_unknown_variants_and_those_of_other_methods_are_refused(variant):
    message = (
        "expected a variant of antialiased_resnet18 among default, published, fs_60, fs_100; "
        f"found '{variant}'"
    )
    with pytest.raises(ValueError, match=message):
        find_method("antialiased_resnet18", variant=variant)


@pytest.mark.parametrize("name", METHODS)
def test_every_variant_builds_its_network(name):
    for method in {find_method(name, "demo", variant) for variant in METHODS[name].variants}:
        network = build_network(method, n_leads=2, n_classes=26)
        assert network.input["signal"].shape[1:] == (2, method.preparation.n_samples)
        assert network.output.shape[1:] == (26,)


def test_demographics_stand_beside_measurements_only():
    method = find_method("multiscale_se", "demo")
    network = build_network(changed("network", demographics=True)(method), 2, 26)
    assert set(network.input) == {"signal", "measurements", "demographics"}
    with pytest.raises(ValueError, match="expected a measured_width with demographics"):
        changed("network", demographics=True, measured_width=None)(method)


def test_a_network_without_measurements_cannot_be_trained_on_them_alone():
    method = find_method("multiscale_se")
    with pytest.raises(ValueError, match=r"measured_epochs of 0.*found 10"):
        replace(method, network=replace(method.network, measured_width=None))
    with pytest.raises(ValueError, match="measured_epochs"):
        replace(find_method("mtfnet"), pretraining=method.pretraining)


def test_settings_cap_the_epochs_of_every_stage_and_never_raise_them():
    method = find_method("multiscale_se")
    options = PretrainingOptions(n_records=9, measured_epochs=7, epochs=5)
    method = replace(method, pretraining=options)
    capped = with_epochs(method, 3)
    assert (capped.training.epochs, capped.pretraining.epochs) == (3, 3)
    assert capped.pretraining.measured_epochs == 3
    fewer = replace(method.pretraining, epochs=2)
    assert with_epochs(replace(method, pretraining=fewer), 3).pretraining.epochs == 2
    assert with_epochs(method, 10_000) == method
    assert with_epochs(method, None) == method


@pytest.mark.parametrize("name", METHODS)
def test_a_cap_of_the_epochs_changes_nothing_else(name):
    method = find_method(name)
    capped = with_epochs(method, 1)
    assert capped.training == replace(method.training, epochs=1)
    uncapped = {name: getattr(method, name) for name in ("training", "pretraining", "by_size")}
    assert replace(capped, **uncapped) == method


# The recipe by number of records -----------------------------------------------------------------


def growing() -> Method:
    """A method that is wider from 1,000 records on, and trained for longer from 5,000 on."""
    method = find_method("multiscale_se")
    wide = replace(method.network, widths=(32, 48, 64, 48, 32))
    longer = replace(method.training, epochs=30)
    steps = (SizeStep(1000, wide, method.training), SizeStep(5000, wide, longer))
    return replace(method, by_size=steps)


@pytest.mark.parametrize(
    ("n_records", "width", "epochs", "batch_size"),
    [
        (1, 16, 10, 16),
        (999, 16, 10, 16),
        (1000, 32, 10, 16),
        (4999, 32, 10, 16),
        (5000, 32, 30, 16),
        (88_253, 32, 30, 128),
    ],
)
def test_a_recipe_is_that_of_the_last_step_reached(n_records, width, epochs, batch_size):
    method = growing()
    recipe = recipe_for(method, n_records)
    assert recipe.network.widths[0] == width
    assert (recipe.training.epochs, recipe.training.batch_size) == (epochs, batch_size)
    parts = ("network", "training", "by_size")
    assert replace(recipe, **{part: getattr(method, part) for part in parts}) == method
    assert recipe_for(recipe, n_records) == recipe_for(recipe, n_records // 2) == recipe


@pytest.mark.parametrize(
    ("preset", "n_records", "width", "epochs"),
    [
        ("full", 4_999, 16, 10),
        ("full", 5_000, 16, 20),
        ("full", 20_000, 32, 20),
        ("full", 88_253, 32, 20),
        ("demo", 88_253, 8, 10),
    ],
)
def test_many_records_train_the_default_method_longer_and_wider(preset, n_records, width, epochs):
    recipe = recipe_for(find_method("multiscale_se", preset), n_records)
    assert (recipe.network.widths[0], recipe.training.epochs) == (width, epochs)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("variant", ["default", "published"])
def test_few_records_take_a_method_as_it_is_written(name, variant):
    method = find_method(name, variant=variant)
    assert recipe_for(method, 643) == replace(method, by_size=())


@pytest.mark.parametrize(("n_records", "batch_size"), [(15_084, 16), (15_086, 32), (60_341, 128)])
def test_the_batch_is_by_the_records_without_those_for_validation(n_records, batch_size):
    assert recipe_for(find_method("multiscale_se"), n_records).training.batch_size == batch_size


def test_the_cap_of_the_epochs_holds_for_any_number_of_records():
    for n_records, epochs in ((500, 10), (5000, 20)):
        assert recipe_for(with_epochs(growing(), 20), n_records).training.epochs == epochs
        assert recipe_for(with_epochs(growing(), 2), n_records).training.epochs == 2


def test_a_model_of_any_size_is_described_without_the_steps():
    recipe = recipe_for(growing(), 5000)
    values = json.loads(json.dumps(method_to_dict(recipe)))
    assert method_to_dict(growing()).keys() == values.keys()
    assert method_from_dict(values) == recipe
    with pytest.raises(ValueError, match="unreadable method description"):
        method_from_dict(values | {"by_size": []})


@pytest.mark.parametrize("sizes", [(0,), (500, 500), (1000, 500), (-1,)])
def test_steps_of_numbers_that_do_not_ascend_are_refused(sizes):
    method = find_method("multiscale_se")
    steps = tuple(SizeStep(size, method.network, method.training) for size in sizes)
    with pytest.raises(ValueError, match="expected steps of ascending numbers of records"):
        replace(method, by_size=steps)
