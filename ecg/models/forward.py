"""Logits of batches of any size, in one shape, so that a network is compiled only once."""

from collections.abc import Iterable

import numpy as np


def logits_of(network, batches: Iterable[dict[str, np.ndarray]], size: int) -> np.ndarray:
    """Logits (n_windows, n_classes), float64, of all windows in `batches`.

    network: a compiled `keras.Model`. batches: each maps the names of the inputs to arrays (n, …)
    of 1 to `size` windows; smaller batches are filled up with zeros.
    """
    logits = [_forward(network, batch, size) for batch in batches]
    return np.concatenate(logits, dtype=float, casting="safe")


def _forward(network, batch: dict[str, np.ndarray], size: int) -> np.ndarray:
    n_windows = len(next(iter(batch.values())))
    if n_windows < size:
        batch = {
            name: np.concatenate(
                [values, np.zeros((size - n_windows, *values.shape[1:]), np.float32)]
            )
            for name, values in batch.items()
        }
    # `predict` has a hundred times the overhead and leaks memory over many calls.
    return np.asarray(network.predict_on_batch(batch))[:n_windows]
