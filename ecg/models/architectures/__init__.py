"""The published networks, a file each; `ARCHITECTURES` names them."""

from collections.abc import Callable
from typing import NamedTuple

from ecg.models.architectures import (
    antialiased_resnet18,
    branched_se,
    mtfnet,
    multiscale_se,
    se_ecgnet,
)


class Architecture(NamedTuple):
    """A network's options (a frozen dataclass) and its builder.

    build(options, n_leads, n_samples, n_classes) -> keras.Model from a dict of inputs to
    logits (batch, n_classes), float32. The inputs are "signal" (batch, n_leads, n_samples)
    and, for networks that use age and sex, "demographics" (batch, 4) as `ecg.records.demographics`
    encodes them. The last layer is the dense one of the logits.
    """

    options: type
    build: Callable


ARCHITECTURES = {
    "multiscale_se": Architecture(multiscale_se.MultiscaleSEOptions, multiscale_se.build),
    "branched_se": Architecture(branched_se.BranchedSEOptions, branched_se.build),
    "mtfnet": Architecture(mtfnet.MTFNetOptions, mtfnet.build),
    "se_ecgnet": Architecture(se_ecgnet.SEECGNetOptions, se_ecgnet.build),
    "antialiased_resnet18": Architecture(
        antialiased_resnet18.AntialiasedResNet18Options, antialiased_resnet18.build
    ),
}
