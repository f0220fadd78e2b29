"""Batches of a dataset's records for Keras.

Inputs are a dict of what a network takes, see `ecg.models.inputs.network_inputs`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from ecg.models.inputs import network_inputs
from ecg.models.losses import draw_alternative, make_targets
from ecg.records.leads import lead_rows
from ecg.training.dataset import Dataset

# With two or more, Keras reads ahead in threads of its own, in order. With one it leaves that to
# TensorFlow, whose autotuner may sleep at the end of an epoch for as long as the epoch took.
_THREADS = 2


@dataclass(frozen=True)
class BagOptions:
    """What training batches hold.

    lead_set: number of leads. inputs: names of the network's inputs. batch_size: records in a
    batch; bag_size: windows of each record. n_alternatives: losses that a step draws one of, see
    `ecg.models.losses.draw_alternative`. seed: decides the order of the records and the windows.
    """

    lead_set: int
    inputs: tuple[str, ...]
    batch_size: int
    bag_size: int = 1
    n_alternatives: int = 1
    seed: int = 0


class Bags(keras.utils.PyDataset):
    """Training batches (inputs, targets), each record as a bag of its windows.

    signal: (batch, bag_size, lead_set, n_samples), float32; targets: see
    `ecg.models.losses.make_targets`; with several alternatives the batches are (inputs, targets,
    sample weights). The order of the records and the windows drawn from long ones change from epoch
    to epoch, by the seed alone. All batches are full: the last is filled up with the epoch's first
    records. Records with fewer windows than `bag_size` repeat theirs, evenly.
    indices: positions of the records in the dataset. class_weights: see
    `ecg.models.losses.class_weights`.
    """

    def __init__(self, dataset: Dataset, indices, class_weights, options: BagOptions):
        super().__init__(workers=_THREADS)
        self.dataset, self.indices = dataset, np.array(indices)
        self.class_weights, self.options = class_weights, options
        self.leads, self.epoch = lead_rows(options.lead_set), -1
        self.skip_epochs(1)

    def __len__(self):
        return -(-len(self.indices) // self.options.batch_size)

    def __getitem__(self, i):
        # By epoch and batch, not from one stream: Keras may ask for a batch twice.
        random = np.random.default_rng([self.options.seed, self.epoch, 1 + i])
        chosen = self.records_of(i)
        windows = draw_windows(self.dataset.n_windows[chosen], self.options.bag_size, random)
        inputs = _read(self.dataset, self.options.inputs, self.leads, chosen, windows)
        targets = make_targets(self.dataset.labels[chosen], self.class_weights)
        if self.options.n_alternatives == 1:
            return inputs, targets
        alternative = draw_alternative(random, len(chosen), self.options.n_alternatives)
        return inputs, targets, alternative

    def records_of(self, i: int) -> np.ndarray:
        """Positions (batch_size,) in the dataset of the records of the epoch's batch `i`."""
        size = self.options.batch_size
        return self.order[i * size : (i + 1) * size]

    def on_epoch_end(self):
        """Shuffle the order for the next epoch; Keras calls it."""
        self.skip_epochs(1)

    def skip_epochs(self, n_epochs: int) -> None:
        """Move on by `n_epochs` epochs."""
        self.epoch += n_epochs
        order = np.random.default_rng([self.options.seed, self.epoch]).permutation(self.indices)
        self.order = np.resize(order, len(self) * self.options.batch_size)


def window_batches(
    dataset: Dataset, indices, lead_set: int, inputs: Sequence[str], size: int
) -> Iterator[dict[str, np.ndarray]]:
    """Yield the inputs of every window of the records at `indices`, `size` windows at a time.

    signal: (n, lead_set, n_samples), float32; the last batch may be smaller.
    """
    leads = lead_rows(lead_set)
    n_windows = dataset.n_windows[indices]
    records = np.repeat(indices, n_windows)
    windows = np.arange(len(records)) - np.repeat(np.cumsum(n_windows) - n_windows, n_windows)
    for i in range(0, len(records), size):
        part = slice(i, i + size)
        batch = _read(dataset, inputs, leads, records[part], windows[part, None])
        if "signal" in batch:
            batch["signal"] = batch["signal"][:, 0]
        yield batch


def spread_windows(n_windows, bag_size: int) -> np.ndarray:
    """Window numbers (n_records, bag_size), evenly spread over those of each record.

    The first window where `bag_size` is 1. n_windows: (n_records,).
    """
    places = np.arange(bag_size) / max(bag_size - 1, 1)
    return np.rint((np.asarray(n_windows)[:, None] - 1) * places).astype(int)


def draw_windows(n_windows, bag_size: int, random: np.random.Generator) -> np.ndarray:
    """Window numbers (n_records, bag_size), ascending, drawn at random from those of each record.

    Records with at most `bag_size` windows get them evenly spread. n_windows: (n_records,).
    """
    n_windows = np.asarray(n_windows)
    drawn = spread_windows(n_windows, bag_size)
    longer = np.flatnonzero(n_windows > bag_size)
    if len(longer):
        # A random number for each of a record's windows; those with the smallest are drawn.
        keys = random.random((len(longer), n_windows.max()))
        keys[np.arange(keys.shape[1]) >= n_windows[longer, None]] = np.inf
        drawn[longer] = np.sort(np.argpartition(keys, bag_size - 1)[:, :bag_size])
    return drawn


def _read(dataset: Dataset, names, leads, records, windows) -> dict[str, np.ndarray]:
    """Return the inputs of these records; windows: window numbers (n_records, bag_size)."""
    signal = None
    if "signal" in names:
        rows = dataset.first_window[records, None] + windows
        signal = dataset.data[rows[..., None], leads]
    return network_inputs(
        names,
        signal,
        dataset.rhythm[records],
        dataset.waves[records][:, leads],
        dataset.demographics[records],
    )
