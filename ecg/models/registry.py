"""The five published systems by name, and methods from JSON.

What all have beyond their papers, whose own choices stand at the heads of the architectures:
training starts with the output bias at the log-odds of each class's frequency; signals in mV have
the mean of each window removed and are held within 20 mV; an answer without any class is sinus
rhythm; fitted thresholds are one for all classes and each class's own, the latter trusted as far as
the class is frequent. Where nothing else is said the rate is halved when the validation loss
stalls, and training ends when the best epoch is long past.
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

_LARGEST = 4096  # of all numbers in a description: widths, layers, Hz, windows

METHODS: dict[str, System] = {
    name: import_module(f"{architectures.__name__}.{name}").SYSTEM for name in architectures.NAMES
}


def find_method(name: str, preset: str = "full", variant: str = "default") -> Method:
    """The method of that name at its own size ("full") or as a narrow copy ("demo").

    variant: "default", "published", or a row of the paper's tables, see `METHODS[name].variants`.
    Raises ValueError listing the known ones.
    """
    if name not in METHODS:
        raise ValueError(f"expected a method among {', '.join(METHODS)}; found '{name}'")
    return METHODS[name].method(preset, variant)


def source_module(method: Method) -> str:
    """The dotted name of the module that holds the method's network and recipe."""
    return f"{architectures.__name__}.{method.architecture}"


def build_network(method: Method, n_leads: int, n_classes: int) -> keras.Model:
    """The method's untrained network for that many leads."""
    build = METHODS[method.architecture].build
    return build(method.network, n_leads, method.preparation.n_samples, n_classes)


def method_from_dict(values: dict) -> Method:
    """The method that `method_to_dict` wrote, lists being tuples again.

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
        return Method(**(values | read))
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"unreadable method description: {error!r}") from error


def _read(part: type, values: dict):
    # A default may change; a trained model has to stay what it was.
    missing = {option.name for option in dataclasses.fields(part)} - values.keys()
    if missing:
        raise KeyError(", ".join(sorted(missing)))
    values = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    for option, kind in get_type_hints(part).items():
        if not _is_of(values[option], kind):
            raise ValueError(
                f"{part.__name__}: {option}: expected {kind}, found {values[option]!r}"
            )
    if part is not PretrainingOptions:
        _check_sizes(part, values)
    return part(**values)


def _is_of(value, kind) -> bool:
    """Whether a value from JSON is of an option's type: a plain one, a tuple, or a union of these.
    Numbers have to be finite."""
    arguments = get_args(kind)
    if get_origin(kind) is tuple:
        if not isinstance(value, tuple):
            return False
        if arguments[-1] is Ellipsis:
            return all(_is_of(item, arguments[0]) for item in value)
        return len(value) == len(arguments) and all(map(_is_of, value, arguments))
    if arguments:
        return any(_is_of(value, argument) for argument in arguments)
    if kind is float:
        return type(value) in (int, float) and math.isfinite(value)
    return type(value) is kind


def _check_sizes(part: type, values: dict) -> None:
    """Refuses what would only fill the memory: a description may come from anywhere."""
    for name, value in values.items():
        for size in value if isinstance(value, tuple) else (value,):
            if isinstance(size, int | float) and size > _LARGEST:
                raise ValueError(
                    f"{part.__name__}: {name}: expected at most {_LARGEST}, found {size}"
                )
