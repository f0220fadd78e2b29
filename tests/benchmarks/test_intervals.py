import math

import numpy as np
import pytest

from benchmarks import intervals
from benchmarks.intervals import errors, printed_records, report, simulated_records, true_intervals
from ecg.signals.global_measurements import GlobalMeasurements
from ecg.simulation.heart import Heart
from tests.recording_files import write_muse
from tests.synthetic import beats


def test_the_truth_follows_the_hearts_intervals():
    truth = true_intervals(Heart(pr_s=0.16, qrs_s=0.1, qt_s=0.4), "sinus")
    longer = true_intervals(Heart(pr_s=0.22, qrs_s=0.1, qt_s=0.4), "sinus")
    assert longer["pr"] - truth["pr"] == pytest.approx(60, abs=1)
    assert longer["qt"] == truth["qt"]
    # Its own PR interval begins two standard deviations from the centre of a wave, its QT interval
    # ends before both waves that make up the T wave have fallen to 2 %.
    assert truth["pr"] == pytest.approx(160 + 0.8 * 0.17 * 105, abs=5)
    assert truth["qrs"] == pytest.approx(100, abs=10)
    assert truth["qt"] == pytest.approx(420, abs=5)


def test_a_beat_without_a_p_wave_has_no_pr_interval():
    truth = true_intervals(Heart(), "no P")
    assert math.isnan(truth["pr"])
    assert truth["qt"] == true_intervals(Heart(), "sinus")["qt"]


@pytest.mark.parametrize(("lead_set", "fs"), [(12, None), (2, 100.0)])
def test_simulated_records_come_with_their_truth_and_come_again(lead_set, fs):
    records, again = (list(simulated_records(7, lead_set, fs)) for _ in range(2))
    assert {len(signal) for signal, _, _ in records} == {lead_set}
    assert {rate for _, rate, _ in records} == ({fs} if fs else {500.0, 1000.0, 300.0, 250.0})
    for (signal, rate, truth), (same, _, _) in zip(records, again, strict=True):
        np.testing.assert_array_equal(signal, same)
        assert truth.keys() == set(intervals.INTERVALS)
        assert signal.shape[1] <= 10 * rate


def test_printed_values_come_from_the_file_or_from_a_table(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    signal = beats(5000, 500)
    stored = "<VentricularRate>75</VentricularRate><QTInterval>390</QTInterval>"
    write_muse(folder / "a.xml", signal, 500, measurements=stored)
    (folder / "notes.txt").write_text("no ECG")
    [(found, fs, truth)] = printed_records(folder)
    assert (found.shape, fs) == ((12, 5000), 500)
    assert (truth["rate"], truth["qt"]) == (75, 390)
    assert math.isnan(truth["pr"])

    table = tmp_path / "printed.csv"
    table.write_text("file,rate,pr,qrs,qt\na.xml,76,150,,400\n")
    [(_, _, truth)] = printed_records(folder, table)
    assert (truth["rate"], truth["pr"], truth["qt"]) == (76, 150, 400)
    assert math.isnan(truth["qrs"])

    table.write_text("file,rate,pr\na.xml,76,150\n")
    with pytest.raises(ValueError, match=r"printed.csv: expected the columns qrs, qt"):
        list(printed_records(folder, table))


def test_errors_nulls_and_false_values_are_told_apart():
    truths = [{"rate": 60.0, "pr": pr, "qrs": 90.0, "qt": 400.0} for pr in (160, 160, math.nan)]
    records = [(np.zeros((2, 10)), 500.0, truth) for truth in truths]

    def measure(signal, fs):
        return GlobalMeasurements(heart_rate_bpm=62.0, pr_ms=170.0, qt_ms=None)

    heads, rate, pr, qrs, _ = (line.split() for line in report(errors(records, measure)))
    assert heads == ["records", "median", "90", "%", "bias", "null", "false"]
    assert rate == ["rate", "3", "2.0", "2.0", "2.0", "0.0%", "-"]
    assert pr == ["pr", "2", "10.0", "10.0", "10.0", "0.0%", "100.0%"]
    assert qrs == ["qrs", "3", "nan", "nan", "nan", "100.0%", "-"]
