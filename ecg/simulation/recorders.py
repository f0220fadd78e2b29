"""What a simulated recorder makes of a heart: electrodes, noise, filter, faults, digital values.

Noise arises at the nine electrodes, so that it obeys Einthoven's and Goldberger's identities as
the heart's own signal does.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.signal import butter, sosfilt, sosfilt_zi

from ecg.simulation.heart import twelve_leads

_ELECTRODES = ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6")
# Rows of the twelve leads that go flat with a loose electrode.
_LOST_LEADS = {"RA": [0, 1, 3, 4, 5], "LA": [0, 2, 3, 4, 5], "LL": [1, 2, 3, 4, 5]}
_LOST_LEADS |= {f"V{i}": [5 + i] for i in range(1, 7)}
_WANDER_HZ = (0.05, 0.7)
_N_WANDER = 5  # sinusoids that make up the wander
_RUN_IN_S = 0.05
_FULL_SCALE = 2**15 - 1


@dataclass(frozen=True)
class Recorder:
    """An electrocardiograph and the room it stands in.

    fs: Hz. adc_gain: per mV. baseline: ADC units at 0 mV. band_hz: Butterworth filter of second
    order at either end. mains_hz. Sizes at an electrode, mV, each the median over recordings,
    which differ by a factor of about exp(size_spread): wander_mv, mains_mv, muscle_mv (standard
    deviation, white below the band's upper end), motion_mv (steps that decay). motion_per_min:
    of these. loose_electrode: share of recordings with one.
    """

    fs: float = 500.0
    adc_gain: float = 1000.0
    baseline: int = 0
    band_hz: tuple[float, float] = (0.05, 150.0)
    mains_hz: float = 50.0
    wander_mv: float = 0.015
    mains_mv: float = 0.001
    muscle_mv: float = 0.0012
    motion_mv: float = 0.3
    motion_per_min: float = 0.3
    size_spread: float = 0.8
    loose_electrode: float = 0.004

    def __post_init__(self):
        if not 0 < self.band_hz[0] < self.band_hz[1] < self.fs / 2:
            raise ValueError(
                f"band_hz: expected 0 < low < high < {self.fs / 2}, found {self.band_hz}"
            )


def record(independent, recorder: Recorder, rng) -> np.ndarray:
    """Digital values (12, n_samples), int16, of the heart's eight independent leads, in mV."""
    signal = independent + _lead_noise(_electrode_noise(independent.shape[1], recorder, rng))
    sections, settled = _filter(recorder.band_hz, recorder.fs)
    # As if the recorder had been on for long: settled at the usual value, and then shown a little
    # of the signal, backwards, before it starts.
    before = signal[:, round(_RUN_IN_S * recorder.fs) : 0 : -1]
    usual = np.median(signal[:, ::7], axis=1, keepdims=True)
    state = sosfilt(sections, before, axis=1, zi=settled * usual)[1]
    signal = sosfilt(sections, signal, axis=1, zi=state)[0]
    leads = twelve_leads(signal)
    if rng.random() < recorder.loose_electrode:
        leads[_LOST_LEADS[rng.choice(_ELECTRODES)]] = 0.0
    digital = np.rint(leads * recorder.adc_gain + recorder.baseline)
    # WFDB keeps the lowest value for missing samples.
    return digital.clip(-_FULL_SCALE, _FULL_SCALE).astype(np.int16)


@lru_cache
def _filter(band_hz, fs) -> tuple[np.ndarray, np.ndarray]:
    """Second-order sections, and their state (n_sections, 1, 2) after a long time at 1 mV."""
    sections = butter(2, band_hz, "bandpass", fs=fs, output="sos")
    return sections, sosfilt_zi(sections)[:, None, :]


def _electrode_noise(n_samples, recorder, rng) -> np.ndarray:
    """Noise (9, n_samples), mV, at _ELECTRODES."""
    n = len(_ELECTRODES)
    time = np.arange(n_samples) / recorder.fs
    wander, mains, muscle = (
        size * rng.lognormal(0.0, recorder.size_spread)
        for size in (recorder.wander_mv, recorder.mains_mv, recorder.muscle_mv)
    )
    # Slow and mains waves of one frequency have their own size and phase at each electrode: sums
    # of the same few sines and cosines.
    slow_hz = rng.uniform(*_WANDER_HZ, _N_WANDER)
    frequencies = np.concatenate([slow_hz, recorder.mains_hz * np.array([1.0, 3.0])])
    sizes = np.concatenate(
        [wander / np.sqrt(_N_WANDER) * (0.2 / slow_hz) ** 0.5, mains * np.array([1.0, 0.2])]
    )
    angles = (2 * np.pi * frequencies[:, None] * time).astype(np.float32)
    waves = np.concatenate([np.sin(angles), np.cos(angles)])
    waves[np.tile(frequencies >= recorder.fs / 2, 2)] = 0.0
    noise = (rng.standard_normal((n, len(waves))) * np.tile(sizes, 2)).astype(np.float32) @ waves
    own = muscle * rng.lognormal(0.0, 0.4, (n, 1)).astype(np.float32)
    noise += own * rng.standard_normal((n, n_samples), np.float32)
    for _ in range(rng.poisson(recorder.motion_per_min * time[-1] / 60)):
        onset = rng.integers(n_samples)
        decay_s = rng.uniform(0.1, 1.0)
        step = recorder.motion_mv * rng.standard_normal()
        noise[rng.integers(n), onset:] += step * np.exp(-time[: n_samples - onset] / decay_s)
    return noise


def _lead_noise(electrodes) -> np.ndarray:
    """The eight independent leads (8, n_samples) of potentials at the nine electrodes."""
    right, left, leg = electrodes[:3]
    wilson = (right + left + leg) / 3
    return np.concatenate([[left - right, leg - right], electrodes[3:] - wilson])
