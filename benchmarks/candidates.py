"""The candidates that `benchmarks.recipe` compares: the default method with one choice changed."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import keras
import numpy as np
from keras import ops

from ecg.models.method import Method, changed
from ecg.models.model_files import TrainedModel
from ecg.models.registry import find_method
from ecg.models.training_options import PretrainingOptions
from ecg.records.diagnoses import read_weights
from ecg.training.batches import Bags
from ecg.training.dataset import Dataset
from ecg.training.fit import Start, Trainer, fit

DEFAULT = "default"  # the unchanged recipe


def _unchanged(method: Method) -> Method:
    return method


@dataclass(frozen=True)
class Candidate:
    """A change of one choice of the recipe.

    change: maps the method to the changed one. variant: of the method that is changed, "default" or
    "published". trainer: class for the stage on real records. fit: replaces `ecg.training.fit.fit`.
    """

    change: Callable[[Method], Method] = _unchanged
    variant: str = "default"
    trainer: type[Trainer] = Trainer
    fit: Callable[..., TrainedModel] = fit

    def method(self, name: str, preset: str, n_simulated: int | None = None) -> Method:
        """Return the candidate's method.

        n_simulated: where given, the default variant is pretrained on that many simulated records,
        in the stages of the full preset; the published variant is never pretrained.
        """
        method = find_method(name, preset, self.variant)
        if n_simulated is not None and self.variant == "default":
            stages = find_method(name, "full").pretraining
            method = replace(method, pretraining=replace(stages, n_records=n_simulated))
        return self.change(method)

    @property
    def changes_method_only(self) -> bool:
        """Whether the candidate differs in `method` only, with the usual trainer and `fit`."""
        return replace(self, change=_unchanged, variant="default") == Candidate()


# Methods ---------------------------------------------------------------------------------------


def _times(factor: float, part: str, name: str) -> Callable[[Method], Method]:
    """Return a change that multiplies an option, a number or a tuple of numbers; 0 stays 0."""

    def scale(number):
        return max(round(factor * number), min(number, 1))

    def change(method):
        value = getattr(getattr(method, part), name)
        scaled = tuple(map(scale, value)) if isinstance(value, tuple) else scale(value)
        return changed(part, **{name: scaled})(method)

    return change


def _without_pretraining(method: Method) -> Method:
    return replace(method, pretraining=PretrainingOptions())


def _without_measurements(method: Method) -> Method:
    method = changed("pretraining", measured_epochs=0)(method)
    return changed("network", measured_width=None)(method)


# Batches ---------------------------------------------------------------------------------------


class ChangedBags(Bags):
    """Training batches, each modified by `change`.

    change: (bags, records, inputs, labels, weights, random) -> (inputs, labels, weights). records:
    positions of the batch's records in the dataset. labels, weights: (batch, 26) each, of the
    targets. random: a generator.
    """

    def __init__(self, change: Callable, *arguments):
        super().__init__(*arguments)
        self.change = change

    def __getitem__(self, i):
        inputs, targets = super().__getitem__(i)
        random = np.random.default_rng([self.options.seed, self.epoch, 1 + i, 1])
        labels, weights = targets[..., 0], targets[..., 1]
        inputs, labels, weights = self.change(
            self, self.records_of(i), inputs, labels, weights, random
        )
        return inputs, np.stack([labels, weights], axis=-1, dtype=np.float32)


def _changing_batches(change: Callable) -> type[Trainer]:
    """Return a trainer whose batches are modified, see `ChangedBags`."""

    class ChangedBatchesTrainer(Trainer):
        def make_batches(self, *arguments) -> Bags:
            return ChangedBags(change, *arguments)

    return ChangedBatchesTrainer


def _changing_signals(change: Callable) -> type[Trainer]:
    """Return a trainer whose batches have modified signals.

    change: (signals (batch, bag_size, n_leads, n_samples), random) -> signals of the same shape.
    """

    def change_batch(bags, records, inputs, labels, weights, random):
        signal = change(inputs["signal"], random).astype(np.float32)
        return inputs | {"signal": signal}, labels, weights

    return _changing_batches(change_batch)


def _scale_amplitude(signal, random):
    return signal * random.uniform(0.8, 1.2, (*signal.shape[:3], 1))


def _drop_leads(signal, random):
    return signal * (random.random((*signal.shape[:3], 1)) >= 0.15)


def _stretch_time(signal, random):
    time, stretched = np.arange(signal.shape[-1]), np.zeros_like(signal)
    for record, factor in enumerate(random.uniform(0.9, 1.1, len(signal))):
        source = time[time * factor <= time[-1]] * factor  # samples, with fractions
        before = source.astype(int)
        after, fraction = np.minimum(before + 1, time[-1]), source - before
        original = signal[record]
        interpolated = original[..., before] * (1 - fraction) + original[..., after] * fraction
        stretched[record, ..., : len(source)] = interpolated
    return stretched


def _crop(signal, random):
    """Crops of 6 to 10 of the 10 seconds, from a random position; zeros fill the rest."""
    cropped, n_samples = np.zeros_like(signal), signal.shape[-1]
    for record, length in enumerate(random.integers(6 * n_samples // 10, n_samples, len(signal))):
        first = random.integers(0, n_samples - length + 1)
        cropped[record, ..., :length] = signal[record, ..., first : first + length]
    return cropped


def _mix_up(bags, records, inputs, labels, weights, random):
    """Mixup of pairs of records with shares from beta(0.3, 0.3).

    Source: Zhang et al. 2018, arXiv:1710.09412.
    """
    share = random.beta(0.3, 0.3, len(labels)).astype(np.float32)
    other = random.permutation(len(labels))

    def mix(values):
        shares = share.reshape(-1, *[1] * (values.ndim - 1))
        return shares * values + (1 - shares) * values[other]

    return {name: mix(values) for name, values in inputs.items()}, mix(labels), weights


def _mask_unlabelled(bags, records, inputs, labels, weights, random):
    """Weight 0 for classes that no training record of the record's source has."""
    sources, all_labels = bags.dataset.sources[bags.indices], bags.dataset.labels[bags.indices]
    batch_sources = bags.dataset.sources[records]
    labelled = {
        source: all_labels[sources == source].any(axis=0) for source in np.unique(batch_sources)
    }
    return inputs, labels, weights * np.array([labelled[source] for source in batch_sources])


# Losses and training ---------------------------------------------------------------------------


class _AveragingTrainer(Trainer):
    """Keeps an exponential moving average of the weights, which Keras restores at the end."""

    def make_optimizer(self, options, n_steps):
        return keras.optimizers.AdamW(
            options.learning_rate,
            global_clipnorm=options.clip_norm,
            use_ema=True,
            ema_momentum=0.98,
        )


class _SoftMetric(keras.losses.Loss):
    """1 - Challenge metric, with probabilities in place of binary outputs."""

    def __init__(self):
        super().__init__(dtype="float32")
        self.weights = read_weights().astype(np.float32)

    def call(self, targets, logits):
        labels, outputs = targets[..., 0], ops.sigmoid(logits)[:, 0]
        union = ops.sum(labels + outputs - labels * outputs, axis=1)
        rewards = ops.sum(ops.matmul(labels, self.weights) * outputs, axis=1)
        return 1 - rewards / ops.maximum(union, 1.0)


class _SoftMetricTrainer(Trainer):
    def make_loss(self):
        return _SoftMetric()


def _fit_with_soft_metric(
    trainer: Trainer, dataset: Dataset, indices, start: Start | None = None
) -> TrainedModel:
    """`fit`, then up to five more epochs on the soft Challenge metric, at a tenth of the rate."""
    first, method = fit(trainer, dataset, indices, start=start), trainer.run.method
    epochs, rate = min(5, method.training.epochs), 0.1 * method.training.learning_rate
    method = changed("training", epochs=epochs, learning_rate=rate)(method)
    second = _SoftMetricTrainer(replace(trainer.run, method=method), trainer.devices, len(indices))
    start = Start(first.network.get_weights(), first.prevalence)
    return fit(second, dataset, indices, start=start)


_TRAINING, _AUGMENTATION = partial(changed, "training"), partial(changed, "augmentation")
# Candidates that only make sense for networks with a signal.
NEEDS_SIGNAL = {
    "as published": Candidate(variant="published"),
    "measurements alone": Candidate(changed("network", steps=())),
    "without measurements": Candidate(_without_measurements),
    "without measurements-only stage": Candidate(changed("pretraining", measured_epochs=0)),
    "mV instead of z-score": Candidate(changed("preparation", scale="mV")),
    "windows over the whole record": Candidate(changed("preparation", max_windows=6)),
    "shift up to 1 s": Candidate(_AUGMENTATION(shift_s=1.0)),
    "noise of 5 %": Candidate(_AUGMENTATION(noise=0.05)),
    "time stretch 10 %": Candidate(trainer=_changing_signals(_stretch_time)),
    "amplitudes 20 %": Candidate(trainer=_changing_signals(_scale_amplitude)),
    "lead dropout 15 %": Candidate(trainer=_changing_signals(_drop_leads)),
    "crops of 6 to 10 s": Candidate(trainer=_changing_signals(_crop)),
    "without feature dropout": Candidate(changed("network", feature_dropout=0.0)),
    "half the width": Candidate(_times(0.5, "network", "widths")),
    "twice the width": Candidate(_times(2, "network", "widths")),
}
CANDIDATES = {
    DEFAULT: Candidate(),
    "without pre-training": Candidate(_without_pretraining),
    "twice the simulated records": Candidate(_times(2, "pretraining", "n_records")),
    "half the measured width": Candidate(_times(0.5, "network", "measured_width")),
    "twice the measured width": Candidate(_times(2, "network", "measured_width")),
    "half the epochs": Candidate(_times(0.5, "training", "epochs")),
    "twice the epochs": Candidate(_times(2, "training", "epochs")),
    "without warm-up": Candidate(_TRAINING(warmup_share=0.0)),
    "rate halved on plateau, best epoch": Candidate(
        _TRAINING(schedule="plateau", optimizer="adam", best="loss", epochs=60)
    ),
    "weight averaging": Candidate(trainer=_AveragingTrainer),
    "equal class weights": Candidate(changed("loss", class_weights="equal")),
    "unlabelled classes masked": Candidate(trainer=_changing_batches(_mask_unlabelled)),
    "mixup": Candidate(trainer=_changing_batches(_mix_up)),
    "age and sex": Candidate(changed("network", demographics=True)),
    "soft metric at the end": Candidate(fit=_fit_with_soft_metric),
    **NEEDS_SIGNAL,
}
