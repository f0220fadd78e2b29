import numpy as np
import pytest

from ecg.records.formats.completion import complete
from ecg.records.lead_arithmetic import arms_look_swapped, calibration_start, derive_limb_leads
from ecg.records.leads import TWELVE_LEADS
from ecg.records.record import Record, select_leads
from tests.synthetic import beats

FS = 500.0


@pytest.fixture
def signal():
    return beats(5000, FS)


def swapped(signal):
    """What a recorder stores when the arm electrodes are exchanged."""
    order = [TWELVE_LEADS.index(lead) for lead in ("I", "III", "II", "aVL", "aVR", "aVF")]
    limbs = signal[order].copy()
    limbs[0] *= -1
    return np.concatenate([limbs, signal[6:]])


def with_pulse(signal, top_mv=1.0, width_s=0.2, lead_in_s=0.2, rest_s=0.3, noise_mv=0.0):
    """A signal with a calibration pulse after it."""
    pulse = [np.zeros(round(lead_in_s * FS)), np.full(round(width_s * FS), top_mv)]
    pulse = np.concatenate([*pulse, np.zeros(round(rest_s * FS))])
    noise = noise_mv * np.random.default_rng(0).standard_normal((len(signal), len(pulse)))
    return np.concatenate([signal, pulse + noise], axis=1)


def record(signal, leads=TWELVE_LEADS) -> Record:
    rows = [TWELVE_LEADS.index(lead) for lead in leads]
    return Record("A1", signal[rows].astype(np.float32), FS, leads, 60.0, "Male", ())


def test_derived_limb_leads_are_those_that_a_machine_records():
    clean = beats(1000, FS, noise_mv=0.0)
    derived = derive_limb_leads(clean[0], clean[1])
    for lead, values in derived.items():
        np.testing.assert_allclose(values, clean[TWELVE_LEADS.index(lead)], atol=1e-12)


def test_derived_leads_follow_the_files_own_and_a_note_says_so(signal):
    found = complete(record(signal, ("V2", "II", "I", "aVR")))
    assert found.leads == ("V2", "II", "I", "aVR", "III", "aVL", "aVF")
    assert found.notes[0] == "III, aVL, aVF computed from I and II"
    np.testing.assert_array_equal(found.signal[3], record(signal).signal[3])


def test_without_i_and_ii_no_lead_is_derived(signal):
    found = complete(record(signal, ("II", "V5")))
    assert found.leads == ("II", "V5")
    assert found.notes == ("not in the file: I, III, aVR, aVL, aVF, V1, V2, V3, V4, V6",)


def test_mlii_is_lead_ii_where_there_is_no_other(signal):
    two = signal[:2].astype(np.float32)
    found = complete(Record("A1", two, FS, ("MLII", "V5"), 60.0, "Male", ()))
    assert found.leads == ("II", "V5")
    assert "MLII" in found.notes[0]
    found = complete(Record("A1", two, FS, ("MLII", "II"), 60.0, "Male", ()))
    assert found.leads == ("MLII", "II")


def test_one_lead_is_read_with_a_warning(signal):
    found = complete(record(signal, ("V2",)))
    assert found.leads == ("V2",)
    assert any("one lead only (V2)" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"noise_mv": 0.005},
        {"width_s": 0.25, "top_mv": 0.95},
        {"lead_in_s": 0.0},
        {"rest_s": 0.0},
        {"lead_in_s": 0.5},
    ],
)
@pytest.mark.parametrize("leads", [slice(None), slice(1)])
def test_a_calibration_pulse_is_cut_off_with_what_is_around_it(signal, options, leads):
    start = calibration_start(with_pulse(signal[leads], **options), FS)
    # The beats' own baseline before the pulse may go with it.
    assert 4700 <= start <= 5002
    found = complete(record(with_pulse(signal, **options)))
    assert found.signal.shape[1] <= 5002
    assert "calibration pulse" in found.notes[0]


@pytest.mark.parametrize(
    "options",
    [{"top_mv": 0.5}, {"top_mv": 2.0}, {"width_s": 0.02}, {"width_s": 0.6}, {"rest_s": 2.0}],
)
def test_what_is_no_calibration_pulse_stays(signal, options):
    assert calibration_start(with_pulse(signal, **options), FS) is None


def test_beats_and_a_pulse_in_some_leads_alone_stay(signal):
    assert calibration_start(signal, FS) is None
    some = with_pulse(signal)
    some[3, 5000:] = 0
    assert calibration_start(some, FS) is None
    assert calibration_start(np.full((12, 5000), np.nan), FS) is None
    assert calibration_start(signal[:, :5], FS) is None


def test_swapped_arm_electrodes_are_noticed_and_left_alone(signal):
    found = complete(record(swapped(signal)))
    assert any("swapped" in warning for warning in found.warnings)
    np.testing.assert_array_equal(select_leads(found, ("I",))[0], -record(signal).signal[0])
    assert complete(record(signal)).warnings == ()


def test_a_heart_on_the_right_is_not_taken_for_swapped_electrodes(signal):
    # Its limb leads look the same, but V5 and V6 are negative, too.
    mirrored = swapped(signal)
    mirrored[10:] *= -1
    assert complete(record(mirrored)).warnings == ()
    limbs = select_leads(record(mirrored), ("I", "II", "aVR"))
    assert arms_look_swapped(limbs, mirrored[:0], FS)


def test_without_p_waves_nothing_is_said_of_the_electrodes():
    time = np.arange(5000) / FS % 0.8
    spikes = np.exp(-0.5 * ((time - 0.4) / 0.012) ** 2)
    signal = np.array([-0.6, 0.4, 0.1])[:, None] * spikes
    assert not arms_look_swapped(signal, signal[:0], FS)
    assert not arms_look_swapped(np.zeros((3, 5000)), np.zeros((0, 5000)), FS)
