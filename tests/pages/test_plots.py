import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from ecg.evaluation.confidence_intervals import Interval
from ecg.pages.plots import Curve, ScoreRow, draw_calibration, draw_curves, draw_scores
from ecg.pages.training_plot import draw_training

HISTORY = {"loss": [0.7, 0.5], "val_loss": [0.8, 0.6], "learning_rate": [1e-3, 5e-4]}
POINTS = np.array([[0.0, 0.0], [0.2, 0.7], [1.0, 1.0]])
CURVES = [
    Curve("AF", POINTS, "AF, atrial fibrillation: 12 records", 0),
    Curve("PVC", POINTS, "PVC: 3 records", 9, is_faint=True),
]
BINS = np.array([[5, 0.1, 0.2], [0, np.nan, np.nan], [3, 0.9, 1.0]])
ROWS = [
    ScoreRow("12 leads, 80 real", Interval(0.9, 0.8, 0.95)),
    ScoreRow("2 leads, <5> simulated", Interval(0.7, np.nan, np.nan), is_simulated=True),
    ScoreRow("3 leads", Interval(np.nan, np.nan, np.nan)),
]
FIGURES = {
    "scores": lambda label: draw_scores(ROWS, 0.5, label, reference=0.5),
    "curves": lambda label: draw_curves(CURVES, "x axis", "y axis", label),
    "steps": lambda label: draw_curves(CURVES, "x axis", "y axis", label, steps=True),
    "no curves": lambda label: draw_curves([], "x axis", "y axis", label),
    "calibration": lambda label: draw_calibration(BINS, label),
    "training": lambda label: draw_training({"simulated": HISTORY, "records": HISTORY}, label),
}


def elements(svg, tag, **attributes):
    """Return the SVG's elements of a tag with these attributes; class_ stands for class."""
    wanted = {name.rstrip("_"): value for name, value in attributes.items()}
    return [
        node
        for node in ElementTree.fromstring(svg).iter(f"{{http://www.w3.org/2000/svg}}{tag}")
        if all(node.get(name) == value for name, value in wanted.items())
    ]


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_labelled_svg_without_colours_of_their_own(name):
    svg = FIGURES[name]("ROC curves, <12> leads")
    root = ElementTree.fromstring(svg)
    assert root.get("aria-label") == "ROC curves, <12> leads"
    assert root.get("role") == "img"
    assert "#0101" not in svg
    assert "<?xml" not in svg
    assert "<style" not in svg  # its rules would apply to the whole page


@pytest.mark.parametrize("name", FIGURES)
def test_the_same_figure_has_the_same_bytes(name):
    assert FIGURES[name]("A") == FIGURES[name]("A")


@pytest.mark.parametrize("name", FIGURES)
def test_ids_of_two_figures_of_a_page_do_not_clash(name):
    ids = [
        {node.get("id") for node in ElementTree.fromstring(FIGURES[name](label)).iter()} - {None}
        for label in ("A", "B")
    ]
    assert not ids[0] & ids[1]


def test_a_score_has_a_row_with_its_interval_and_simulated_ones_are_marked():
    svg = FIGURES["scores"]("A")
    texts = [node.text for node in elements(svg, "text")]
    assert "0.900 (0.800 to 0.950)" in texts
    assert "0.700" in texts
    assert "not defined" in texts
    assert len(elements(svg, "circle")) == 2
    assert len(elements(svg, "path", class_="whisker")) == 1
    (simulated,) = elements(svg, "g", class_="simulated")
    assert simulated[0].text == "2 leads, <5> simulated"


def test_scores_stand_at_their_place_on_the_axis():
    svg = draw_scores([ScoreRow("A", Interval(0.75, 0.2, 1.0))], 0.5, "A")
    ticks = {node.text: float(node.get("x")) for node in elements(svg, "text") if node.text}
    (dot,), (whisker,) = elements(svg, "circle"), elements(svg, "path", class_="whisker")
    assert float(dot.get("cx")) == pytest.approx((ticks["0.5"] + ticks["1"]) / 2, abs=0.1)
    start, _, end = map(float, re.findall(r"[\d.]+", whisker.get("d")))
    assert (start, end) == pytest.approx((ticks["0.5"], ticks["1"]))  # cut at the axis's end


def test_every_curve_has_its_name_and_look_and_is_drawn_once_beside_its_mean():
    svg = FIGURES["curves"]("A")
    groups = [node for node in elements(svg, "g") if node.get("data-finding")]
    assert [node.get("data-finding") for node in groups] == ["AF", "PVC"]
    assert [node[0].text for node in groups] == [curve.text for curve in CURVES]
    assert groups[0][1].get("class") == "curve c0 d0"
    assert groups[1][1].get("class") == "curve c1 d1 faint"
    assert groups[0][1].get("d") == "M0 0L200 700L1000 1000"
    (mean,) = elements(svg, "path", class_="mean")
    assert "L200 700" in mean.get("d")
    assert "x axis" in svg


def test_26_curves_look_different():
    assert len({Curve("AF", POINTS, "", i).classes for i in range(26)}) == 26


def test_steps_have_the_height_of_their_right_end_and_so_has_their_mean():
    points = np.array([[0.5, 1.0], [1.0, 0.5]])
    svg = draw_curves([Curve("AF", points, "", 0)], "x axis", "y axis", "A", steps=True)
    (curve,) = elements(svg, "path", id="A-AF")
    assert curve.get("d") == "M0 1000V1000H500V500H1000"
    (mean,) = elements(svg, "path", class_="mean")
    heights = {step.split("H")[0] for step in mean.get("d").split("V")[1:]}
    assert heights == {"1000", "500"}  # a slope would have heights in between


def test_calibration_has_a_dot_and_an_interval_for_each_filled_bin():
    svg = FIGURES["calibration"]("A")
    dots = elements(svg, "circle")
    assert len(dots) == 2
    assert float(dots[0].get("r")) > float(dots[1].get("r"))
    (whiskers,) = elements(svg, "path", class_="whisker")
    assert whiskers.get("d").count("M") == 2


def test_stages_of_a_training_are_named():
    svg = FIGURES["training"]("A")
    assert ">simulated<" in svg
    assert ">records<" in svg
    assert "currentColor" in svg


def test_a_stage_without_validation_has_its_training_loss_alone():
    training_only = {name: values for name, values in HISTORY.items() if name != "val_loss"}
    points = {}
    for name, stages in (
        ("both", {"simulated": HISTORY, "records": HISTORY}),
        ("one", {"simulated": training_only, "records": HISTORY}),
        ("none", {"simulated": training_only}),
    ):
        svg = draw_training(stages, "A")
        points[name] = svg.count("<use")
        assert svg.count(">training<") == 1
        assert svg.count(">validation<") == (name != "none")
    # Each line has two points, each legend entry one.
    assert points["both"] - points["one"] == 2
    assert points["none"] < points["one"]
