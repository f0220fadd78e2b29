"""Multi-scale squeeze-and-excitation CNN.

Team AIRCAS_MEL1 (Xia et al.), Computing in Cardiology 2021, vol. 48. The text available to us
has no title page, so its title and DOI are missing here.

As published (section 2.2 and figure 1)
- Input (leads, 1000 samples); three branches on every 1st, 2nd and 4th sample.
- Five residual SE blocks in each branch. Kernels (leads x samples) are 1 x large in the first two
  blocks, which have stride 2 over time; then m x 3, n x 9 and k x 27 with stride 1. m, n and k
  depend on the lead set, see `LEAD_KERNELS`.
- Batch normalisation, spatial dropout, ReLU and squeeze-and-excitation in every block.
- Global average pooling, concatenation of the branches, dense layer, sigmoid.

Differs from the paper
- 26 outputs: the equivalent pairs among the 30 codes are one class each.
- The text gives no numbers of filters, size of the large kernel, dropout rate or SE ratio; see
  `MultiscaleSEOptions` for ours. From the third block on, filters become fewer as kernels grow,
  because the cost of a block grows with width squared x kernel: with 32 filters in each of the last
  three blocks, the last one, 5 x 27 on 12 leads, would need two thirds of the multiply-adds, and
  training would take twice as long.
- The default method goes beyond the paper (results in docs/results.md): a dense layer of the
  record's measurements joins the features of the branches before the last layer (`measured_width`);
  the features of the branches have dropout; the network is pretrained on simulated records; AdamW
  has a warm-up and a cosine schedule over few epochs; and the decision is the label set of the
  largest expected score. The variant "published" has none of these.
- A block is conv-BN-ReLU-dropout-conv-BN-SE, plus the shortcut, then ReLU; the text does not give
  the order of figure 1. Where the shape changes, the shortcut is first sliced to the stride and
  then projected by a 1 x 1 convolution, because a strided 1 x 1 convolution of a one-channel input
  corrupts memory in TensorFlow 2.18 to 2.21 with oneDNN.
- From `_TIME_FIRST_FROM` leads on, maps have time before leads: the same network, but faster to
  train.
- See `ecg.models.registry` for what all methods have in common beyond their papers.
"""

from dataclasses import dataclass, replace

import keras
from keras import layers

from ecg.models.decisions import DecisionOptions
from ecg.models.layers import classify, embed_measurements, normalise, squeeze_excite
from ecg.models.method import Method, SizeStep, System, changed, narrow_copy
from ecg.models.training_options import PretrainingOptions, TrainingOptions
from ecg.records.demographics import N_DEMOGRAPHICS
from ecg.signals.measurements import n_measurements

# Kernel size across leads in blocks 3 to 5, by number of leads (section 2.2, [m, n, k]).
LEAD_KERNELS = {12: (5, 5, 5), 6: (3, 3, 3), 4: (2, 2, 2), 3: (1, 2, 2), 2: (1, 1, 2)}
# On CPUs, oneDNN's gradient is five times slower for kernels longer than 14 along the last axis of
# the maps, but its convolutions also need a last axis that is long enough to fill registers. So
# time is the last axis only for few leads (measured by `python -m benchmarks.training_step`).
_TIME_FIRST_FROM = 6


@dataclass(frozen=True)
class MultiscaleSEOptions:
    """Options of the network.

    widths: filters of the five blocks. large_kernel: samples of the kernel in blocks 1 and 2.
    time_kernels: those in blocks 3 to 5. steps: n for each branch, which takes every n-th sample;
    without any, the network has no signal and sees the measurements alone. squeeze_ratio: channels
    per unit of the squeeze-and-excitation bottleneck; None for no squeeze-and-excitation. dropout:
    rate of spatial dropout. feature_dropout: rate of dropout on the features of the branches.
    measured_width: number of features from the record's measurements (`ecg.signals.measurements`),
    a second input; None, as published, for no such input. measured_noise, measured_dropout: see
    `ecg.models.layers.embed_measurements`. demographics: whether age and sex are added to the
    measurements.
    """

    widths: tuple[int, ...] = (16, 24, 32, 24, 16)
    large_kernel: int = 15
    time_kernels: tuple[int, ...] = (3, 9, 27)
    steps: tuple[int, ...] = (1, 2, 4)
    squeeze_ratio: int | None = 8
    dropout: float = 0.1
    feature_dropout: float = 0.0
    measured_width: int | None = None
    measured_noise: float = 0.04
    measured_dropout: float = 0.4
    demographics: bool = False

    def __post_init__(self):
        if len(self.widths) != 5 or len(self.time_kernels) != 3:
            raise ValueError(
                f"expected 5 widths and 3 time_kernels; found {self.widths}, {self.time_kernels}"
            )
        if not self.steps and self.measured_width is None:
            raise ValueError("expected steps or a measured_width, found neither")
        if self.demographics and self.measured_width is None:
            raise ValueError("expected a measured_width with demographics, found none")


def build(
    options: MultiscaleSEOptions, n_leads: int, n_samples: int, n_classes: int
) -> keras.Model:
    """Model from {"signal": (batch, n_leads, n_samples)} to logits (batch, n_classes).

    With `measured_width` the model has a second input "measurements", (batch, n_measurements), and
    with `demographics` a third, "demographics", (batch, N_DEMOGRAPHICS); without `steps` it has no
    input "signal". Raises ValueError for a number of leads that the paper gives no kernels for.
    """
    if n_leads not in LEAD_KERNELS:
        raise ValueError(
            f"expected one of {', '.join(map(str, LEAD_KERNELS))} leads, found {n_leads}"
        )
    inputs, features = {}, []
    if options.steps:
        inputs["signal"] = keras.Input((n_leads, n_samples), name="signal")
        features.append(_signal_features(inputs["signal"], options))
    if options.measured_width is not None:
        measurements = keras.Input((n_measurements(n_leads),), name="measurements")
        inputs["measurements"] = measured = measurements
        if options.demographics:
            demographics = keras.Input((N_DEMOGRAPHICS,), name="demographics")
            inputs["demographics"] = demographics
            measured = layers.Concatenate(name="all_measurements")([measurements, demographics])
        features.append(
            embed_measurements(
                measured,
                options.measured_width,
                options.measured_noise,
                options.measured_dropout,
            )
        )
    return keras.Model(
        inputs, classify(_join(features, "all_features"), n_classes), name="multiscale_se"
    )


def _signal_features(signal, options):
    """Features (batch, n_branches * widths[-1]) of a signal (batch, n_leads, n_samples)."""
    n_leads, n_samples = signal.shape[1:]
    axes = _Axes(time_first=n_leads >= _TIME_FIRST_FROM)
    if axes.time_first:
        signal = layers.Permute((2, 1), name="time_first")(signal)
    shape = axes.ordered(n_leads, n_samples)
    maps = layers.Reshape((*shape, 1), name="maps")(signal)
    branches = [
        _branch(axes.every(maps, step), options, LEAD_KERNELS[n_leads], axes, f"step{step}")
        for step in options.steps
    ]
    features = _join(branches, "features")
    if not options.feature_dropout:
        return features
    return layers.Dropout(options.feature_dropout, name="features_dropout")(features)


@dataclass(frozen=True)
class _Axes:
    """Order of the axes of maps: (batch, samples, leads, channels) with `time_first`, else (batch,
    leads, samples, channels)."""

    time_first: bool

    def ordered(self, leads, samples) -> tuple:
        """Return a value for the axis of leads and one for that of samples, in the order of the
        axes."""
        return (samples, leads) if self.time_first else (leads, samples)

    def every(self, maps, step):
        """Every `step`-th sample of the maps."""
        if step == 1:
            return maps
        return maps[:, ::step] if self.time_first else maps[:, :, ::step]


def _join(features, name):
    return layers.Concatenate(name=name)(features) if len(features) > 1 else features[0]


def _branch(x, options, lead_kernels, axes, name):
    """Features (batch, widths[-1]) of maps with one channel."""
    kernels = [(1, options.large_kernel)] * 2 + list(
        zip(lead_kernels, options.time_kernels, strict=True)
    )
    for i, (width, kernel) in enumerate(zip(options.widths, kernels, strict=True), start=1):
        x = _block(x, width, kernel, 2 if i <= 2 else 1, options, axes, f"{name}_block{i}")
    return layers.GlobalAveragePooling2D(name=f"{name}_pool")(x)


def _block(x, width, kernel, stride, options, axes, name):
    shortcut = axes.every(x, stride)
    if shortcut.shape[-1] != width:
        shortcut = _convolve(shortcut, width, (1, 1), 1, axes, f"{name}_project")
    x = _convolve(x, width, kernel, stride, axes, f"{name}_conv1")
    x = layers.ReLU(name=f"{name}_relu1")(x)
    x = layers.SpatialDropout2D(options.dropout, name=f"{name}_dropout")(x)
    x = _convolve(x, width, kernel, 1, axes, f"{name}_conv2")
    if options.squeeze_ratio is not None:
        x = squeeze_excite(x, options.squeeze_ratio, f"{name}_se")
    return layers.ReLU(name=f"{name}_relu2")(layers.Add(name=f"{name}_add")([shortcut, x]))


def _convolve(x, width, kernel, stride, axes, name):
    """Convolution and batch normalisation; kernel: (leads, samples), stride: samples."""
    # No bias, because a batch normalisation follows.
    x = layers.Conv2D(
        width,
        axes.ordered(*kernel),
        strides=axes.ordered(1, stride),
        padding="same",
        use_bias=False,
        name=name,
    )(x)
    return normalise(x, f"{name}_bn")


_PUBLISHED = Method(
    name="multiscale_se",
    source="AIRCAS_MEL1, Computing in Cardiology 2021",
    architecture="multiscale_se",
    network=MultiscaleSEOptions(),
)
_DEFAULT = replace(
    _PUBLISHED,
    network=replace(_PUBLISHED.network, measured_width=128, feature_dropout=0.2),
    decision=DecisionOptions(rule="expected_score", calibrated=True),
    training=TrainingOptions(
        epochs=10,
        batch_size=16,
        largest_batch_size=128,
        optimizer="adamw",
        learning_rate=2e-3,
        clip_norm=1.0,
        schedule="cosine",
        warmup_share=0.1,
        best="last",
    ),
    pretraining=PretrainingOptions(n_records=24_000, measured_epochs=10, epochs=2),
)
# With 6,000 simulated records, more epochs and more width both score higher. With 60,000 they fit
# better, but on sources left out they gain little; there we follow entries that had all of the real
# records, see docs/methods.md. Width waits for the numbers of records that are trained on a GPU: it
# takes four times the operations.
_LONGER = replace(_DEFAULT.training, epochs=20)
_WIDER = replace(_DEFAULT.network, widths=(32, 48, 64, 48, 32))
_BY_SIZE = (SizeStep(5_000, _DEFAULT.network, _LONGER), SizeStep(20_000, _WIDER, _LONGER))
_NARROW = {"widths": (8, 8, 8, 8, 8)}


# The paper compares kernels and branches without squeeze-and-excitation: the last rows of its
# tables 2 and 3 have the same figures as the first row of table 4, which is without it.
def _without_se(**network):
    return changed("network", squeeze_ratio=None, **network)


SYSTEM = System(
    build=build,
    published={
        "full": _PUBLISHED,
        "demo": narrow_copy(_PUBLISHED, _NARROW, epochs=10, batch_size=16),
    },
    default={
        "full": replace(_DEFAULT, by_size=_BY_SIZE),
        # Used to demonstrate training on simulated records, so it must not have seen their sources.
        "demo": replace(narrow_copy(_DEFAULT, _NARROW), pretraining=PretrainingOptions()),
    },
    ablations={
        "without_se": _without_se(),
        "kernels_3_3_3": _without_se(time_kernels=(3, 3, 3)),
        "kernels_3_6_12": _without_se(time_kernels=(3, 6, 12)),
        "first_branch": _without_se(steps=(1,)),
        "second_branch": _without_se(steps=(2,)),
        "third_branch": _without_se(steps=(4,)),
    },
)
