"""A network through its epochs: optimiser, learning rate, choice of the best epoch."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import keras

from ecg.models.training_options import TrainingOptions
from ecg.training.checkpoints import Checkpoint, CheckpointCallback, TrainingState
from ecg.training.optimizers import FlatAdam

# Steps and executions between two checks of the loss; each check waits for its step.
_CHECK_EVERY, _CHECK_AFTER = 32, 8
_MAX_WARMUP_STEPS = 500
_MAX_STEPS_PER_EXECUTION = 32
_WEIGHT_DECAY = 0.004  # the default of Keras's AdamW
METRIC = "val_challenge_metric"  # of the validation records


class NotFiniteError(ArithmeticError):
    """The loss of a training is no longer finite; the message says where."""


def cosine_rate(options: TrainingOptions, share: float, n_steps: float = 0) -> float:
    """Return the learning rate of schedule "cosine" after that share, 0 to 1, of the training.

    n_steps: of the whole training; the warm-up takes `warmup_share` of them, but at most 500.
    """
    rate, warmup = options.learning_rate, options.warmup_share
    if n_steps:
        warmup = min(warmup, _MAX_WARMUP_STEPS / n_steps)
    if share < warmup:
        return rate * share / warmup
    falling = (share - warmup) / (1 - warmup)
    return rate * 0.5 * (1 + math.cos(math.pi * falling))


@dataclass(frozen=True)
class Stage:
    """One stage of a training.

    label: heads the line that is printed after each epoch. options: of this stage. time_limit_s:
    seconds after which it ends, but not before one epoch. checkpoint: where the state is kept after
    each epoch; if interrupted, the stage resumes from there and ends with the same weights.
    """

    label: str
    options: TrainingOptions
    time_limit_s: float = math.inf
    checkpoint: Checkpoint | None = None


def run_epochs(
    network: keras.Model,
    batches: keras.utils.PyDataset,
    stage: Stage,
    validate: Callable[[], dict[str, float]] | None = None,
) -> dict:
    """Train the network and return the training log for a model's JSON.

    The network ends with the weights of its best epoch. network: compiled with an optimiser of
    `make_optimizer`, whose state is reset. validate: returns the figures of the validation records
    after each epoch: "val_loss", and "val_challenge_metric" where that chooses the best epoch; None
    where the last epoch is kept in any case. Raises NotFiniteError where the loss is not finite.
    """
    options, label, checkpoint = stage.options, stage.label, stage.checkpoint
    _reset(network.optimizer, options.learning_rate)
    state = (checkpoint and checkpoint.read()) or TrainingState()
    if state.n_epochs:
        print(f"{label}: resumed after epoch {state.n_epochs}/{options.epochs}", flush=True)
        state.set_variables(network)
        batches.skip_epochs(state.n_epochs)
    started, limit_s = time.monotonic() - state.seconds, state.seconds + stage.time_limit_s
    monitored = "loss" if validate is None else "val_loss"
    schedule = _schedule(options, len(batches), monitored, started, limit_s)
    lines = _EpochLines(label, options.epochs, started, limit_s)
    callbacks = [_Finite(label), schedule, lines]
    if validate is not None:
        callbacks.insert(0, _Validation(validate))
    tracked = {"schedule": (schedule, _TRACKED[options.schedule])}
    best = None
    if options.best != "last":
        best = keras.callbacks.EarlyStopping(
            monitor="val_loss" if options.best == "loss" else METRIC,
            mode="min" if options.best == "loss" else "max",
            patience=options.stop_patience or options.epochs,
            restore_best_weights=True,
        )
        callbacks.append(best)
        tracked["best"] = (best, ("best", "wait", "best_epoch", "stopped_epoch"))
    checkpoint_callback = CheckpointCallback(checkpoint, state, started, tracked, best)
    stopped = state.callbacks.get("best", {}).get("stopped_epoch")
    network.fit(
        batches,
        initial_epoch=options.epochs if stopped else state.n_epochs,
        epochs=options.epochs,
        shuffle=False,  # the batches shuffle themselves, by the seed
        callbacks=[*callbacks, checkpoint_callback],
        verbose=0,
    )
    n_epochs = len(checkpoint_callback.history["loss"])
    return {
        "epochs": n_epochs,
        "best_epoch": n_epochs if best is None else best.best_epoch + 1,
        "batch_size": options.batch_size,
        "learning_rate": options.learning_rate,
        "cut_by_time_limit": lines.cut,
        "seconds": round(time.monotonic() - started, 1),
        "history": checkpoint_callback.history,
    }


def make_optimizer(options: TrainingOptions, n_steps: int) -> FlatAdam:
    """Return the optimiser that the options name, for epochs of at least `n_steps` steps."""
    return FlatAdam(
        options.learning_rate,
        weight_decay=_WEIGHT_DECAY if options.optimizer == "adamw" else 0.0,
        clip_norm=options.clip_norm,
        # An epoch of fewer steps than make an update would end without any.
        accumulation_steps=min(options.accumulation_steps, n_steps),
    )


def steps_per_execution(options: TrainingOptions, n_training: int, has_gpu: bool) -> int:
    """Return the number of steps that the backend takes between two returns to Python.

    At each return a GPU waits for the host, which on JAX copies the whole training state; on a CPU
    nothing is gained. The learning rate is constant within an execution, so there should be
    hundreds of executions.
    """
    if not has_gpu:
        return 1
    n_steps = options.epochs * -(-n_training // options.batch_size)
    return max(1, min(_MAX_STEPS_PER_EXECUTION, n_steps // 200))


def _reset(optimizer, learning_rate: float) -> None:
    """Reset the optimiser's state to that of its first step."""
    # Under float16 an outer optimiser holds the loss scale, which is kept.
    for variable in getattr(optimizer, "inner_optimizer", optimizer).variables:
        variable.assign(keras.ops.zeros(variable.shape, variable.dtype))
    optimizer.learning_rate = learning_rate


def _schedule(
    options: TrainingOptions, n_steps: int, monitored: str, started: float, time_limit_s: float
) -> keras.callbacks.Callback:
    if options.schedule == "plateau":
        return keras.callbacks.ReduceLROnPlateau(
            monitored, factor=options.lr_factor, patience=options.lr_patience
        )
    if options.schedule == "cosine":
        return _Cosine(options, n_steps, started, time_limit_s)
    first, later = options.learning_rate, options.learning_rate * options.lr_factor
    return keras.callbacks.LearningRateScheduler(
        lambda epoch: later if epoch >= options.lr_patience else first
    )


# The attributes of the schedules' callbacks that change, by schedule.
_TRACKED = {"plateau": ("best", "wait"), "step": (), "cosine": ()}


class _Cosine(keras.callbacks.Callback):
    """Sets the rate of schedule "cosine" before every execution.

    It follows the steps or the time, whichever is further: a training that its time limit ends
    early has reached a low rate by then, at the end of its first epoch at the earliest.
    n_steps: of an epoch.
    """

    def __init__(self, options, n_steps, started, time_limit_s):
        super().__init__()
        self.options, self.n_steps = options, n_steps
        self.started, self.time_limit_s = started, time_limit_s
        self.epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        network = self.model  # once: on JAX each access copies the training state
        # The middle of the execution, so that the first and the last have a rate above 0.
        middle = min(network.steps_per_execution, self.n_steps - batch) / 2
        n_epochs = self.epoch + (batch + middle) / self.n_steps
        elapsed = time.monotonic() - self.started
        by_time = elapsed / self.time_limit_s if self.time_limit_s > 0 else 1.0
        share = max(n_epochs / self.options.epochs, min(by_time, n_epochs, 1.0))
        n_steps = self.options.epochs * self.n_steps
        network.optimizer.learning_rate = cosine_rate(self.options, share, n_steps)

    def on_epoch_end(self, epoch, logs=None):
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)


class _Finite(keras.callbacks.Callback):
    """Ends a training whose loss is not finite, before its state is kept."""

    def __init__(self, label):
        super().__init__()
        self.label, self.epoch, self.next, self.n_at_once = label, 0, 0, 1

    def on_train_begin(self, logs=None):
        self.n_at_once = self.model.steps_per_execution

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch, self.next = epoch, 0

    def on_train_batch_end(self, batch, logs=None):
        if batch >= self.next:
            self.next = batch + max(_CHECK_EVERY, _CHECK_AFTER * self.n_at_once)
            self._check(("loss",), logs)

    def on_epoch_end(self, epoch, logs=None):
        self._check(("loss", "val_loss"), logs)

    def _check(self, names, logs):
        for name in names:
            if name in logs and not math.isfinite(value := float(logs[name])):
                raise NotFiniteError(
                    f"{self.label}, epoch {self.epoch + 1}: expected a finite {name}, found {value}"
                    f" at a learning rate of {float(self.model.optimizer.learning_rate):.2g}"
                )


class _Validation(keras.callbacks.Callback):
    """Adds the validation figures to the logs that the callbacks after it see."""

    def __init__(self, validate):
        super().__init__()
        self.validate = validate

    def on_epoch_end(self, epoch, logs=None):
        logs.update(self.validate())


class _EpochLines(keras.callbacks.Callback):
    """Prints a line after each epoch and stops training before its time limit."""

    def __init__(self, label, epochs, started, time_limit_s):
        super().__init__()
        self.label, self.epochs = label, epochs
        self.started, self.time_limit_s = started, time_limit_s
        self.cut = False

    def on_epoch_end(self, epoch, logs=None):
        elapsed = time.monotonic() - self.started
        an_epoch = elapsed / (epoch + 1)
        left = (self.epochs - epoch - 1) * an_epoch
        figures = [
            f"{name} {logs[key]:{form}}"
            for name, key, form in (
                ("loss", "loss", ".4f"),
                ("validation loss", "val_loss", ".4f"),
                ("Challenge metric", METRIC, ".3f"),
                ("learning rate", "learning_rate", ".2g"),
            )
            if key in logs
        ]
        print(
            f"{self.label}, epoch {epoch + 1}/{self.epochs}: {', '.join(figures)}, "
            f"{elapsed:.0f} s, at most {left:.0f} s left",
            flush=True,
        )
        if left > 0 and elapsed + an_epoch > self.time_limit_s:
            print(f"{self.label}: stopped by the time limit after epoch {epoch + 1}", flush=True)
            self.cut = self.model.stop_training = True
