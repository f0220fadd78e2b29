"""Data augmentation, as Keras layers in front of the network.

There is no vertical flip: it reverses the heart's electrical axis, so that a label such as left or
right axis deviation would be wrong (CQUPT_ECG 2020, section 3.1.2).
"""

import math
from dataclasses import dataclass

import keras
from keras import layers, ops


@dataclass(frozen=True)
class AugmentationOptions:
    """How training windows are augmented; by default they are not.

    shift_s: the largest shift in time, in either direction. noise: standard deviation of Gaussian
    noise in the input's unit, up to 1. erase_s: the longest stretch that is set to 0.
    Source: CQUPT_ECG 2020, section 3.1.2 (shift, noise) and Triology 2020, section 3.6 (erasing
    too); neither gives a size.
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
    """Shift each window, add noise and erase a stretch, as far as the options ask for it.

    signal: Keras tensor (batch, n_leads, n_samples); fs: Hz. Each window gets random changes of its
    own; shift and erased stretch are the same for all its leads. Active in training only; computed
    in float32. Returns the signal itself where the options ask for nothing.
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
    """Changes signals (batch, n_leads, n_samples) at random, in training only.

    max_samples: the largest shift, or the longest stretch that is erased.
    """

    def __init__(self, max_samples: int, name=None):
        super().__init__(dtype="float32", name=name)
        self.max_samples = max_samples
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, signal, training=False):
        """Return the changed signals in training, else the signals themselves."""
        return self._change(signal) if training else signal


class RandomShift(_RandomChange):
    """Shifts each signal in time by up to `max_samples` in either direction.

    The shift is a uniform whole number, the same for all leads; zeros fill the gap.
    """

    def _change(self, signal):
        n_samples = signal.shape[-1]
        rows = (ops.shape(signal)[0], 1, 1)
        shift = keras.random.randint(
            rows, -self.max_samples, self.max_samples + 1, seed=self.seed_generator
        )
        source = ops.arange(n_samples) - shift
        inside = (source >= 0) & (source < n_samples)
        shifted = ops.take_along_axis(signal, ops.clip(source, 0, n_samples - 1), axis=-1)
        return ops.where(inside, shifted, 0.0)


class RandomErasing(_RandomChange):
    """Sets one stretch of up to `max_samples` to 0 in each signal, in all leads.

    Its length is a uniform whole number from 0, its start uniform over those where it fits.
    """

    def _change(self, signal):
        n_samples = signal.shape[-1]
        rows = (ops.shape(signal)[0], 1, 1)
        length = ops.cast(
            keras.random.randint(rows, 0, self.max_samples + 1, seed=self.seed_generator), "float32"
        )
        share = keras.random.uniform(rows, dtype="float32", seed=self.seed_generator)
        start = ops.floor(share * (n_samples - length + 1))
        time = ops.arange(n_samples, dtype="float32")
        return ops.where((time >= start) & (time < start + length), 0.0, signal)
