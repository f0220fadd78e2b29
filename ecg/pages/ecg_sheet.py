"""A record -> the paper that clinicians read it from, as SVG: 25 mm/s, 10 mm/mV, a grid of mm.

Colours are the page's where it has the CSS variables used here, and fit light paper where not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

import numpy as np

from ecg.records.leads import TWELVE_LEADS
from ecg.records.record import Record

SHEET_S = 10.0  # s, the length of a sheet

_MM_PER_S, _MM_PER_MV = 25.0, 10.0
_LEFT, _EDGE = 12.0, 2.0  # mm: room for the calibration pulse, and around
_PULSE_S, _PULSE_MV = 0.2, 1.0
_LEAST_HALF, _MOST_HALF = 8.0, 35.0  # mm above and below a row's middle
_BINS_PER_S = 125  # 5 a mm, each with its lowest and highest value: as fine as a line is wide
_UNITS_PER_MM = 100  # of the paths, whose whole numbers are shorter than fractions
_RHYTHM_LEAD = "II"  # drawn once more, over the whole width
_COLUMNS = {12: 4, 6: 2}  # of lead sets that are printed side by side


@dataclass(frozen=True)
class Mark:
    """A stretch of a lead, in s from the record's start, and how much it stands out: from -1
    (against) to 1 (for)."""

    lead: str
    start_s: float
    end_s: float
    weight: float


@dataclass(frozen=True)
class _Strip:
    """A lead's stretch, in s, that is drawn from `left_s` of its row on."""

    lead: str
    left_s: float
    start_s: float
    end_s: float


def draw_sheet(record: Record) -> str:
    """SVG of the record's first 10 s as they are printed: twelve leads in four columns of 2.5 s
    above lead II, six in two of 5 s; any others each in a row of its own."""
    n_columns = _COLUMNS.get(len(record.leads), 1)
    if n_columns == 1 or set(record.leads) - set(TWELVE_LEADS):
        return draw_marked_leads(record, ())
    leads = sorted(record.leads, key=TWELVE_LEADS.index)
    n_rows, width_s = len(leads) // n_columns, SHEET_S / n_columns
    columns = [leads[i * n_rows : (i + 1) * n_rows] for i in range(n_columns)]
    rows = [
        [_Strip(lead, i * width_s, i * width_s, (i + 1) * width_s) for i, lead in enumerate(row)]
        for row in zip(*columns, strict=True)
    ]
    return _draw(record, [*rows, [_Strip(_RHYTHM_LEAD, 0.0, 0.0, SHEET_S)]], ())


def draw_marked_leads(record: Record, marks: Sequence[Mark]) -> str:
    """SVG of the record's first 10 s, every lead in a row of its own, with the marks behind."""
    rows = [[_Strip(lead, 0.0, 0.0, SHEET_S)] for lead in record.leads]
    return _draw(record, rows, marks)


def _draw(record: Record, rows: list[list[_Strip]], marks: Sequence[Mark]) -> str:
    heights = [_extent(record, row) for row in rows]
    edges = np.cumsum([_EDGE, *(above + below for above, below in heights)])
    middles = [top + above for top, (above, _) in zip(edges, heights, strict=False)]
    width, height = _LEFT + SHEET_S * _MM_PER_S + _EDGE, edges[-1] + _EDGE
    parts = [_grid(width, height)]
    for row, middle, (top, bottom) in zip(rows, middles, pairwise(edges), strict=True):
        parts += [_shade(strip, mark, top, bottom) for strip in row for mark in marks]
        parts.append(_pulse(middle))
        parts += [_trace(record, strip, middle) for strip in row]
        parts += [_name(strip, top) for strip in row]
    label = escape(f"ECG of record {record.name}: leads {', '.join(record.leads)}", quote=True)
    return (
        f'<svg class="ecg" xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{label}" '
        f'viewBox="0 0 {width:g} {height:.1f}" style="width:100%">{"".join(parts)}'
        f'<text class="scale" x="{width - _EDGE:g}" y="{height - 1:.1f}" text-anchor="end" '
        f'font-size="3" fill="currentColor">25 mm/s, 10 mm/mV</text></svg>'
    )


def _values_mm(record: Record, strip: _Strip) -> np.ndarray:
    """The strip's values (n_samples,) in mm about their median, held within a row."""
    span = slice(round(strip.start_s * record.fs), round(strip.end_s * record.fs))
    values = record.signal[record.leads.index(strip.lead), span].astype(float)
    if not np.isfinite(values).any():
        return values
    return np.clip((values - np.nanmedian(values)) * _MM_PER_MV, -_MOST_HALF, _MOST_HALF)


def _extent(record: Record, row: list[_Strip]) -> tuple[float, float]:
    """Room, in mm, above and below the middle of a row."""
    values = np.concatenate([_values_mm(record, strip) for strip in row])
    values = values[np.isfinite(values)]
    highest, lowest = (values.max(), values.min()) if len(values) else (0.0, 0.0)
    # The pulse is as high as 1 mV, whatever the signal is.
    return max(highest, _PULSE_MV * _MM_PER_MV) + 6, max(-lowest, _LEAST_HALF - 3) + 3


def _trace(record: Record, strip: _Strip, middle: float) -> str:
    values = _values_mm(record, strip)
    at, values = _thinned(values, record.fs)
    x = np.rint((_LEFT + (strip.left_s + at / record.fs) * _MM_PER_S) * _UNITS_PER_MM)
    y = np.where(np.isfinite(values), (middle - values) * _UNITS_PER_MM, np.nan)
    path = "".join(
        _path(x[part], np.rint(y[part])) for part in _without_gaps(np.isfinite(y)) if part.size > 1
    )
    return (
        f'<path class="trace" transform="scale({1 / _UNITS_PER_MM:g})" d="{path}" fill="none" '
        f'stroke="currentColor" stroke-width="{0.25 * _UNITS_PER_MM:g}" '
        f'stroke-linejoin="round"/>'
    )


def _thinned(values: np.ndarray, fs: float) -> tuple[np.ndarray, np.ndarray]:
    """Places and values of the samples to draw: the lowest and highest of each bin of 8 ms, so
    that no spike is lost."""
    step = int(fs // _BINS_PER_S)
    if step < 2 or not len(values):
        return np.arange(len(values)), values
    padded = np.pad(values, (0, -len(values) % step), constant_values=np.nan).reshape(-1, step)
    lowest = np.where(np.isnan(padded), np.inf, padded).argmin(axis=1)
    highest = np.where(np.isnan(padded), -np.inf, padded).argmax(axis=1)
    within = np.sort(np.stack([lowest, highest], axis=1), axis=1)
    at = np.unique(np.arange(len(padded))[:, None] * step + within)
    at = at[at < len(values)]
    return at, values[at]


def _without_gaps(drawn: np.ndarray) -> list[np.ndarray]:
    """The places of each run of True."""
    places = np.flatnonzero(drawn)
    return np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)


def _path(x, y) -> str:
    """A line through the points, (n_points,) each, whole numbers; n_points at least 2."""
    steps = zip(np.diff(x).astype(int), np.diff(y).astype(int), strict=True)
    return f"M{int(x[0])} {int(y[0])}l" + " ".join(f"{dx} {dy}" for dx, dy in steps)


def _grid(width: float, height: float) -> str:
    # Lines rather than a pattern, whose name would be there once for each sheet of a page.
    lines = []
    for step, colour, thickness in ((1, "--grid, #f3c9c9", 0.08), (5, "--grid-bold, #e49a9a", 0.2)):
        path = "".join(f"M{x} 0V{height:.1f}" for x in range(0, int(width) + 1, step))
        path += "".join(f"M0 {y}H{width:g}" for y in range(0, int(height) + 1, step))
        lines.append(f'<path d="{path}" stroke="var({colour})" stroke-width="{thickness}"/>')
    return "".join(lines)


def _pulse(middle: float) -> str:
    x, width, height = _EDGE, _PULSE_S * _MM_PER_S, _PULSE_MV * _MM_PER_MV
    path = f"M{x} {middle:.2f}h1v{-height}h{width}v{height}h1"
    return f'<path class="pulse" d="{path}" fill="none" stroke="currentColor" stroke-width=".25"/>'


def _name(strip: _Strip, top: float) -> str:
    x = _LEFT + strip.left_s * _MM_PER_S + 1
    return (
        f'<text class="lead" x="{x:g}" y="{top + 3.5:.1f}" font-size="4" font-weight="bold" '
        f'fill="currentColor">{escape(strip.lead)}</text>'
    )


def _shade(strip: _Strip, mark: Mark, top: float, bottom: float) -> str:
    start, end = max(mark.start_s, strip.start_s), min(mark.end_s, strip.end_s)
    if mark.lead != strip.lead or end <= start or not mark.weight:
        return ""
    x = _LEFT + (strip.left_s + start - strip.start_s) * _MM_PER_S
    colour = "--for, #2a9d4a" if mark.weight > 0 else "--against, #8a5cd6"
    return (
        f'<rect class="mark" x="{x:.2f}" y="{top:.2f}" width="{(end - start) * _MM_PER_S:.2f}" '
        f'height="{bottom - top:.2f}" fill="var({colour})" '
        f'fill-opacity="{0.7 * abs(mark.weight):.2f}"/>'
    )
