import math
import re
import xml.etree.ElementTree as ElementTree

import numpy as np

from ecg.models.prediction import Timeline
from ecg.pages.timeline import clock, draw_timeline
from ecg.records.diagnoses import DIAGNOSES

AF = [diagnosis.abbreviation for diagnosis in DIAGNOSES].index("AF")
NSR = [diagnosis.abbreviation for diagnosis in DIAGNOSES].index("NSR")


def a_timeline(n_windows=30, unusable=(5,)) -> Timeline:
    """Sinus rhythm with atrial fibrillation in windows 10 to 14."""
    usable = np.ones(n_windows, bool)
    usable[list(unusable)] = False
    rates = np.where(usable, 70.0, math.nan)
    rates[10:15] = 130.0
    present = np.zeros((n_windows, 26), bool)
    present[usable, NSR] = True
    present[10:15] = False
    present[10:15, AF] = True
    probabilities = np.where(usable[:, None], np.where(present, 0.9, 0.02), math.nan)
    return Timeline(10.0 * np.arange(n_windows), usable, rates, present, probabilities)


def drawn(svg, kind) -> list[str]:
    root = ElementTree.fromstring(svg)
    return [element.get("d") for element in root.iter() if element.get("class") == kind]


def texts(svg) -> list[str]:
    return [element.text for element in ElementTree.fromstring(svg).iter() if element.text]


def test_findings_have_a_lane_each_with_a_bar_per_episode():
    svg = draw_timeline(a_timeline(), 300.0)
    sinus, fibrillation = drawn(svg, "episode")
    assert sinus.count("M") == 3  # interrupted by noise and by fibrillation
    assert fibrillation.count("M") == 1
    assert {"NSR", "AF", "not usable"} <= set(texts(svg))
    assert drawn(svg, "unusable")[0].count("M") == 1


def test_the_rate_is_interrupted_where_it_is_not_measured():
    (rate,) = drawn(draw_timeline(a_timeline(), 300.0), "rate")
    assert rate.count("M") == 2
    (whole,) = drawn(draw_timeline(a_timeline(unusable=()), 300.0), "rate")
    assert whole.count("M") == 1


def test_a_day_is_drawn_within_limits_and_no_episode_is_lost():
    timeline = a_timeline(8640)
    svg = draw_timeline(timeline, 86_400.0, shown_s=100.0)
    assert len(svg) < 30_000
    assert drawn(svg, "episode")[1].count("M") == 1
    ticks = [text for text in texts(svg) if re.fullmatch(r"[\d:]+:\d\d", text)]
    assert 3 <= len(ticks) <= 10


def test_the_drawing_is_described_in_words():
    label = ElementTree.fromstring(draw_timeline(a_timeline(), 300.0)).get("aria-label")
    assert "29 of 30 windows usable" in label
    assert "heart rate 70 to 130 a minute" in label
    assert "atrial fibrillation in 5 windows, from 1:40" in label


def test_a_timeline_without_any_usable_window_is_drawn():
    present, unknown = np.zeros((6, 26), bool), np.full((6, 26), math.nan)
    timeline = Timeline(10.0 * np.arange(6), present[:, 0], unknown[:, 0], present, unknown)
    assert "0 of 6 windows usable" in draw_timeline(timeline, 60.0)


def test_times_are_written_as_on_a_clock():
    assert [clock(seconds) for seconds in (0, 59.6, 61, 3600)] == [
        "0:00",
        "1:00",
        "1:01",
        "1:00:00",
    ]
