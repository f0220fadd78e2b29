"""The plot of a model's training, as SVG that takes its colours from the page."""

import io
import re
from html import escape

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

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
_LOSSES = {  # name in a Keras history -> legend, line style, colour
    "loss": ("training", "o-", _ACCENT),
    "val_loss": ("validation", "s-", _SECOND),
}


def draw_training(stages: dict[str, dict[str, list[float]]], label: str) -> str:
    """Draw loss and learning rate by epoch, one training stage after the other.

    stages: name -> Keras history; a stage without `val_loss` has no validation curve.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(6.4, 3.4), layout="constrained")
        upper, lower = figure.subplots(2, gridspec_kw={"height_ratios": (3, 1)})
        first, legend = 0, {}
        for i, (name, history) in enumerate(stages.items()):
            epochs = np.arange(first, first + len(history["loss"])) + 1
            for loss, (text, style, colour) in _LOSSES.items():
                if loss in history:
                    (line,) = upper.plot(epochs, history[loss], style, color=colour, ms=3)
                    legend.setdefault(text, line)
            lower.plot(epochs, history["learning_rate"], "o-", color=_INK, ms=3)
            if first:
                upper.axvline(first + 0.5, color=_FAINT, lw=1)
            # Names take turns in height: a stage may be too short for its name.
            height = 1.02 + 0.08 * (i % 2)
            upper.text(first + 0.6, height, name, transform=upper.get_xaxis_transform(), fontsize=8)
            first += len(epochs)
        upper.legend(legend.values(), legend.keys())
        for axes in (upper, lower):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        upper.set(ylabel="loss", xlim=(0.5, first + 0.5))
        lower.set(ylabel="learning rate", xlabel="epoch", xlim=(0.5, first + 0.5), ylim=(0, None))
        return _svg(figure, label)


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
