"""Fits one method on one lead set."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import keras
import numpy as np
from scipy.special import expit, logit

from ecg.models.decisions import best_metric, calibrate, decide, fit_decision, pool_windows
from ecg.models.devices import Devices, prepare_to_train
from ecg.models.forward import logits_of
from ecg.models.losses import class_weights, make_loss, make_targets
from ecg.models.model_files import TrainedModel
from ecg.models.registry import Method, build_network
from ecg.models.training_options import TrainingOptions
from ecg.records.diagnoses import N_CLASSES, read_weights
from ecg.records.leads import lead_rows
from ecg.records.metrics import score
from ecg.training.bags import bag_network
from ecg.training.batches import BagOptions, Bags, spread_windows, window_batches
from ecg.training.checkpoints import Checkpoint
from ecg.training.dataset import Dataset, DatasetError
from ecg.training.epochs import (
    METRIC,
    NotFiniteError,
    make_optimizer,
    run_epochs,
    steps_per_execution,
)
from ecg.training.selection import select_records
from ecg.training.splits import hold_out

_ANSWER_BATCH = 128  # windows
_SLOWER = 0.1  # of the learning rate, where the loss has not stayed finite


class TrainingError(ValueError):
    """A training that cannot come to a model; the message says why."""


@dataclass(frozen=True)
class Start:
    """What a training goes on from. weights: of the network, in Keras's order. prevalence: (26,),
    the classes' shares of the records that it was trained on. evidence: of that training, as a
    model's JSON has it."""

    weights: list[np.ndarray]
    prevalence: np.ndarray
    evidence: dict = field(default_factory=dict)


class Trainer:
    """A method's network for one lead set, with the training step that all of its stages share.

    network: in the devices' precision. bags: the network that trains it, compiled once, which is
    most of what a short training takes. batch_size: of the last stage, which has some `n_training`
    records.
    """

    def __init__(self, method: Method, lead_set: int, seed: int, devices: Devices, n_training: int):
        prepare_to_train(devices)
        keras.utils.set_random_seed(seed)
        self.method, self.lead_set, self.seed, self.devices = method, lead_set, seed, devices
        keras.config.set_dtype_policy(devices.precision)
        try:
            self.network = build_network(method, lead_set, N_CLASSES)
            self.bags = bag_network(
                self.network, method.training.bag_size, method.augmentation, method.preparation.fs
            )
        finally:
            keras.config.set_dtype_policy("float32")
        options = method.training.scaled_to(n_training)
        self.batch_size = options.batch_size
        n_steps = -(-n_training // options.batch_size)
        self.loss = make_loss(method.loss)
        self.bags.compile(
            make_optimizer(options, n_steps),
            self.loss,
            jit_compile=devices.jit_compile,
            steps_per_execution=steps_per_execution(options, n_training, bool(devices.gpus)),
        )
        # Built inside the first step, its variables would make TensorFlow trace that step twice.
        self.bags.optimizer.build(self.bags.trainable_variables)
        # Where the loss is not built yet, Keras on JAX takes a batch for that, and the first epoch
        # gets what its threads have read ahead by then.
        targets = np.zeros((1, N_CLASSES, 2), np.float32)
        logits = np.zeros((1, *self.bags.output.shape[1:]), np.float32)
        self.bags.compute_loss(None, targets, logits)
        self._first = [keras.ops.convert_to_numpy(one) for one in self.bags.variables]
        self._answering = None

    def train(
        self,
        options: TrainingOptions,
        dataset: Dataset,
        selected,
        start: Start | None,
        label: str,
        time_limit_s: float = math.inf,
        validate: Callable[[], dict[str, float]] | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> dict:
        """One stage: the network trained on the dataset's records `selected`; its course.

        options: the stage's own. start: what it goes on from; without, the network as it was
        built. Where the loss does not stay finite, all begins anew once, at a tenth of the
        learning rate. Raises TrainingError where it is not finite the second time either.
        """
        began = time.monotonic()
        method, labels = self.method, dataset.labels[selected]
        bag_options = BagOptions(options.batch_size, options.bag_size, method.loss.n_alternatives)

        def attempt(options, left_s, checkpoint) -> dict:
            self._begin(start, labels)
            weights = class_weights(method.loss, labels)
            what = (dataset, selected, self.lead_set, self.network.input, bag_options, weights)
            bags = Bags(*what, self.seed)
            return run_epochs(self.bags, options, bags, validate, label, left_s, checkpoint)

        try:
            return attempt(options, time_limit_s, checkpoint)
        except NotFiniteError as error:
            first = error
        slower = replace(options, learning_rate=_SLOWER * options.learning_rate)
        print(f"{first}; begins anew at {slower.learning_rate:.2g}", flush=True)
        left_s = time_limit_s - (time.monotonic() - began)
        try:
            course = attempt(slower, left_s, checkpoint and checkpoint.stage("slower"))
        except NotFiniteError as error:
            raise TrainingError(f"{first}; then {error}") from error
        return course | {"slower_because": str(first)}

    def answering(self) -> keras.Model:
        """The network as it is now, in float32, in which answers are computed on every device."""
        if self._answering is None:
            self._answering = build_network(self.method, self.lead_set, N_CLASSES)
            self._answering.compile(jit_compile=self.devices.jit_compile)
        self._answering.set_weights(self.network.get_weights())
        return self._answering

    def _begin(self, start: Start | None, labels) -> None:
        """Sets all variables back, and the weights to go on from, the output's bias at what each
        class's frequency asks for.

        Without a start that is what makes the network answer those frequencies: from a bias of 0
        Adam needs hundreds of steps to learn no more than that, half of a short training on a small
        data set. With one it is the difference to the frequencies that the network has learned.
        """
        for variable, value in zip(self.bags.variables, self._first, strict=True):
            variable.assign(value)
        bias = class_log_odds(labels.mean(axis=0))
        output = self.network.layers[-1]
        if start is None:
            output.bias.assign(bias)
        else:
            self.network.set_weights(start.weights)
            output.bias.assign_add(bias - class_log_odds(start.prevalence))


def fit(
    trainer: Trainer,
    dataset: Dataset,
    indices,
    time_limit_s: float = math.inf,
    start: Start | None = None,
    checkpoint: Checkpoint | None = None,
) -> TrainedModel:
    """The trainer's method fitted to the dataset's records at `indices`, its decision too.

    A part of them is set aside to choose the epoch and the learning rate, and to fit the decision.
    Stops before `time_limit_s` seconds are over, but not before one epoch. start: of this method
    and lead set; without, training starts from the seed. checkpoint: see
    `ecg.training.epochs.run_epochs`. Raises DatasetError where the method's selection leaves no
    record to train on, and what `Trainer.train` does.
    """
    method, lead_set = trainer.method, trainer.lead_set
    kept, held_out = _parts(method, dataset, indices, trainer.seed)
    deviation = dataset.lead_deviation_mv[kept][:, lead_rows(lead_set)]
    selected = kept[select_records(dataset.labels[kept], deviation, method.selection, trainer.seed)]
    if not len(selected):
        raise DatasetError(f"none of {len(kept)} records fits {method.selection}")
    options = method.training.scaled_to(len(selected))
    course = trainer.train(
        options,
        dataset,
        selected,
        start,
        f"{method.name}, {lead_set} leads",
        time_limit_s,
        _validation(
            trainer, dataset, held_out, class_weights(method.loss, dataset.labels[selected])
        ),
        checkpoint,
    )
    network = trainer.answering()
    truth, weights = dataset.labels[held_out], read_weights()
    probabilities = probabilities_of(network, method, dataset, held_out, lead_set)
    fitted_on = (truth, probabilities)
    if method.decision.fitted_on == "training":
        of_kept = probabilities_of(network, method, dataset, kept, lead_set)
        fitted_on = (dataset.labels[kept], of_kept)
    decision = fit_decision(*fitted_on, weights, method.decision)
    probabilities = calibrate(probabilities, decision.temperature)
    outputs = decide(probabilities, decision)
    scores = score(truth, outputs, probabilities, weights).summary
    evidence = {
        "data_fingerprint": dataset.fingerprint,
        "n_training": len(selected),
        "n_validation": len(held_out),
        "validated_on_training_records": bool(np.array_equal(kept, held_out)),
        "seed": trainer.seed,
        "precision": trainer.devices.precision,
        "gpus": trainer.devices.gpus,
        "start": None if start is None else start.evidence,
        **course,
        "validation_scores": {
            name: None if math.isnan(value) else value for name, value in scores.items()
        },
    }
    prevalence = dataset.labels[kept].mean(axis=0)
    return TrainedModel(network, method, lead_set, decision, prevalence, evidence)


def answer_dataset(model: TrainedModel, dataset: Dataset, indices) -> tuple[np.ndarray, np.ndarray]:
    """Outputs, bool, and calibrated probabilities of a trained model, each (n_records, 26), for the
    dataset's records at `indices`."""
    what = (model.network, model.method, dataset, indices, model.lead_set)
    probabilities = calibrate(probabilities_of(*what), model.decision.temperature)
    return decide(probabilities, model.decision), probabilities


def probabilities_of(
    network: keras.Model, method: Method, dataset: Dataset, indices, lead_set: int
) -> np.ndarray:
    """Probabilities (n_records, 26) of a network for the dataset's records at `indices`, by the
    method's vote over all windows of each. Raises NotFiniteError where one is no number."""
    logits = _dataset_logits(network, dataset, indices, lead_set)
    if not np.isfinite(logits).all():
        raise NotFiniteError(
            f"{method.name}, {lead_set} leads: expected finite probabilities, found others"
        )
    return pool_windows(expit(logits), dataset.n_windows[indices], method.decision.vote)


def _dataset_logits(network: keras.Model, dataset: Dataset, indices, lead_set: int) -> np.ndarray:
    """Logits (sum of n_windows, 26) of the windows of the dataset's records at `indices`."""
    batches = window_batches(dataset, indices, lead_set, network.input, _ANSWER_BATCH)
    return logits_of(network, batches, _ANSWER_BATCH)


def _validation(trainer: Trainer, dataset: Dataset, held_out, weights) -> Callable[[], dict]:
    """What asks for the figures of the records set aside, with the weights as they are."""
    method = trainer.method
    labels, n_windows = dataset.labels[held_out], dataset.n_windows[held_out]
    targets = make_targets(labels, weights)
    # The loss is over as many windows of each record as in training.
    chosen = spread_windows(n_windows, method.training.bag_size)
    chosen += (np.cumsum(n_windows) - n_windows)[:, None]

    def validate() -> dict[str, float]:
        logits = _dataset_logits(trainer.answering(), dataset, held_out, trainer.lead_set)
        if not np.isfinite(logits).all():
            return {"val_loss": math.nan}  # which ends the training, and says where it was
        loss = trainer.loss(targets, logits[chosen].astype(np.float32))
        figures = {"val_loss": float(loss)}
        if method.training.best == "challenge_metric":
            probabilities = pool_windows(expit(logits), n_windows, method.decision.vote)
            figures[METRIC] = best_metric(labels, probabilities, read_weights(), method.decision)
        return figures

    return validate


def _parts(method: Method, dataset: Dataset, indices, seed) -> tuple[np.ndarray, np.ndarray]:
    """The records of `indices` to train on, before selection, and those to validate on."""
    options = method.training
    sources = dataset.sources[indices] if options.validation_by_source else None
    parts = hold_out(dataset.labels[indices], options.validation_share, seed, sources)
    return tuple(indices[part] for part in parts)


def class_log_odds(prevalence) -> np.ndarray:
    """Log-odds (n_classes,) of each class's share of the records, held between 1 and 99 %."""
    return logit(np.clip(prevalence, 0.01, 0.99))
