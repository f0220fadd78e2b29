"""Corpus + record numbers -> batches for Keras."""

import keras
import numpy as np

from ecg.corpus import Corpus
from ecg.leads import LEAD_SETS, lead_rows


class Batches(keras.utils.PyDataset):
    """Batches (signals, labels) of the records at `indices`, read from the memory map one by one.

    signals: (batch, lead_set, n_samples), float32; labels: (batch, 26), float32; the last batch
    may be smaller. With a `seed` the order changes from epoch to epoch, by that seed alone;
    without one the records come in the order of `indices`.
    """

    def __init__(
        self, corpus: Corpus, indices, lead_set: int, batch_size: int, seed: int | None = None
    ):
        super().__init__()
        if lead_set not in LEAD_SETS:
            raise ValueError(
                f"lead_set: expected one of {', '.join(map(str, LEAD_SETS))}; found {lead_set}"
            )
        self.corpus = corpus
        self.leads = lead_rows(lead_set)
        self.batch_size = batch_size
        self.order = np.array(indices)
        self.random = None if seed is None else np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self):
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, i):
        chosen = self.order[i * self.batch_size : (i + 1) * self.batch_size]
        signals = self.corpus.signals[self.corpus.rows[chosen]][:, self.leads]
        return signals, self.corpus.labels[chosen].astype(np.float32)

    def on_epoch_end(self):
        """Shuffles the order for the next epoch; Keras calls it."""
        if self.random is not None:
            self.random.shuffle(self.order)
