from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.signal import detrend

from ecg.records.discovery import find_records
from ecg.records.formats import read_ecg
from ecg.records.leads import LEAD_SETS, lead_rows
from ecg.records.record import read_record, select_leads
from ecg.signals import measurements as module
from ecg.signals import preprocessing as signals
from ecg.signals.global_measurements import GlobalMeasurements
from ecg.signals.measurements import (
    N_RHYTHM,
    N_WAVES,
    RHYTHM,
    WAVES,
    measure,
    measure_globally,
    prepare_and_measure,
)
from ecg.signals.preprocessing import Preparation, prepare
from ecg.simulation.heart import Heart
from ecg.simulation.patients import Patient, diagnose
from ecg.simulation.recorders import Recorder, record_signal
from ecg.simulation.recordings import heart_signal
from ecg.simulation.rhythms import Rhythm, beat_times
from tests import measurements as reader
from tests.synthetic import beats

FS = 500.0
LIMB_LEADS = [0, 1]
# What depends on the intervals between beats and on nothing else.
INTERVALS = (
    "rate",
    "shortest interval",
    "longest interval",
    "deviation of intervals",
    "deviation of successive intervals",
    "range of intervals",
    "share of early beats",
)


def recording(rhythm=None, heart=None, seed=0, seconds=10.0, fs=FS) -> np.ndarray:
    """Signal (12, n_samples), mV, of a simulated person as a usual recorder shows it."""
    rng = np.random.default_rng(seed)
    patient = Patient(60, "Male", rhythm or Rhythm(), heart or Heart())
    recorder = Recorder(fs=fs, band_hz=(0.05, 0.4 * fs), loose_electrode=0.0)
    signal = heart_signal(patient, *beat_times(patient.rhythm, seconds, rng), seconds, fs, rng)
    return record_signal(signal, recorder, rng) / recorder.adc_gain


def rhythm_of(signal, fs=FS) -> dict[str, float]:
    return dict(zip(RHYTHM, measure(signal, fs)[0].tolist(), strict=True))


def waves_of(signal, lead, fs=FS) -> dict[str, float]:
    return dict(zip(WAVES, measure(signal, fs)[1][reader.LEAD[lead]].tolist(), strict=True))


def usual(name, **options) -> float:
    """The median of a figure of the rhythm over some recordings."""
    return np.median([rhythm_of(recording(seed=seed, **options))[name] for seed in range(9)])


def axis_deg(figures, wave) -> float:
    sine, cosine = (figures[f"frontal {wave} axis, {part}"] for part in ("sine", "cosine"))
    assert np.hypot(sine, cosine) == pytest.approx(1, abs=1e-5)
    return np.degrees(np.arctan2(sine, cosine))


def apart_deg(one, two) -> float:
    return abs((one - two + 180) % 360 - 180)


def millivolts(squeezed):
    return 0.1 * np.sinh(2 * np.asarray(squeezed))


# What comes out --------------------------------------------------------------------------------


def test_every_figure_has_a_place_and_is_measured():
    rhythm = Rhythm(premature_ventricular=0.1, variation_s=0.1)
    found, waves = measure(recording(rhythm), FS)
    assert (found.shape, waves.shape) == ((N_RHYTHM,), (12, N_WAVES))
    assert (found.dtype, waves.dtype) == (np.float32, np.float32)
    assert [name for name, figure in zip(RHYTHM, found, strict=True) if figure == 0] == []
    assert [name for name, lead in zip(WAVES, waves.T, strict=True) if not lead.any()] == []


def test_figures_are_of_the_order_of_one():
    rows = [measure(recording(seed=seed), FS) for seed in range(5)]
    for figures in (np.stack([r for r, _ in rows]), np.concatenate([w for _, w in rows])):
        assert np.abs(figures).max() < 5
        assert np.abs(figures).mean() > 0.1


@pytest.mark.parametrize("rate_bpm", [38, 60, 75, 110, 150])
def test_the_rate_is_that_of_the_heart(rate_bpm):
    heart = Heart(qt_s=0.4 * (60 / rate_bpm) ** (1 / 3))
    figures = rhythm_of(recording(Rhythm(rate_bpm=rate_bpm), heart))
    assert 75 * np.exp(figures["rate"] / 5) == pytest.approx(rate_bpm, rel=0.05)
    assert figures["share of early beats"] == 0


@pytest.mark.parametrize("axis", [-75, -50, 0, 50, 80, 110, 150, 178])
def test_the_axis_is_what_another_reader_finds(axis):
    signal = recording(heart=Heart(axis_deg=axis, t_axis_deg=axis - 20))
    figures = rhythm_of(signal)
    assert apart_deg(axis_deg(figures, "QRS"), reader.measure(signal, FS).axis_deg) < 12
    assert apart_deg(axis_deg(figures, "T"), axis - 20) < 12


@pytest.mark.parametrize(("axis", "name", "cosine"), [(-60, "LAD", 1), (130, "RAD", -1)])
def test_an_axis_that_deviates_has_the_signs_of_its_diagnosis(axis, name, cosine):
    heart = Heart(axis_deg=axis)
    assert name in diagnose(Patient(60, "Male", heart=heart))
    figures = rhythm_of(recording(heart=heart))
    assert np.sign(figures["frontal QRS axis, cosine"]) == cosine
    assert np.sign(figures["frontal QRS axis, sine"]) == -cosine


@pytest.mark.parametrize("conduction", ["left", "nonspecific"])
def test_a_blocked_branch_makes_the_qrs_last_longer(conduction):
    blocked = Heart(conduction=conduction, qrs_s=0.16)
    assert usual("QRS duration", heart=blocked) > usual("QRS duration") + 0.65  # 20 ms


def test_a_blocked_right_branch_shows_as_a_late_r_wave_in_v1():
    blocked = Heart(conduction="right", qrs_s=0.14)
    for seed in range(3):
        late = waves_of(recording(heart=blocked, seed=seed), "V1")["R after S"]
        assert late > waves_of(recording(seed=seed), "V1")["R after S"] + 0.3


def test_intervals_within_the_beat_grow_with_the_hearts():
    slow = Rhythm(rate_bpm=55)
    for name, short, long, squeezed in (
        ("PR interval", Heart(pr_s=0.14), Heart(pr_s=0.22), 0.08 / 0.05),
        ("QT interval", Heart(qt_s=0.36), Heart(qt_s=0.46), 0.10 / 0.1),
    ):
        change = usual(name, rhythm=slow, heart=long) - usual(name, rhythm=slow, heart=short)
        assert change == pytest.approx(squeezed, rel=0.25), name


def test_qtc_is_bazetts():
    figures = rhythm_of(recording())
    rr_s = 0.8 * np.exp(-figures["rate"] / 5)
    qt_s, qtc_s = figures["QT interval"] / 10 + 0.4, 0.06 * figures["QTc interval"] + 0.42
    assert qtc_s == pytest.approx(qt_s / np.sqrt(rr_s), rel=1e-5)


def test_early_beats_raise_their_share():
    early = Rhythm(premature_atrial=0.15)
    shares = [rhythm_of(recording(early, seed=seed))["share of early beats"] for seed in range(9)]
    assert min(shares) > 0
    assert usual("share of early beats") == 0
    assert usual("shortest interval", rhythm=early) < usual("shortest interval") - 0.3


def test_ventricular_beats_are_odd_and_atrial_ones_are_not():
    ventricular, atrial = Rhythm(premature_ventricular=0.15), Rhythm(premature_atrial=0.15)
    assert usual("share of odd beats", rhythm=ventricular) > 0.1
    assert usual("share of odd beats", rhythm=atrial) == 0
    assert usual("oddest beat", rhythm=ventricular) > usual("oddest beat", rhythm=atrial) + 0.2


def test_fibrillation_has_no_p_waves_and_no_regular_intervals():
    fibrillation = Rhythm(kind="fibrillation", atrial_hz=6.0)
    p_waves = "likeness of P waves"
    assert usual(p_waves, rhythm=fibrillation) < usual(p_waves) - 0.3
    for name in ("deviation of intervals", "deviation of successive intervals"):
        assert usual(name, rhythm=fibrillation) > usual(name) + 0.3


def test_flutter_shows_between_the_beats():
    flutter = Rhythm(kind="flutter", atrial_hz=5.0, ratios=(4,))
    name = "activity between beats, 2-6 Hz"
    assert usual(name, rhythm=flutter) > usual(name, rhythm=Rhythm(rate_bpm=75)) + 0.3


def test_muscles_show_between_the_beats_above_12_hz():
    calm = recording()
    noise = 0.05 * np.random.default_rng(1).standard_normal(calm.shape)
    name = "activity between beats, above 12 Hz"
    assert rhythm_of(calm + noise)[name] > rhythm_of(calm)[name] + 0.2


def test_waves_have_the_height_that_they_were_made_with():
    signal = beats(5000, FS, noise_mv=0.0)  # P, R, T of 0.15, 1.0, 0.3 mV in lead II
    figures = waves_of(signal, "II")
    found = millivolts([figures[name] for name in ("P, largest", "R", "T, largest")])
    np.testing.assert_allclose(found, [0.15, 1.0, 0.3], rtol=0.12, atol=0.02)
    turned = waves_of(signal, "aVR")  # -0.8 times as high
    found = millivolts([turned[name] for name in ("P, least", "Q", "T, least")])
    np.testing.assert_allclose(found, [-0.12, -0.8, -0.24], rtol=0.12, atol=0.02)


def test_a_raised_st_segment_shows_in_its_lead():
    signal = recording(Rhythm(rate_bpm=60, variation_s=0.0))
    raised = signal.copy()
    middles = reader.find_beats(signal)
    for middle in middles:
        raised[7, middle + 25 : middle + 90] += 0.3
    assert waves_of(raised, "V2")["ST"] > waves_of(signal, "V2")["ST"] + 0.2
    assert waves_of(raised, "V3") == waves_of(signal, "V3")


def test_an_interval_that_is_not_clear_is_0():
    figures = rhythm_of(recording(Rhythm(kind="fibrillation", atrial_hz=6.0)))
    assert figures["PR interval"] == 0
    assert figures["QTc interval"] != 0


# What people read ------------------------------------------------------------------------------


def test_people_read_rate_intervals_and_axis():
    heart = Heart(pr_s=0.18, qrs_s=0.1, qt_s=0.42, axis_deg=30)
    found = measure_globally(recording(Rhythm(rate_bpm=65), heart), FS)
    assert found.heart_rate_bpm == pytest.approx(65, abs=2)
    assert found.pr_ms == pytest.approx(180, abs=20)
    assert found.qrs_ms == pytest.approx(100, abs=16)
    assert found.qt_ms == pytest.approx(420, abs=35)  # which ends by the tangent
    assert found.qtc_ms == pytest.approx(found.qt_ms / np.sqrt(60 / found.heart_rate_bpm))
    assert found.qrs_axis_deg == pytest.approx(30, abs=12)


@pytest.mark.parametrize("lead_set", LEAD_SETS)
def test_people_read_about_the_same_of_any_lead_set(lead_set):
    signal = recording()
    whole, found = measure_globally(signal, FS), measure_globally(signal[lead_rows(lead_set)], FS)
    assert (found.heart_rate_bpm, found.qrs_axis_deg) == (whole.heart_rate_bpm, whole.qrs_axis_deg)
    for name in ("pr_ms", "qrs_ms", "qt_ms"):
        assert getattr(found, name) == pytest.approx(getattr(whole, name), abs=14), name


def test_leads_that_are_missing_are_left_out():
    signal = recording()
    expected = measure_globally(signal[lead_rows(2)], FS)
    signal[2:] = np.nan
    assert measure_globally(signal, FS) == expected


@pytest.mark.parametrize("rows", [[0], [1, 0], [6, 7, 8]])
def test_without_leads_one_and_two_there_is_no_axis(rows):
    signal = np.full((12, 5000), np.nan)
    signal[2:5][: len(rows)] = recording()[rows]
    for found in (measure_globally(signal, FS), measure_globally(signal[2:3], FS)):
        assert found.qrs_axis_deg is None
        assert found.heart_rate_bpm == pytest.approx(70, abs=3)
        assert found.qrs_ms is not None


def test_fibrillation_has_a_rate_and_no_pr_interval():
    found = measure_globally(recording(Rhythm(kind="fibrillation", atrial_hz=6.0)), FS)
    assert found.pr_ms is None
    assert found.heart_rate_bpm is not None


@pytest.mark.parametrize("value", [0.0, 5.0, np.nan, np.inf])
@pytest.mark.parametrize("n_samples", [1, 2, 5000])
def test_of_nothing_people_read_nothing(value, n_samples):
    assert measure_globally(np.full((12, n_samples), value), FS) == GlobalMeasurements()


def test_what_people_read_of_a_record_of_noise_is_finite():
    noise = np.random.default_rng(0).standard_normal((12, 5000))
    values = vars(measure_globally(noise, FS)).values()
    assert all(value is None or np.isfinite(value) for value in values)
    assert measure_globally(noise, FS).pr_ms is None


@pytest.mark.parametrize(
    ("file", "pr_ms", "qrs_ms", "qt_ms"),
    [("muse_example1.xml", 138, 96, 452), ("toolkit_example.scp", 148, 120, 420)],
)
def test_cardiographs_print_about_the_same(shared_records, file, pr_ms, qrs_ms, qt_ms):
    sample = shared_records.parent / "formats" / file
    if not sample.is_file():
        pytest.skip(f"{sample} is not there")
    record = read_ecg(str(sample))
    found = measure_globally(select_leads(record, LEAD_SETS[12]), record.fs)
    assert found.pr_ms == pytest.approx(pr_ms, abs=12)
    assert found.qrs_ms == pytest.approx(qrs_ms, abs=16)
    assert found.qt_ms == pytest.approx(qt_ms, abs=16)


# What they depend on ---------------------------------------------------------------------------


@pytest.mark.parametrize("lead_set", LEAD_SETS)
def test_fewer_leads_have_exactly_the_figures_that_they_have_among_twelve(lead_set):
    rows = lead_rows(lead_set)
    for seed, rhythm in enumerate((Rhythm(), Rhythm(kind="fibrillation"), Rhythm(kind="flutter"))):
        signal = recording(rhythm, seed=seed).astype(np.float32)
        among_twelve, alone = measure(signal, FS), measure(signal[rows], FS)
        np.testing.assert_array_equal(alone[0], among_twelve[0])
        np.testing.assert_array_equal(alone[1], among_twelve[1][rows])


def test_what_is_in_another_lead_changes_nothing_but_that_lead():
    signal = recording()
    changed = signal.copy()
    changed[4], changed[7], changed[9] = 3 * signal[4, ::-1], np.nan, 1e6
    others = [0, 1, 2, 3, 5, 6, 8, 10, 11]
    (before, waves), (after, changed_waves) = measure(signal, FS), measure(changed, FS)
    np.testing.assert_array_equal(after, before)
    np.testing.assert_array_equal(changed_waves[others], waves[others])
    assert not changed_waves[[7, 9]].any()


def test_the_memory_layout_of_a_signal_does_not_matter():
    signal = recording()
    for one, two in zip(measure(signal, FS), measure(np.asfortranarray(signal), FS), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_signal_is_left_as_it_was():
    signal = recording()
    signal[3, 100:200] = np.nan
    before = signal.copy()
    measure(signal, FS)
    np.testing.assert_array_equal(signal, before)


@pytest.mark.parametrize("kind", ["sinus", "fibrillation"])
def test_a_doubled_amplitude_leaves_the_intervals_alone(kind):
    signal = recording(Rhythm(kind=kind))
    (one, waves), (two, doubled) = measure(signal, FS), measure(2 * signal, FS)
    places = [RHYTHM.index(name) for name in (*INTERVALS, "QRS duration", "QT interval")]
    np.testing.assert_allclose(two[places], one[places], atol=1e-5)
    np.testing.assert_allclose(millivolts(doubled), 2 * millivolts(waves), rtol=1e-4, atol=1e-5)


def test_an_offset_and_a_slow_wander_hardly_count():
    signal = recording()
    time = np.arange(signal.shape[1]) / FS
    moved = signal + 2.0 + 0.3 * np.sin(2 * np.pi * 0.02 * time)
    for one, two in zip(measure(signal, FS), measure(moved, FS), strict=True):
        np.testing.assert_allclose(one, two, atol=0.15)


@pytest.mark.parametrize("fs", [50, 100, 250, 257, 300, 1000, 4000])
def test_the_sampling_rate_hardly_counts(fs):
    def measured(rate):  # from a pause to a pause, lest a part of a beat count at one rate alone
        signal = beats(10 * rate, rate, qrs_s=0.02, noise_mv=0.0)
        return measure(signal[:, round(0.4 * rate) : round(9.2 * rate)], rate)

    for one, two in zip(measured(500), measured(fs), strict=True):
        # Heights are measured in windows of whole samples of 10 ms.
        np.testing.assert_allclose(two, one, atol=0.11 if fs > 50 else 0.2)


# Beside the windows ----------------------------------------------------------------------------

ALIKE = (Preparation(), Preparation(scale="mV"))
UNLIKE = (
    Preparation(band_order=2),
    Preparation(band_hz=(0.5, 35.0)),
    Preparation(band_hz=None),
    Preparation(fs=500),
    Preparation(window_s=2, max_windows=5),
)


@pytest.mark.parametrize("preparation", ALIKE + UNLIKE)
@pytest.mark.parametrize("seconds", [0.002, 3, 10, 12])
def test_windows_and_measurements_are_those_that_each_has_alone(seconds, preparation):
    signal = recording()[:, : round(seconds * FS)]
    signal[2], signal[5, :700], signal[7] = 0.3, np.nan, 30 * signal[7]
    windows, rhythm, waves = prepare_and_measure(signal, FS, preparation)
    np.testing.assert_array_equal(windows, prepare(signal, FS, preparation))
    for one, two in zip((rhythm, waves), measure(signal, FS), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(("seconds", "n_filtered"), [(3, 1), (10, 1), (12, 2)])
def test_a_record_of_one_window_is_filtered_once(seconds, n_filtered, monkeypatch):
    calls, band_pass = [], signals.band_pass
    monkeypatch.setattr(
        signals, "band_pass", lambda *given: calls.append(given) or band_pass(*given)
    )
    signal = recording(seconds=12.0)[:, : round(seconds * FS)]
    prepare_and_measure(signal, FS, Preparation())
    assert len(calls) == n_filtered


# Steps that numpy and scipy take one by one ----------------------------------------------------


def test_pauses_of_one_length_are_measured_together_as_each_alone():
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((2, 3000)).cumsum(axis=1) / 100
    # Two of each length, one too short, a long one.
    middles = np.cumsum([40, 80, 91, 80, 123, 40, 91, 123, 1500])
    powers = []
    for here, following in pairwise(middles):
        pause = signal[:, here + round(0.55 * (following - here)) : following - 8]
        if (n := pause.shape[1]) >= 20:
            spectrum = np.abs(np.fft.rfft(detrend(pause) * np.hanning(n))) ** 2 / n**2
            hz = np.fft.rfftfreq(n, 0.01)
            bands = ((2, 6), (6, 12), (12, 35))
            powers.append([spectrum[:, (hz >= low) & (hz < high)].sum() for low, high in bands])
    assert len(powers) == 7
    found = list(module._pause_figures(signal, middles).values())
    expected = np.arcsinh(np.sqrt(np.mean(powers, axis=0)) / 0.01) / 2
    np.testing.assert_allclose(found, expected, rtol=1e-9)


# What cannot be measured -----------------------------------------------------------------------


def nothing_measured(signal, fs=FS) -> bool:
    rhythm, waves = measure(signal, fs)
    return not rhythm.any() and not waves[:, 1:].any()


def test_leads_that_are_missing_or_constant_have_zeros():
    signal = recording()
    signal[3], signal[7], signal[8] = 0.7, np.nan, 0.0
    rhythm, waves = measure(signal, FS)
    assert rhythm[0] == 1
    assert not waves[[3, 7, 8]].any()
    assert waves[[0, 1, 2, 4, 5, 6, 9, 10, 11]].any(axis=1).all()


@pytest.mark.parametrize("dead", LIMB_LEADS)
@pytest.mark.parametrize("value", [0.0, 2.5, np.nan])
def test_one_of_the_leads_in_which_beats_are_found_is_enough(dead, value):
    signal = recording()
    whole = rhythm_of(signal)
    signal[dead] = value
    figures = rhythm_of(signal)
    for name in ("beats found", "rate", "QRS duration"):
        assert figures[name] == pytest.approx(whole[name], abs=0.21), name
    assert figures["frontal QRS axis, cosine"] == figures["frontal QRS axis, sine"] == 0


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
def test_without_leads_one_and_two_there_are_only_deviations(value):
    signal = recording()
    signal[LIMB_LEADS] = value
    assert nothing_measured(signal)
    deviation = measure(signal, FS)[1][:, 0]
    assert not deviation[LIMB_LEADS].any()
    np.testing.assert_allclose(millivolts(deviation[2:]), signal[2:].std(axis=1), rtol=0.1)


@pytest.mark.parametrize("value", [0.0, 5.0, np.nan, np.inf])
def test_a_record_in_which_nothing_happens_has_zeros(value):
    rhythm, waves = measure(np.full((12, 5000), value), FS)
    assert not rhythm.any()
    assert not waves.any()


@pytest.mark.parametrize("fs", [50, 100, 250, 257, 300, 500, 1000, 4000])
@pytest.mark.parametrize("n_samples", [1, 2, 5, 40])
def test_a_record_shorter_than_a_beat_has_no_figures_but_deviations(n_samples, fs):
    assert nothing_measured(recording()[:, :n_samples], fs)


def test_one_whole_beat_has_waves_and_no_intervals():
    signal = beats(1000, FS)[:, 125:700]  # QRS complexes lie at 0, 0.8 and 1.6 s
    figures = rhythm_of(signal)
    assert figures["beats found"] == 1
    assert not any(figures[name] for name in INTERVALS)
    assert waves_of(signal, "II")["R"] > 1


@settings(deadline=None, max_examples=100)
@given(
    arrays(
        np.float32,
        st.tuples(st.integers(2, 4), st.integers(1, 400)),
        elements=st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, 1e6, np.nan, np.inf]),
        fill=st.sampled_from([0.0, 0.5, np.nan]),
    ),
    st.sampled_from([50, 100, 250, 257, 300, 500, 1000, 4000]) | st.floats(50, 4000),
)
@example(np.full((2, 1), np.float32(3.4e38)), 500.0)
def test_no_signal_at_any_rate_makes_a_figure_that_is_not_finite(signal, fs):
    rhythm, waves = measure(signal, fs)
    assert (rhythm.shape, waves.shape) == ((N_RHYTHM,), (len(signal), N_WAVES))
    assert np.isfinite(rhythm).all()
    assert np.isfinite(waves).all()


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_faults_anywhere_in_an_ecg_leave_every_figure_finite(data):
    signal = recording(seed=data.draw(st.integers(0, 3)))[[0, 1, 7]].astype(np.float32)
    for _ in range(data.draw(st.integers(1, 4))):
        lead, start = data.draw(st.integers(0, 2)), data.draw(st.integers(0, 4999))
        length = data.draw(st.sampled_from([1, 3, 300, 2500, 5000]))
        fault = data.draw(st.sampled_from([0.0, 1e6, -1e6, 3e38, 20.0, np.nan, np.inf]))
        signal[lead, start : start + length] = fault
    rhythm, waves = measure(signal[:, : data.draw(st.integers(1, 5000))], FS)
    assert np.isfinite(rhythm).all()
    assert np.isfinite(waves).all()
    assert max(np.abs(rhythm).max(), np.abs(waves).max()) < 20


def test_a_long_record_is_measured_as_a_whole():
    figures = rhythm_of(recording(Rhythm(rate_bpm=90), seconds=300.0))
    assert 75 * np.exp(figures["rate"] / 5) == pytest.approx(90, rel=0.03)


def test_real_records_are_measured(shared_records):
    n_found = 0
    records = [read_record(file, 10.0) for file in find_records(shared_records)[::9]]
    for one in records:
        rhythm, waves = measure(one.signal, one.fs)
        assert np.isfinite(rhythm).all(), one.name
        assert np.isfinite(waves).all(), one.name
        assert max(np.abs(rhythm).max(), np.abs(waves).max()) < 10, one.name
        n_found += rhythm[0]
    assert n_found > 0.98 * len(records)
