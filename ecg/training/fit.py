"""Fit one method on one lead set."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

import keras
import numpy as np
from scipy.special import expit, logit

from ecg.models.decisions import (
    Decision,
    best_metric,
    calibrate,
    decide,
    fit_decision,
    fit_temperature,
    pool_windows,
)
from ecg.models.devices import Devices, prepare_to_train
from ecg.models.fine_tuning import FineTuningOptions, prevalence_after
from ecg.models.forward import logits_of
from ecg.models.losses import class_weights, make_loss, make_targets
from ecg.models.method import Method, recipe_for
from ecg.models.model_files import TrainedModel
from ecg.models.operating_points import OperatingPoints, fit_points
from ecg.models.registry import build_network
from ecg.models.training_options import TrainingOptions
from ecg.records.diagnoses import N_CLASSES, read_weights
from ecg.records.leads import lead_rows
from ecg.records.metrics import score
from ecg.simulation.names import is_simulated
from ecg.training.bags import bag_network
from ecg.training.batches import BagOptions, Bags, spread_windows, window_batches
from ecg.training.checkpoints import Checkpoint
from ecg.training.dataset import Dataset, DatasetError
from ecg.training.epochs import (
    METRIC,
    NotFiniteError,
    Stage,
    make_optimizer,
    run_epochs,
    steps_per_execution,
)
from ecg.training.selection import select_records
from ecg.training.splits import hold_out

_PREDICTION_BATCH = 128  # windows
_RETRY_RATE = 0.1  # of the learning rate, where the loss did not stay finite


class TrainingError(ValueError):
    """A training that cannot produce a model; the message says why."""


@dataclass(frozen=True)
class TrainingRun:
    """What a training is, whatever its records: a method, the number of leads and a seed."""

    method: Method
    lead_set: int
    seed: int


@dataclass(frozen=True)
class Start:
    """What a training starts from.

    weights: of the network, in Keras's order. prevalence: (26,), the share of each class among the
    records that it was trained on. log: of that training, as a model's JSON holds it. decision: of
    a finished model; None where the start is an earlier stage of the same training.
    """

    weights: list[np.ndarray]
    prevalence: np.ndarray
    log: dict = field(default_factory=dict)
    decision: Decision | None = None


class Trainer:
    """The network of a training run, with one compiled training step for all of its stages.

    run: its method is that for about `n_records` real records, validation records included (see
    `recipe_for`). network: in the devices' precision. bags: the network over bags of windows that
    is trained; compiling it takes most of a short training. fine_tuning: of a training that goes on
    from a finished model, the options by which the run's method was changed, see
    `ecg.models.fine_tuning`. A subclass may override `make_loss`, `make_optimizer` and
    `make_batches`.
    """

    def __init__(
        self,
        run: TrainingRun,
        devices: Devices,
        n_records: int,
        fine_tuning: FineTuningOptions | None = None,
    ):
        prepare_to_train(devices)
        keras.utils.set_random_seed(run.seed)
        method = recipe_for(run.method, n_records)
        self.run = replace(run, method=method)
        self.devices, self.fine_tuning = devices, fine_tuning
        keras.config.set_dtype_policy(devices.precision)
        try:
            self.network = build_network(method, run.lead_set, N_CLASSES)
            if fine_tuning is not None:
                _freeze_batch_normalisation(self.network)
            self.bags = bag_network(
                self.network, method.training.bag_size, method.augmentation, method.preparation.fs
            )
        finally:
            keras.config.set_dtype_policy("float32")
        options = method.training
        self.loss = self.make_loss()
        self.bags.compile(
            self.make_optimizer(options, -(-n_records // options.batch_size)),
            self.loss,
            jit_compile=devices.jit_compile,
            steps_per_execution=steps_per_execution(options, n_records, bool(devices.gpus)),
        )
        # Built inside the first step, its variables would make TensorFlow trace that step twice.
        self.bags.optimizer.build(self.bags.trainable_variables)
        # Where the loss is not built yet, Keras on JAX builds it on a batch, and the first epoch
        # starts with the batches that its threads have read by then.
        targets = np.zeros((1, N_CLASSES, 2), np.float32)
        logits = np.zeros((1, *self.bags.output.shape[1:]), np.float32)
        self.bags.compute_loss(None, targets, logits)
        self._initial = [keras.ops.convert_to_numpy(variable) for variable in self.bags.variables]
        self._float32_network = None

    def make_loss(self) -> keras.losses.Loss:
        """Return the loss of every stage, of targets as `ecg.models.losses.make_targets` makes
        them."""
        return make_loss(self.run.method.loss)

    def make_optimizer(self, options: TrainingOptions, n_steps: int) -> keras.Optimizer:
        """Return the optimiser of every stage; n_steps: of an epoch."""
        return make_optimizer(options, n_steps)

    def make_batches(self, dataset: Dataset, indices, weights, options: BagOptions) -> Bags:
        """Return the training batches of a stage; weights: of the classes, see `class_weights`."""
        return Bags(dataset, indices, weights, options)

    def prevalence(self, labels, start: Start | None) -> np.ndarray:
        """Return the share (26,) of each class that the network is to expect; labels: (n_records,
        26), bool, of those that it is trained on."""
        if self.fine_tuning is None:
            return labels.mean(axis=0)
        return prevalence_after(labels, start.prevalence, self.fine_tuning)

    def train(
        self,
        stage: Stage,
        dataset: Dataset,
        indices,
        start: Start | None = None,
        validate: Callable[[], dict[str, float]] | None = None,
    ) -> dict:
        """Train one stage on the dataset's records at `indices` and return its log.

        start: without it, the network starts as it was built. validate: see `run_epochs`. Where the
        loss does not stay finite, the stage is trained once more from its start, at a tenth of the
        learning rate. Raises TrainingError where the loss is not finite the second time either.
        """
        began = time.monotonic()
        try:
            return self._attempt(stage, dataset, indices, start, validate)
        except NotFiniteError as error:
            first = error
        rate = _RETRY_RATE * stage.options.learning_rate
        print(f"{first}; starting again at {rate:.2g}", flush=True)
        retry = replace(
            stage,
            options=replace(stage.options, learning_rate=rate),
            time_limit_s=stage.time_limit_s - (time.monotonic() - began),
            checkpoint=stage.checkpoint and stage.checkpoint.for_stage("slower"),
        )
        try:
            log = self._attempt(retry, dataset, indices, start, validate)
        except NotFiniteError as error:
            raise TrainingError(f"{first}; then {error}") from error
        return log | {"slower_because": str(first)}

    def _attempt(self, stage: Stage, dataset: Dataset, indices, start, validate) -> dict:
        method, labels = self.run.method, dataset.labels[indices]
        self._reset(start, labels)
        options = BagOptions(
            self.run.lead_set,
            tuple(self.network.input),
            stage.options.batch_size,
            stage.options.bag_size,
            method.loss.n_alternatives,
            self.run.seed,
        )
        batches = self.make_batches(dataset, indices, class_weights(method.loss, labels), options)
        return run_epochs(self.bags, batches, stage, validate)

    def float32_network(self) -> keras.Model:
        """Return the network with its present weights in float32, in which all devices predict."""
        if self._float32_network is None:
            self._float32_network = build_network(self.run.method, self.run.lead_set, N_CLASSES)
            self._float32_network.compile(jit_compile=self.devices.jit_compile)
        self._float32_network.set_weights(self.network.get_weights())
        return self._float32_network

    def _reset(self, start: Start | None, labels) -> None:
        """Set all variables to their start, and the output bias to the frequencies of the labels.

        Without a start the bias makes the network predict these frequencies: from a bias of 0 Adam
        needs hundreds of steps to learn just that, half of a short training on a small data set.
        With a start, the bias is moved by the difference to the frequencies that it was trained on;
        in fine-tuning, these count as some records more, see `prevalence_after`.
        """
        for variable, value in zip(self.bags.variables, self._initial, strict=True):
            variable.assign(value)
        bias = class_log_odds(self.prevalence(labels, start))
        output = self.network.layers[-1]
        if start is None:
            output.bias.assign(bias)
        else:
            self.network.set_weights(start.weights)
            output.bias.assign_add(bias - class_log_odds(start.prevalence))


def _freeze_batch_normalisation(network: keras.Model) -> None:
    """Keep averages and scales of batch normalisation as they are.

    Averages over the last few batches of some hundred records are noise, see docs/results.md.
    """
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def fit(
    trainer: Trainer,
    dataset: Dataset,
    indices,
    time_limit_s: float = math.inf,
    start: Start | None = None,
    checkpoint: Checkpoint | None = None,
) -> TrainedModel:
    """Fit the trainer's method, its decision included, to the dataset's records at `indices`.

    A share of the records is set aside as validation records: they choose the epoch and the
    learning rate, and fit the decision. time_limit_s, checkpoint: see `Stage`. start: of this
    method and lead set; without it, training starts from the seed. In fine-tuning the start is a
    finished model, whose decision is kept where there are too few records to fit another.
    Raises DatasetError where the method's selection leaves no record to train on, and whatever
    `Trainer.train` raises.
    """
    run, fine_tuning = trainer.run, trainer.fine_tuning
    if (fine_tuning is None) != (start is None or start.decision is None):
        raise ValueError("expected a finished model as the start of fine-tuning, and only of that")
    method, lead_set = run.method, run.lead_set
    kept, validation = _hold_out(run, dataset, indices)
    deviation = dataset.lead_deviation_mv[kept][:, lead_rows(lead_set)]
    selected = kept[select_records(dataset.labels[kept], deviation, method.selection, run.seed)]
    if not len(selected):
        raise DatasetError(f"none of {len(kept)} records fits {method.selection}")
    label = f"{method.name}, {lead_set} leads"
    stage = Stage(label, method.training, time_limit_s, checkpoint)
    weights = class_weights(method.loss, dataset.labels[selected])
    validate = _validation(trainer, dataset, validation, weights)
    log = trainer.train(stage, dataset, selected, start, validate)
    network, truth = trainer.float32_network(), dataset.labels[validation]
    decision, probabilities = _fit_decision(trainer, dataset, kept, validation, start)
    scores = score(truth, decide(probabilities, decision), probabilities, read_weights()).summary
    training_log = {
        "data_fingerprint": dataset.fingerprint,
        "n_training": len(selected),
        "n_validation": len(validation),
        "validated_on_training_records": bool(np.array_equal(kept, validation)),
        "sources": _count(dataset.sources[indices]),
        "n_simulated": sum(map(is_simulated, dataset.names[indices])),
        "seed": run.seed,
        "precision": trainer.devices.precision,
        "gpus": trainer.devices.gpus,
        "start": None if start is None else start.log,
        "fine_tuning": None if fine_tuning is None else asdict(fine_tuning),
        "decision_of_start": _keeps_decision(trainer, kept, validation),
        **log,
        "validation_scores": {
            name: None if math.isnan(value) else value for name, value in scores.items()
        },
    }
    prevalence = trainer.prevalence(dataset.labels[kept], start)
    return TrainedModel(network, method, lead_set, decision, prevalence, training_log)


def _keeps_decision(trainer: Trainer, kept, validation) -> bool:
    """Whether there are too few records to replace the decision of the start of fine-tuning."""
    fine_tuning, options = trainer.fine_tuning, trainer.run.method.decision
    fitted_on = kept if options.fitted_on == "training" else validation
    return fine_tuning is not None and len(fitted_on) < fine_tuning.fewest_to_refit


def _fit_decision(
    trainer: Trainer, dataset: Dataset, kept, validation, start: Start | None
) -> tuple[Decision, np.ndarray]:
    """Return the decision, and the probabilities of the validation records that it calibrates.

    The operating points are always those of the validation records: where these are too few in
    fine-tuning, the start's are kept; where they are the training records, there are none.
    """
    run, fine_tuning = trainer.run, trainer.fine_tuning
    options, network = run.method.decision, trainer.float32_network()
    truth = dataset.labels[validation]
    probabilities = predict_records(network, run.method, dataset, validation, run.lead_set)
    if _keeps_decision(trainer, kept, validation):
        decision = start.decision
    elif options.fitted_on == "training":
        of_kept = predict_records(network, run.method, dataset, kept, run.lead_set)
        decision = fit_decision(dataset.labels[kept], of_kept, read_weights(), options)
    else:
        decision = fit_decision(truth, probabilities, read_weights(), options)
    probabilities = calibrate(probabilities, decision.temperature)
    if fine_tuning is not None and len(validation) < fine_tuning.fewest_to_refit:
        decision = replace(decision, points=start.decision.points)
    elif not np.array_equal(kept, validation):
        points = _fit_points(truth, probabilities, options.calibrated)
        decision = replace(decision, points=points)
    return decision, probabilities


def _fit_points(labels, probabilities, is_calibrated: bool) -> OperatingPoints:
    """Operating points for the clinical rule, fitted to the validation records.

    They are for calibrated probabilities, which not every method's decision uses.
    """
    temperature = 1.0 if is_calibrated else fit_temperature(labels, probabilities)
    return fit_points(labels, calibrate(probabilities, temperature), temperature)


def _count(sources) -> dict[str, int]:
    names, counts = np.unique(sources, return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def answer_dataset(model: TrainedModel, dataset: Dataset, indices) -> tuple[np.ndarray, np.ndarray]:
    """Return outputs, bool, and calibrated probabilities of a trained model, each (n_records, 26),
    for the dataset's records at `indices`."""
    probabilities = calibrate(
        predict_records(model.network, model.method, dataset, indices, model.lead_set),
        model.decision.temperature,
    )
    return decide(probabilities, model.decision), probabilities


def predict_records(
    network: keras.Model, method: Method, dataset: Dataset, indices, lead_set: int
) -> np.ndarray:
    """Probabilities (n_records, 26) of a network for the dataset's records at `indices`, by the
    method's vote over the windows of each. Raises NotFiniteError where one is not finite."""
    logits = _predict_windows(network, dataset, indices, lead_set)
    if not np.isfinite(logits).all():
        raise NotFiniteError(
            f"{method.name}, {lead_set} leads: expected finite probabilities, found others"
        )
    return pool_windows(expit(logits), dataset.n_windows[indices], method.decision.vote)


def _predict_windows(network: keras.Model, dataset: Dataset, indices, lead_set: int) -> np.ndarray:
    """Logits (sum of n_windows, 26) of the windows of the dataset's records at `indices`."""
    batches = window_batches(dataset, indices, lead_set, network.input, _PREDICTION_BATCH)
    return logits_of(network, batches, _PREDICTION_BATCH)


def _validation(trainer: Trainer, dataset: Dataset, indices, weights) -> Callable[[], dict]:
    """Return a function that returns the figures of the validation records at the present
    weights."""
    method, lead_set = trainer.run.method, trainer.run.lead_set
    labels, n_windows = dataset.labels[indices], dataset.n_windows[indices]
    targets = make_targets(labels, weights)
    # The loss is over as many windows of each record as in training.
    windows = spread_windows(n_windows, method.training.bag_size)
    windows += (np.cumsum(n_windows) - n_windows)[:, None]

    def validate() -> dict[str, float]:
        logits = _predict_windows(trainer.float32_network(), dataset, indices, lead_set)
        if not np.isfinite(logits).all():
            return {"val_loss": math.nan}  # which ends the training with an error
        loss = trainer.loss(targets, logits[windows].astype(np.float32))
        figures = {"val_loss": float(loss)}
        if method.training.best == "challenge_metric":
            probabilities = pool_windows(expit(logits), n_windows, method.decision.vote)
            figures[METRIC] = best_metric(labels, probabilities, read_weights(), method.decision)
        return figures

    return validate


def _hold_out(run: TrainingRun, dataset: Dataset, indices) -> tuple[np.ndarray, np.ndarray]:
    """Return the records of `indices` to train on, before selection, and the validation records."""
    options = run.method.training
    sources = dataset.sources[indices] if options.validation_by_source else None
    parts = hold_out(dataset.labels[indices], options.validation_share, run.seed, sources)
    return tuple(indices[part] for part in parts)


def class_log_odds(prevalence) -> np.ndarray:
    """Log-odds (n_classes,) of each class's share of the records, clipped to 1 to 99 %."""
    return logit(np.clip(prevalence, 0.01, 0.99))
