"""Plots for the report, as SVG that takes its colours from the page."""

import io
import re
from collections.abc import Sequence
from html import escape

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

# Colour that matplotlib draws in -> CSS value that replaces it in the SVG.
_COLOURS = {
    "#010101": "currentColor",
    "#020202": "var(--accent)",
    "#030303": "var(--second)",
    "#040404": "var(--faint)",
}
_INK, _ACCENT, _SECOND, _FAINT = _COLOURS
_STYLE = {
    "svg.fonttype": "none",  # keeps text as text: smaller, and readable by screen readers
    "svg.hashsalt": "ecg",  # reproducible ids
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _FAINT,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "legend.frameon": False,
}
_N_GRID = 101  # points at which curves are averaged
_LOSSES = {  # name in a Keras history -> legend, line style, colour
    "loss": ("training", "o-", _ACCENT),
    "val_loss": ("validation", "s-", _SECOND),
}


def draw_curves(
    curves: dict[str, np.ndarray], x_label: str, y_label: str, label: str, diagonal: bool = False
) -> str:
    """Draw the curve of each class as a thin line and their mean as a bold one.

    curves: class -> points (n_points, 2), x rising to 1. diagonal: draw ROC curves, that is join
    the points by straight lines and add the diagonal of chance; otherwise draw steps, each at the
    height of its right end. label: description for screen readers.
    """
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(4.2, 3.9)
        for name, points in curves.items():
            x, y = points.T
            if not diagonal:
                x, y = np.append(0, x), np.append(y[0], y)
            style = "default" if diagonal else "steps-pre"
            axes.plot(x, y, color=_ACCENT, alpha=0.35, lw=0.8, drawstyle=style, gid=f"curve-{name}")
        if curves:
            grid = np.linspace(0, 1, _N_GRID)
            interpolate = _interpolate_lines if diagonal else _interpolate_steps
            mean = np.mean([interpolate(grid, points) for points in curves.values()], axis=0)
            legend = f"mean of {len(curves)} classes"
            axes.plot(grid, mean, color=_SECOND, lw=2.4, label=legend, gid="mean")
            axes.legend(loc="lower right" if diagonal else "lower left")
        if diagonal:
            axes.plot([0, 1], [0, 1], color=_FAINT, lw=1, ls="--")
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=x_label, ylabel=y_label)
        return _svg(figure, label)


def draw_calibration(bins: np.ndarray, label: str) -> str:
    """Draw a calibration plot above a histogram of the probabilities.

    bins: (n_bins, 3) as returned by `ecg.evaluation.labelled_outputs.calibration`.
    """
    counts, expected, observed = bins.T
    filled = counts > 0
    with mpl.rc_context(_STYLE):
        figure, (upper, lower) = _figure(4.2, 3.9, rows=2, height_ratios=(3, 1))
        upper.plot([0, 1], [0, 1], color=_FAINT, lw=1, ls="--")
        upper.plot(expected[filled], observed[filled], "o-", color=_ACCENT, lw=1.6)
        upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="observed frequency")
        edges = np.linspace(0, 1, len(bins) + 1)
        lower.bar(edges[:-1], np.maximum(counts, 0.5), edges[1], align="edge", color=_FAINT)
        lower.set(xlim=(0, 1), xlabel="probability")
        lower.set(yscale="log", ylim=(0.5, None), ylabel="count")
        return _svg(figure, label)


def draw_confusion(rewards: np.ndarray, names: Sequence[str], label: str) -> str:
    """Draw what each pair of true and predicted class adds to the score (green) or costs (red).

    rewards: (n_classes, n_classes), rows true, columns predicted. The depth of a colour follows the
    square root of the reward, so that rare pairs remain visible.
    """
    size = np.sign(rewards) * np.sqrt(np.abs(rewards))
    largest = max(np.abs(size).max(), 1e-9)
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(6.4, 6.2)
        norm = TwoSlopeNorm(0.0, -largest, largest)
        rows, columns = np.nonzero(size)
        for row, column in zip(rows, columns, strict=True):
            value = float(norm(size[row, column])) * 2 - 1
            colour = "#2a9d4a" if value > 0 else "#c0392b"
            axes.add_patch(
                mpl.patches.Rectangle(
                    (column - 0.5, row - 0.5), 1, 1, color=colour, alpha=abs(value), lw=0
                )
            )
        ticks = range(len(names))
        axes.set(
            xlim=(-0.5, len(names) - 0.5),
            ylim=(len(names) - 0.5, -0.5),
            xlabel="predicted",
            ylabel="true",
            aspect="equal",
        )
        axes.set_xticks(ticks, names, rotation=90, fontsize=7)
        axes.set_yticks(ticks, names, fontsize=7)
        axes.tick_params(length=0)
        return _svg(figure, label)


def draw_training(stages: dict[str, dict[str, list[float]]], label: str) -> str:
    """Draw loss and learning rate by epoch, one training stage after the other.

    stages: name -> Keras history; a stage without `val_loss` has no validation curve.
    """
    with mpl.rc_context(_STYLE):
        figure, (upper, lower) = _figure(6.4, 3.4, rows=2, height_ratios=(3, 1))
        first, legend = 0, {}
        for name, history in stages.items():
            epochs = np.arange(first, first + len(history["loss"])) + 1
            for loss, (text, style, colour) in _LOSSES.items():
                if loss in history:
                    (line,) = upper.plot(epochs, history[loss], style, color=colour, ms=3)
                    legend.setdefault(text, line)
            lower.plot(epochs, history["learning_rate"], "o-", color=_INK, ms=3)
            if first:
                upper.axvline(first + 0.5, color=_FAINT, lw=1)
            upper.text(first + 0.6, 1.02, name, transform=upper.get_xaxis_transform(), fontsize=8)
            first += len(epochs)
        upper.legend(legend.values(), legend.keys())
        upper.set(ylabel="loss", xlim=(0.5, first + 0.5))
        lower.set(ylabel="learning rate", xlabel="epoch", xlim=(0.5, first + 0.5), ylim=(0, None))
        return _svg(figure, label)


def _figure(width: float, height: float, rows: int = 1, **grid) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, gridspec_kw=grid or None)


def _interpolate_lines(grid: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the heights (n_grid,) of a curve whose points (n_points, 2) are joined by lines."""
    return np.interp(grid, *points.T)


def _interpolate_steps(grid: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the heights (n_grid,) of a step curve (n_points, 2), each step at its right end."""
    return points[np.searchsorted(points[:, 0], grid), 1]


def _svg(figure: Figure, label: str) -> str:
    """Return the figure's SVG element, with `label` for screen readers."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    for drawn, css in _COLOURS.items():
        svg = svg.replace(drawn, css)
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    # A CSS rule for "*" would apply to the whole page.
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", svg, flags=re.DOTALL)
    # Ids must be unique among the figures of a page.
    prefix = re.sub(r"\W+", "-", label)
    svg = re.sub(r'\b(id|xlink:href)="(#?)', rf'\1="\2{prefix}-', svg)
    svg = svg.replace("url(#", f"url(#{prefix}-")
    width = re.search(r'width="([\d.]+)pt"', svg)[1]
    svg = re.sub(r'(<svg[^>]*?) width="[\d.]+pt"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[\d.]+pt"', r"\1", svg, count=1)
    style = f"width:100%;max-width:{float(width) * 4 / 3:.0f}px;stroke-linejoin:round"
    start = f'<svg class="figure" role="img" aria-label="{escape(label)}" style="{style}"'
    return svg.replace("<svg", start, 1).strip()
