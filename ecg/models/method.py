"""A method as data: everything that decides what a trained model answers."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import keras

from ecg.models.augmentation import AugmentationOptions
from ecg.models.decisions import DecisionOptions
from ecg.models.losses import LossOptions
from ecg.models.training_options import PretrainingOptions, SelectionOptions, TrainingOptions
from ecg.signals.preprocessing import Preparation

# 10 s windows over the whole record, as recorded but for the rate and each lead's mean; half an
# hour is the longest record of the Challenge.
WINDOWS_500_HZ = Preparation(fs=500.0, band_hz=None, window_s=10.0, max_windows=180, scale="mV")


@dataclass(frozen=True)
class SizeStep:
    """What a method uses from a number of records on in place of its usual network and training.

    n_records: for training, those set aside for validation included.
    """

    n_records: int
    network: object
    training: TrainingOptions


@dataclass(frozen=True)
class Method:
    """How records are prepared, which network answers them, and how it is trained.

    source: team and paper. architecture: the name of the system whose `build` takes `network`, its
    options. by_size: what differs for larger numbers of records, in ascending order; `recipe_for`
    applies it, and a trained model's method has none. The other parts are options of the modules
    that they come from.
    """

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
    by_size: tuple[SizeStep, ...] = ()

    def __post_init__(self):
        sizes = [0, *(step.n_records for step in self.by_size)]
        if sizes != sorted(set(sizes)):
            raise ValueError(
                f"{self.name}: expected steps of ascending numbers of records, found {sizes[1:]}"
            )
        measured = getattr(self.network, "measured_width", None) is not None
        if self.pretraining.measured_epochs and not measured:
            raise ValueError(
                f"{self.name}: expected measured_epochs of 0 for a network without measurements, "
                f"found {self.pretraining.measured_epochs}"
            )


@dataclass(frozen=True)
class System:
    """A published system: the builder of its network, and the methods that train it.

    build: (network options, n_leads, n_samples, n_classes) -> `keras.Model` from a dict of inputs
    to logits (batch, n_classes), float32. The inputs are "signal", (batch, n_leads, n_samples), and
    "measurements" or "demographics" where the network uses them, see `ecg.models.inputs`. The last
    layer is the dense one of the logits.
    published: preset ("full", "demo") -> the method as the paper has it. default: preset -> the
    method that this project trains, where that differs. ablations: name -> a change of the
    published method; each is a row of the paper's tables.
    """

    build: Callable[..., keras.Model]
    published: Mapping[str, Method]
    default: Mapping[str, Method] = field(default_factory=dict)
    ablations: Mapping[str, Callable[[Method], Method]] = field(default_factory=dict)

    @property
    def variants(self) -> tuple[str, ...]:
        """ "default" and "published", then the ablations."""
        return "default", "published", *self.ablations

    def method(self, preset: str, variant: str = "default") -> Method:
        """Return the variant of the system's method at a preset's size.

        An ablation sets the paper's number whatever the preset has.
        Raises ValueError listing the known ones.
        """
        if preset not in self.published:
            raise ValueError(
                f"expected a preset among {', '.join(self.published)}; found '{preset}'"
            )
        published = self.published[preset]
        if variant == "default":
            return self.default.get(preset, published)
        if variant == "published":
            return published
        if variant not in self.ablations:
            raise ValueError(
                f"expected a variant of {published.name} among {', '.join(self.variants)}; "
                f"found '{variant}'"
            )
        return self.ablations[variant](published)


def changed(part: str, **options) -> Callable[[Method], Method]:
    """Return the change of a method that sets options of one of its parts, such as its
    network's."""
    return lambda method: replace(method, **{part: replace(getattr(method, part), **options)})


def narrow_copy(full: Method, network: dict, **training) -> Method:
    """Return the method with a narrow network and a short training: minutes on 2 CPU cores.

    It is the same for any number of records. network, training: the options that differ.
    """
    method = changed("training", **training)(changed("network", **network)(full))
    return replace(method, source=f"{full.source}; narrow copy", by_size=())


def recipe_for(method: Method, n_records: int) -> Method:
    """Return the method as it is trained on that many records: its network and its epochs by
    `Method.by_size`, batch size and learning rate by `TrainingOptions.scaled_to`.

    n_records: validation records included. For a part of these records the result gives itself. To
    change an option of a method whatever the number of records, change the result's.
    """
    steps = [step for step in method.by_size if step.n_records <= n_records]
    if steps:
        method = replace(method, network=steps[-1].network, training=steps[-1].training)
    n_training = round((1 - method.training.validation_share) * n_records)
    return replace(method, training=method.training.scaled_to(n_training), by_size=())


def with_epochs(method: Method, epochs: int | None) -> Method:
    """Return the method with at most so many epochs in each of its stages; itself where that is
    None."""
    if epochs is None:
        return method

    def capped(options):
        return replace(options, epochs=min(epochs, options.epochs))

    first = capped(method.pretraining)
    first = replace(first, measured_epochs=min(epochs, first.measured_epochs))
    by_size = tuple(replace(step, training=capped(step.training)) for step in method.by_size)
    return replace(method, training=capped(method.training), pretraining=first, by_size=by_size)


def method_to_dict(method: Method) -> dict:
    """Return the method as JSON can hold it, without `by_size`: it describes the training on one
    number of records, see `recipe_for`."""
    values = dataclasses.asdict(method)
    del values["by_size"]
    return values
