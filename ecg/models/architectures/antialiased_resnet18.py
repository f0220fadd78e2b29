"""Anti-aliased two-branch ResNet-18 for signals at 80 Hz.

Team Triology, Computing in Cardiology 2020, vol. 47. The text available to us has no title
page, so its title, authors and DOI are missing here.

As published (section 3.4 and figure 2)
- Input at 80 Hz with the mean of each lead removed; leads are channels.
- A one-dimensional ResNet-18 in two branches that differ in dilation, 1 and 2. Kernels of 3
  samples; instance normalisation instead of batch normalisation. This also removes the overall
  scale of the signal, so the network cannot recognise low voltage.
- Anti-aliased downsampling: max pooling with stride 1, then blur pooling with stride 2.
- Age and sex are concatenated to the features; dropout 0.3.
- A record is divided into as many segments of equal length as it fills; its prediction is their
  mean, and the loss is computed on this mean: at random a weighted cross-entropy of the softmax or
  Lovász-softmax of the sigmoid.
- Adam at 3e-4, gradients over 64 records; noise, erasing and shift as augmentation. 30 % of the
  normal records and those with missing or noisy signal are left out of training. A fifth of the
  records selects the epoch by the Challenge metric; thresholds come from the training records.

Differs from the paper
- 26 outputs; the paper scores 24 of the 27 codes of 2020.
- Figure 2 is not in that text, so where the branches split, where dropout acts and the numbers
  of filters are our choice: the stem is shared, each branch has half of ResNet-18's filters,
  dropout acts on the features from the signal only, so that age is never dropped without the flag
  that says it is known, and a single dense layer follows.
- The stem is ResNet-18's, a convolution of 7 samples and pooling of 3, but its convolution has no
  stride: at 80 Hz a QRS complex has only some eight samples.
- Where ResNet-18 has a strided convolution, a blur pool follows the first convolution of the block
  and precedes the projection of the shortcut (Zhang 2019, section 3.2).
- Age and sex are encoded by `ecg.records.demographics`, with flags for unknown values.
- The text does not give these: segments of 5 s; two segments of a record in a training step, drawn
  at random from longer records; shift up to 0.5 s, noise of 0.01 mV, erasing up to 0.5 s; at most
  60 epochs. Class weights of the cross-entropy are AIRCAS_MEL1's. The learning rate is halved after
  three epochs without a lower validation loss, and training stops ten epochs after the best one.
- The gradients of two batches of 32 records make the 64; Lovász-softmax is computed over 32
  records, and the loss is drawn for each batch.
- "Normal" is a record with no class but sinus rhythm; "missing or noisy" is a lead in use with a
  standard deviation outside 0.01 to 2 mV.
- The epoch is selected after every epoch, in the paper after every third. Thresholds come from all
  records but the validation fifth, including those left out of training.
- See `ecg.models.registry` for what all methods have in common beyond their papers.
"""

from dataclasses import dataclass

import keras
from keras import layers

from ecg.models.augmentation import AugmentationOptions
from ecg.models.decisions import DecisionOptions
from ecg.models.layers import BlurPool1D, classify
from ecg.models.losses import LossOptions
from ecg.models.method import Method, System, changed, narrow_copy
from ecg.models.training_options import SelectionOptions, TrainingOptions
from ecg.records.demographics import N_DEMOGRAPHICS
from ecg.signals.preprocessing import Preparation

_STEM_KERNEL, _STEM_POOL, _KERNEL = 7, 3, 3  # samples
_BLOCKS_PER_STAGE = 2
_N_STAGES = 4


@dataclass(frozen=True)
class AntialiasedResNet18Options:
    """Options of the network.

    widths: filters of the four stages of each branch; the stem has as many as the first.
    dilations: one for each branch. dropout: rate on the features.
    """

    widths: tuple[int, ...] = (32, 64, 128, 256)
    dilations: tuple[int, ...] = (1, 2)
    dropout: float = 0.3

    def __post_init__(self):
        if len(self.widths) != _N_STAGES or len(self.dilations) < 2:
            raise ValueError(
                f"expected {_N_STAGES} widths and at least 2 dilations, found "
                f"{self.widths}, {self.dilations}"
            )
        if min(*self.widths, *self.dilations) < 1 or not 0 <= self.dropout < 1:
            raise ValueError(
                f"expected widths and dilations of at least 1, 0 <= dropout < 1; found {self}"
            )


def build(
    options: AntialiasedResNet18Options, n_leads: int, n_samples: int, n_classes: int
) -> keras.Model:
    """Model from {"signal": (batch, n_leads, n_samples), "demographics": (batch, 4)} to logits
    (batch, n_classes)."""
    signal = keras.Input((n_leads, n_samples), name="signal")
    demographics = keras.Input((N_DEMOGRAPHICS,), name="demographics")
    x = layers.Permute((2, 1), name="time_first")(signal)
    x = _convolve(x, options.widths[0], _STEM_KERNEL, 1, "stem")
    x = layers.ReLU(name="stem_relu")(x)
    x = layers.MaxPooling1D(_STEM_POOL, strides=1, padding="same", name="stem_max")(x)
    x = BlurPool1D(name="stem_blur")(x)
    branches = [_branch(x, dilation, options.widths) for dilation in options.dilations]
    x = layers.Concatenate(name="features")(branches)
    x = layers.Dropout(options.dropout, name="dropout")(x)
    x = layers.Concatenate(name="patient")([x, demographics])
    inputs = {"signal": signal, "demographics": demographics}
    return keras.Model(inputs, classify(x, n_classes), name="antialiased_resnet18")


def _branch(x, dilation, widths):
    """Features (batch, widths[-1]) of x (batch, samples, channels)."""
    name = f"dilation{dilation}"
    for stage, width in enumerate(widths, start=1):
        for block in range(1, _BLOCKS_PER_STAGE + 1):
            down = stage > 1 and block == 1
            x = _block(x, width, dilation, down, f"{name}_stage{stage}_block{block}")
    return layers.GlobalAveragePooling1D(name=f"{name}_pool")(x)


def _block(x, width, dilation, down, name):
    """ResNet's basic block; halves the number of samples where `down` is true."""
    shortcut = x
    if down:
        shortcut = BlurPool1D(name=f"{name}_shortcut_blur")(shortcut)
    if shortcut.shape[-1] != width:
        shortcut = _convolve(shortcut, width, 1, 1, f"{name}_shortcut")
    x = _convolve(x, width, _KERNEL, dilation, f"{name}_conv1")
    x = layers.ReLU(name=f"{name}_relu1")(x)
    if down:
        x = BlurPool1D(name=f"{name}_blur")(x)
    x = _convolve(x, width, _KERNEL, dilation, f"{name}_conv2")
    return layers.ReLU(name=f"{name}_relu2")(layers.Add(name=f"{name}_add")([shortcut, x]))


def _convolve(x, width, kernel, dilation, name):
    # No bias, because a normalisation follows.
    x = layers.Conv1D(
        width, kernel, padding="same", dilation_rate=dilation, use_bias=False, name=name
    )(x)
    # One group per channel: instance normalisation.
    return layers.GroupNormalization(groups=-1, name=f"{name}_in")(x)


_PUBLISHED = Method(
    name="antialiased_resnet18",
    source="Triology, Computing in Cardiology 2020",
    architecture="antialiased_resnet18",
    network=AntialiasedResNet18Options(),
    preparation=Preparation(
        fs=80.0, band_hz=None, window_s=5.0, max_windows=360, drop_tail=True, scale="mV"
    ),
    selection=SelectionOptions(sinus_left_out=0.3, deviation_mv=(0.01, 2.0)),
    augmentation=AugmentationOptions(shift_s=0.5, noise=0.01, erase_s=0.5),
    loss=LossOptions(kind="softmax_or_lovasz"),
    decision=DecisionOptions(vote="mean", fitted_on="training"),
    training=TrainingOptions(
        epochs=60,
        batch_size=32,
        accumulation_steps=2,
        bag_size=2,
        learning_rate=3e-4,
        best="challenge_metric",
        validation_share=0.2,
    ),
)

SYSTEM = System(
    build=build,
    published={
        "full": _PUBLISHED,
        "demo": narrow_copy(
            _PUBLISHED,
            {"widths": (16, 16, 32, 32)},
            epochs=15,
            batch_size=16,
            accumulation_steps=1,
            learning_rate=1e-3,
        ),
    },
    ablations={
        "fs_60": changed("preparation", fs=60.0),
        "fs_100": changed("preparation", fs=100.0),
    },
)
