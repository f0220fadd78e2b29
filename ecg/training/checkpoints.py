"""What a training that is stopped goes on from: its state after each epoch, in a file."""

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

_DAMAGE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)
_ARRAYS = ("network", "optimizer", "best")


@dataclass(frozen=True)
class State:
    """A training's state after an epoch.

    history: figure -> its value after each epoch. seconds: that these took. callbacks: name ->
    attribute -> number or None. network, optimizer: their variables, random seeds among them.
    best: the best epoch's weights, if one is looked for.
    """

    history: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    callbacks: dict[str, dict] = field(default_factory=dict)
    network: Sequence[np.ndarray] = ()
    optimizer: Sequence[np.ndarray] = ()
    best: Sequence[np.ndarray] = ()

    @property
    def n_epochs(self) -> int:
        """Epochs that are over."""
        return len(self.history.get("loss", ()))

    def set_variables(self, network: keras.Model) -> None:
        """Gives its variables to the network and its optimiser, both of them built."""
        for variable, value in zip(network.variables, self.network, strict=True):
            variable.assign(value)
        for variable, value in zip(network.optimizer.variables, self.optimizer, strict=True):
            variable.assign(value)


@dataclass(frozen=True)
class Checkpoint:
    """Where a training keeps its state. file: `NAME.npz`. key: of all that the training depends
    on; the state of another key is not taken up."""

    file: Path
    key: str

    def stage(self, name: str) -> "Checkpoint":
        """That of a part of the training, in a file of its own."""
        return Checkpoint(self.file.with_name(f"{self.file.stem}.{name}.npz"), self.key)

    def write(self, state: State) -> None:
        """Keeps the state in place of the one before."""
        arrays = {
            f"{name}.{i}": array for name in _ARRAYS for i, array in enumerate(getattr(state, name))
        }
        facts = {
            "key": self.key,
            "sizes": {name: len(getattr(state, name)) for name in _ARRAYS},
            "history": state.history,
            "seconds": state.seconds,
            "callbacks": state.callbacks,
        }
        with written_whole(self.file, lasting=True) as unfinished:
            np.savez(unfinished, facts=json.dumps(facts), **arrays)

    def read(self) -> State | None:
        """The state that was kept last; None where there is none of this key, or it is damaged."""
        with (
            contextlib.suppress(*_DAMAGE),
            open(self.file, "rb") as file,  # numpy would leave it open where it is damaged
            np.load(file, allow_pickle=False) as stored,
        ):
            facts = json.loads(str(stored["facts"]))
            if facts.pop("key") == self.key:
                sizes = facts.pop("sizes")
                arrays = {
                    name: [stored[f"{name}.{i}"] for i in range(sizes[name])] for name in _ARRAYS
                }
                return State(**facts, **arrays)
        return None


class Keeper(keras.callbacks.Callback):
    """The last of a training's callbacks: sets back what the others were, and keeps the state.

    checkpoint: None keeps the history alone. state: what the training goes on from, its start at
    the latest. started: when its first epoch would have begun, had it not been stopped, s.
    followed: name -> callback, and the names of its attributes that change, numbers or None.
    best: the callback whose best weights are kept, if any.
    """

    def __init__(self, checkpoint: Checkpoint | None, state: State, started, followed, best=None):
        super().__init__()
        self.checkpoint, self.state, self.started = checkpoint, state, started
        self.followed, self.best = followed, best
        self.history = {name: list(values) for name, values in state.history.items()}

    def on_train_begin(self, logs=None):
        """Keras's callbacks forget here what they knew."""
        for name, attributes in self.state.callbacks.items():
            for attribute, value in attributes.items():
                setattr(self.followed[name][0], attribute, value)
        if self.best is not None and self.state.best:
            self.best.best_weights = list(self.state.best)

    def on_epoch_end(self, epoch, logs=None):
        """Adds the epoch to the history and keeps the state."""
        for name, value in logs.items():
            self.history.setdefault(name, []).append(float(value))
        if self.checkpoint is None:
            return
        network = self.model
        state = State(
            self.history,
            time.monotonic() - self.started,
            {
                name: {attribute: getattr(callback, attribute) for attribute in attributes}
                for name, (callback, attributes) in self.followed.items()
            },
            [keras.ops.convert_to_numpy(one) for one in network.variables],
            [keras.ops.convert_to_numpy(one) for one in network.optimizer.variables],
            () if self.best is None else self.best.best_weights,
        )
        self.checkpoint.write(state)
