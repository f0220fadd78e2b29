"""The published networks, a file each; `ARCHITECTURES` names them."""

from collections.abc import Callable
from typing import NamedTuple

from ecg.architectures import multiscale_se


class Architecture(NamedTuple):
    """A network's options (a frozen dataclass) and its builder.

    build(options, n_leads, n_samples, n_classes) -> keras.Model from (batch, n_leads, n_samples)
    to probabilities (batch, n_classes).
    """

    options: type
    build: Callable


ARCHITECTURES = {
    "multiscale_se": Architecture(multiscale_se.MultiscaleSEOptions, multiscale_se.build),
}
