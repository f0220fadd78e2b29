import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from ecg.pages.plots import draw_calibration, draw_confusion, draw_curves, draw_training

HISTORY = {"loss": [0.7, 0.5], "val_loss": [0.8, 0.6], "learning_rate": [1e-3, 5e-4]}
CURVE = np.array([[0.0, 0.0], [0.2, 0.7], [1.0, 1.0]])
BINS = np.array([[5, 0.1, 0.2], [0, np.nan, np.nan], [3, 0.9, 1.0]])
FIGURES = {
    "curves": lambda label: draw_curves({"AF": CURVE, "PVC": CURVE}, "x axis", "y axis", label),
    "no curves": lambda label: draw_curves({}, "x axis", "y axis", label, diagonal=True),
    "calibration": lambda label: draw_calibration(BINS, label),
    "confusion": lambda label: draw_confusion(np.diag([2.0, 0.0]) - 0.5, ["AF", "NSR"], label),
    "training": lambda label: draw_training({"simulated": HISTORY, "records": HISTORY}, label),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_labelled_svg_in_the_colours_of_the_page(name):
    svg = FIGURES[name]("ROC curves, <12> leads")
    root = ElementTree.fromstring(svg)
    assert root.get("aria-label") == "ROC curves, <12> leads"
    assert root.get("role") == "img"
    assert "currentColor" in svg
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


def test_every_class_has_its_curve_and_the_mean_is_in_the_legend():
    svg = FIGURES["curves"]("A")
    assert "A-curve-AF" in svg
    assert "A-curve-PVC" in svg
    assert "mean of 2 classes" in svg
    assert "x axis" in svg


def heights(line: str) -> list[float]:
    """Return the y coordinates, downwards, of the points of the first SVG path in `line`."""
    path = line.split('d="')[1].split('"')[0]
    return [float(point.split()[2]) for point in path.splitlines() if point.strip()]


def test_without_a_diagonal_curves_are_steps_and_so_is_their_mean():
    curve = np.array([[0.5, 1.0], [1.0, 0.5]])
    svg = draw_curves({"AF": curve}, "x axis", "y axis", "A")
    steps, mean = (set(heights(svg.split(f'id="A-{name}"')[1])) for name in ("curve-AF", "mean"))
    assert len(steps) == 2  # a slope would have heights in between
    assert steps == {min(mean), max(mean)}


def test_gains_are_green_and_losses_red():
    svg = FIGURES["confusion"]("A")
    assert svg.count("#2a9d4a") == 1
    assert svg.count("#c0392b") == 3


def test_stages_of_a_training_are_named():
    svg = FIGURES["training"]("A")
    assert ">simulated<" in svg
    assert ">records<" in svg


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
