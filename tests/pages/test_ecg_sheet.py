import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest

from ecg.pages.ecg_sheet import Mark, draw_sheet
from ecg.records.leads import LEAD_SETS, TWELVE_LEADS
from ecg.records.record import Record
from tests.synthetic import beats

SVG = "{http://www.w3.org/2000/svg}"


def a_record(leads=TWELVE_LEADS, fs=500.0, n_samples=5000, name="A1") -> Record:
    signal = beats(n_samples, fs, noise_mv=0.0).astype(np.float32)
    rows = [TWELVE_LEADS.index(lead) for lead in leads]
    return Record(name, signal[rows], fs, tuple(leads), 60.0, "Female", ())


def elements(svg, tag, kind):
    found = ElementTree.fromstring(svg).iter(f"{SVG}{tag}")
    return [element for element in found if element.get("class") == kind]


def points(trace) -> np.ndarray:
    """Return the points (n, 2) of a trace, mm."""
    runs = []
    for run in trace.get("d").split("M")[1:]:
        start, steps = run.split("l")
        corners = np.array(f"{start} {steps}".split(), float).reshape(-1, 2)
        runs.append(np.cumsum(corners, axis=0))
    return np.concatenate(runs) / 100


@pytest.mark.parametrize(("lead_set", "n_strips"), [(12, 13), (6, 7), (4, 4), (3, 3), (2, 2)])
def test_every_lead_is_drawn_and_named(lead_set, n_strips):
    svg = draw_sheet(a_record(LEAD_SETS[lead_set]))
    names = [text.text for text in elements(svg, "text", "lead")]
    assert set(names) == set(LEAD_SETS[lead_set])
    assert len(names) == len(elements(svg, "path", "trace")) == n_strips


def test_a_second_is_25_mm_and_a_millivolt_10_mm():
    record = a_record(["I", "II"])
    (_, trace) = elements(draw_sheet(record), "path", "trace")
    x, y = points(trace).T
    assert np.ptp(x) == pytest.approx(10 * 25, abs=0.1)
    assert np.ptp(y) == pytest.approx(10 * np.ptp(record.signal[1]), abs=0.02)
    pulse = elements(draw_sheet(record), "path", "pulse")[0].get("d")
    assert "v-10.0h5.0v10.0" in pulse


def test_a_spike_of_one_sample_is_drawn_at_any_rate():
    for fs in (250.0, 500.0, 1000.0, 4000.0):
        signal = np.zeros((1, int(10 * fs)), np.float32)
        signal[0, int(3.3 * fs) + 1] = 2.0
        (trace,) = elements(
            draw_sheet(Record("A1", signal, fs, ("II",), 60.0, "Male", ())), "path", "trace"
        )
        assert np.ptp(points(trace)[:, 1]) == pytest.approx(20, abs=0.01)


def test_missing_samples_leave_a_gap_and_a_missing_lead_no_line():
    record = a_record(["I", "II"])
    record.signal[0, 1000:2000] = np.nan
    record.signal[1] = np.nan
    first, second = elements(draw_sheet(record), "path", "trace")
    assert first.get("d").count("M") == 2
    assert second.get("d") == ""


def test_signals_of_any_size_stay_in_their_row():
    record = a_record(["I", "II"])
    record.signal[0] *= 100
    svg = draw_sheet(record)
    height = float(ElementTree.fromstring(svg).get("viewBox").split()[3])
    first, second = elements(svg, "path", "trace")
    assert points(first)[:, 1].min() >= 0
    assert points(first)[:, 1].max() < points(second)[:, 1].max() < height


def starts(path) -> list[float]:
    """Return where the blocks of a path of marks start, mm."""
    return [float(block.split()[0]) for block in path.get("d").split("M")[1:]]


def test_marks_cover_their_stretch_and_deepen_with_their_weight():
    marks = [Mark("II", 1.0, 2.0, 1.0), Mark("I", 4.0, 4.5, -0.5), Mark("V1", 1.0, 2.0, 1.0)]
    against, strong = elements(draw_sheet(a_record(["I", "II"]), marks), "path", "mark")
    assert starts(strong) == [pytest.approx(12 + 25)]
    assert "h25.00v" in strong.get("d")
    assert starts(against) == [pytest.approx(12 + 100)]
    assert float(against.get("fill-opacity")) < float(strong.get("fill-opacity"))
    assert "--for" in strong.get("fill")
    assert "--against" in against.get("fill")


def test_a_bar_above_tells_marks_for_from_marks_against_without_colour():
    marks = [Mark("II", 1.0, 2.0, 1.0), Mark("II", 4.0, 4.5, -0.5)]
    svg = draw_sheet(a_record(["I", "II"]), marks)
    against, supporting = elements(svg, "path", "mark-bar")
    tops = [float(path.get("d").split()[1].split("h")[0]) for path in (supporting, against)]
    assert tops[0] < tops[1]


def test_a_mark_appears_wherever_its_stretch_is_printed():
    (mark,) = elements(draw_sheet(a_record(), [Mark("II", 1.0, 1.5, 1.0)]), "path", "mark")
    assert starts(mark) == [pytest.approx(12 + 25)] * 2  # in its column and in the rhythm strip
    (mark,) = elements(draw_sheet(a_record(), [Mark("V1", 4.0, 6.0, 1.0)]), "path", "mark")
    assert starts(mark) == [pytest.approx(12 + 125)]  # of V1, 5 to 7.5 s are printed
    assert not elements(draw_sheet(a_record(), [Mark("V1", 1.0, 2.0, 1.0)]), "path", "mark")


def test_other_leads_follow_the_printed_twelve_in_rows_of_their_own():
    record = a_record()
    signal = np.vstack([record.signal, record.signal[:1]])
    with_x = replace(record, signal=signal, leads=(*TWELVE_LEADS, "X"))
    names = [text.text for text in elements(draw_sheet(with_x), "text", "lead")]
    assert names[:4] == ["I", "aVR", "V1", "V4"]
    assert names[12:] == ["II", "X"]


def test_names_are_escaped():
    svg = draw_sheet(a_record(["I", "II"], name='<b> & "c"'))
    assert '<b> & "c"' in ElementTree.fromstring(svg).get("aria-label")


def test_a_sheet_of_twelve_leads_is_small():
    assert len(draw_sheet(a_record())) < 100_000


def test_short_and_empty_recordings_are_drawn():
    for n_samples in (1, 2, 700):
        assert len(elements(draw_sheet(a_record(n_samples=n_samples)), "path", "trace")) == 13


def test_there_is_a_grid_line_every_millimetre():
    (fine, *_) = re.findall(r'<path d="([^"]*)" stroke="var\(--grid,', draw_sheet(a_record()))
    xs = [int(x) for x in re.findall(r"M(\d+) 0V", fine)]
    assert xs == list(range(265))


def test_seconds_and_baselines_lie_on_bold_lines():
    svg = draw_sheet(a_record())
    (bold,) = re.findall(r'<path d="([^"]*)" stroke="var\(--grid-bold', svg)
    columns = {float(x) for x in re.findall(r"M(\d+) 0V", bold)}
    rows = {float(y) for y in re.findall(r"M0 (\d+)H", bold)}
    assert {12.0 + 25 * second for second in range(11)} <= columns
    for pulse in elements(svg, "path", "pulse"):
        assert float(pulse.get("d").split()[1].split("h")[0]) in rows
