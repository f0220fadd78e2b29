"""Checkpoints: a training's state after each epoch, from which it resumes if interrupted."""

import contextlib
import json
import time
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from ecg.runtime.files import written_whole

_READ_ERRORS = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)
_ARRAYS = ("network", "optimizer", "best")


@dataclass(frozen=True)
class TrainingState:
    """State of a training after an epoch.

    history: values of each metric after each epoch. seconds: time trained so far. callbacks: number
    or None by name of callback and attribute. network, optimizer: values of their variables, which
    include random seeds. best: weights of the best epoch, where the best one is kept.
    """

    history: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    callbacks: dict[str, dict] = field(default_factory=dict)
    network: Sequence[np.ndarray] = ()
    optimizer: Sequence[np.ndarray] = ()
    best: Sequence[np.ndarray] = ()

    @property
    def n_epochs(self) -> int:
        """Number of epochs trained."""
        return len(self.history.get("loss", ()))

    def set_variables(self, network: keras.Model) -> None:
        """Set the variables of the network and of its optimiser; both must be built."""
        for variable, value in zip(network.variables, self.network, strict=True):
            variable.assign(value)
        for variable, value in zip(network.optimizer.variables, self.optimizer, strict=True):
            variable.assign(value)


@dataclass(frozen=True)
class Checkpoint:
    """File for a training's state.

    file: `NAME.npz`. key: stands for everything that the training depends on; a state that was
    written with another key is ignored.
    """

    file: Path
    key: str

    def for_stage(self, name: str) -> "Checkpoint":
        """Return the checkpoint of a stage of the training, in another file."""
        return Checkpoint(self.file.with_name(f"{self.file.stem}.{name}.npz"), self.key)

    def write(self, state: TrainingState) -> None:
        """Replace the file by one with this state."""
        arrays = {
            f"{name}.{i}": array for name in _ARRAYS for i, array in enumerate(getattr(state, name))
        }
        metadata = {
            "key": self.key,
            "sizes": {name: len(getattr(state, name)) for name in _ARRAYS},
            "history": state.history,
            "seconds": state.seconds,
            "callbacks": state.callbacks,
        }
        with written_whole(self.file, lasting=True) as unfinished:
            np.savez(unfinished, metadata=json.dumps(metadata), **arrays)

    def read(self) -> TrainingState | None:
        """Return the state in the file; None where there is none with this key or it is damaged."""
        with (
            contextlib.suppress(*_READ_ERRORS),
            open(self.file, "rb") as file,  # numpy leaves damaged files open
            np.load(file, allow_pickle=False) as stored,
        ):
            metadata = json.loads(str(stored["metadata"]))
            if metadata.pop("key") == self.key:
                sizes = metadata.pop("sizes")
                arrays = {
                    name: [stored[f"{name}.{i}"] for i in range(sizes[name])] for name in _ARRAYS
                }
                return TrainingState(**metadata, **arrays)
        return None


class CheckpointCallback(keras.callbacks.Callback):
    """Restores the other callbacks when training starts, and writes a checkpoint after each epoch.

    Has to be the last callback. checkpoint: None to record the history only. state: the state to
    resume from. started: start of the training on the monotonic clock (s), moved back by the time
    it was trained before. tracked: a callback by name, with the names of its attributes that
    change, each a number or None. best: the callback that keeps the best weights, if any.
    """

    def __init__(
        self, checkpoint: Checkpoint | None, state: TrainingState, started, tracked, best=None
    ):
        super().__init__()
        self.checkpoint, self.state, self.started = checkpoint, state, started
        self.tracked, self.best = tracked, best
        self.history = {name: list(values) for name, values in state.history.items()}

    def on_train_begin(self, logs=None):
        """Restore the callbacks' attributes, which Keras has just reset."""
        for name, attributes in self.state.callbacks.items():
            for attribute, value in attributes.items():
                setattr(self.tracked[name][0], attribute, value)
        if self.best is not None and self.state.best:
            self.best.best_weights = list(self.state.best)

    def on_epoch_end(self, epoch, logs=None):
        """Add the epoch to the history and write the checkpoint."""
        for name, value in logs.items():
            self.history.setdefault(name, []).append(float(value))
        if self.checkpoint is None:
            return
        network = self.model
        state = TrainingState(
            self.history,
            time.monotonic() - self.started,
            {
                name: {attribute: getattr(callback, attribute) for attribute in attributes}
                for name, (callback, attributes) in self.tracked.items()
            },
            _to_numpy(network.variables),
            _to_numpy(network.optimizer.variables),
            () if self.best is None else self.best.best_weights,
        )
        self.checkpoint.write(state)


def _to_numpy(variables) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(variable) for variable in variables]
