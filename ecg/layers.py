"""Blocks that several architectures share; each takes and returns a Keras tensor."""

from keras import layers


def squeeze_excite(x, ratio, name):
    """Feature maps (batch, height, width, channels) reweighted per channel, same shape.

    ratio: channels per unit of the bottleneck. Source: Hu et al. 2018, arXiv:1709.01507, section 3.
    """
    channels = x.shape[-1]
    gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(x)
    gate = layers.Dense(max(channels // ratio, 1), activation="relu", name=f"{name}_reduce")(gate)
    gate = layers.Dense(channels, activation="sigmoid", name=f"{name}_expand")(gate)
    return layers.Multiply(name=f"{name}_scale")([x, gate])
