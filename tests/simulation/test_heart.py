import numpy as np
import pytest
from wfdb.processing import xqrs_detect

from ecg.records.leads import TWELVE_LEADS
from ecg.simulation.heart import (
    BEAT_KINDS,
    BEAT_WAVES,
    CONDUCTIONS,
    INDEPENDENT_LEADS,
    LEAD_FIELD,
    Heart,
    beat_table,
    dipole,
    fibrillation,
    flutter,
    lead_field,
    twelve_leads,
    vector,
)

FS = 1000.0


def one_beat(heart, kind="sinus", at_s=0.5, fs=FS, duration_s=1.5):
    return dipole(np.array([at_s]), beat_table(heart, kind)[None], fs, round(duration_s * fs))


def test_the_lead_field_is_the_inverse_of_the_inverse_dower_matrix():
    # Edenbrandt and Pahlm, J Electrocardiol 1988; columns I, II, V1..V6.
    inverse_dower = np.array(
        [
            [0.156, -0.010, -0.172, -0.074, 0.122, 0.231, 0.239, 0.194],
            [-0.227, 0.887, 0.057, -0.019, -0.106, -0.022, 0.041, 0.048],
            [0.022, 0.102, -0.229, -0.310, -0.246, -0.063, 0.055, 0.108],
        ]
    )
    np.testing.assert_allclose(np.linalg.pinv(LEAD_FIELD), inverse_dower, atol=6e-4)
    assert tuple(lead for lead in TWELVE_LEADS if lead in INDEPENDENT_LEADS) == INDEPENDENT_LEADS


def test_einthoven_and_goldberger_hold():
    leads = dict(
        zip(TWELVE_LEADS, twelve_leads(np.random.default_rng(0).normal(size=(8, 50))), strict=True)
    )
    np.testing.assert_allclose(leads["I"] + leads["III"], leads["II"])
    np.testing.assert_allclose(leads["aVR"] + leads["aVL"] + leads["aVF"], 0, atol=1e-12)
    np.testing.assert_allclose(leads["aVL"], (leads["I"] - leads["III"]) / 2)
    np.testing.assert_allclose(leads["aVF"], (leads["II"] + leads["III"]) / 2)


@pytest.mark.parametrize("axis", [-60, 0, 45, 110, 180])
def test_axis_and_amplitude_in_the_leads_are_those_of_the_vector(axis):
    for back in (-0.7, 0.0, 0.7):
        leads = twelve_leads(LEAD_FIELD @ vector(1.2, axis, back)[:, None])[:, 0]
        lead_i, avf = leads[TWELVE_LEADS.index("I")], leads[TWELVE_LEADS.index("aVF")]
        measured = np.degrees(np.arctan2(2 / np.sqrt(3) * avf, lead_i))
        assert np.cos(np.radians(measured - axis)) == pytest.approx(1)
        assert np.hypot(lead_i, 2 / np.sqrt(3) * avf) == pytest.approx(1.2)


@pytest.mark.parametrize("conduction", CONDUCTIONS)
@pytest.mark.parametrize("qrs_s", [0.08, 0.15])
def test_the_qrs_has_its_duration(conduction, qrs_s):
    heart = Heart(qrs_s=qrs_s, conduction=conduction, t_mv=0, t_back_mv=0, p_mv=0)
    size = np.linalg.norm(one_beat(heart), axis=0)
    active = np.flatnonzero(size > 0.05 * size.max())
    assert active[0] / FS == pytest.approx(0.5, abs=0.12 * qrs_s)
    assert active[-1] / FS == pytest.approx(0.5 + qrs_s, abs=0.12 * qrs_s)


def test_p_and_t_waves_match_the_intervals():
    heart = Heart(pr_s=0.2, qt_s=0.42)
    lead_two = (LEAD_FIELD @ one_beat(heart))[1]
    p_wave = np.flatnonzero(lead_two[:480] > 0.1 * lead_two[:480].max())
    assert p_wave[0] / FS == pytest.approx(0.5 - 0.2, abs=0.015)
    t_wave = 650 + np.flatnonzero(lead_two[650:] > 0.12 * lead_two[650:].max())
    assert t_wave[-1] / FS == pytest.approx(0.5 + 0.42, abs=0.015)


@pytest.mark.parametrize("kind", BEAT_KINDS)
def test_each_kind_of_beat_has_its_waves(kind):
    table = beat_table(Heart(), kind)
    present = {
        name for name, row in zip(BEAT_WAVES, table, strict=True) if np.abs(row[2:]).sum() > 0
    }
    assert ("left P" in present) == (
        kind not in ("no P", "premature ventricular", "ventricular pacing, no P")
    )
    assert ("atrial spike" in present) == (kind in ("atrial pacing", "dual pacing"))
    paced = kind in ("ventricular pacing", "ventricular pacing, no P", "dual pacing")
    assert ("ventricular spike" in present) == paced
    assert ({"main QRS", "T fall"} <= present) == (kind != "P alone")


def test_a_p_wave_alone_lies_where_it_would_before_a_qrs():
    alone, whole = (beat_table(Heart(), kind) for kind in ("P alone", "sinus"))
    p_rows = [BEAT_WAVES.index(name) for name in ("right P", "left P")]
    np.testing.assert_array_equal(alone[p_rows], whole[p_rows])
    assert not np.delete(alone, p_rows, axis=0)[:, 2:].any()


def test_the_st_segment_is_raised_between_qrs_and_t_wave():
    normal, raised = (
        (LEAD_FIELD @ one_beat(Heart(st_mv=size, st_axis_deg=60)))[1] for size in (0.0, 0.2)
    )
    change = raised - normal
    j_60 = round((0.5 + Heart().qrs_s + 0.06) * FS)
    assert change[j_60] > 0.12
    assert np.abs(change[: round(0.5 * FS)]).max() < 0.001
    assert np.abs(change[round((0.5 + Heart().qt_s) * FS) :]).max() < 0.01


def test_electrodes_on_the_chest_move_and_the_limb_leads_stay():
    np.testing.assert_array_equal(lead_field(Heart()), LEAD_FIELD)
    moved = lead_field(Heart(chest_shift=1.0, chest_gains=(0.5,) + (1.0,) * 5))
    np.testing.assert_array_equal(moved[:2], LEAD_FIELD[:2])
    np.testing.assert_allclose(moved[2], 0.5 * LEAD_FIELD[3])
    np.testing.assert_allclose(moved[3:7], LEAD_FIELD[4:])
    between = lead_field(Heart(chest_shift=-0.5))
    np.testing.assert_allclose(between[3], (LEAD_FIELD[2] + LEAD_FIELD[3]) / 2)


def test_the_sampling_rate_does_not_change_the_signal():
    heart = Heart()
    fine, coarse = one_beat(heart, fs=1000.0), one_beat(heart, fs=250.0)
    np.testing.assert_allclose(coarse, fine[:, ::4], atol=0.002)


def test_a_spike_shorter_than_the_sampling_interval_keeps_its_area():
    heart = Heart(spike_mv=4.0, qrs_mv=0, t_mv=0, p_mv=0)
    areas = [
        one_beat(heart, "ventricular pacing, no P", fs=fs).sum(axis=1) / fs for fs in (4000, 250)
    ]
    np.testing.assert_allclose(*areas, rtol=0.02, atol=1e-4)


def test_beats_may_lie_partly_outside_the_recording():
    tables = np.stack([beat_table(Heart(), "sinus")] * 3)
    whole = dipole(np.array([1.0, 2.0, 3.0]), tables, 500.0, 2000)
    part = dipole(np.array([0.0, 1.0, 2.0]), tables, 500.0, 1000)
    np.testing.assert_allclose(part, whole[:, 500:1500], atol=1e-12)


def test_the_detector_of_wfdb_finds_every_beat():
    onsets = np.arange(0.6, 11.5, 0.85)
    signal = dipole(onsets, np.stack([beat_table(Heart(), "sinus")] * len(onsets)), 500.0, 6000)
    noise = 0.01 * np.random.default_rng(0).standard_normal(6000)
    found = xqrs_detect((LEAD_FIELD @ signal)[1] + noise, fs=500.0, verbose=False) / 500.0
    assert len(found) >= len(onsets) - 1
    for time in found:
        assert np.abs(onsets + 0.045 - time).min() < 0.06


def test_fibrillation_has_no_fixed_rhythm_and_flutter_has_one():
    time = np.arange(10000) / FS
    rng = np.random.default_rng(0)
    for wave, low, high in (
        (fibrillation(time, 6.0, 0.1, rng), 0.0, 0.6),
        (flutter(time, 5.0, 0.0, 0.1), 0.99, 1.0),
    ):
        power = np.abs(np.fft.rfft(wave[1])) ** 2
        frequencies = np.fft.rfftfreq(10000, 1 / FS)
        line = frequencies[power.argmax()]
        # Share of the strongest frequency and its harmonics.
        near = np.isclose((frequencies + 0.05) % line, 0.05, atol=0.051) & (frequencies > 1)
        assert low <= power[near].sum() / power.sum() <= high


def test_flutter_waves_rise_fast_in_the_inferior_leads_and_fall_fast_in_v1():
    time = np.arange(2000) / FS
    leads = twelve_leads(LEAD_FIELD @ flutter(time, 5.0, 0.0, 0.2))
    by_lead = dict(zip(TWELVE_LEADS, leads, strict=True))
    for lead in ("II", "III", "aVF"):
        slope = np.diff(by_lead[lead])
        assert slope.max() > -1.5 * slope.min()
    slope = np.diff(by_lead["V1"])
    assert -slope.min() > 1.5 * slope.max()
    assert np.ptp(by_lead["II"]) == pytest.approx(0.2, rel=0.02)
    assert 0.05 < np.ptp(by_lead["V1"]) < 0.12
    assert max(by_lead, key=lambda lead: np.ptp(by_lead[lead])) in ("II", "III", "aVF")


def test_f_waves_are_largest_in_v1():
    waves = fibrillation(np.arange(20000) / FS, 6.0, 0.08, np.random.default_rng(0))
    sizes = dict(zip(INDEPENDENT_LEADS, (LEAD_FIELD @ waves).std(axis=1), strict=True))
    assert max(sizes, key=sizes.get) == "V1"
    assert 0.04 < sizes["V1"] < 0.08


def test_the_p_wave_is_biphasic_in_v1_and_larger_in_lead_ii_than_in_v5():
    heart = Heart(qrs_mv=0, septal_mv=0, main_back_mv=0, back_mv=0, t_mv=0, t_back_mv=0)
    leads = dict(zip(INDEPENDENT_LEADS, LEAD_FIELD @ one_beat(heart), strict=True))
    assert leads["V1"].argmax() < leads["V1"].argmin()
    assert leads["V1"].max() > 0.02 < -leads["V1"].min()
    assert leads["II"].max() > leads["V5"].max() > 0


def test_unknown_conduction_and_infarct_are_refused():
    with pytest.raises(ValueError, match=r"conduction: .*found 'up'"):
        Heart(conduction="up")
    with pytest.raises(ValueError, match=r"infarct: .*found 'septum'"):
        Heart(infarct="septum")
