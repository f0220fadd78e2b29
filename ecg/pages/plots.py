"""Arrays -> figures of a page, as SVG in the page's own colours."""

import io
import re
from collections.abc import Sequence
from html import escape

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

# Drawn in these, which the page then replaces by its own.
_COLOURS = {
    "#010101": "currentColor",
    "#020202": "var(--accent)",
    "#030303": "var(--second)",
    "#040404": "var(--faint)",
}
_INK, _ACCENT, _SECOND, _FAINT = _COLOURS
_STYLE = {
    "svg.fonttype": "none",  # text stays text: small, and legible by other means
    "svg.hashsalt": "ecg",  # the same figure has the same bytes
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
_GRID = 101  # points at which curves are averaged
_LOSSES = {  # name in a history -> how it is drawn
    "loss": ("training", "o-", _ACCENT),
    "val_loss": ("records set aside", "s-", _SECOND),
}


def draw_curves(
    curves: dict[str, np.ndarray], x_label: str, y_label: str, label: str, diagonal: bool = False
) -> str:
    """Each class's curve (n_points, 2), thin, and their mean over the classes, bold.

    curves: name -> points, x rising to 1. diagonal: whether to draw what chance comes to, the
    points joined by lines as in a ROC curve; else by steps, each at the height of its end.
    """
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(4.2, 3.9)
        for name, points in curves.items():
            x, y = points.T
            if not diagonal:
                x, y = np.append(0, x), np.append(y[0], y)
            drawn = "default" if diagonal else "steps-pre"
            axes.plot(x, y, color=_ACCENT, alpha=0.35, lw=0.8, drawstyle=drawn, gid=f"curve-{name}")
        if curves:
            grid = np.linspace(0, 1, _GRID)
            heights = _between if diagonal else _at_end_of_step
            mean = np.mean([heights(grid, points) for points in curves.values()], axis=0)
            named = f"mean of {len(curves)} classes"
            axes.plot(grid, mean, color=_SECOND, lw=2.4, label=named, gid="mean")
            axes.legend(loc="lower right" if diagonal else "lower left")
        if diagonal:
            axes.plot([0, 1], [0, 1], color=_FAINT, lw=1, ls="--")
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=x_label, ylabel=y_label)
        return _svg(figure, label)


def draw_calibration(bins: np.ndarray, label: str) -> str:
    """Share of true labels against probability, of the bins (n_bins, 3) that
    `ecg.evaluation.answers.calibration` gives, and how many probabilities lie in each."""
    counts, expected, observed = bins.T
    filled = counts > 0
    with mpl.rc_context(_STYLE):
        figure, (upper, lower) = _figure(4.2, 3.9, rows=2, height_ratios=(3, 1))
        upper.plot([0, 1], [0, 1], color=_FAINT, lw=1, ls="--")
        upper.plot(expected[filled], observed[filled], "o-", color=_ACCENT, lw=1.6)
        upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="share that is true")
        edges = np.linspace(0, 1, len(bins) + 1)
        lower.bar(edges[:-1], np.maximum(counts, 0.5), edges[1], align="edge", color=_FAINT)
        lower.set(xlim=(0, 1), xlabel="probability")
        lower.set(yscale="log", ylim=(0.5, None), ylabel="number")
        return _svg(figure, label)


def draw_confusion(rewards: np.ndarray, names: Sequence[str], label: str) -> str:
    """A matrix (n_classes, n_classes) of what each pair of true and given class does to the score.

    rewards: above 0, green, what is gained; below, red, what is lost; the deeper the more, by a
    root, so that rare pairs show.
    """
    size = np.sign(rewards) * np.sqrt(np.abs(rewards))
    most = max(np.abs(size).max(), 1e-9)
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(6.4, 6.2)
        norm = TwoSlopeNorm(0.0, -most, most)
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
            xlabel="given",
            ylabel="true",
            aspect="equal",
        )
        axes.set_xticks(ticks, names, rotation=90, fontsize=7)
        axes.set_yticks(ticks, names, fontsize=7)
        axes.tick_params(length=0)
        return _svg(figure, label)


def draw_training(stages: dict[str, dict[str, list[float]]], label: str) -> str:
    """Losses and learning rate by epoch of each stage; stages: name -> history of Keras.

    A stage without records set aside has the loss of those that it was trained on alone.
    """
    with mpl.rc_context(_STYLE):
        figure, (upper, lower) = _figure(6.4, 3.4, rows=2, height_ratios=(3, 1))
        first, named = 0, {}
        for name, history in stages.items():
            epochs = np.arange(first, first + len(history["loss"])) + 1
            for loss, (what, marker, colour) in _LOSSES.items():
                if loss in history:
                    (line,) = upper.plot(epochs, history[loss], marker, color=colour, ms=3)
                    named.setdefault(what, line)
            lower.plot(epochs, history["learning_rate"], "o-", color=_INK, ms=3)
            if first:
                upper.axvline(first + 0.5, color=_FAINT, lw=1)
            upper.text(first + 0.6, 1.02, name, transform=upper.get_xaxis_transform(), fontsize=8)
            first += len(epochs)
        upper.legend(named.values(), named.keys())
        upper.set(ylabel="loss", xlim=(0.5, first + 0.5))
        lower.set(ylabel="rate", xlabel="epoch", xlim=(0.5, first + 0.5), ylim=(0, None))
        return _svg(figure, label)


def _figure(width: float, height: float, rows: int = 1, **grid) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, gridspec_kw=grid or None)


def _between(grid: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Heights (n_grid,) of a curve (n_points, 2) whose points are joined by lines."""
    return np.interp(grid, *points.T)


def _at_end_of_step(grid: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Heights (n_grid,) of a curve (n_points, 2) of steps, each at the height of its end."""
    return points[np.searchsorted(points[:, 0], grid), 1]


def _svg(figure: Figure, label: str) -> str:
    """The figure's SVG element, labelled for readers that do not see it."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    for drawn, shown in _COLOURS.items():
        svg = svg.replace(drawn, shown)
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    # A rule for "*" would hold for the whole page.
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", svg, flags=re.DOTALL)
    # Names that are used within, in which several figures of a page would clash.
    prefix = re.sub(r"\W+", "-", label)
    svg = re.sub(r'\b(id|xlink:href)="(#?)', rf'\1="\2{prefix}-', svg)
    svg = svg.replace("url(#", f"url(#{prefix}-")
    width = re.search(r'width="([\d.]+)pt"', svg)[1]
    svg = re.sub(r'(<svg[^>]*?) width="[\d.]+pt"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[\d.]+pt"', r"\1", svg, count=1)
    style = f"width:100%;max-width:{float(width) * 4 / 3:.0f}px;stroke-linejoin:round"
    start = f'<svg class="figure" role="img" aria-label="{escape(label)}" style="{style}"'
    return svg.replace("<svg", start, 1).strip()
