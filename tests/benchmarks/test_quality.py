import re
import sys

import pytest

from benchmarks.quality import NO_ECG, QUANTILES, main
from ecg.records.leads import TWELVE_LEADS
from tests.synthetic import beats, write_record


@pytest.fixture
def folder(tmp_path):
    write_record(tmp_path, "A0001", beats(5000, 500.0), 500.0)
    write_record(tmp_path, "A0002", beats(5000, 500.0) / 1000, 500.0)
    return tmp_path


def run(folder, capsys, monkeypatch, *arguments) -> list[str]:
    monkeypatch.setattr(sys, "argv", ["quality", str(folder), *arguments])
    main()
    return capsys.readouterr().out.splitlines()


def test_what_is_refused_and_what_is_accepted_is_printed(folder, capsys, monkeypatch):
    lines = run(folder, capsys, monkeypatch, "--seeds", "2")
    whole = next(line for line in lines if line.startswith("whole"))
    assert [float(cell) for cell in whole.split()[1:]] == [50.0] * (2 + len(TWELVE_LEADS) + 1)
    assert any(line.startswith("A0002, whole, 12 leads: ") for line in lines)
    assert not any(line.startswith("A0001, ") for line in lines)
    accepted = {line.split("  ", 1)[-1].strip(): line for line in lines}
    for kind in NO_ECG:
        assert accepted[f"0.00  {kind.__name__.replace('_', ' ')}"]


def test_quantiles_of_the_figures_are_printed(folder, capsys, monkeypatch):
    lines = run(folder, capsys, monkeypatch, "--seeds", "2", "--figures")
    # Of the small record, whose noise is not smaller, some leads show noise alone.
    assert any(re.match("real leads, first 10 s: 2[0-4] of 24 leads", line) for line in lines)
    rates = next(line for line in lines if line.startswith("rate_bpm"))
    assert float(rates.split()[QUANTILES.index(0.5) + 1]) == pytest.approx(75, rel=0.02)
