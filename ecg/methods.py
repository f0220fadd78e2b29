"""The published systems as data: preparation, network, loss, decision and training of each."""

import dataclasses
from dataclasses import dataclass, field

from ecg.architectures import ARCHITECTURES, multiscale_se
from ecg.decisions import DecisionOptions
from ecg.signals import Preparation


@dataclass(frozen=True)
class LossOptions:
    """Weighted binary cross-entropy; see `ecg.losses.inverse_frequency_weights`."""

    epsilon: float = 0.01
    weight_floor: float = 0.05

    def __post_init__(self):
        if min(self.epsilon, self.weight_floor) <= 0:
            raise ValueError(f"expected a positive epsilon and weight_floor, found {self}")


@dataclass(frozen=True)
class TrainingOptions:
    """Adam from `learning_rate`, multiplied by `lr_factor` after `lr_patience` epochs without a
    lower validation loss, stopped after `stop_patience`; the best epoch's weights are kept.

    validation_share: of the records, set aside for that and for the thresholds.
    """

    epochs: int = 60
    batch_size: int = 32
    learning_rate: float = 1e-3
    lr_factor: float = 0.5
    lr_patience: int = 3
    stop_patience: int = 10
    validation_share: float = 0.1

    def __post_init__(self):
        if min(self.epochs, self.batch_size, self.lr_patience, self.stop_patience) < 1:
            raise ValueError(
                f"expected epochs, batch_size and patiences of at least 1, found {self}"
            )
        if not 0 < self.validation_share < 1:
            raise ValueError(
                f"validation_share: expected 0 < share < 1, found {self.validation_share}"
            )


@dataclass(frozen=True)
class Method:
    """One published system. network: the options of the architecture of that name."""

    name: str
    source: str
    architecture: str
    network: object
    preparation: Preparation = field(default_factory=Preparation)
    loss: LossOptions = field(default_factory=LossOptions)
    decision: DecisionOptions = field(default_factory=DecisionOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)


METHODS = {
    "multiscale_se": {
        "full": Method(
            name="multiscale_se",
            source="AIRCAS_MEL1, Computing in Cardiology 2021",
            architecture="multiscale_se",
            network=multiscale_se.MultiscaleSEOptions(),
        ),
        # Narrow and short: the five models in minutes on 2 CPU cores.
        "demo": Method(
            name="multiscale_se",
            source="AIRCAS_MEL1, Computing in Cardiology 2021; narrow copy",
            architecture="multiscale_se",
            network=multiscale_se.MultiscaleSEOptions(widths=(8, 8, 8, 8, 8)),
            training=TrainingOptions(epochs=10, batch_size=16),
        ),
    },
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
        "loss": LossOptions,
        "decision": DecisionOptions,
        "training": TrainingOptions,
    }
    try:
        parts["network"] = ARCHITECTURES[values["architecture"]].options
        read = {name: part(**_tuples(values[name])) for name, part in parts.items()}
        return Method(**(values | read))
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"unreadable method description: {error!r}") from error


def _tuples(values: dict) -> dict:
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
