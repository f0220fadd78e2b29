"""A network through its epochs: optimiser, learning rate, choice of the best epoch."""

import math
import time
from collections.abc import Callable

import keras

from ecg.models.training_options import TrainingOptions
from ecg.training.checkpoints import Checkpoint, Keeper, State
from ecg.training.optimizers import FlatAdam

# Steps, and executions, between looks at the loss, each of which waits for its step.
_LOOK_EVERY, _LOOK_AFTER = 32, 8
_MOST_WARMUP_STEPS = 500
_MOST_AT_ONCE = 32  # steps of an execution
_WEIGHT_DECAY = 0.004  # Keras's own of AdamW
METRIC = "val_challenge_metric"  # of the records set aside


class NotFiniteError(ArithmeticError):
    """A training whose loss is no number any more; the message says where."""


def cosine_rate(options: TrainingOptions, share: float, n_steps: float = 0) -> float:
    """The rate of schedule "cosine" where that share of the training, 0 to 1, is over.

    n_steps: of the whole training; the climb takes `warmup_share` of them, but no more than 500.
    """
    rate, warmup = options.learning_rate, options.warmup_share
    if n_steps:
        warmup = min(warmup, _MOST_WARMUP_STEPS / n_steps)
    if share < warmup:
        return rate * share / warmup
    falling = (share - warmup) / (1 - warmup)
    return rate * 0.5 * (1 + math.cos(math.pi * falling))


def run_epochs(
    network: keras.Model,
    options: TrainingOptions,
    training: keras.utils.PyDataset,
    validate: Callable[[], dict[str, float]] | None,
    label: str,
    time_limit_s: float,
    checkpoint: Checkpoint | None = None,
) -> dict:
    """The course of the training, for a model's JSON; the network has its best epoch's weights.

    network: compiled with an optimiser of `make_optimizer`, whose state is begun anew. validate:
    figures of the records set aside, asked after every epoch: "val_loss", and
    "val_challenge_metric" where that chooses the best one; None where the last epoch is kept
    whatever they were. A line an epoch is printed, headed by `label`. checkpoint: where the state
    is kept after every epoch; if interrupted, training resumes from there, as if it had not been.
    Raises NotFiniteError where the loss is no finite number.
    """
    _restart(network.optimizer, options.learning_rate)
    state = (checkpoint and checkpoint.read()) or State()
    if state.n_epochs:
        print(f"{label}: resumed after epoch {state.n_epochs}/{options.epochs}", flush=True)
        state.set_variables(network)
        training.skip_epochs(state.n_epochs)
    started, limit_s = time.monotonic() - state.seconds, state.seconds + time_limit_s
    judged_by = "loss" if validate is None else "val_loss"
    schedule = _schedule(options, len(training), judged_by, started, limit_s)
    lines = _EpochLines(label, options.epochs, started, limit_s)
    callbacks = [_Finite(label), schedule, lines]
    if validate is not None:
        callbacks.insert(0, _Validation(validate))
    followed = {"schedule": (schedule, _FOLLOWED[options.schedule])}
    best = None
    if options.best != "last":
        best = keras.callbacks.EarlyStopping(
            monitor="val_loss" if options.best == "loss" else METRIC,
            mode="min" if options.best == "loss" else "max",
            patience=options.stop_patience or options.epochs,
            restore_best_weights=True,
        )
        callbacks.append(best)
        followed["best"] = (best, ("best", "wait", "best_epoch", "stopped_epoch"))
    keeper = Keeper(checkpoint, state, started, followed, best)
    stopped = state.callbacks.get("best", {}).get("stopped_epoch")
    network.fit(
        training,
        initial_epoch=options.epochs if stopped else state.n_epochs,
        epochs=options.epochs,
        shuffle=False,  # the batches shuffle themselves, by the seed
        callbacks=[*callbacks, keeper],
        verbose=0,
    )
    n_epochs = len(keeper.history["loss"])
    return {
        "epochs": n_epochs,
        "best_epoch": n_epochs if best is None else best.best_epoch + 1,
        "batch_size": options.batch_size,
        "learning_rate": options.learning_rate,
        "cut_by_time_limit": lines.cut,
        "seconds": round(time.monotonic() - started, 1),
        "history": keeper.history,
    }


def make_optimizer(options: TrainingOptions, n_steps: int) -> FlatAdam:
    """The optimiser that the options name, for epochs of so many steps at least."""
    return FlatAdam(
        options.learning_rate,
        weight_decay=_WEIGHT_DECAY if options.optimizer == "adamw" else 0.0,
        clip_norm=options.clip_norm,
        # An epoch of fewer steps than make an update would end without any.
        accumulation_steps=min(options.accumulation_steps, n_steps),
    )


def steps_per_execution(options: TrainingOptions, n_training: int, has_gpu: bool) -> int:
    """Steps that the backend takes without a word from Python in between.

    Between two a GPU waits for the host, which on JAX copies the whole state of the training; on a
    CPU nothing is gained. A rate lasts for one execution, so that there should be hundreds.
    """
    if not has_gpu:
        return 1
    n_steps = options.epochs * -(-n_training // options.batch_size)
    return max(1, min(_MOST_AT_ONCE, n_steps // 200))


def _restart(optimizer, learning_rate: float) -> None:
    """Sets the optimiser's state to that of its first step."""
    # One for float16 keeps its scale beside what it wraps, and that goes on.
    for variable in getattr(optimizer, "inner_optimizer", optimizer).variables:
        variable.assign(keras.ops.zeros(variable.shape, variable.dtype))
    optimizer.learning_rate = learning_rate


def _schedule(
    options: TrainingOptions, n_steps: int, judged_by: str, started: float, time_limit_s: float
) -> keras.callbacks.Callback:
    if options.schedule == "plateau":
        return keras.callbacks.ReduceLROnPlateau(
            judged_by, factor=options.lr_factor, patience=options.lr_patience
        )
    if options.schedule == "cosine":
        return _Cosine(options, n_steps, started, time_limit_s)
    first, later = options.learning_rate, options.learning_rate * options.lr_factor
    return keras.callbacks.LearningRateScheduler(
        lambda epoch: later if epoch >= options.lr_patience else first
    )


# What changes in the schedules' callbacks.
_FOLLOWED = {"plateau": ("best", "wait"), "step": (), "cosine": ()}


class _Cosine(keras.callbacks.Callback):
    """Sets the rate of schedule "cosine" before every execution.

    It goes by the steps or by the time, whichever is further: a training that its time limit ends
    early has come down to a low rate by then, at the end of its first epoch at the earliest.
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
        network = self.model  # once: on JAX each look copies the state of the training
        # The middle of the execution, so that the first and the last have a rate above 0 too.
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
    """Ends a training whose loss is no number: what it goes on from would be none either."""

    def __init__(self, label):
        super().__init__()
        self.label, self.epoch, self.next, self.n_at_once = label, 0, 0, 1

    def on_train_begin(self, logs=None):
        self.n_at_once = self.model.steps_per_execution

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch, self.next = epoch, 0

    def on_train_batch_end(self, batch, logs=None):
        if batch >= self.next:
            self.next = batch + max(_LOOK_EVERY, _LOOK_AFTER * self.n_at_once)
            self._look(("loss",), logs)

    def on_epoch_end(self, epoch, logs=None):
        self._look(("loss", "val_loss"), logs)

    def _look(self, names, logs):
        for name in names:
            if name in logs and not math.isfinite(value := float(logs[name])):
                raise NotFiniteError(
                    f"{self.label}, epoch {self.epoch + 1}: expected a finite {name}, found {value}"
                    f" at a learning rate of {float(self.model.optimizer.learning_rate):.2g}"
                )


class _Validation(keras.callbacks.Callback):
    """Adds the figures of the records set aside to what the callbacks behind it see of an epoch."""

    def __init__(self, validate):
        super().__init__()
        self.validate = validate

    def on_epoch_end(self, epoch, logs=None):
        logs.update(self.validate())


class _EpochLines(keras.callbacks.Callback):
    """Prints a line an epoch and stops training before its time is over."""

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
