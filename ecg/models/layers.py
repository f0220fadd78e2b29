"""Building blocks that several architectures share; each takes and returns a Keras tensor.

Feature maps are (batch, rows, samples, channels): one row per lead where the network keeps leads
apart, a single row where leads are channels.
"""

import math

from keras import layers, ops


def normalise(x, name):
    """Batch normalisation."""
    # The moving averages follow the weights within some ten steps; with Keras's default it would be
    # a hundred, more than an epoch of a small dataset has.
    return layers.BatchNormalization(momentum=0.9, name=name)(x)


def activate(x, name):
    """Batch normalisation and ReLU, as before each weight layer of a pre-activation network."""
    return layers.ReLU(name=f"{name}_relu")(normalise(x, f"{name}_bn"))


def convolve_time(x, width, kernel, stride, name):
    """Convolution over time, with a kernel of `kernel` samples that all rows share.

    Returns maps (batch, rows, ceil(samples / stride), width). It has no bias, because a batch
    normalisation follows.
    """
    return layers.Conv2D(
        width, (1, kernel), strides=(1, stride), padding="same", use_bias=False, name=name
    )(x)


def squeeze_excite(x, ratio, name):
    """Squeeze-and-excitation: weigh the channels of the maps; the shape stays the same.

    ratio: channels per unit of the bottleneck. Source: Hu et al. 2018, arXiv:1709.01507, section 3.
    """
    channels = x.shape[-1]
    gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(x)
    gate = layers.Dense(max(channels // ratio, 1), activation="relu", name=f"{name}_reduce")(gate)
    gate = layers.Dense(channels, activation="sigmoid", name=f"{name}_expand")(gate)
    return layers.Multiply(name=f"{name}_scale")([x, gate])


def se_residual_block(x, convolutions, squeeze_ratio, name):
    """Pre-activation residual block that ends with squeeze-and-excitation.

    convolutions: (width, kernel, stride) of each convolution over time; the last width is that of
    the block. Where the shape changes, the shortcut branches off after the first activation, is
    average-pooled by the stride and projected. Source: He et al. 2016, arXiv:1603.05027, section 4.
    """
    stride = math.prod(stride for _, _, stride in convolutions)
    width = convolutions[-1][0]
    shortcut = x
    for i, (filters, kernel, step) in enumerate(convolutions, start=1):
        x = activate(x, f"{name}_pre{i}")
        if i == 1 and (stride > 1 or shortcut.shape[-1] != width):
            shortcut = _project(x, width, stride, f"{name}_shortcut")
        x = convolve_time(x, filters, kernel, step, f"{name}_conv{i}")
    x = squeeze_excite(x, squeeze_ratio, f"{name}_se")
    return layers.Add(name=f"{name}_add")([shortcut, x])


def dual_pool(x, name):
    """Mean and maximum of the maps over time, (batch, rows, 1, 2 * channels)."""
    window = (1, x.shape[2])
    mean = layers.AveragePooling2D(window, name=f"{name}_mean")(x)
    maximum = layers.MaxPooling2D(window, name=f"{name}_max")(x)
    return layers.Concatenate(name=name)([mean, maximum])


class BlurPool1D(layers.Layer):
    """Low-pass filters (batch, samples, channels) by [1, 2, 1] / 4 and keeps every second sample.

    Returns (batch, ceil(samples / 2), channels); the ends are mirrored. Needs at least 2 samples.
    Source: Zhang 2019, arXiv:1904.11486, section 3.2.
    """

    def call(self, x):
        """Return the filtered samples; called by Keras."""
        n_samples = x.shape[1]
        padded = ops.pad(x, ((0, 0), (1, 1), (0, 0)), mode="reflect")
        before, here, after = (padded[:, i : i + n_samples : 2] for i in range(3))
        return (before + 2 * here + after) / 4


def embed_measurements(measurements, width, noise, dropout):
    """Dense layer, batch normalisation and ReLU: measurements (batch, n_measurements) to features
    (batch, width).

    noise: standard deviation of the Gaussian noise added to the measurements in training. dropout:
    rate on the features.
    """
    x = measurements
    if noise:
        x = layers.GaussianNoise(noise, dtype="float32", name="measured_noise")(x)
    x = layers.Dense(width, use_bias=False, name="measured_dense")(x)
    x = layers.ReLU(name="measured_relu")(normalise(x, "measured_bn"))
    return layers.Dropout(dropout, name="measured_dropout")(x)


def classify(features, n_classes):
    """Return the last layer of every network: a dense layer to logits (batch, n_classes),
    float32."""
    return layers.Dense(n_classes, dtype="float32", name="logits")(features)


def _project(x, width, stride, name):
    if stride > 1:
        x = layers.AveragePooling2D((1, stride), padding="same", name=f"{name}_mean")(x)
    return convolve_time(x, width, 1, 1, name)
