"""Simulate an ECG recorder: electrode noise, filter, loose electrodes and digitisation.

Noise is added at the nine electrodes, so that it obeys Einthoven's and Goldberger's equations like
the signal itself.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.signal import butter, sosfilt, sosfilt_zi

from ecg.simulation.heart import twelve_leads

_ELECTRODES = ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6")
# Rows of the twelve leads that are flat when an electrode is loose.
_LOST_LEADS = {"RA": [0, 1, 3, 4, 5], "LA": [0, 2, 3, 4, 5], "LL": [1, 2, 3, 4, 5]}
_LOST_LEADS |= {f"V{i}": [5 + i] for i in range(1, 7)}
_WANDER_HZ = (0.05, 0.7)
_N_WANDER = 5  # sinusoids that make up the baseline wander
_RUN_IN_S = 0.05  # of the filter, before the recording starts
_FULL_SCALE = 2**15 - 1


@dataclass(frozen=True)
class Recorder:
    """An electrocardiograph and its noise.

    fs: Hz.
    adc_gain: ADC units per mV. baseline: ADC units at 0 mV.
    band_hz: pass band of a second-order Butterworth filter.
    mains_hz: power line frequency.
    resolution_mv: step of the converter, of whose values `adc_gain` makes others; 0 if it is finer.
    wander_mv, mains_mv, muscle_mv, motion_mv: median amplitude of baseline wander, power line
    interference, muscle noise (white, standard deviation) and motion artefacts (decaying steps) at
    an electrode. trunk_share: muscle noise elsewhere, relative to that at the arms.
    motion_per_min: motion artefacts per minute.
    size_spread, muscle_spread: recordings differ in amplitudes, and in muscle noise, by a factor of
    about exp(spread).
    loose_electrode: share of recordings with a loose electrode.
    swapped_electrodes: share of recordings in which two electrodes are swapped: those of the arms,
    or two neighbours on the chest.
    """

    fs: float = 500.0
    adc_gain: float = 1000.0
    baseline: int = 0
    band_hz: tuple[float, float] = (0.05, 150.0)
    resolution_mv: float = 0.0
    mains_hz: float = 50.0
    wander_mv: float = 0.015
    mains_mv: float = 0.0006
    muscle_mv: float = 0.0012
    trunk_share: float = 1.0
    motion_mv: float = 0.3
    motion_per_min: float = 0.3
    size_spread: float = 0.8
    muscle_spread: float = 0.55
    loose_electrode: float = 0.004
    swapped_electrodes: float = 0.003

    def __post_init__(self):
        if not 0 < self.band_hz[0] < self.band_hz[1] < self.fs / 2:
            raise ValueError(
                f"band_hz: expected 0 < low < high < {self.fs / 2}, found {self.band_hz}"
            )


def record_signal(independent, recorder: Recorder, rng) -> np.ndarray:
    """Return the recording (12, n_samples), int16, of a heart's signal.

    independent: (8, n_samples), mV, at the recorder's sampling rate.
    """
    signal = independent + _lead_noise(_electrode_noise(independent.shape[1], recorder, rng))
    sections, settled = _filter(recorder.band_hz, recorder.fs)
    # Avoid a transient: start the filter settled at the median, then run the mirrored beginning of
    # the signal through it.
    before = signal[:, round(_RUN_IN_S * recorder.fs) : 0 : -1]
    median = np.median(signal[:, ::7], axis=1, keepdims=True)
    state = sosfilt(sections, before, axis=1, zi=settled * median)[1]
    signal = sosfilt(sections, signal, axis=1, zi=state)[0]
    if rng.random() < recorder.swapped_electrodes:
        signal = _swap_electrodes(signal, rng)
    leads = twelve_leads(signal)
    if rng.random() < recorder.loose_electrode:
        leads[_LOST_LEADS[rng.choice(_ELECTRODES)]] = 0.0
    if recorder.resolution_mv:
        leads = np.rint(leads / recorder.resolution_mv) * recorder.resolution_mv
    digital = np.rint(leads * recorder.adc_gain + recorder.baseline)
    # In WFDB the lowest value means a missing sample.
    return digital.clip(-_FULL_SCALE, _FULL_SCALE).astype(np.int16)


def _swap_electrodes(signal, rng) -> np.ndarray:
    """Swap the electrodes of the arms, as often as not, or two neighbours on the chest."""
    if rng.random() < 0.5:
        i, ii, *chest = signal
        return np.stack([-i, ii - i, *chest])
    row = 2 + rng.integers(5)
    swapped = signal.copy()
    swapped[[row, row + 1]] = signal[[row + 1, row]]
    return swapped


@lru_cache
def _filter(band_hz, fs) -> tuple[np.ndarray, np.ndarray]:
    """Return second-order sections and their steady state (n_sections, 1, 2) at 1 mV."""
    sections = butter(2, band_hz, "bandpass", fs=fs, output="sos")
    return sections, sosfilt_zi(sections)[:, None, :]


def _electrode_noise(n_samples, recorder, rng) -> np.ndarray:
    """Return noise (9, n_samples), mV, at _ELECTRODES."""
    n = len(_ELECTRODES)
    time = np.arange(n_samples) / recorder.fs
    wander, mains, muscle = (
        size * rng.lognormal(0.0, spread)
        for size, spread in (
            (recorder.wander_mv, recorder.size_spread),
            (recorder.mains_mv, recorder.size_spread),
            (recorder.muscle_mv, recorder.muscle_spread),
        )
    )
    # Amplitude and phase of each frequency differ between electrodes: random sums of the same sines
    # and cosines.
    slow_hz = rng.uniform(*_WANDER_HZ, _N_WANDER)
    frequencies = np.concatenate([slow_hz, recorder.mains_hz * np.array([1.0, 3.0])])
    sizes = np.concatenate(
        [wander / np.sqrt(_N_WANDER) * (0.2 / slow_hz) ** 0.5, mains * np.array([1.0, 0.2])]
    )
    angles = (2 * np.pi * frequencies[:, None] * time).astype(np.float32)
    waves = np.concatenate([np.sin(angles), np.cos(angles)])
    waves[np.tile(frequencies >= recorder.fs / 2, 2)] = 0.0
    noise = (rng.standard_normal((n, len(waves))) * np.tile(sizes, 2)).astype(np.float32) @ waves
    muscle_mv = muscle * rng.lognormal(0.0, 0.5, (n, 1)).astype(np.float32)  # per electrode
    muscle_mv[2:] *= recorder.trunk_share
    noise += muscle_mv * rng.standard_normal((n, n_samples), np.float32)
    for _ in range(rng.poisson(recorder.motion_per_min * time[-1] / 60)):
        onset = rng.integers(n_samples)
        decay_s = rng.uniform(0.1, 1.0)
        step = recorder.motion_mv * rng.standard_normal()
        noise[rng.integers(n), onset:] += step * np.exp(-time[: n_samples - onset] / decay_s)
    return noise


def _lead_noise(electrodes) -> np.ndarray:
    """Return the eight independent leads (8, n_samples) of potentials at the nine electrodes."""
    right, left, leg = electrodes[:3]
    wilson = (right + left + leg) / 3
    return np.concatenate([[left - right, leg - right], electrodes[3:] - wilson])
