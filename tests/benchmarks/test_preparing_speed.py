import numpy as np
import pytest

from benchmarks import preparing_speed
from benchmarks.preparing_speed import WAYS, report, resample_once, seconds_taken, usable
from ecg.records.leads import TWELVE_LEADS
from ecg.signals.preprocessing import prepare, standardise
from tests.synthetic import beats, write_folder, write_record


def test_every_way_takes_records_of_both_dialects(tmp_path):
    write_folder(tmp_path, 2)
    write_folder(tmp_path, 1, prefix="V", v103=True, fs=1000.0)
    files = usable(tmp_path)
    assert len(files) == 3
    for name in WAYS:
        assert seconds_taken(name, files, tmp_path / "part") > 0


def test_ours_writes_the_prepared_windows_with_and_without_measurements(tmp_path):
    signal = beats(5000, 500)
    write_record(tmp_path, "A1", signal, 500)
    written = []
    for name in ("ours", "ours, without measurements"):
        seconds_taken(name, usable(tmp_path), tmp_path / "part")
        written.append(np.fromfile(tmp_path / "part", np.float32).reshape(1, 12, 1000))
    np.testing.assert_array_equal(*written)
    expected = prepare(np.round(signal, 3), 500, preparing_speed.PREPARATION)
    np.testing.assert_allclose(written[0], expected, atol=1e-4)


def test_a_record_that_cannot_be_used_is_told(tmp_path):
    write_record(tmp_path, "A1", beats(500, 100), 100, dx="")
    with pytest.raises(ValueError, match="no diagnosis code"):
        seconds_taken("ours", usable(tmp_path), tmp_path / "part")


def test_records_of_fewer_leads_are_left_out(tmp_path):
    write_record(tmp_path, "A1", beats(500, 100), 100)
    write_record(tmp_path, "A2", beats(500, 100), 100, TWELVE_LEADS[:6])
    assert [file.name for file in usable(tmp_path)] == ["A1"]


def test_the_usual_resampling_gives_nearly_what_ours_does():
    signal = beats(5000, 500)
    band = preparing_speed.Preparation(band_hz=None)
    ours = prepare(signal, 500, band)[0]
    usual = standardise(resample_once(signal, 500))
    # Near the ends it takes what lies beyond as 0, and our own as the mean.
    np.testing.assert_allclose(usual[:, 10:-10], ours[:, 10:-10], atol=0.1)


def test_the_lines_have_the_ratios():
    rates = {"ours": 310, "ours, without measurements": 500, "usual": 50, "limit": 1000}
    lines = report(rates)
    assert "310 records/s, 6.2x wfdb + scipy (reach 5x), 0.31 of reading" in lines[0]
    assert "without measurements: 500 records/s, 10.0x" in lines[1]
