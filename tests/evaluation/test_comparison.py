import pytest

from ecg.evaluation.comparison import choose_variants
from ecg.models.registry import METHODS, find_method


def names_of(methods, variants, preset="full") -> list[tuple[str, ...]]:
    return list(choose_variants(methods, variants, preset).values())


def test_equal_variants_come_once_with_all_their_names():
    variants = ["channels_64", "channels_12", "published", "bilstm_4"]
    chosen = choose_variants(["mtfnet"], variants, "full")
    assert list(chosen.values()) == [
        ("default", "published", "channels_64", "bilstm_4"),
        ("channels_12",),
    ]
    assert next(iter(chosen)) == find_method("mtfnet")


def test_a_narrow_method_differs_from_the_variants_of_full_width():
    assert names_of(["mtfnet"], ["published", "channels_64", "bilstm_4"], "demo") == [
        ("default", "published", "bilstm_2"),
        ("channels_64",),
        ("bilstm_4",),
    ]


def test_the_default_and_the_published_method_are_two_where_they_differ():
    assert names_of(["multiscale_se"], ["published", "default"]) == [("default",), ("published",)]
    for name in METHODS.keys() - {"multiscale_se"}:
        (names,) = names_of([name], ["default", "published"])
        assert names[:2] == ("default", "published")


def test_a_method_takes_the_variants_that_it_has():
    chosen = choose_variants(["mtfnet", "antialiased_resnet18"], ["default", "fs_60"], "full")
    assert {(method.name, names[0]) for method, names in chosen.items()} == {
        ("mtfnet", "default"),
        ("antialiased_resnet18", "default"),
        ("antialiased_resnet18", "fs_60"),
    }
    of_all = choose_variants(["antialiased_resnet18"], ["all"], "full")
    assert [names[0] for names in of_all.values()] == ["default", "fs_60", "fs_100"]


def test_unknown_variants_and_methods_without_any_are_refused():
    with pytest.raises(ValueError, match=r"expected all or some of .*fs_60.*; found channels_12"):
        choose_variants(["antialiased_resnet18"], ["published", "channels_12"], "full")
    with pytest.raises(ValueError, match=r"of default, published for branched_se; found fs_60"):
        choose_variants(["branched_se", "antialiased_resnet18"], ["fs_60"], "full")
