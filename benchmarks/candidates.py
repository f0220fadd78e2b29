"""The default method with one of its choices changed: what `benchmarks.recipe` compares."""

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

DEFAULT = "default"  # the recipe as it is


def _unchanged(method: Method) -> Method:
    return method


@dataclass(frozen=True)
class Candidate:
    """One choice of the recipe, changed.

    change: of the method. variant: "default" or "published", of which it is a change. trainer: of
    the stage on real records. fit: in place of `ecg.training.fit.fit`.
    """

    change: Callable[[Method], Method] = _unchanged
    variant: str = "default"
    trainer: type[Trainer] = Trainer
    fit: Callable[..., TrainedModel] = fit

    def method(self, name: str, preset: str, n_simulated: int | None = None) -> Method:
        """The candidate's method.

        n_simulated: where given, the default variant is first trained on that many simulated
        records, in the full preset's stages; the published one never is.
        """
        method = find_method(name, preset, self.variant)
        if n_simulated is not None and self.variant == "default":
            stages = find_method(name, "full").pretraining
            method = replace(method, pretraining=replace(stages, n_records=n_simulated))
        return self.change(method)

    @property
    def is_a_method(self) -> bool:
        """Whether it is trained as any other method, and differs by `method` alone."""
        return replace(self, change=_unchanged, variant="default") == Candidate()


# Methods ---------------------------------------------------------------------------------------


def _times(factor: float, part: str, name: str) -> Callable[[Method], Method]:
    """The change of a number, or of each of several, to so many times as much; 0 stays 0."""

    def times(number):
        return max(round(factor * number), min(number, 1))

    def change(method):
        value = getattr(getattr(method, part), name)
        scaled = tuple(map(times, value)) if isinstance(value, tuple) else times(value)
        return changed(part, **{name: scaled})(method)

    return change


def _without_pretraining(method: Method) -> Method:
    return replace(method, pretraining=PretrainingOptions())


def _without_measurements(method: Method) -> Method:
    method = changed("pretraining", measured_epochs=0)(method)
    return changed("network", measured_width=None)(method)


# Batches ---------------------------------------------------------------------------------------


class ChangedBags(Bags):
    """Training batches that `change` has changed.

    change: (bags, chosen, inputs, labels, weights, random) -> (inputs, labels, weights). chosen:
    the records' positions in the dataset; labels, weights: those of the targets, (batch, 26) each.
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


def _batches(change: Callable) -> type[Trainer]:
    class ChangedBatchesTrainer(Trainer):
        def make_batches(self, *arguments) -> Bags:
            return ChangedBags(change, *arguments)

    return ChangedBatchesTrainer


def _on_signal(change: Callable) -> type[Trainer]:
    """A trainer on batches whose signals (batch, bag, n_leads, n_samples) are changed."""

    def of_batch(bags, chosen, inputs, labels, weights, random):
        signal = change(inputs["signal"], random).astype(np.float32)
        return inputs | {"signal": signal}, labels, weights

    return _batches(of_batch)


def _scale_amplitude(signal, random):
    return signal * random.uniform(0.8, 1.2, (*signal.shape[:3], 1))


def _drop_leads(signal, random):
    return signal * (random.random((*signal.shape[:3], 1)) >= 0.15)


def _stretch_time(signal, random):
    time, stretched = np.arange(signal.shape[-1]), np.zeros_like(signal)
    for record, factor in enumerate(random.uniform(0.9, 1.1, len(signal))):
        places = time[time * factor <= time[-1]] * factor
        before = places.astype(int)
        after, share = np.minimum(before + 1, time[-1]), places - before
        own = signal[record]
        moved = own[..., before] * (1 - share) + own[..., after] * share
        stretched[record, ..., : len(places)] = moved
    return stretched


def _crop(signal, random):
    """Six to ten of the ten seconds, from anywhere."""
    cropped, n_samples = np.zeros_like(signal), signal.shape[-1]
    for record, length in enumerate(random.integers(6 * n_samples // 10, n_samples, len(signal))):
        first = random.integers(0, n_samples - length + 1)
        cropped[record, ..., :length] = signal[record, ..., first : first + length]
    return cropped


def _mix_up(bags, chosen, inputs, labels, weights, random):
    """Pairs of records, weighted by beta(0.3, 0.3); Zhang et al. 2018, arXiv:1710.09412."""
    share = random.beta(0.3, 0.3, len(labels)).astype(np.float32)
    other = random.permutation(len(labels))

    def mix(values):
        own = share.reshape(-1, *[1] * (values.ndim - 1))
        return own * values + (1 - own) * values[other]

    return {name: mix(values) for name, values in inputs.items()}, mix(labels), weights


def _mask_unlabelled(bags, chosen, inputs, labels, weights, random):
    """No weight for the classes that none of its source's records has, of those trained on."""
    sources, known = bags.dataset.sources[bags.indices], bags.dataset.labels[bags.indices]
    of_chosen = bags.dataset.sources[chosen]
    labelled = {name: known[sources == name].any(axis=0) for name in np.unique(of_chosen)}
    return inputs, labels, weights * np.array([labelled[name] for name in of_chosen])


# Losses and training ---------------------------------------------------------------------------


class _AveragingTrainer(Trainer):
    """Averages the weights exponentially over the steps; Keras puts the averages in at the end."""

    def make_optimizer(self, options, n_steps):
        return keras.optimizers.AdamW(
            options.learning_rate,
            global_clipnorm=options.clip_norm,
            use_ema=True,
            ema_momentum=0.98,
        )


class _SoftMetric(keras.losses.Loss):
    """1 - the Challenge score, where probabilities stand for answers."""

    def __init__(self):
        super().__init__(dtype="float32")
        self.weights = read_weights().astype(np.float32)

    def call(self, targets, logits):
        labels, answers = targets[..., 0], ops.sigmoid(logits)[:, 0]
        involved = ops.sum(labels + answers - labels * answers, axis=1)
        rewards = ops.sum(ops.matmul(labels, self.weights) * answers, axis=1)
        return 1 - rewards / ops.maximum(involved, 1.0)


class _SoftMetricTrainer(Trainer):
    def make_loss(self):
        return _SoftMetric()


def _fit_with_soft_metric(
    trainer: Trainer, dataset: Dataset, indices, start: Start | None = None
) -> TrainedModel:
    """`fit`, then up to five more epochs, at a tenth of the rate, on the soft Challenge metric."""
    first, method = fit(trainer, dataset, indices, start=start), trainer.run.method
    epochs, rate = min(5, method.training.epochs), 0.1 * method.training.learning_rate
    method = changed("training", epochs=epochs, learning_rate=rate)(method)
    second = _SoftMetricTrainer(replace(trainer.run, method=method), trainer.devices, len(indices))
    start = Start(first.network.get_weights(), first.prevalence)
    return fit(second, dataset, indices, start=start)


_TRAINING, _SIGNAL = partial(changed, "training"), partial(changed, "augmentation")
# Those that ask for a change of the signal path have no meaning without it.
ON_SIGNAL = {
    "as published": Candidate(variant="published"),
    "measurements alone": Candidate(changed("network", steps=())),
    "without measurements": Candidate(_without_measurements),
    "measurements not first": Candidate(changed("pretraining", measured_epochs=0)),
    "mV instead of z-score": Candidate(changed("preparation", scale="mV")),
    "windows over the whole record": Candidate(changed("preparation", max_windows=6)),
    "shift up to 1 s": Candidate(_SIGNAL(shift_s=1.0)),
    "noise of 5 %": Candidate(_SIGNAL(noise=0.05)),
    "time stretch 10 %": Candidate(trainer=_on_signal(_stretch_time)),
    "amplitudes 20 %": Candidate(trainer=_on_signal(_scale_amplitude)),
    "lead dropout 15 %": Candidate(trainer=_on_signal(_drop_leads)),
    "crops of 6 to 10 s": Candidate(trainer=_on_signal(_crop)),
    "feature dropout, none": Candidate(changed("network", feature_dropout=0.0)),
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
    "rate without warm-up": Candidate(_TRAINING(warmup_share=0.0)),
    "rate halved on plateau, best epoch": Candidate(
        _TRAINING(schedule="plateau", optimizer="adam", best="loss", epochs=60)
    ),
    "weights averaged": Candidate(trainer=_AveragingTrainer),
    "classes weigh alike": Candidate(changed("loss", class_weights="equal")),
    "unlabelled classes masked": Candidate(trainer=_batches(_mask_unlabelled)),
    "mixup": Candidate(trainer=_batches(_mix_up)),
    "age and sex": Candidate(changed("network", demographics=True)),
    "soft metric at the end": Candidate(fit=_fit_with_soft_metric),
    **ON_SIGNAL,
}
