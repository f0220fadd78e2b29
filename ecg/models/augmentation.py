"""Random changes of a training batch, as Keras layers at the network's entry.

There is no vertical flip: it turns the heart's electrical axis around, which would make a label
such as left or right axis deviation wrong (CQUPT_ECG 2020, section 3.1.2).
"""

import math
from dataclasses import dataclass

import keras
from keras import layers, ops


@dataclass(frozen=True)
class AugmentationOptions:
    """How far training windows are changed; the defaults leave them as they are.

    shift_s: seconds, the largest shift in time, either way. noise: standard deviation of Gaussian
    noise in the input's unit, up to 1. erase_s: seconds, the longest stretch that is erased.
    Source: CQUPT_ECG 2020, section 3.1.2, shifts and adds noise, Triology 2020, section 3.6,
    erases too; neither gives a size.
    """

    shift_s: float = 0.0
    noise: float = 0.0
    erase_s: float = 0.0

    def __post_init__(self):
        for name in ("shift_s", "erase_s"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name}: expected 0 s or more, found {getattr(self, name)}")
        if not 0 <= self.noise <= 1:
            raise ValueError(f"noise: expected 0 to 1, found {self.noise}")


def augment(signal, options: AugmentationOptions, fs: float):
    """Signal behind the layers that the options ask for; the signal itself where they ask for none.

    signal: Keras tensor (batch, n_leads, n_samples), a window per row; fs: Hz. Each row is changed
    in its own way, all its leads alike but for the noise: shifted, then noise, then erased. The
    layers act in training only and compute in float32.
    Raises ValueError for a shift or an erased stretch that is not shorter than the window.
    """
    n_samples = signal.shape[-1]
    shift, erase = round(options.shift_s * fs), round(options.erase_s * fs)
    if max(shift, erase) >= n_samples:
        raise ValueError(
            f"expected shift_s and erase_s below the window's {n_samples / fs:g} s, found {options}"
        )
    if shift:
        signal = RandomShift(shift, name="shift")(signal)
    if options.noise:
        signal = layers.GaussianNoise(options.noise, dtype="float32", name="noise")(signal)
    if erase:
        signal = RandomErasing(erase, name="erase")(signal)
    return signal


class _RandomChange(layers.Layer):
    """Signals (batch, n_leads, n_samples), changed by up to `max_samples`, in training alone."""

    def __init__(self, max_samples: int, name=None):
        super().__init__(dtype="float32", name=name)
        self.max_samples = max_samples
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, signal, training=False):
        """The changed signals in training, the signals themselves otherwise."""
        return self._change(signal) if training else signal


class RandomShift(_RandomChange):
    """Signals (batch, n_leads, n_samples), each moved in time by up to `max_samples` either way.

    Uniform over the whole numbers; the leads of a row move together, and zeros come in.
    """

    def _change(self, signal):
        n_samples = signal.shape[-1]
        rows = (ops.shape(signal)[0], 1, 1)
        later = keras.random.randint(
            rows, -self.max_samples, self.max_samples + 1, seed=self.seed_generator
        )
        source = ops.arange(n_samples) - later
        inside = (source >= 0) & (source < n_samples)
        moved = ops.take_along_axis(signal, ops.clip(source, 0, n_samples - 1), axis=-1)
        return ops.where(inside, moved, 0.0)


class RandomErasing(_RandomChange):
    """Signals (batch, n_leads, n_samples), each with one stretch of up to `max_samples` set to 0.

    Its length is uniform over the whole numbers from 0, its place uniform over those where it
    fits; it spans all leads.
    """

    def _change(self, signal):
        n_samples = signal.shape[-1]
        rows = (ops.shape(signal)[0], 1, 1)
        length = ops.cast(
            keras.random.randint(rows, 0, self.max_samples + 1, seed=self.seed_generator), "float32"
        )
        place = keras.random.uniform(rows, dtype="float32", seed=self.seed_generator)
        start = ops.floor(place * (n_samples - length + 1))
        time = ops.arange(n_samples, dtype="float32")
        return ops.where((time >= start) & (time < start + length), 0.0, signal)
