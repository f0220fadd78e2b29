"""The published systems, one module each: the paper, its network, recipe and ablations.

Importing `NAMES` does not load Keras, so that commands can check their settings first.
"""

NAMES = (
    "multiscale_se",
    "branched_se",
    "mtfnet",
    "se_ecgnet",
    "antialiased_resnet18",
)
