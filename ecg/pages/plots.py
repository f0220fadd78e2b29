"""Figures of the report, as SVG with classes that the page's style sheet gives colours.

They are written here and not by a plotting library, since each curve has to be an element that the
page can name and highlight, and since a page holds hundreds of small ones.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from ecg.evaluation.confidence_intervals import Interval, wilson_limits

N_COLOURS, N_DASHES = 8, 4  # of curves, in templates/report.html
_UNIT = 1000  # paths are in whole thousandths of an axis, which are shorter than fractions
_TICKS = (0, 0.2, 0.4, 0.6, 0.8, 1)
_N_GRID = 101  # points at which curves are averaged


@dataclass(frozen=True)
class Curve:
    """A curve of a finding: its abbreviation, points (n_points, 2), and the text shown for it.

    style: number from 0, for its colour and dashes. is_faint: drawn faintly.
    """

    name: str
    points: np.ndarray
    text: str
    style: int
    is_faint: bool = False

    @property
    def classes(self) -> str:
        """The CSS classes of its line."""
        colour, dashes = self.style % N_COLOURS, self.style // N_COLOURS % N_DASHES
        return f"curve c{colour} d{dashes}{' faint' if self.is_faint else ''}"


@dataclass(frozen=True)
class ScoreRow:
    """A row of `draw_scores`: what was scored, the score, and whether on simulated records."""

    name: str
    score: Interval
    is_simulated: bool = False


def interval_text(score: Interval) -> str:
    """Return the score with its interval, as far as they are defined."""
    if np.isnan(score.value):
        return "not defined"
    if np.isnan(score.low):
        return f"{score.value:.3f}"
    return f"{score.value:.3f} ({score.low:.3f} to {score.high:.3f})"


def draw_scores(
    rows: Sequence[ScoreRow], lowest: float, label: str, reference: float | None = None
) -> str:
    """Draw each score as a dot with its interval, one row below the other, and its value.

    lowest: the left end of the axis, which ends at 1; lower limits are cut there. reference: a
    score that is marked by a dashed line.
    """
    left, right, row_height, top = 14, 388, 42, 6
    bottom = top + row_height * len(rows)

    def x(value):
        return left + (right - left) * (max(value, lowest) - lowest) / (1 - lowest)

    n_steps = round((1 - lowest) * 10)
    step = 1 if n_steps <= 6 else 2
    ticks = [1 - i / 10 for i in range(0, n_steps + 1, step)]
    parts = [
        f'<path class="grid" d="M{x(tick):.1f} {top}V{bottom}"/>'
        f'<text x="{x(tick):.1f}" y="{bottom + 15}" text-anchor="middle">{_number(tick)}</text>'
        for tick in ticks
    ]
    if reference is not None:
        parts.append(f'<path class="chance" d="M{x(reference):.1f} {top}V{bottom}"/>')
    for i, row in enumerate(rows):
        y, score = top + row_height * i, row.score
        kind = ' class="simulated"' if row.is_simulated else ""
        parts.append(
            f'<g{kind}><text class="row" x="{left}" y="{y + 15}">{escape(row.name)}</text>'
        )
        parts.append(
            f'<text class="value" x="{right}" y="{y + 15}" text-anchor="end">'
            f"{escape(interval_text(score))}</text>"
        )
        if not np.isnan(score.value):
            middle = y + 27
            if not np.isnan(score.low):
                parts.append(
                    f'<path class="whisker" d="M{x(score.low):.1f} {middle}H{x(score.high):.1f}"/>'
                )
            parts.append(f'<circle class="dot" cx="{x(score.value):.1f}" cy="{middle}" r="4.5"/>')
        parts.append("</g>")
    return _svg(400, bottom + 22, label, parts)


def draw_curves(
    curves: Sequence[Curve], x_label: str, y_label: str, label: str, steps: bool = False
) -> str:
    """Draw a curve of each finding, and their mean as a bold line.

    steps: whether the points, x rising to 1, are joined by steps, each at the height of its right
    end, as in a precision-recall curve; otherwise it is by straight lines, with the diagonal of
    chance. label: description for screen readers; unique on the page.
    """
    left, top, size = 46, 8, 370
    prefix = re.sub(r"\W+", "-", label)
    parts = [_square_axes(left, top, size, x_label, y_label)]
    scale = size / _UNIT
    parts.append(f'<g transform="translate({left} {top + size}) scale({scale:g} {-scale:g})">')
    if not steps:
        parts.append(f'<path class="chance" d="M0 0L{_UNIT} {_UNIT}"/>')
    path = _step_path if steps else _line_path
    for curve in curves:
        # A wide invisible copy, as a thin line is hard to hit with a pointer.
        name = escape(curve.name)
        parts.append(
            f'<g data-finding="{name}"><title>{escape(curve.text)}</title>'
            f'<path class="{curve.classes}" id="{prefix}-{name}" d="{path(curve.points)}"/>'
            f'<use class="hit" href="#{prefix}-{name}"/></g>'
        )
    if curves:
        grid = np.linspace(0, 1, _N_GRID)
        interpolate = _interpolate_steps if steps else _interpolate_lines
        mean = np.mean([interpolate(grid, curve.points) for curve in curves], axis=0)
        mean = np.stack([grid, mean], axis=1)
        parts.append(f'<path class="mean" d="{path(mean)}"/>')
    return _svg(left + size + 8, top + size + 38, label, [*parts, "</g>"])


def draw_calibration(bins: np.ndarray, label: str) -> str:
    """Draw the share of true labels against the probability, with Wilson intervals.

    bins: (n_bins, 3) as returned by `ecg.evaluation.labelled_outputs.calibration`. A dot's area
    follows the square root of the number of probabilities in its bin.
    """
    left, top, size = 14, 4, 100
    counts, expected, observed = bins[bins[:, 0] > 0].T
    low, high = wilson_limits(observed * counts, counts)
    x = left + size * expected
    y, y_low, y_high = (top + size * (1 - values) for values in (observed, low, high))
    parts = [
        f'<path class="frame" d="M{left} {top}h{size}v{size}h{-size}z"/>'
        f'<path class="chance" d="M{left} {top + size}l{size} {-size}"/>'
        f'<text x="{left}" y="{top + size + 11}" text-anchor="middle">0</text>'
        f'<text x="{left + size}" y="{top + size + 11}" text-anchor="middle">1</text>'
        f'<text x="{left - 4}" y="{top + 8}" text-anchor="end">1</text>'
    ]
    whiskers = "".join(
        f"M{a:.1f} {b:.1f}V{c:.1f}" for a, b, c in zip(x, y_low, y_high, strict=True)
    )
    parts.append(f'<path class="whisker" d="{whiskers}"/>')
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    parts.append(f'<polyline class="line" points="{points}"/>')
    radii = 1.2 + 2.2 * (counts / counts.max()) ** 0.25 if len(counts) else counts
    parts += [
        f'<circle class="dot" cx="{a:.1f}" cy="{b:.1f}" r="{r:.1f}"/>'
        for a, b, r in zip(x, y, radii, strict=True)
    ]
    return _svg(120, 120, label, parts)


def _square_axes(left: float, top: float, size: float, x_label: str, y_label: str) -> str:
    """Return axes from 0 to 1 with a grid and labels."""
    bottom = top + size
    parts = []
    for tick in _TICKS:
        x, y = left + size * tick, bottom - size * tick
        parts.append(
            f'<path class="grid" d="M{x:g} {top}V{bottom}M{left} {y:g}H{left + size}"/>'
            f'<text x="{x:g}" y="{bottom + 15}" text-anchor="middle">{_number(tick)}</text>'
            f'<text x="{left - 6}" y="{y + 4:g}" text-anchor="end">{_number(tick)}</text>'
        )
    middle = top + size / 2
    parts.append(
        f'<text x="{left + size / 2:g}" y="{bottom + 33}" text-anchor="middle">{escape(x_label)}'
        f'</text><text transform="translate(11 {middle:g}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_label)}</text>"
    )
    return "".join(parts)


def _line_path(points: np.ndarray) -> str:
    """Return path data of the points (n_points, 2) joined by lines."""
    return "M" + "L".join(f"{x} {y}" for x, y in _in_units(points))


def _step_path(points: np.ndarray) -> str:
    """Return path data of steps, from x = 0, each at the height of its right end."""
    points = _in_units(points)
    return f"M0 {points[0, 1]}" + "".join(f"V{y}H{x}" for x, y in points)


def _in_units(points: np.ndarray) -> np.ndarray:
    return np.rint(points * _UNIT).astype(int)


def _interpolate_lines(grid: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the heights (n_grid,) of a curve whose points (n_points, 2) are joined by lines."""
    return np.interp(grid, *points.T)


def _interpolate_steps(grid: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the heights (n_grid,) of a step curve (n_points, 2), each step at its right end."""
    return points[np.searchsorted(points[:, 0], grid), 1]


def _number(value: float) -> str:
    return f"{value + 0:.1f}".removesuffix(".0")


def _svg(width: float, height: float, label: str, parts: Sequence[str]) -> str:
    """Return an SVG element with a description for screen readers."""
    return (
        f'<svg class="plot" xmlns="http://www.w3.org/2000/svg" role="img" '
        f'aria-label="{escape(label)}" viewBox="0 0 {width:g} {height:g}">{"".join(parts)}</svg>'
    )
