"""The published systems, a file each: the paper, its network, recipe and ablations.

`NAMES` stands here, without Keras, so that commands can check a setting before they load it.
"""

NAMES = (
    "multiscale_se",
    "branched_se",
    "mtfnet",
    "se_ecgnet",
    "antialiased_resnet18",
)
