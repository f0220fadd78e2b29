import dataclasses

import pytest

from ecg.evaluation.variants import DEFAULT, VARIANTS, apply_variant, distinct_variants
from ecg.models.registry import METHODS, as_published, build_network, find_method

WITHOUT_SE = {"network.squeeze_ratio": None}
# What each variant but the default sets; all else is as published, at the preset's size.
CHANGES = {
    ("multiscale_se", "published"): {},
    ("multiscale_se", "without_se"): WITHOUT_SE,
    ("multiscale_se", "kernels_3_3_3"): WITHOUT_SE | {"network.time_kernels": (3, 3, 3)},
    ("multiscale_se", "kernels_3_6_12"): WITHOUT_SE | {"network.time_kernels": (3, 6, 12)},
    ("multiscale_se", "first_branch"): WITHOUT_SE | {"network.steps": (1,)},
    ("multiscale_se", "second_branch"): WITHOUT_SE | {"network.steps": (2,)},
    ("multiscale_se", "third_branch"): WITHOUT_SE | {"network.steps": (4,)},
    ("branched_se", "published"): {},
    ("mtfnet", "published"): {},
    ("mtfnet", "channels_12"): {"network.channels": 12},
    ("mtfnet", "channels_32"): {"network.channels": 32},
    ("mtfnet", "channels_64"): {"network.channels": 64},
    ("mtfnet", "bilstm_1"): {"network.bilstm_layers": 1},
    ("mtfnet", "bilstm_2"): {"network.bilstm_layers": 2},
    ("mtfnet", "bilstm_3"): {"network.bilstm_layers": 3},
    ("mtfnet", "bilstm_4"): {"network.bilstm_layers": 4},
    ("se_ecgnet", "published"): {},
    ("antialiased_resnet18", "published"): {},
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


def test_every_method_has_a_default_and_variants():
    assert set(VARIANTS) == set(METHODS)
    # The default is the first of equal ones, so it names them in the scores.
    assert {tuple(VARIANTS[method])[:2] for method in VARIANTS} == {(DEFAULT, "published")}
    named = {(method, name) for method in VARIANTS for name in VARIANTS[method]}
    assert named - {(method, DEFAULT) for method in VARIANTS} == set(CHANGES)


@pytest.mark.parametrize("preset", ["full", "demo"])
@pytest.mark.parametrize("name", METHODS)
def test_the_default_is_the_method_as_it_is(name, preset):
    method = find_method(name, preset)
    assert apply_variant(method, DEFAULT) == method


@pytest.mark.parametrize("preset", ["full", "demo"])
@pytest.mark.parametrize(("method_name", "variant"), CHANGES)
def test_a_variant_changes_what_its_name_says_and_nothing_else(method_name, variant, preset):
    method = find_method(method_name, preset)
    change = CHANGES[method_name, variant]
    assert set(change) <= set(flat(method))
    assert flat(apply_variant(method, variant)) == flat(as_published(method)) | change


@pytest.mark.parametrize("preset", ["full", "demo"])
def test_rows_that_a_preset_stands_for_have_the_papers_values_at_every_width(preset):
    network = find_method("multiscale_se", preset).network
    assert (network.time_kernels, network.steps) == ((3, 9, 27), (1, 2, 4))
    assert network.squeeze_ratio is not None
    assert find_method("antialiased_resnet18", preset).preparation.fs == 80


@pytest.mark.parametrize("name", ["x", "channels_12", ""])
def test_unknown_variants_and_those_of_other_methods_are_refused(name):
    message = (
        r"expected a variant of antialiased_resnet18 among default, published, fs_60, fs_100; "
        f"found '{name}'"
    )
    with pytest.raises(ValueError, match=message):
        apply_variant(find_method("antialiased_resnet18"), name)
    with pytest.raises(ValueError, match=message):
        distinct_variants(find_method("antialiased_resnet18"), ["published", name])


def test_equal_variants_come_once_with_all_their_names():
    method = find_method("mtfnet")
    distinct = distinct_variants(method, ["channels_64", "channels_12", "published", "bilstm_4"])
    assert list(distinct.values()) == [
        ("default", "published", "channels_64", "bilstm_4"),
        ("channels_12",),
    ]
    assert next(iter(distinct)) == method


def test_a_narrow_method_differs_from_the_variants_of_full_width():
    narrow = find_method("mtfnet", "demo")
    distinct = distinct_variants(narrow, ["published", "channels_64", "bilstm_4"])
    assert list(distinct.values()) == [
        ("default", "published", "bilstm_2"),
        ("channels_64",),
        ("bilstm_4",),
    ]


def test_the_default_and_the_published_method_are_two_where_they_differ():
    distinct = distinct_variants(find_method("multiscale_se"), ["published", "default"])
    assert list(distinct.values()) == [("published",), ("default",)]
    for name in METHODS.keys() - {"multiscale_se"}:
        (names,) = distinct_variants(find_method(name), ["default", "published"]).values()
        assert names[:2] == ("default", "published")


@pytest.mark.parametrize("method_name", VARIANTS)
def test_every_variant_builds_its_network(method_name):
    for variant in distinct_variants(find_method(method_name, "demo"), VARIANTS[method_name]):
        network = build_network(variant, n_leads=2, n_classes=26)
        assert network.input["signal"].shape[1:] == (2, variant.preparation.n_samples)
        assert network.output.shape[1:] == (26,)
