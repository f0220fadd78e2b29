"""The default method with one of its choices changed: what `benchmarks.recipe` compares."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from unittest.mock import patch

import keras
import numpy as np
from keras import ops

from ecg.models.model_files import TrainedModel
from ecg.models.registry import METHODS, Method, as_published
from ecg.models.training_options import PretrainingOptions
from ecg.records.demographics import N_DEMOGRAPHICS
from ecg.records.diagnoses import read_weights
from ecg.signals.measurements import n_measurements
from ecg.training import fit as training
from ecg.training.batches import Bags
from ecg.training.dataset import Dataset
from ecg.training.fit import Start, Trainer, fit

AS_IT_IS = "as it is"


def _same(it):
    return it


@dataclass(frozen=True)
class Candidate:
    """change: of the method. published: whether that is the paper's and not ours. dataset: what it
    trains and answers on, made of the records'. throughout: around all of a cross-validation,
    training on simulated records too. while_fitting: around the training on real records alone, its
    trainer's making included. fit: in place of `ecg.training.fit.fit`."""

    change: Callable[[Method], Method] = _same
    published: bool = False
    dataset: Callable[[Dataset], Dataset] = _same
    throughout: Callable = contextlib.nullcontext
    while_fitting: Callable = contextlib.nullcontext
    fit: Callable = fit

    def method(self, found: Method, n_simulated: int | None = None) -> Method:
        """The candidate's method, made of one that `find_method` gives.

        n_simulated: with it, ours first goes through the full preset's stages on so many simulated
        records; the paper's goes through none.
        """
        if self.published:
            return self.change(as_published(found))
        if n_simulated is not None:
            stages = METHODS[found.name]["full"].pretraining
            found = replace(found, pretraining=replace(stages, n_records=n_simulated))
        return self.change(found)

    @property
    def is_a_method(self) -> bool:
        """Whether it is trained like any other method, by nothing but `method`."""
        return replace(self, change=_same, published=False) == Candidate()


# Methods ---------------------------------------------------------------------------------------


def _changed(part: str, **options) -> Callable[[Method], Method]:
    return lambda method: replace(method, **{part: replace(getattr(method, part), **options)})


def _times(factor: float, part: str, name: str) -> Callable[[Method], Method]:
    """The change of a number, or of each of several, to so many times as much; 0 stays 0."""

    def times(number):
        return max(round(factor * number), min(number, 1))

    def change(method):
        found = getattr(getattr(method, part), name)
        changed = tuple(map(times, found)) if isinstance(found, tuple) else times(found)
        return _changed(part, **{name: changed})(method)

    return change


def _without_pretraining(method: Method) -> Method:
    return replace(method, pretraining=PretrainingOptions())


def _without_measurements(method: Method) -> Method:
    method = _changed("pretraining", measured_epochs=0)(method)
    return _changed("network", measured_width=None)(method)


# Batches ---------------------------------------------------------------------------------------


class _ChangedBags(Bags):
    """Batches changed by `change(bags, chosen, inputs, labels, weights, random)`; chosen: the
    records' positions in the dataset; labels, weights: those of the targets, (batch, 26) each."""

    change: Callable

    def __getitem__(self, i):
        inputs, targets = super().__getitem__(i)
        size = self.options.batch_size
        chosen = self.order[i * size : (i + 1) * size]
        random = np.random.default_rng([self.seed, self.epoch, 1 + i, 1])
        inputs, *changed = self.change(chosen, inputs, targets[..., 0], targets[..., 1], random)
        return inputs, np.stack(changed, axis=-1, dtype=np.float32)


def _batches(change: Callable) -> Callable:
    own = type("OwnBags", (_ChangedBags,), {"change": change})
    return lambda: patch.object(training, "Bags", own)


def _on_signal(change: Callable) -> Callable:
    """The change of signals (batch, bag, n_leads, n_samples) as one of batches."""

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
    own = bags.dataset.sources[chosen]
    ever = {source: known[sources == source].any(axis=0) for source in np.unique(own)}
    return inputs, labels, weights * np.array([ever[source] for source in own])


# Losses and training ---------------------------------------------------------------------------


def _average_weights():
    """Weights averaged exponentially over the steps; Keras's optimisers put them in at the end."""

    def averaging(options, n_steps):
        return keras.optimizers.AdamW(
            options.learning_rate,
            global_clipnorm=options.clip_norm,
            use_ema=True,
            ema_momentum=0.98,
        )

    return patch.object(training, "make_optimizer", averaging)


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


def _fit_with_soft_metric(
    trainer: Trainer, dataset: Dataset, indices, start: Start | None = None
) -> TrainedModel:
    """`fit`, then up to five epochs more, at a tenth of the rate, for the soft Challenge metric."""
    first, method = fit(trainer, dataset, indices, start=start), trainer.method
    epochs, rate = min(5, method.training.epochs), 0.1 * method.training.learning_rate
    stage = _changed("training", epochs=epochs, learning_rate=rate)(method)
    goes_on = Start(first.network.get_weights(), first.prevalence)
    what = (stage, trainer.lead_set, trainer.seed, trainer.devices, len(indices))
    with patch.object(training, "make_loss", lambda _: _SoftMetric()):
        second = Trainer(*what)
    return fit(second, dataset, indices, start=goes_on)


# Age and sex -----------------------------------------------------------------------------------


def _with_demographics(dataset: Dataset) -> Dataset:
    return replace(dataset, rhythm=np.hstack([dataset.rhythm, dataset.demographics]))


def _wider_input():
    place = "ecg.models.architectures.multiscale_se.n_measurements"
    return patch(place, lambda n_leads: n_measurements(n_leads) + N_DEMOGRAPHICS)


_TRAINING, _SIGNAL = partial(_changed, "training"), partial(_changed, "augmentation")
# Those that ask for a change of the signal path have no meaning without it.
ON_SIGNAL = {
    "as published": Candidate(published=True),
    "measurements alone": Candidate(_changed("network", steps=())),
    "without measurements": Candidate(_without_measurements),
    "measurements not first": Candidate(_changed("pretraining", measured_epochs=0)),
    "mV instead of z-score": Candidate(_changed("preparation", scale="mV")),
    "windows over the whole record": Candidate(_changed("preparation", max_windows=6)),
    "shift up to 1 s": Candidate(_SIGNAL(shift_s=1.0)),
    "noise of 5 %": Candidate(_SIGNAL(noise=0.05)),
    "time stretch 10 %": Candidate(while_fitting=_on_signal(_stretch_time)),
    "amplitudes 20 %": Candidate(while_fitting=_on_signal(_scale_amplitude)),
    "lead dropout 15 %": Candidate(while_fitting=_on_signal(_drop_leads)),
    "crops of 6 to 10 s": Candidate(while_fitting=_on_signal(_crop)),
    "feature dropout, none": Candidate(_changed("network", feature_dropout=0.0)),
    "half the width": Candidate(_times(0.5, "network", "widths")),
    "twice the width": Candidate(_times(2, "network", "widths")),
}
CANDIDATES = {
    AS_IT_IS: Candidate(),
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
    "weights averaged": Candidate(while_fitting=_average_weights),
    "classes weigh alike": Candidate(_changed("loss", class_weights="equal")),
    "unlabelled classes masked": Candidate(while_fitting=_batches(_mask_unlabelled)),
    "mixup": Candidate(while_fitting=_batches(_mix_up)),
    "age and sex": Candidate(dataset=_with_demographics, throughout=_wider_input),
    "soft metric at the end": Candidate(fit=_fit_with_soft_metric),
    **ON_SIGNAL,
}
