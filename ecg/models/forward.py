"""Inputs -> logits, by batches of one shape, so that a network is compiled once."""

from collections.abc import Iterable

import numpy as np


def logits_of(network, batches: Iterable[dict[str, np.ndarray]], size: int) -> np.ndarray:
    """Logits (n_windows, n_classes), float64, of windows in batches of at most `size`.

    network: a compiled `keras.Model`. batches: name of an input -> (n, …), n from 1 to `size`; one
    that is smaller is filled up with zeros.
    """
    answers = [_forward(network, batch, size) for batch in batches]
    return np.concatenate(answers, dtype=float, casting="safe")


def _forward(network, batch: dict[str, np.ndarray], size: int) -> np.ndarray:
    n_windows = len(next(iter(batch.values())))
    if n_windows < size:
        batch = {
            name: np.concatenate(
                [values, np.zeros((size - n_windows, *values.shape[1:]), np.float32)]
            )
            for name, values in batch.items()
        }
    # `predict` would cost a hundred times the overhead, and leaks where it is called many times.
    return np.asarray(network.predict_on_batch(batch))[:n_windows]
