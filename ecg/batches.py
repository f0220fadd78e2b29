"""Corpus + record numbers -> batches of inputs for Keras.

Inputs are a dict of what a network takes: "signal", "demographics", (batch, 4), "measurements",
(batch, n_measurements).
"""

import keras
import numpy as np

from ecg.corpus import Corpus
from ecg.leads import lead_rows
from ecg.losses import draw_alternative
from ecg.measurements import join_measurements

# From two on Keras reads ahead by threads of its own, in order. With one it leaves that to
# TensorFlow, whose tuner of a dataset may sleep on at the end of an epoch for as long as it lasted.
_THREADS = 2


class Bags(keras.utils.PyDataset):
    """Batches (inputs, labels) of records, each as a bag of `bag_size` of its windows.

    signal: (batch, bag_size, lead_set, n_samples), float32; labels: (batch, 26), float32; the last
    batch may be smaller. With a `seed` the order of the records and the windows drawn from long
    ones change from epoch to epoch, by that seed alone; without one the records come in the order
    of `indices`, each with its first window, or windows evenly spread. Records with fewer windows
    repeat theirs. n_alternatives: with more than one, batches are (inputs, labels, weights),
    see `ecg.losses.draw_alternative`.
    """

    def __init__(
        self,
        corpus: Corpus,
        indices,
        lead_set: int,
        inputs,
        batch_size: int,
        bag_size: int = 1,
        n_alternatives: int = 1,
        seed: int | None = None,
    ):
        super().__init__(workers=_THREADS)
        self.corpus, self.inputs = corpus, tuple(inputs)
        self.leads = lead_rows(lead_set)
        self.batch_size, self.bag_size = batch_size, bag_size
        self.n_alternatives = n_alternatives
        self.indices = self.order = np.array(indices)
        self.seed, self.epoch = seed, -1
        self.on_epoch_end()

    def __len__(self):
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, i):
        # By epoch and batch, not from one stream: Keras may ask for a batch twice.
        random = (
            None if self.seed is None else np.random.default_rng([self.seed, self.epoch, 1 + i])
        )
        chosen = self.order[i * self.batch_size : (i + 1) * self.batch_size]
        windows = [_draw(self.corpus.n_windows[record], self.bag_size, random) for record in chosen]
        inputs = _read(self.corpus, self.inputs, self.leads, chosen, windows)
        labels = self.corpus.labels[chosen].astype(np.float32)
        if random is None or self.n_alternatives == 1:
            return inputs, labels
        return inputs, labels, draw_alternative(random, len(chosen), self.n_alternatives)

    def on_epoch_end(self):
        """Shuffles the order for the next epoch; Keras calls it."""
        self.skip_epochs(1)

    def skip_epochs(self, n_epochs: int) -> None:
        """Goes on as after so many epochs more."""
        self.epoch += n_epochs
        if self.seed is not None:
            random = np.random.default_rng([self.seed, self.epoch])
            self.order = random.permutation(self.indices)


class Windows(keras.utils.PyDataset):
    """Batches (inputs,) of every window of the records, one after another.

    signal: (batch, lead_set, n_samples), float32.
    """

    def __init__(self, corpus: Corpus, indices, lead_set: int, inputs, batch_size: int):
        super().__init__(workers=_THREADS)
        self.corpus, self.inputs = corpus, tuple(inputs)
        self.leads, self.batch_size = lead_rows(lead_set), batch_size
        n_windows = corpus.n_windows[indices]
        self.records = np.repeat(indices, n_windows)
        firsts = np.repeat(np.cumsum(n_windows) - n_windows, n_windows)
        self.windows = np.arange(len(self.records)) - firsts

    def __len__(self):
        return -(-len(self.records) // self.batch_size)

    def __getitem__(self, i):
        part = slice(i * self.batch_size, (i + 1) * self.batch_size)
        windows = self.windows[part, None]
        inputs = _read(self.corpus, self.inputs, self.leads, self.records[part], windows)
        if "signal" in inputs:
            inputs["signal"] = inputs["signal"][:, 0]
        return (inputs,)


def _draw(n_windows: int, bag_size: int, random) -> np.ndarray:
    """Numbers (bag_size,) of the windows that stand for a record of so many."""
    if random is None or n_windows <= bag_size:
        return np.linspace(0, n_windows - 1, bag_size).round().astype(int)
    return np.sort(random.choice(n_windows, bag_size, replace=False))


def _read(corpus: Corpus, inputs, leads, records, windows) -> dict[str, np.ndarray]:
    """The inputs of these records; windows: the numbers (bag_size,) of those of each."""
    values = {}
    if "signal" in inputs:
        read = zip(records, windows, strict=True)
        bags = [corpus.windows(record)[own][:, leads] for record, own in read]
        values["signal"] = np.stack(bags)
    if "demographics" in inputs:
        values["demographics"] = corpus.demographics[records]
    if "measurements" in inputs:
        waves = corpus.waves[records][:, leads]
        values["measurements"] = join_measurements(corpus.rhythm[records], waves)
    return values
