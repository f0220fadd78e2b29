"""SE-ECGNet: Multi-scale SE-Net for Multi-lead ECG Data.

Team CQUPT_ECG (Chen, Chen, Xiao, Bi, Wang, Duan, Li, Zhang, Ma), Computing in Cardiology 2020,
vol. 47. The text we worked from has no DOI.

As published (section 3 and figures 1 to 3)
- Input of 10 s at 500 Hz, (leads, 5000 samples), as a picture of one channel: all leads share the
  kernels, which span time alone.
- Convolutions of 50 and of 15 samples; then two paths of three residual blocks, of kernel 3 and
  of kernel 5. A block is three convolutions with batch normalisation and ReLU before each,
  squeeze-and-excitation behind them, and a shortcut.
- Largest and average value at the end of each path; the paths are concatenated, age and sex join,
  fully connected layers classify.
- Sliding windows of 10 s without denoising; shift and noise in training. Cross-entropy weighted by
  1 / log of a class's records, over the hardest 70 % of a batch. A record has what any of its
  windows has, its largest probability / 5 being the threshold of all classes.

Differs from the paper
- 26 outputs: the equivalent pairs among the 30 codes are one class each.
- The pooling goes over time and leaves leads apart up to the dense layers. A maximum or mean over
  leads too, after kernels that all of them share, would not depend on which lead shows what, and
  the electrical axis, say, could not be told. The gates of squeeze-and-excitation do average over
  leads and time, as published: a channel has one weight for all leads.
- The text gives no filter counts, no strides, no SE ratio and no size of the hidden dense layer;
  `SEECGNetOptions` says which we took. Each block halves the time, in its first convolution.
- The figure's text names the kernel of 15 twice and does not say where; we build one such layer.
- The first convolution takes the signal as it comes, since a ReLU would cut off its negative half;
  a path's maps, sums of unbounded terms, are normalised and activated once more before pooling,
  as He et al. (2016) do behind their last block.
- Maps that change their shape have the shortcut of `ecg.models.layers.se_residual_block`.
- Age and sex come as `ecg.records.demographics` encodes them, with flags for what is not known.
- Windows are spread over the record, overlapping as they must; a training step takes one of a
  record, drawn at random. Each lead's mean is removed. The hardest are records, not single
  classes. The text says nothing of the training's course: Adam at 1e-3, halved where the
  validation loss stalls, at most 30 epochs, the best by Challenge metric on a tenth set aside;
  shift up to 0.5 s, noise of 0.01 mV.
- `ecg.models.registry` says what all methods share beyond their papers.
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

_CONVOLUTIONS_A_BLOCK = 3
_BLOCK_STRIDE = 2


@dataclass(frozen=True)
class SEECGNetOptions:
    """stem_kernels, stem_strides, stem_widths: samples, samples and filters of the first
    convolutions. kernels: samples, a path each. widths: filters of a path's blocks. squeeze_ratio:
    channels per gate unit. hidden: units of the hidden dense layer."""

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
    """Model from {"signal": (batch, n_leads, n_samples), "demographics": (batch, 4)} to
    logits (batch, n_classes)."""
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
        strides = [_BLOCK_STRIDE] + [1] * (_CONVOLUTIONS_A_BLOCK - 1)
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
