"""MTFNet: double convolutions for the morphology, bidirectional LSTMs for the time course.

Team csu_anying, Computing in Cardiology 2021, vol. 48. The text available to us has no title
page, so its title, authors and DOI are missing here.

As published (section 2.2, tables 1 to 3 and figure 1)
- Input of 5000 samples at 500 Hz; leads are channels.
- Five double convolutions: two convolutions of 3 samples and 64 channels, each followed by a leaky
  ReLU, with batch normalisation between them and max pooling at the end.
- Four bidirectional LSTM layers of hidden size 64, dropout 0.2; layer normalisation of the 128
  features; a dense layer. Tables 4 and 5 have fewer channels (12, 32) and fewer LSTM layers (1 to
  3).
- Binary cross-entropy; AdamW, whose learning rate falls from 1e-4 along half a cosine; batches of
  128, 200 epochs. A fifth of the records of each source selects the epoch by the Challenge metric.

Differs from the paper
- The text does not give the pool size: we use 2, so 5000 samples become 156 steps. Nor the slope
  of the leaky ReLU: we use 0.01, the default of PyTorch, which the authors used. Nor the order of
  the first leaky ReLU and the batch normalisation: we use this order.
- Dropout acts on the sequences between the LSTM layers, as in PyTorch's LSTM; the paper's "20 % of
  its parameters" may mean the same. Recurrent dropout would rule out cuDNN's LSTM.
- The text does not say how the sequence becomes the input of the dense layer: we take the mean
  over time.
- The mean of each lead is removed before padding. AdamW has Keras's weight decay, 0.004. The text
  gives no thresholds: they are fitted for the Challenge metric on the validation fifth, and the
  epoch is the one that scores best with the best single threshold for all classes.
- See `ecg.models.registry` for what all methods have in common beyond their papers.
"""

from dataclasses import dataclass, replace

import keras
from keras import layers

from ecg.models.layers import classify, normalise
from ecg.models.losses import LossOptions
from ecg.models.method import WINDOWS_500_HZ, Method, System, changed, narrow_copy
from ecg.models.training_options import TrainingOptions

_KERNEL = 3  # samples
_POOL = 2  # samples
_SLOPE = 0.01


@dataclass(frozen=True)
class MTFNetOptions:
    """Options of the network.

    channels: filters of every convolution. n_blocks: number of double convolutions. bilstm_layers:
    number of LSTM layers. hidden: their units in each direction. dropout: rate between them.
    """

    channels: int = 64
    n_blocks: int = 5
    bilstm_layers: int = 4
    hidden: int = 64
    dropout: float = 0.2

    def __post_init__(self):
        if min(self.channels, self.n_blocks, self.bilstm_layers, self.hidden) < 1:
            raise ValueError(f"expected sizes and numbers of at least 1, found {self}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: expected 0 <= rate < 1, found {self.dropout}")


def build(options: MTFNetOptions, n_leads: int, n_samples: int, n_classes: int) -> keras.Model:
    """Model from {"signal": (batch, n_leads, n_samples)} to logits (batch, n_classes).

    Raises ValueError for a signal that is too short for the pooling.
    """
    shortest = _POOL**options.n_blocks
    if n_samples < shortest:
        raise ValueError(f"expected at least {shortest} samples, found {n_samples}")
    signal = keras.Input((n_leads, n_samples), name="signal")
    x = layers.Permute((2, 1), name="time_first")(signal)
    for i in range(1, options.n_blocks + 1):
        x = _double_convolution(x, options.channels, f"double{i}")
    for i in range(1, options.bilstm_layers + 1):
        if i > 1:
            x = layers.Dropout(options.dropout, name=f"bilstm{i}_dropout")(x)
        lstm = layers.LSTM(options.hidden, return_sequences=True, name=f"lstm{i}")
        x = layers.Bidirectional(lstm, name=f"bilstm{i}")(x)
    x = layers.GlobalAveragePooling1D(name="mean")(x)
    features = layers.LayerNormalization(name="features")(x)
    return keras.Model({"signal": signal}, classify(features, n_classes), name="mtfnet")


def _double_convolution(x, channels, name):
    x = _convolve(x, channels, f"{name}_conv1")
    x = normalise(x, f"{name}_bn")
    x = _convolve(x, channels, f"{name}_conv2")
    return layers.MaxPooling1D(_POOL, name=f"{name}_pool")(x)


def _convolve(x, channels, name):
    x = layers.Conv1D(channels, _KERNEL, padding="same", name=name)(x)
    return layers.LeakyReLU(negative_slope=_SLOPE, name=f"{name}_relu")(x)


_PUBLISHED = Method(
    name="mtfnet",
    source="csu_anying, Computing in Cardiology 2021",
    architecture="mtfnet",
    network=MTFNetOptions(),
    preparation=replace(WINDOWS_500_HZ, max_windows=1),
    loss=LossOptions(class_weights="equal"),
    training=TrainingOptions(
        epochs=200,
        batch_size=128,
        optimizer="adamw",
        learning_rate=1e-4,
        schedule="cosine",
        best="challenge_metric",
        stop_patience=None,
        validation_share=0.2,
        validation_by_source=True,
    ),
)
_NARROW = {"channels": 16, "bilstm_layers": 2, "hidden": 16}

SYSTEM = System(
    build=build,
    published={
        "full": _PUBLISHED,
        "demo": narrow_copy(_PUBLISHED, _NARROW, epochs=15, batch_size=16, learning_rate=2e-3),
    },
    ablations={
        "channels_12": changed("network", channels=12),
        "channels_32": changed("network", channels=32),
        "channels_64": changed("network", channels=64),
        "bilstm_1": changed("network", bilstm_layers=1),
        "bilstm_2": changed("network", bilstm_layers=2),
        "bilstm_3": changed("network", bilstm_layers=3),
        "bilstm_4": changed("network", bilstm_layers=4),
    },
)
