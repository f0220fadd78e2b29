"""Draw a long recording's heart rate and findings over time, in SVG.

Colours come from the CSS variables of the page.
"""

import math
from html import escape
from itertools import pairwise

import numpy as np

from ecg.models.prediction import TIMELINE_WINDOW_S, Timeline
from ecg.records.diagnoses import DIAGNOSES

_WIDTH, _LEFT, _RIGHT = 900.0, 92.0, 16.0  # px
_TOP, _RATE_HEIGHT, _LANE, _BAR = 22.0, 120.0, 24.0, 14.0  # px
_MAX_LANES = 6  # findings shown, the most frequent first
_MAX_BINS = 600  # windows are joined so that there are no more columns than can be told apart
_TICK_STEPS_S = (10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 10800, 21600)
_MAX_TICKS = 9
_RATE_STEPS = (10, 20, 50, 100)  # beats a minute
_MAX_RATE_LINES = 6


def draw_timeline(timeline: Timeline, duration_s: float, shown_s: float | None = None) -> str:
    """Return an SVG: heart rate above, and a lane for each finding of `Timeline.episodes` below.

    Where several windows share a column, the rate is drawn from its lowest to its highest value,
    and a finding is drawn if it is present in any of them. shown_s: the start of the 10 s that the
    page shows as a tracing, which are marked.
    """
    duration_s = max(duration_s, float(timeline.start_s[-1]) + TIMELINE_WINDOW_S)
    lanes = [i for i, _, _ in timeline.episodes[:_MAX_LANES]]
    bottom = _TOP + _RATE_HEIGHT
    lanes_top = bottom + 8
    has_unusable = not timeline.usable.all()
    height = lanes_top + _LANE * (len(lanes) + has_unusable) + 22

    def x_of(seconds) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * seconds / duration_s

    step = math.ceil(len(timeline.start_s) / _MAX_BINS)
    bins = [slice(k, k + step) for k in range(0, len(timeline.start_s), step)]
    edges = [*(x_of(timeline.start_s[part.start]) for part in bins), x_of(duration_s)]
    parts = [_time_axis(duration_s, x_of, height)]
    parts += _rate_lines(timeline, bins, edges, bottom)
    rows = [
        (DIAGNOSES[i].abbreviation, "episode", [timeline.present[part, i].any() for part in bins])
        for i in lanes
    ]
    if has_unusable:
        unusable = [not timeline.usable[part].all() for part in bins]
        rows.append(("not usable", "unusable", unusable))
    for row, (name, kind, mask) in enumerate(rows):
        parts.append(_lane(name, kind, mask, edges, lanes_top + row * _LANE))
    if shown_s is not None:
        parts.append(_shown(x_of(shown_s), max(x_of(shown_s + 10) - x_of(shown_s), 2.0), height))
    return (
        f'<svg class="timeline" xmlns="http://www.w3.org/2000/svg" role="img" '
        f'aria-label="{escape(_describe(timeline), quote=True)}" '
        f'viewBox="0 0 {_WIDTH:g} {height:g}" font-size="13">{"".join(parts)}</svg>'
    )


def clock(seconds: float) -> str:
    """Return a time as h:mm:ss, or m:ss below an hour."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def _describe(timeline: Timeline) -> str:
    rates = timeline.heart_rate_bpm[~np.isnan(timeline.heart_rate_bpm)]
    n_usable = int(timeline.usable.sum())
    text = f"Over time: {n_usable} of {len(timeline.usable)} windows usable"
    if len(rates):
        text += f"; heart rate {rates.min():.0f} to {rates.max():.0f} a minute"
    for i, count, start_s in timeline.episodes[:_MAX_LANES]:
        text += f"; {DIAGNOSES[i].name} in {count} windows, from {clock(start_s)}"
    return text


def _rate_lines(timeline: Timeline, bins, edges, bottom: float) -> list[str]:
    """Return the rate's axis, its range in each bin as one path of bars, and their line."""
    rates = timeline.heart_rate_bpm
    known = rates[~np.isnan(rates)]
    low, high = (known.min(), known.max()) if len(known) else (60.0, 100.0)
    spacing = next(
        (s for s in _RATE_STEPS if high - low <= s * (_MAX_RATE_LINES - 2)), _RATE_STEPS[-1]
    )
    first = math.floor(low / spacing) * spacing
    last = max(math.ceil(high / spacing) * spacing, first + spacing)

    def y_of(rate) -> float:
        return bottom - _RATE_HEIGHT * (rate - first) / (last - first)

    parts = [f'<text x="0" y="{_TOP - 8:g}" fill="currentColor">heart rate</text>']
    for rate in range(first, last + 1, spacing):
        y = y_of(rate)
        parts.append(
            f'<path d="M{_LEFT:g} {y:.1f}H{_WIDTH - _RIGHT:g}" stroke="var(--faint)"/>'
            f'<text x="{_LEFT - 8:g}" y="{y + 4:.1f}" text-anchor="end" fill="currentColor">'
            f"{rate}</text>"
        )
    ranges, line, previous = [], [], False
    for part, (left, right) in zip(bins, pairwise(edges), strict=True):
        values = rates[part][~np.isnan(rates[part])]
        if not len(values):
            previous = False
            continue
        x = (left + right) / 2
        if values.max() > values.min():
            ranges.append(f"M{x:.1f} {y_of(values.min()):.1f}V{y_of(values.max()):.1f}")
        y = y_of(np.median(values))
        line.append(f"{'L' if previous else 'M'}{x:.1f} {y:.1f}" + ("" if previous else "h.1"))
        previous = True
    return [
        *parts,
        f'<path d="{"".join(ranges)}" stroke="var(--accent)" stroke-opacity=".35" fill="none"/>',
        f'<path class="rate" d="{"".join(line)}" stroke="var(--accent)" stroke-width="1.6" '
        'stroke-linejoin="round" stroke-linecap="round" fill="none"/>',
    ]


def _lane(name: str, kind: str, mask, edges, top: float) -> str:
    """Return a named lane with a bar over each run of True in `mask`, one entry per bin."""
    starts = [k for k, on in enumerate(mask) if on and not (k and mask[k - 1])]
    ends = [k + 1 for k, on in enumerate(mask) if on and not (k + 1 < len(mask) and mask[k + 1])]
    path = "".join(
        f"M{edges[start]:.1f} {top:g}h{max(edges[end] - edges[start], 1.5):.1f}"
        f"v{_BAR:g}H{edges[start]:.1f}z"
        for start, end in zip(starts, ends, strict=True)
    )
    colour = "--second" if kind == "episode" else "--muted"
    return (
        f'<text x="{_LEFT - 8:g}" y="{top + 11.5:g}" text-anchor="end" fill="currentColor">'
        f"{escape(name)}</text>"
        f'<path d="M{_LEFT:g} {top + _BAR / 2:g}H{_WIDTH - _RIGHT:g}" stroke="var(--faint)"/>'
        f'<path class="{kind}" d="{path}" fill="var({colour})"/>'
    )


def _time_axis(duration_s: float, x_of, height: float) -> str:
    step = next(
        (step for step in _TICK_STEPS_S if duration_s / step <= _MAX_TICKS),
        math.ceil(duration_s / _MAX_TICKS / 3600) * 3600,
    )
    return "".join(
        f'<path d="M{x_of(second):.1f} {_TOP:g}V{height - 18:g}" stroke="var(--faint)"/>'
        f'<text x="{x_of(second):.1f}" y="{height - 4:g}" '
        f'text-anchor="{"end" if second > 0.97 * duration_s else "middle"}" '
        f'fill="currentColor">{clock(second)}</text>'
        for second in range(0, int(duration_s) + 1, step)
    )


def _shown(x: float, width: float, height: float) -> str:
    middle = x + width / 2
    anchor = "end" if middle > _WIDTH * 0.8 else "start"
    side = -8 if anchor == "end" else 8
    return (
        f'<path class="shown" d="M{x:.1f} {_TOP:g}h{width:.1f}V{height - 18:g}h{-width:.1f}z" '
        f'fill="var(--ink)" fill-opacity=".3"/>'
        f'<path d="M{middle - 5:.1f} {_TOP - 8:g}h10l-5 7z" fill="var(--ink)"/>'
        f'<text x="{middle + side:.1f}" y="{_TOP - 8:g}" text-anchor="{anchor}" '
        f'fill="currentColor">tracing</text>'
    )
