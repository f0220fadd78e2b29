"""What a cross-validation compares: the methods as they are, and the rows of the papers' tables."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from ecg.models.registry import Method, as_published

DEFAULT = "default"


def _unchanged(method):
    return method


def _without_se(method):
    method = as_published(method)
    return replace(method, network=replace(method.network, squeeze_ratio=None))


# AIRCAS_MEL1 compared kernels and branches before squeeze-and-excitation came in: the last row of
# its tables 2 and 3 has the figures of the first row of table 4, which is without.
def _kernels(method, samples):
    plain = _without_se(method)
    return replace(plain, network=replace(plain.network, time_kernels=samples))


def _branch(method, step):
    plain = _without_se(method)
    return replace(plain, network=replace(plain.network, steps=(step,)))


def _channels(method, number):
    return replace(method, network=replace(method.network, channels=number))


def _bilstm(method, number):
    return replace(method, network=replace(method.network, bilstm_layers=number))


def _fs(method, fs):
    return replace(method, preparation=replace(method.preparation, fs=fs))


# By method, then by variant. A change sets the paper's number whatever the preset has; those that
# set the method's own (channels_64, bilstm_4) differ from "published" where a preset is narrower.
VARIANTS: dict[str, dict[str, Callable[[Method], Method]]] = {
    "multiscale_se": {
        DEFAULT: _unchanged,
        "published": as_published,
        "without_se": _without_se,
        "kernels_3_3_3": partial(_kernels, samples=(3, 3, 3)),
        "kernels_3_6_12": partial(_kernels, samples=(3, 6, 12)),
        "first_branch": partial(_branch, step=1),
        "second_branch": partial(_branch, step=2),
        "third_branch": partial(_branch, step=4),
    },
    "branched_se": {DEFAULT: _unchanged, "published": as_published},
    "mtfnet": {
        DEFAULT: _unchanged,
        "published": as_published,
        "channels_12": partial(_channels, number=12),
        "channels_32": partial(_channels, number=32),
        "channels_64": partial(_channels, number=64),
        "bilstm_1": partial(_bilstm, number=1),
        "bilstm_2": partial(_bilstm, number=2),
        "bilstm_3": partial(_bilstm, number=3),
        "bilstm_4": partial(_bilstm, number=4),
    },
    "se_ecgnet": {DEFAULT: _unchanged, "published": as_published},
    "antialiased_resnet18": {
        DEFAULT: _unchanged,
        "published": as_published,
        "fs_60": partial(_fs, fs=60.0),
        "fs_100": partial(_fs, fs=100.0),
    },
}


def apply_variant(method: Method, name: str) -> Method:
    """The method with the variant's change; the method itself for "default".

    Raises ValueError listing the method's variants where `name` is none of them.
    """
    known = VARIANTS[method.name]
    if name not in known:
        raise ValueError(
            f"expected a variant of {method.name} among {', '.join(known)}; found '{name}'"
        )
    return known[name](method)


def distinct_variants(method: Method, names: Iterable[str]) -> dict[Method, tuple[str, ...]]:
    """The different methods that these variants give, each with every variant that gives it.

    So nothing is trained twice, and a figure serves each table that has it: at full width,
    "published" of mtfnet is "channels_64" and "bilstm_4" as well, chosen or not.
    Raises ValueError as `apply_variant`.
    """
    known = {name: apply_variant(method, name) for name in VARIANTS[method.name]}
    return {
        chosen: tuple(name for name, other in known.items() if other == chosen)
        for chosen in (apply_variant(method, name) for name in names)
    }
