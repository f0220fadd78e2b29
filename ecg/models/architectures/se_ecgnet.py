"""SE-ECGNet: Multi-scale SE-Net for Multi-lead ECG Data.

Team CQUPT_ECG (Chen, Chen, Xiao, Bi, Wang, Duan, Li, Zhang, Ma), Computing in Cardiology 2020,
vol. 47. The text available to us has no DOI.

As published (section 3 and figures 1 to 3)
- Input of 10 s at 500 Hz, (leads, 5000 samples), as an image with one channel: kernels span time
  only, and all leads share them.
- Convolutions of 50 and of 15 samples; then two paths of three residual blocks, with kernels of 3
  and of 5 samples. A block is three convolutions, each after batch normalisation and ReLU, then
  squeeze-and-excitation, and a shortcut.
- Maximum and mean at the end of each path; the paths are concatenated with age and sex and followed
  by fully connected layers.
- Sliding windows of 10 s without denoising; shift and noise as augmentation. Cross-entropy weighted
  by 1 / log of the number of records of each class, over the hardest 70 % of a batch. A record has
  each class that any of its windows has; the threshold of all classes is a fifth of the record's
  largest probability.

Differs from the paper
- 26 outputs: the equivalent pairs among the 30 codes are one class each.
- Pooling is over time only and keeps leads apart up to the dense layers. Because all leads share
  the kernels, a maximum or mean over leads too would not depend on which lead shows what, and the
  network could not recognise, say, the electrical axis. The gates of squeeze-and-excitation do
  average over leads and time, as published: a channel has one weight for all leads.
- The text gives no numbers of filters, strides, SE ratio or size of the hidden dense layer; see
  `SEECGNetOptions` for ours. The first convolution of each block has stride 2.
- The figure names the kernel of 15 twice but does not say where; we build one such layer.
- The first convolution has no activation before it, because ReLU would cut off the negative half of
  the signal. The maps of each path are normalised and activated once more before pooling, as after
  the last block of He et al. (2016).
- Where a block changes the shape of the maps, the shortcut is that of
  `ecg.models.layers.se_residual_block`.
- Age and sex are encoded by `ecg.records.demographics`, with flags for unknown values.
- Windows are spread evenly over the record and overlap as needed; a training step uses one window
  of each record, drawn at random. The mean of each lead is removed. The hardest 70 % are records,
  not single classes.
- The text does not describe the training. We use Adam at 1e-3, halved when the validation loss
  stalls, at most 30 epochs, the best one by Challenge metric on a tenth set aside; shift up to
  0.5 s, noise of 0.01 mV.
- See `ecg.models.registry` for what all methods have in common beyond their papers.
"""

from dataclasses import dataclass

import keras
from keras import layers

from ecg.models.augmentation import AugmentationOptions
from ecg.models.decisions import DecisionOptions
from ecg.models.layers import activate, classify, convolve_time, dual_pool, se_residual_block
from ecg.models.losses import LossOptions
from ecg.models.method import WINDOWS_500_HZ, Method, System, narrow_copy
from ecg.models.training_options import TrainingOptions
from ecg.records.demographics import N_DEMOGRAPHICS

_CONVOLUTIONS_PER_BLOCK = 3
_BLOCK_STRIDE = 2


@dataclass(frozen=True)
class SEECGNetOptions:
    """Options of the network.

    stem_kernels, stem_strides, stem_widths: kernels (samples), strides (samples) and filters of the
    first convolutions. kernels: samples, one for each path. widths: filters of a path's blocks.
    squeeze_ratio: channels per unit of the squeeze-and-excitation bottleneck. hidden: units of the
    hidden dense layer.
    """

    stem_kernels: tuple[int, ...] = (50, 15)
    stem_strides: tuple[int, ...] = (4, 2)
    stem_widths: tuple[int, ...] = (16, 32)
    kernels: tuple[int, ...] = (3, 5)
    widths: tuple[int, ...] = (32, 64, 96)
    squeeze_ratio: int = 8
    hidden: int = 128

    def __post_init__(self):
        stem = (self.stem_kernels, self.stem_strides, self.stem_widths)
        if len({len(part) for part in stem}) > 1 or not self.stem_kernels:
            raise ValueError(f"expected a stride and a width for each stem kernel, found {stem}")
        if len(self.kernels) < 2 or not self.widths:
            raise ValueError(
                "expected at least 2 kernels and at least one width, found "
                f"{self.kernels}, {self.widths}"
            )
        parts = (*stem, self.kernels, self.widths, (self.squeeze_ratio, self.hidden))
        if min(map(min, parts)) < 1:
            raise ValueError(f"expected sizes of at least 1, found {self}")


def build(options: SEECGNetOptions, n_leads: int, n_samples: int, n_classes: int) -> keras.Model:
    """Model from {"signal": (batch, n_leads, n_samples), "demographics": (batch, 4)} to logits
    (batch, n_classes)."""
    signal = keras.Input((n_leads, n_samples), name="signal")
    demographics = keras.Input((N_DEMOGRAPHICS,), name="demographics")
    x = layers.Reshape((n_leads, n_samples, 1), name="maps")(signal)
    stem = zip(options.stem_widths, options.stem_kernels, options.stem_strides, strict=True)
    for i, (width, kernel, stride) in enumerate(stem, start=1):
        if i > 1:
            x = activate(x, f"stem_pre{i}")
        x = convolve_time(x, width, kernel, stride, f"stem_conv{i}")
    x = layers.Concatenate(name="paths")([_path(x, kernel, options) for kernel in options.kernels])
    x = layers.Flatten(name="features")(x)
    x = layers.Concatenate(name="patient")([x, demographics])
    x = layers.Dense(options.hidden, activation="relu", name="hidden")(x)
    inputs = {"signal": signal, "demographics": demographics}
    return keras.Model(inputs, classify(x, n_classes), name="se_ecgnet")


def _path(x, kernel, options):
    """Features (batch, leads, 1, 2 * widths[-1]) of maps (batch, leads, samples, channels)."""
    name = f"kernel{kernel}"
    for i, width in enumerate(options.widths, start=1):
        strides = [_BLOCK_STRIDE] + [1] * (_CONVOLUTIONS_PER_BLOCK - 1)
        convolutions = [(width, kernel, stride) for stride in strides]
        x = se_residual_block(x, convolutions, options.squeeze_ratio, f"{name}_block{i}")
    return dual_pool(activate(x, f"{name}_post"), f"{name}_pool")


_PUBLISHED = Method(
    name="se_ecgnet",
    source="CQUPT_ECG, Computing in Cardiology 2020",
    architecture="se_ecgnet",
    network=SEECGNetOptions(),
    preparation=WINDOWS_500_HZ,
    augmentation=AugmentationOptions(shift_s=0.5, noise=0.01),
    loss=LossOptions(class_weights="inverse_log_count", hardest_share=0.7),
    decision=DecisionOptions(vote="any", rule="record_maximum", divisor=5.0),
    training=TrainingOptions(epochs=30, best="challenge_metric"),
)
_NARROW = {"stem_widths": (8, 8), "widths": (8, 16, 16), "hidden": 32}

SYSTEM = System(
    build=build,
    published={
        "full": _PUBLISHED,
        "demo": narrow_copy(_PUBLISHED, _NARROW, epochs=12, batch_size=16),
    },
)
