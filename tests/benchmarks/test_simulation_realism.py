import numpy as np
import pytest

from benchmarks import simulation_realism
from benchmarks.simulation_realism import Measured, compare, measure_record, report
from ecg.records.diagnoses import DIAGNOSES
from ecg.records.discovery import find_records
from ecg.records.headers import Header
from ecg.records.leads import TWELVE_LEADS
from ecg.records.record import write_record
from ecg.simulation.heart import Heart
from ecg.simulation.patients import Patient
from ecg.simulation.recorders import Recorder, record_signal
from ecg.simulation.recordings import heart_signal
from ecg.simulation.rhythms import Rhythm, beat_times

SINUS_CODE = next(d.codes[0] for d in DIAGNOSES if d.abbreviation == "NSR")
QUIET = dict.fromkeys(
    (
        "wander_mv",
        "mains_mv",
        "muscle_mv",
        "motion_per_min",
        "loose_electrode",
        "swapped_electrodes",
    ),
    0.0,
)


def measured(folder, heart=None, rhythm=None, **recorder) -> Measured:
    """Write a simulated record and measure it."""
    recorder = Recorder(**QUIET | recorder)
    patient = Patient(60, "Male", rhythm or Rhythm(), heart or Heart())
    rng = np.random.default_rng(0)
    onsets, kinds = beat_times(patient.rhythm, 10.0, rng)
    signal = heart_signal(patient, onsets, kinds, 10.0, recorder.fs, rng)
    digital = record_signal(signal, recorder, rng)
    header = Header(
        name="X1",
        fs=recorder.fs,
        n_samples=digital.shape[1],
        leads=TWELVE_LEADS,
        adc_gains=(recorder.adc_gain,) * 12,
        baselines=(0,) * 12,
        files=("X1.mat",) * 12,
        age=60,
        sex="Male",
        dx=(SINUS_CODE,),
    )
    folder.mkdir(exist_ok=True)
    write_record(folder, header, digital)
    return measure_record(find_records(folder)[0])


def test_waves_are_measured_as_they_were_simulated(tmp_path):
    heart = Heart(qrs_s=0.1, pr_s=0.16, qt_s=0.4, axis_deg=40, qrs_mv=1.0, t_mv=0.3, p_mv=0.15)
    found = measured(tmp_path, heart, Rhythm(rate_bpm=60))
    assert found.diagnoses == {"NSR"}
    values = found.values
    assert values["heart rate"] == pytest.approx(60, abs=2)
    assert values["PR"] == pytest.approx(170, abs=20)
    assert values["QRS"] == pytest.approx(104, abs=10)
    assert values["QT"] == pytest.approx(410, abs=20)
    assert values["QRS axis"] == pytest.approx(40, abs=20)
    assert values["P II"] == pytest.approx(0.15, abs=0.04)
    assert 0.15 < values["T II"] < 0.35
    assert values["noise II"] < 2


def test_a_raised_st_segment_and_longer_breaths_show(tmp_path):
    normal = measured(tmp_path / "normal")
    changed = measured(
        tmp_path / "changed",
        Heart(st_mv=0.2, st_axis_deg=60, respiration=0.15),
        Rhythm(variation_s=0.2),
    )
    assert changed.values["ST II"] > normal.values["ST II"] + 0.1
    assert changed.values["QRS beat to beat"] > 1.5 * normal.values["QRS beat to beat"]
    assert changed.values["RR range"] > 2 * normal.values["RR range"]


@pytest.mark.parametrize(
    ("noise", "quantity"),
    [({"wander_mv": 0.1}, "II, 0.05-0.7 Hz"), ({"muscle_mv": 0.02}, "noise V1"),
     ({"mains_mv": 0.02}, "mains II")],
)  # fmt: skip
def test_noise_shows_in_its_band(tmp_path, noise, quantity):
    quiet = measured(tmp_path / "quiet").values[quantity]
    assert measured(tmp_path / "noisy", **noise).values[quantity] > quiet + 5


def test_a_flat_lead_is_left_out(tmp_path):
    assert measured(tmp_path, loose_electrode=1.0) is None


def test_the_gap_is_a_share_of_the_range_of_the_real_records():
    spread = np.linspace(0, 100, 41)
    tables = {
        "real": [Measured("X", frozenset({"NSR"}), {"QRS": value}) for value in spread],
        "simulated": [Measured("X", frozenset({"AF"}), {"QRS": value + 9}) for value in spread],
    }
    (row,) = compare(tables)  # none is labelled alike, so that there is one group
    assert (row["group"], row["quantity"], row["unit"]) == (simulation_realism.ALL, "QRS", "ms")
    assert row["real"] == "5 / 25 / 50 / 75 / 95"
    assert row["simulated"] == "14 / 34 / 59 / 84 / 104"
    assert row["simulated_gap"] == "0.10"
    assert "QRS, ms" in report([row])
