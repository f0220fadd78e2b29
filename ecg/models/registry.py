"""The five published systems by name, and the methods in JSON files.

Each architecture's module says how it differs from its paper. All five have in common:
- Training starts with the output bias at the log-odds of each class's frequency.
- The mean of each window is removed from signals in mV, and they are clipped to 20 mV.
- An answer without any class becomes sinus rhythm.
- Fitted thresholds combine one threshold for all classes with one for each class, weighted by how
  frequent the class is.
- Unless stated otherwise, the learning rate is halved when the validation loss stalls, and training
  stops ten epochs after the best one.
"""

import dataclasses
import math
from importlib import import_module
from typing import get_args, get_origin, get_type_hints

import keras

from ecg.models import architectures
from ecg.models.augmentation import AugmentationOptions
from ecg.models.decisions import DecisionOptions
from ecg.models.losses import LossOptions
from ecg.models.method import Method, System
from ecg.models.training_options import PretrainingOptions, SelectionOptions, TrainingOptions
from ecg.signals.preprocessing import Preparation

_MAX_VALUE = 4096  # of any number in a description: widths, layers, Hz, windows

METHODS: dict[str, System] = {
    name: import_module(f"{architectures.__name__}.{name}").SYSTEM for name in architectures.NAMES
}


def find_method(name: str, preset: str = "full", variant: str = "default") -> Method:
    """Return the method of that name.

    preset: "full", or "demo" for a narrow network and a short training. variant: "default",
    "published" or an ablation from the paper's tables, see `METHODS[name].variants`.
    Raises ValueError for an unknown name, preset or variant, listing the known ones.
    """
    if name not in METHODS:
        raise ValueError(f"expected a method among {', '.join(METHODS)}; found '{name}'")
    return METHODS[name].method(preset, variant)


def source_module(method: Method) -> str:
    """Return the dotted name of the module that holds the method's network and recipe."""
    return f"{architectures.__name__}.{method.architecture}"


def build_network(method: Method, n_leads: int, n_classes: int) -> keras.Model:
    """Return the method's untrained network for `n_leads` leads."""
    build = METHODS[method.architecture].build
    return build(method.network, n_leads, method.preparation.n_samples, n_classes)


def method_from_dict(values: dict) -> Method:
    """Return the method from a dict of `method_to_dict`, also after a JSON round trip.

    Raises ValueError where a part, an option or the architecture is missing or unknown.
    """
    parts = {
        "preparation": Preparation,
        "selection": SelectionOptions,
        "augmentation": AugmentationOptions,
        "loss": LossOptions,
        "decision": DecisionOptions,
        "training": TrainingOptions,
        "pretraining": PretrainingOptions,
    }
    try:
        parts["network"] = type(METHODS[values["architecture"]].published["full"].network)
        read = {name: _read(part, values[name]) for name, part in parts.items()}
        return Method(**(values | read), by_size=())
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"unreadable method description: {error!r}") from error


def _read(part: type, values: dict):
    # Defaults may change later, but a trained model must not.
    missing = {option.name for option in dataclasses.fields(part)} - values.keys()
    if missing:
        raise KeyError(", ".join(sorted(missing)))
    values = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    for option, kind in get_type_hints(part).items():
        if not _has_type(values[option], kind):
            raise ValueError(
                f"{part.__name__}: {option}: expected {kind}, found {values[option]!r}"
            )
    if part is not PretrainingOptions:
        _check_sizes(part, values)
    return part(**values)


def _has_type(value, kind) -> bool:
    """Return whether a value from JSON has an option's type: a plain type, a tuple, or a union.

    Numbers must be finite.
    """
    arguments = get_args(kind)
    if get_origin(kind) is tuple:
        if not isinstance(value, tuple):
            return False
        if arguments[-1] is Ellipsis:
            return all(_has_type(item, arguments[0]) for item in value)
        return len(value) == len(arguments) and all(map(_has_type, value, arguments))
    if arguments:
        return any(_has_type(value, argument) for argument in arguments)
    if kind is float:
        return type(value) in (int, float) and math.isfinite(value)
    return type(value) is kind


def _check_sizes(part: type, values: dict) -> None:
    """Raise ValueError for sizes that would fill the memory: the file may come from anywhere."""
    for name, value in values.items():
        for size in value if isinstance(value, tuple) else (value,):
            if isinstance(size, int | float) and size > _MAX_VALUE:
                raise ValueError(
                    f"{part.__name__}: {name}: expected at most {_MAX_VALUE}, found {size}"
                )
