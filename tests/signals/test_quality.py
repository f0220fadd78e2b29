import re
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.quality import NO_ECG, draw_signal, shuffle_samples
from ecg.records.discovery import find_records
from ecg.records.leads import TWELVE_LEADS
from ecg.records.record import read_record, to_record
from ecg.signals.preprocessing import MAX_FS, MIN_FS, resample
from ecg.signals.quality import Quality, assess_quality, beat_figures
from ecg.simulation.heart import Heart
from ecg.simulation.patients import Patient
from ecg.simulation.recorders import Recorder, record_signal
from ecg.simulation.recordings import heart_signal, simulate_record
from ecg.simulation.rhythms import Rhythm, beat_times
from ecg.simulation.sources import SOURCES

FS = 500.0
SINUS, HEART = Rhythm(), Heart()
USABLE = Quality(True)


@lru_cache
def recording(rhythm=SINUS, heart=HEART, seconds=10.0, muscle_mv=0.0012) -> np.ndarray:
    """Signal (12, n_samples), mV, float32, of a simulated person."""
    rng = np.random.default_rng(0)
    recorder = Recorder(muscle_mv=muscle_mv, motion_per_min=0.0, loose_electrode=0.0)
    onsets, kinds = beat_times(rhythm, seconds, rng)
    signal = heart_signal(Patient(60, "Male", rhythm, heart), onsets, kinds, seconds, FS, rng)
    signal = (record_signal(signal, recorder, rng) / recorder.adc_gain).astype(np.float32)
    signal.flags.writeable = False
    return signal


def assess(signal, fs=FS) -> Quality:
    return assess_quality(signal, fs, TWELVE_LEADS[: len(signal)])


def changed(lead, change) -> np.ndarray:
    """The usual recording with one lead, of that name, as `change` makes it."""
    signal = recording().copy()
    row = TWELVE_LEADS.index(lead)
    signal[row] = change(signal[row])
    return signal


# ECGs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rhythm", "heart"),
    [
        (Rhythm(), Heart()),
        (Rhythm(rate_bpm=30), Heart()),
        (Rhythm(rate_bpm=200), Heart(pr_s=0.1, qt_s=0.22)),
        (Rhythm("fibrillation", irregularity=0.3), Heart()),
        (Rhythm("flutter", rate_bpm=75, ratios=(2, 4)), Heart()),
        (Rhythm("paced"), Heart()),
        (Rhythm(premature_ventricular=0.5), Heart()),
        (Rhythm(), Heart(conduction="left", qrs_s=0.16)),
        (Rhythm(), Heart(qrs_mv=0.2, septal_mv=0.07, back_mv=0.15, t_mv=0.06, p_mv=0.03)),
    ],
    ids=["sinus", "30/min", "200/min", "AF", "flutter", "paced", "PVC", "LBBB", "low voltage"],
)
@pytest.mark.parametrize("rows", [range(12), [0, 1], [1]], ids=["12 leads", "I+II", "II"])
@pytest.mark.parametrize("seconds", [10.0, 5.0])
def test_a_heart_is_taken_for_a_heart(rhythm, heart, rows, seconds):
    signal = recording(rhythm, heart)[list(rows), : round(seconds * FS)]
    found = assess_quality(signal, FS, [TWELVE_LEADS[row] for row in rows])
    assert found.usable, found
    assert not found.reasons


@pytest.mark.parametrize("name", SOURCES)
def test_simulated_records_of_every_source_are_usable(name):
    rng = np.random.default_rng(7)
    for _ in range(4):
        made = to_record(*simulate_record("X0001", SOURCES[name], 12, rng))
        found = assess_quality(made.signal, made.fs, made.leads)
        assert found.usable, found


def test_a_clean_recording_raises_no_doubt():
    assert assess(recording()) == USABLE


@pytest.mark.parametrize("fs", [MIN_FS, 100.0, 250.0, 360.0, 1000.0, MAX_FS])
def test_any_sampling_rate_is_judged(fs):
    signal = resample(recording().astype(np.float64), FS, fs)
    assert assess(signal.astype(np.float32), fs).usable


@pytest.mark.parametrize("fs", [MIN_FS - 1, MAX_FS + 1, np.nan])
def test_other_sampling_rates_are_an_error(fs):
    with pytest.raises(ValueError, match="sampling rate"):
        assess(recording(), fs)


def test_few_real_records_are_refused(shared_records):
    refused = {"12 leads": 0, "I+II": 0, "5 s": 0, "II": 0}
    files = find_records(shared_records)[::6]
    for real in (read_record(file, 10.0) for file in files):
        leads = real.leads
        middle = real.signal[:, round(2 * real.fs) : round(7 * real.fs)]
        refused["12 leads"] += not assess_quality(real.signal, real.fs, leads).usable
        refused["I+II"] += not assess_quality(real.signal[:2], real.fs, leads[:2]).usable
        refused["5 s"] += not assess_quality(middle, real.fs, leads).usable
        refused["II"] += not assess_quality(real.signal[1:2], real.fs, leads[1:2]).usable
    assert all(count <= 0.02 * len(files) for count in refused.values()), refused


# No ECGs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", NO_ECG, ids=lambda kind: kind.__name__)
def test_what_is_no_ecg_is_refused(kind):
    for seed in range(1000, 1012):
        found = assess(*draw_signal(kind, seed))
        assert not found.usable, seed
        assert len(found.reasons) == 1, seed
        assert not found.warnings, seed


def test_samples_in_any_order_are_no_ecg():
    for seed in range(4):
        shuffled = shuffle_samples(recording(), np.random.default_rng(seed))
        for rows in ([*range(12)], [0, 1], [3]):
            assert not assess(shuffled[rows]).usable, (seed, rows)


@pytest.mark.parametrize("lead", [*range(12)])
def test_a_wrong_unit_is_named(lead):
    for signal in (recording(), recording()[lead : lead + 1]):
        assert "microvolts read as millivolts" in assess(signal * 1000).reasons[0]
        assert "volts read as millivolts" in assess(signal / 1000).reasons[0]
        assert "microvolts" not in assess(signal / 1000).reasons[0]
    assert "this looks like" not in assess(recording() * 1e8).reasons[0]


@pytest.mark.parametrize("factor", [0.2, 0.25, 4, 5])
def test_a_wrong_sampling_rate_is_named(factor):
    hint = re.compile(r"sampled at (\d+) Hz instead of")
    (reason,) = assess(recording(), factor * FS).reasons
    assert 0.75 * FS <= float(hint.search(reason)[1]) <= 1.25 * FS


def test_few_of_many_leads_are_no_ecg():
    noise = np.random.default_rng(0).standard_normal(recording().shape).astype(np.float32)
    noise[:2] = recording()[:2]
    assert not assess(noise).usable
    noise[2] = recording()[2]
    assert assess(noise).usable


def test_a_recording_that_is_mostly_noise_is_no_ecg():
    noise = np.random.default_rng(0).standard_normal((12, round(30 * FS))).astype(np.float32)
    assert "noise" in assess(np.concatenate([noise, recording()], axis=1)).reasons[0]
    found = assess(np.concatenate([recording(seconds=20.0), noise[:, : round(10 * FS)]], axis=1))
    assert found.warnings == ("no heartbeats to be seen in the 10 s from 20 s",)


@pytest.mark.parametrize("n_samples", [1, 2, 21, 100, 999])
def test_less_than_two_seconds_are_too_short(n_samples):
    assert assess(recording()[:, :n_samples]).reasons[0].startswith("too short")


@pytest.mark.parametrize("value", [0.0, 2.5, np.nan])
def test_flat_or_missing_leads_alone_are_no_ecg(value):
    found = assess(np.full((3, 5000), value, np.float32))
    assert found == Quality(False, ("no ECG: every lead is flat or missing",))


def test_an_artefact_in_a_lead_makes_no_other_lead_flat():
    signal = recording()[:2].copy()
    signal[0, 2000:] += 900
    found = assess(signal)
    assert "I: the baseline jumps" in found.warnings
    assert not any("II" in warning for warning in found.warnings)


# Doubts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        (lambda lead: 0 * lead, "V3: flat; the electrode may be off"),
        (lambda lead: np.nan * lead, "V3: missing"),
        (
            lambda lead: np.where(np.arange(len(lead)) < 400, np.nan, lead),
            "V3: samples are missing",
        ),
        (lambda lead: np.where(np.arange(len(lead)) < 800, 0, lead), "flat for a part of the time"),
        (lambda lead: np.clip(lead, -0.1, 0.1), "V3: cut off at the recorder's limit"),
        (lambda lead: lead + 9 * (np.arange(len(lead)) > 2000), "V3: the baseline jumps"),
        (
            lambda lead: np.random.default_rng(0).standard_normal(len(lead)),
            "V3: heartbeats are lost in noise",
        ),
    ],
    ids=["flat", "missing", "gap", "flat for a while", "cut off", "jump", "noise"],
)
def test_what_is_wrong_with_a_lead_is_told_with_its_name(change, warning):
    (found,) = assess(changed("V3", change)).warnings
    assert warning in found
    assert found.startswith("V3: ")


@pytest.mark.parametrize("mains_hz", [50.0, 60.0])
def test_mains_hum_is_told(mains_hz):
    hum = 0.2 * np.sin(2 * np.pi * mains_hz * np.arange(recording().shape[1]) / FS)
    (found,) = assess(recording() + hum).warnings
    assert found == "mains hum of 0.14 mV (root mean square)"


def test_muscle_noise_is_told():
    assert "as muscles make it" in assess(recording(muscle_mv=0.05)).warnings[-1]


def test_few_heartbeats_are_told():
    found = assess(recording(Rhythm(rate_bpm=45))[:, : round(4 * FS)])
    assert "whole heartbeats: rate and rhythm are uncertain" in found.warnings[0]


# Whatever comes ---------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    kind=st.sampled_from([None, *NO_ECG]),
    scale=st.floats(0.5, 2),
    offset=st.floats(-5, 5),
)
def test_scale_offset_and_order_of_leads_do_not_change_the_verdict(seed, kind, scale, offset):
    signal, fs = (recording(), FS) if kind is None else draw_signal(kind, seed)
    found = assess(signal, fs)
    order = np.random.default_rng(seed).permutation(len(signal))
    assert found.usable is (kind is None)
    assert assess(scale * signal.astype(np.float64), fs).usable is found.usable
    assert assess(signal.astype(np.float64) + offset, fs).usable is found.usable
    assert assess_quality(signal[order], fs, np.array(TWELVE_LEADS)[order]).usable is found.usable


@settings(max_examples=40, deadline=None)
@given(
    n_leads=st.integers(1, 12),
    n_samples=st.integers(1, 3000),
    fs=st.floats(MIN_FS, MAX_FS),
    gaps=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
def test_any_recording_is_judged(n_leads, n_samples, fs, gaps, seed):
    rng = np.random.default_rng(seed)
    signal = rng.choice([-1.0, 0.0, 1e-3, 1e30], (n_leads, n_samples)).astype(np.float32)
    signal[rng.random(signal.shape) < gaps] = np.nan
    found = assess(signal, fs)
    assert not found.usable
    assert len(found.reasons) == 1


def test_a_lead_is_measured_by_itself():
    together = beat_figures(recording(), FS)
    assert all(
        together[row].n_beats == beat_figures(recording()[[row]], FS)[0].n_beats
        for row in range(12)
    )
    assert together[1].rate_bpm == pytest.approx(70, abs=5)


def test_a_long_recording_is_read_in_places():
    hours = np.tile(recording(), (1, 360))
    before = hours.copy()
    assert assess(hours).usable
    np.testing.assert_array_equal(hours, before)
    hours[:, : 1000 * 5000 // 10] = np.nan
    assert assess(hours).usable
