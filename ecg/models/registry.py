"""The published systems as data: preparation, network, loss, decision and training of each.

What all have beyond their papers, whose own choices stand at the heads of the architectures:
training starts with the output bias at the log-odds of each class's frequency; signals in mV have
the mean of each window removed and are held within 20 mV; an answer without any class is sinus
rhythm; fitted thresholds are one for all classes and each class's own, the latter trusted as far as
the class is frequent. Where nothing else is said the rate is halved when the validation loss
stalls, and training ends when the best epoch is long past.

multiscale_se by default goes further, as the README shows: measurements as a second input, dropout
on the signal's features, simulated records first, AdamW with warm-up and a cosine for few epochs,
and the label set of the largest expected score. `as_published` gives the method without.
"""

import dataclasses
import math
from dataclasses import dataclass, field, replace
from typing import get_args, get_origin, get_type_hints

from ecg.models.architectures import (
    ARCHITECTURES,
    antialiased_resnet18,
    branched_se,
    mtfnet,
    multiscale_se,
    se_ecgnet,
)
from ecg.models.augmentation import AugmentationOptions
from ecg.models.decisions import DecisionOptions
from ecg.models.losses import LossOptions
from ecg.models.training_options import PretrainingOptions, SelectionOptions, TrainingOptions
from ecg.signals.preprocessing import Preparation

_LARGEST = 4096  # of all numbers in a description: widths, layers, Hz, windows


@dataclass(frozen=True)
class Method:
    """One published system. network: the options of the architecture of that name."""

    name: str
    source: str
    architecture: str
    network: object
    preparation: Preparation = field(default_factory=Preparation)
    selection: SelectionOptions = field(default_factory=SelectionOptions)
    augmentation: AugmentationOptions = field(default_factory=AugmentationOptions)
    loss: LossOptions = field(default_factory=LossOptions)
    decision: DecisionOptions = field(default_factory=DecisionOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    pretraining: PretrainingOptions = field(default_factory=PretrainingOptions)

    def __post_init__(self):
        measured = getattr(self.network, "measured_width", None) is not None
        if self.pretraining.measured_epochs and not measured:
            raise ValueError(
                f"{self.name}: expected measured_epochs of 0 for a network without measurements, "
                f"found {self.pretraining.measured_epochs}"
            )


# 10 s windows over the whole record, as recorded but for the rate and each lead's mean; half an
# hour is the longest record of the Challenge.
_WINDOWS_500_HZ = Preparation(fs=500.0, band_hz=None, window_s=10.0, max_windows=180, scale="mV")

_MULTISCALE_SE = Method(
    name="multiscale_se",
    source="AIRCAS_MEL1, Computing in Cardiology 2021",
    architecture="multiscale_se",
    network=multiscale_se.MultiscaleSEOptions(),
)

_FULL = {
    "multiscale_se": replace(
        _MULTISCALE_SE,
        network=replace(_MULTISCALE_SE.network, measured_width=128, feature_dropout=0.2),
        decision=DecisionOptions(rule="expected_score", calibrated=True),
        training=TrainingOptions(
            epochs=10,
            batch_size=16,
            largest_batch_size=128,
            optimizer="adamw",
            learning_rate=2e-3,
            clip_norm=1.0,
            schedule="cosine",
            warmup_share=0.1,
            best="last",
        ),
        pretraining=PretrainingOptions(n_records=6000, measured_epochs=10, epochs=2),
    ),
    "branched_se": Method(
        name="branched_se",
        source="CQUPT_Dontwant, Computing in Cardiology 2021",
        architecture="branched_se",
        network=branched_se.BranchedSEOptions(),
        preparation=_WINDOWS_500_HZ,
        selection=SelectionOptions(scored_only=True),
        augmentation=AugmentationOptions(shift_s=0.5, noise=0.01),
        loss=LossOptions(class_weights="equal"),
        decision=DecisionOptions(vote="any"),
        training=TrainingOptions(
            epochs=13,
            batch_size=64,
            schedule="step",
            lr_factor=0.1,
            lr_patience=9,  # the tenth epoch is the first at the lower rate
            best="last",
        ),
    ),
    "mtfnet": Method(
        name="mtfnet",
        source="csu_anying, Computing in Cardiology 2021",
        architecture="mtfnet",
        network=mtfnet.MTFNetOptions(),
        preparation=replace(_WINDOWS_500_HZ, max_windows=1),
        loss=LossOptions(class_weights="equal"),
        training=TrainingOptions(
            epochs=200,
            batch_size=128,
            optimizer="adamw",
            learning_rate=1e-4,
            schedule="cosine",
            best="challenge_metric",
            stop_patience=None,
            validation_share=0.2,
            validation_by_source=True,
        ),
    ),
    "se_ecgnet": Method(
        name="se_ecgnet",
        source="CQUPT_ECG, Computing in Cardiology 2020",
        architecture="se_ecgnet",
        network=se_ecgnet.SEECGNetOptions(),
        preparation=_WINDOWS_500_HZ,
        augmentation=AugmentationOptions(shift_s=0.5, noise=0.01),
        loss=LossOptions(class_weights="inverse_log_count", hardest_share=0.7),
        decision=DecisionOptions(vote="any", rule="record_maximum", divisor=5.0),
        training=TrainingOptions(epochs=30, best="challenge_metric"),
    ),
    "antialiased_resnet18": Method(
        name="antialiased_resnet18",
        source="Triology, Computing in Cardiology 2020",
        architecture="antialiased_resnet18",
        network=antialiased_resnet18.AntialiasedResNet18Options(),
        preparation=Preparation(
            fs=80.0, band_hz=None, window_s=5.0, max_windows=360, drop_tail=True, scale="mV"
        ),
        selection=SelectionOptions(sinus_left_out=0.3, deviation_mv=(0.01, 2.0)),
        augmentation=AugmentationOptions(shift_s=0.5, noise=0.01, erase_s=0.5),
        loss=LossOptions(kind="softmax_or_lovasz"),
        decision=DecisionOptions(vote="mean", fitted_on="training"),
        training=TrainingOptions(
            epochs=60,
            batch_size=32,
            accumulation_steps=2,
            bag_size=2,
            learning_rate=3e-4,
            best="challenge_metric",
            validation_share=0.2,
        ),
    ),
}


def _narrow(full: Method, network: dict, **training) -> Method:
    """A narrow and short copy of a method: the five models in minutes on 2 CPU cores."""
    return replace(
        full,
        source=f"{full.source}; narrow copy",
        network=replace(full.network, **network),
        training=replace(full.training, **training),
    )


_NARROW_WIDTHS = {"widths": (8, 8, 8, 8, 8)}

_DEMO = {
    # It is for a look at simulated records, so it must not have seen their sources before.
    "multiscale_se": replace(
        _narrow(_FULL["multiscale_se"], _NARROW_WIDTHS), pretraining=PretrainingOptions()
    ),
    "branched_se": _narrow(
        _FULL["branched_se"], {"shared_width": 8, "widths": (16, 32, 32, 32)}, batch_size=16
    ),
    "mtfnet": _narrow(
        _FULL["mtfnet"],
        {"channels": 16, "bilstm_layers": 2, "hidden": 16},
        epochs=15,
        batch_size=16,
        learning_rate=2e-3,
    ),
    "se_ecgnet": _narrow(
        _FULL["se_ecgnet"],
        {"stem_widths": (8, 8), "widths": (8, 16, 16), "hidden": 32},
        epochs=12,
        batch_size=16,
    ),
    "antialiased_resnet18": _narrow(
        _FULL["antialiased_resnet18"],
        {"widths": (16, 16, 32, 32)},
        epochs=15,
        batch_size=16,
        accumulation_steps=1,
        learning_rate=1e-3,
    ),
}


METHODS = {name: {"full": _FULL[name], "demo": _DEMO[name]} for name in _FULL}
_PUBLISHED = {method: method for presets in METHODS.values() for method in presets.values()} | {
    _FULL["multiscale_se"]: _MULTISCALE_SE,
    _DEMO["multiscale_se"]: _narrow(_MULTISCALE_SE, _NARROW_WIDTHS, epochs=10, batch_size=16),
}


def find_method(name: str, preset: str = "full") -> Method:
    """The method of that name at the method's own size ("full") or as a narrow copy ("demo").

    Raises ValueError listing the known ones.
    """
    if name not in METHODS:
        raise ValueError(f"expected a method among {', '.join(METHODS)}; found '{name}'")
    if preset not in METHODS[name]:
        raise ValueError(f"expected a preset among {', '.join(METHODS[name])}; found '{preset}'")
    return METHODS[name][preset]


def as_published(method: Method) -> Method:
    """A method that `find_method` gives, without what we chose beyond its paper.

    Raises ValueError for any other.
    """
    if method not in _PUBLISHED:
        raise ValueError(f"expected a method as find_method gives it, found {method}")
    return _PUBLISHED[method]


def with_epochs(method: Method, epochs: int | None) -> Method:
    """The method with at most so many epochs in each of its stages; itself where that is None."""
    if epochs is None:
        return method
    first = replace(
        method.pretraining,
        measured_epochs=min(epochs, method.pretraining.measured_epochs),
        epochs=min(epochs, method.pretraining.epochs),
    )
    training = replace(method.training, epochs=min(epochs, method.training.epochs))
    return replace(method, training=training, pretraining=first)


def build_network(method: Method, n_leads: int, n_classes: int):
    """The method's untrained `keras.Model` for that many leads."""
    build = ARCHITECTURES[method.architecture].build
    return build(method.network, n_leads, method.preparation.n_samples, n_classes)


def method_to_dict(method: Method) -> dict:
    """The method as JSON can hold it."""
    return dataclasses.asdict(method)


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
        parts["network"] = ARCHITECTURES[values["architecture"]].options
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
