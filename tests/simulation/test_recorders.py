from dataclasses import replace

import numpy as np
import pytest

from ecg.records.leads import TWELVE_LEADS
from ecg.simulation.recorders import Recorder, record_signal

QUIET = Recorder(
    wander_mv=0,
    mains_mv=0,
    muscle_mv=0,
    motion_per_min=0,
    loose_electrode=0,
    swapped_electrodes=0,
)
LEAD = {lead: i for i, lead in enumerate(TWELVE_LEADS)}


def heart(n_samples=5000, fs=500.0, hz=10.0):
    """Return sines of 1 mV at `hz` in eight leads, with different phases."""
    time = np.arange(n_samples) / fs
    return np.sin(2 * np.pi * hz * time + np.arange(8)[:, None])


def recorded(signal, recorder, seed=0):
    """Return the recording in mV."""
    digital = record_signal(signal, recorder, np.random.default_rng(seed))
    assert digital.dtype == np.int16
    return (digital - float(recorder.baseline)) / recorder.adc_gain


def test_a_recorder_without_noise_preserves_the_signal():
    leads = recorded(heart(), QUIET)
    assert leads.shape == (12, 5000)
    np.testing.assert_allclose(leads[[0, 1, *range(6, 12)]], heart(), atol=0.15)


def test_noise_obeys_einthoven_and_goldberger():
    noisy = Recorder(
        wander_mv=0.2,
        mains_mv=0.05,
        muscle_mv=0.1,
        motion_per_min=30,
        loose_electrode=0,
        swapped_electrodes=0,
    )
    leads = recorded(heart(), noisy)
    assert np.abs(leads[0] - recorded(heart(), QUIET)[0]).max() > 0.2
    step = 2 / noisy.adc_gain  # each lead is rounded by itself
    np.testing.assert_allclose(leads[LEAD["I"]] + leads[LEAD["III"]], leads[LEAD["II"]], atol=step)
    np.testing.assert_allclose(leads[3:6].sum(axis=0), 0, atol=step)


@pytest.mark.parametrize(
    ("size", "low_hz", "high_hz"),
    [
        ({"wander_mv": 0.2}, 0.0, 1.0),
        ({"mains_mv": 0.2}, 49.0, 51.0),
        ({"muscle_mv": 0.05}, 5, 130),
    ],
)
def test_each_noise_has_its_band(size, low_hz, high_hz):
    noise = recorded(np.zeros((8, 20000)), replace(QUIET, **size))[1]
    power = np.abs(np.fft.rfft(noise)) ** 2
    frequencies = np.fft.rfftfreq(20000, 1 / 500)
    inside = (frequencies >= low_hz) & (frequencies <= high_hz)
    assert power[inside].sum() > 0.75 * power.sum()


def test_electrode_motion_steps_and_decays():
    quiet, moved = (
        recorded(np.zeros((8, 5000)), replace(QUIET, motion_per_min=rate)) for rate in (0, 20)
    )
    assert not quiet.any()
    assert np.abs(moved).max() > 0.05


def test_the_filter_removes_frequencies_outside_its_band():
    narrow = replace(QUIET, band_hz=(0.5, 40.0))
    for hz, kept in ((0.05, 0.1), (10.0, 1.0), (200.0, 0.1)):
        size = np.abs(recorded(heart(20000, hz=hz), narrow)[1, 4000:]).max()
        assert size == pytest.approx(kept, abs=0.12), hz


@pytest.mark.parametrize("seed", range(30))
def test_a_loose_electrode_flattens_its_leads(seed):
    leads = recorded(heart(), replace(QUIET, loose_electrode=1.0), seed)
    flat = {lead for lead, i in LEAD.items() if not leads[i].any()}
    assert flat in (
        {"I", "II", "aVR", "aVL", "aVF"},
        {"I", "III", "aVR", "aVL", "aVF"},
        {"II", "III", "aVR", "aVL", "aVF"},
        *({f"V{i}"} for i in range(1, 7)),
    )


@pytest.mark.parametrize("seed", range(20))
def test_swapped_electrodes_are_those_of_the_arms_or_neighbours_on_the_chest(seed):
    right = recorded(heart(), QUIET, seed)
    wrong = recorded(heart(), replace(QUIET, swapped_electrodes=1.0), seed)
    step = 1.6 / QUIET.adc_gain
    if np.allclose(wrong[LEAD["I"]], -right[LEAD["I"]], atol=step):
        swapped = {"II": "III", "III": "II", "aVR": "aVL", "aVL": "aVR", "aVF": "aVF"}
        swapped |= {f"V{i}": f"V{i}" for i in range(1, 7)}
    else:
        first = next(i for i in range(6, 12) if not np.allclose(wrong[i], right[i], atol=step))
        order = list(range(12))
        order[first : first + 2] = first + 1, first
        swapped = {TWELVE_LEADS[i]: TWELVE_LEADS[j] for i, j in enumerate(order)}
    for lead, source in swapped.items():
        np.testing.assert_allclose(wrong[LEAD[lead]], right[LEAD[source]], atol=step)


def test_values_are_multiples_of_the_resolution():
    steps = recorded(heart(), replace(QUIET, resolution_mv=0.025)) / 0.025
    np.testing.assert_allclose(steps, np.rint(steps), atol=0.021)
    assert len(np.unique(np.rint(steps))) > 20


def test_gain_and_baseline_scale_the_digital_values_and_nothing_is_missing():
    recorder = replace(QUIET, adc_gain=200.0, baseline=12)
    np.testing.assert_allclose(recorded(heart(), recorder), recorded(heart(), QUIET), atol=0.006)
    # The lowest 16-bit value means a missing sample.
    huge = record_signal(1e6 * heart(), QUIET, np.random.default_rng(0))
    assert huge.min() == -(2**15) + 1


def test_mains_noise_above_half_the_sampling_rate_is_not_aliased():
    slow = replace(QUIET, fs=100.0, mains_hz=60.0, mains_mv=1.0, band_hz=(0.1, 40.0))
    assert not recorded(np.zeros((8, 1000)), slow).any()


def test_a_band_beyond_half_the_sampling_rate_is_refused():
    with pytest.raises(ValueError, match=r"band_hz: expected .* high < 125.0"):
        Recorder(fs=250.0)
