"""Branched residual network with squeeze-and-excitation.

Team CQUPT_Dontwant, Computing in Cardiology 2021, vol. 48. The text available to us has no
title page, so its title, authors and DOI are missing here.

As published (section 2.3 and figures 2 and 3)
- Input of 10 s at 500 Hz, (leads, 5000 samples); leads are channels.
- Three shared convolutions of 15 samples, then max pooling by 3.
- Two branches: four residual blocks of kernel 3, and three of kernel 5. A block is three
  convolutions of 1, k and 1 samples, each after batch normalisation and ReLU, then
  squeeze-and-excitation, and a shortcut.
- Concatenation of the branches, squeeze-and-excitation, global average pooling, dense layer,
  sigmoid.
- Sliding windows of 10 s, zero-padded; a record has each class that any of its windows has. Binary
  cross-entropy; Adam at 1e-3 for nine epochs, then at 1e-4 for four; batches of 64; shift and noise
  as augmentation; records without a scored class are left out of training.

Differs from the paper
- 26 outputs: the equivalent pairs among the 30 codes are one class each.
- The text gives no numbers of filters, strides or SE ratio. We use 32 filters in the shared
  convolutions, and 64, 128, 256 and 256 in the blocks; a block's first two convolutions have half
  as many.
- The branches can only be concatenated if their maps have equal length. The convolution of k
  samples has stride 2 in as many blocks as the shortest branch has (three), and stride 1 in the
  others, so 5000 samples become 209 steps in each branch.
- The activation of the dense layer is softmax in the text and sigmoid in the figure; we use sigmoid
  because records have several classes.
- The first convolution has no activation before it, because ReLU would cut off the negative half of
  the signal. The concatenated maps are normalised and activated once more, as after the last block
  of He et al. (2016).
- Where a block changes the shape of the maps, the shortcut is that of
  `ecg.models.layers.se_residual_block`.
- Windows are spread evenly over the record and overlap as needed; a training step uses one window
  of each record, drawn at random. The mean of each lead is removed. Shift up to 0.5 s, noise of
  0.01 mV. The text gives no thresholds: they are fitted for the Challenge metric on a tenth of the
  records, which is set aside.
- See `ecg.models.registry` for what all methods have in common beyond their papers.
"""

from dataclasses import dataclass

import keras
from keras import layers

from ecg.models.augmentation import AugmentationOptions
from ecg.models.decisions import DecisionOptions
from ecg.models.layers import activate, classify, convolve_time, se_residual_block, squeeze_excite
from ecg.models.losses import LossOptions
from ecg.models.method import WINDOWS_500_HZ, Method, System, narrow_copy
from ecg.models.training_options import SelectionOptions, TrainingOptions

_N_SHARED = 3
_BOTTLENECK = 2  # a block's width over that of its first two convolutions


@dataclass(frozen=True)
class BranchedSEOptions:
    """Options of the network.

    shared_width, shared_kernel: filters of the shared convolutions, and samples of their kernels.
    pool: samples of the max pooling. kernels, blocks: samples of the kernel and number of blocks of
    each branch. widths: filters of the blocks; a shorter branch uses only the first ones.
    squeeze_ratio: channels per unit of the squeeze-and-excitation bottleneck.
    """

    shared_width: int = 32
    shared_kernel: int = 15
    pool: int = 3
    kernels: tuple[int, ...] = (3, 5)
    blocks: tuple[int, ...] = (4, 3)
    widths: tuple[int, ...] = (64, 128, 256, 256)
    squeeze_ratio: int = 8

    def __post_init__(self):
        if not 2 <= len(self.kernels) == len(self.blocks) or len(self.widths) < max(self.blocks):
            raise ValueError(
                "expected at least 2 kernels, as many blocks, and a width for each block; found "
                f"{self.kernels}, {self.blocks}, {self.widths}"
            )
        sizes = (self.shared_width, self.shared_kernel, self.pool, self.squeeze_ratio)
        if min(*sizes, *self.kernels, *self.blocks) < 1 or min(self.widths) < _BOTTLENECK:
            raise ValueError(
                f"expected sizes of at least 1 and widths of at least {_BOTTLENECK}, found {self}"
            )


def build(options: BranchedSEOptions, n_leads: int, n_samples: int, n_classes: int) -> keras.Model:
    """Model from {"signal": (batch, n_leads, n_samples)} to logits (batch, n_classes)."""
    signal = keras.Input((n_leads, n_samples), name="signal")
    shared = _shared_maps(signal, options)
    branches = [
        _branch(shared, kernel, n_blocks, options)
        for kernel, n_blocks in zip(options.kernels, options.blocks, strict=True)
    ]
    x = activate(layers.Concatenate(name="fusion")(branches), "fusion")
    x = squeeze_excite(x, options.squeeze_ratio, "fusion_se")
    features = layers.GlobalAveragePooling2D(name="features")(x)
    return keras.Model({"signal": signal}, classify(features, n_classes), name="branched_se")


def _shared_maps(signal, options):
    """Return maps (batch, 1, ceil(samples / pool), shared_width) of a signal (batch, leads,
    samples)."""
    n_leads, n_samples = signal.shape[1:]
    x = layers.Permute((2, 1), name="time_first")(signal)
    x = layers.Reshape((1, n_samples, n_leads), name="maps")(x)
    for i in range(1, _N_SHARED + 1):
        if i > 1:
            x = activate(x, f"shared_pre{i}")
        x = convolve_time(x, options.shared_width, options.shared_kernel, 1, f"shared_conv{i}")
    return layers.MaxPooling2D((1, options.pool), padding="same", name="shared_pool")(x)


def _branch(x, kernel, n_blocks, options):
    for i, width in enumerate(options.widths[:n_blocks], start=1):
        inner = width // _BOTTLENECK
        stride = 2 if i <= min(options.blocks) else 1
        convolutions = [(inner, 1, 1), (inner, kernel, stride), (width, 1, 1)]
        x = se_residual_block(x, convolutions, options.squeeze_ratio, f"kernel{kernel}_block{i}")
    return x


_PUBLISHED = Method(
    name="branched_se",
    source="CQUPT_Dontwant, Computing in Cardiology 2021",
    architecture="branched_se",
    network=BranchedSEOptions(),
    preparation=WINDOWS_500_HZ,
    selection=SelectionOptions(scored_only=True),
    augmentation=AugmentationOptions(shift_s=0.5, noise=0.01),
    loss=LossOptions(class_weights="equal"),
    decision=DecisionOptions(vote="any"),
    training=TrainingOptions(
        epochs=13,
        batch_size=64,
        schedule="step",
        lr_factor=0.1,
        lr_patience=9,  # the tenth epoch is the first at the lower rate
        best="last",
    ),
)
_NARROW = {"shared_width": 8, "widths": (16, 32, 32, 32)}

SYSTEM = System(
    build=build,
    published={"full": _PUBLISHED, "demo": narrow_copy(_PUBLISHED, _NARROW, batch_size=16)},
)
