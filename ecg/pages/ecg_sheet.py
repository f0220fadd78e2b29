"""Draw a record as a printed ECG, in SVG: 25 mm/s, 10 mm/mV, on millimetre paper.

Colours come from the CSS variables of the page, with defaults for light paper.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

import numpy as np

from ecg.records.leads import TWELVE_LEADS
from ecg.records.record import Record

SHEET_S = 10.0  # length of a sheet

_MM_PER_S, _MM_PER_MV = 25.0, 10.0
_LEFT, _EDGE = 12.0, 2.0  # mm: left margin, which holds the calibration pulse; other margins
_PULSE_S, _PULSE_MV = 0.2, 1.0
_MIN_HALF_MM, _MAX_HALF_MM = 8.0, 35.0  # limits of a row's height above and below its baseline
_BINS_PER_S = 125  # 5 per mm, each drawn from its minimum to its maximum: about the line width
_UNITS_PER_MM = 100  # path coordinates are whole numbers, which are shorter than fractions
_RHYTHM_LEAD = "II"  # repeated over the whole width
_COLUMNS = {12: 4, 6: 2}  # lead set -> columns that it is printed in


@dataclass(frozen=True)
class Mark:
    """A highlighted stretch of a lead.

    start_s, end_s: s from the start of the record. weight: -1 (against) to 1 (for); sets the colour
    and its depth.
    """

    lead: str
    start_s: float
    end_s: float
    weight: float


@dataclass(frozen=True)
class _Strip:
    """The stretch of a lead from `start_s` to `end_s`, drawn `left_s` from the start of its row."""

    lead: str
    left_s: float
    start_s: float
    end_s: float


def draw_sheet(record: Record) -> str:
    """Return an SVG of the record's first 10 s in the usual printed layout.

    Twelve leads are in four columns of 2.5 s, six leads in two columns of 5 s, with lead II as
    rhythm strip below; other leads have one row each.
    """
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
    rhythm_strip = [_Strip(_RHYTHM_LEAD, 0.0, 0.0, SHEET_S)]
    return _draw(record, [*rows, rhythm_strip], ())


def draw_marked_leads(record: Record, marks: Sequence[Mark]) -> str:
    """Return an SVG of the record's first 10 s, one row per lead, with `marks` behind them."""
    rows = [[_Strip(lead, 0.0, 0.0, SHEET_S)] for lead in record.leads]
    return _draw(record, rows, marks)


def _draw(record: Record, rows: list[list[_Strip]], marks: Sequence[Mark]) -> str:
    heights = [_extent(record, row) for row in rows]
    edges = np.cumsum([_EDGE, *(above + below for above, below in heights)])
    baselines = [top + above for top, (above, _) in zip(edges, heights, strict=False)]
    width, height = _LEFT + SHEET_S * _MM_PER_S + _EDGE, edges[-1] + _EDGE
    parts = [_grid(width, height)]
    for row, baseline, (top, bottom) in zip(rows, baselines, pairwise(edges), strict=True):
        parts += [_highlight(strip, mark, top, bottom) for strip in row for mark in marks]
        parts.append(_calibration_pulse(baseline))
        parts += [_trace(record, strip, baseline) for strip in row]
        parts += [_lead_label(strip, top) for strip in row]
    label = escape(f"ECG of record {record.name}: leads {', '.join(record.leads)}", quote=True)
    return (
        f'<svg class="ecg" xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{label}" '
        f'viewBox="0 0 {width:g} {height:.1f}" style="width:100%">{"".join(parts)}'
        f'<text class="scale" x="{width - _EDGE:g}" y="{height - 1:.1f}" text-anchor="end" '
        f'font-size="3" fill="currentColor">25 mm/s, 10 mm/mV</text></svg>'
    )


def _values_mm(record: Record, strip: _Strip) -> np.ndarray:
    """Return the strip's values (n_samples,) in mm around their median, clipped to the row."""
    span = slice(round(strip.start_s * record.fs), round(strip.end_s * record.fs))
    values = record.signal[record.leads.index(strip.lead), span].astype(float)
    if not np.isfinite(values).any():
        return values
    return np.clip((values - np.nanmedian(values)) * _MM_PER_MV, -_MAX_HALF_MM, _MAX_HALF_MM)


def _extent(record: Record, row: list[_Strip]) -> tuple[float, float]:
    """Return the height of a row above and below its baseline, mm."""
    values = np.concatenate([_values_mm(record, strip) for strip in row])
    values = values[np.isfinite(values)]
    highest, lowest = (values.max(), values.min()) if len(values) else (0.0, 0.0)
    # The calibration pulse needs 1 mV, whatever the signal.
    return max(highest, _PULSE_MV * _MM_PER_MV) + 6, max(-lowest, _MIN_HALF_MM - 3) + 3


def _trace(record: Record, strip: _Strip, baseline: float) -> str:
    values = _values_mm(record, strip)
    indices, values = _min_max_samples(values, record.fs)
    x = np.rint((_LEFT + (strip.left_s + indices / record.fs) * _MM_PER_S) * _UNITS_PER_MM)
    y = np.where(np.isfinite(values), (baseline - values) * _UNITS_PER_MM, np.nan)
    path = "".join(
        _path(x[run], np.rint(y[run])) for run in _true_runs(np.isfinite(y)) if run.size > 1
    )
    return (
        f'<path class="trace" transform="scale({1 / _UNITS_PER_MM:g})" d="{path}" fill="none" '
        f'stroke="currentColor" stroke-width="{0.25 * _UNITS_PER_MM:g}" '
        f'stroke-linejoin="round"/>'
    )


def _min_max_samples(values: np.ndarray, fs: float) -> tuple[np.ndarray, np.ndarray]:
    """Return indices and values of the samples to draw: the minimum and maximum of every 8 ms.

    Plain decimation would lose pacing spikes.
    """
    step = int(fs // _BINS_PER_S)
    if step < 2 or not len(values):
        return np.arange(len(values)), values
    padded = np.pad(values, (0, -len(values) % step), constant_values=np.nan).reshape(-1, step)
    lowest = np.where(np.isnan(padded), np.inf, padded).argmin(axis=1)
    highest = np.where(np.isnan(padded), -np.inf, padded).argmax(axis=1)
    within = np.sort(np.stack([lowest, highest], axis=1), axis=1)
    indices = np.unique(np.arange(len(padded))[:, None] * step + within)
    indices = indices[indices < len(values)]
    return indices, values[indices]


def _true_runs(mask: np.ndarray) -> list[np.ndarray]:
    """Return the indices of each run of True in `mask`."""
    indices = np.flatnonzero(mask)
    return np.split(indices, np.flatnonzero(np.diff(indices) > 1) + 1)


def _path(x, y) -> str:
    """Return SVG path data of a line through at least two points with whole coordinates.

    x, y: (n_points,).
    """
    steps = zip(np.diff(x).astype(int), np.diff(y).astype(int), strict=True)
    return f"M{int(x[0])} {int(y[0])}l" + " ".join(f"{dx} {dy}" for dx, dy in steps)


def _grid(width: float, height: float) -> str:
    # Lines, not an SVG pattern: its id would occur once per sheet of a page.
    lines = []
    for step, colour, thickness in ((1, "--grid, #f3c9c9", 0.08), (5, "--grid-bold, #e49a9a", 0.2)):
        path = "".join(f"M{x} 0V{height:.1f}" for x in range(0, int(width) + 1, step))
        path += "".join(f"M0 {y}H{width:g}" for y in range(0, int(height) + 1, step))
        lines.append(f'<path d="{path}" stroke="var({colour})" stroke-width="{thickness}"/>')
    return "".join(lines)


def _calibration_pulse(baseline: float) -> str:
    x, width, height = _EDGE, _PULSE_S * _MM_PER_S, _PULSE_MV * _MM_PER_MV
    path = f"M{x} {baseline:.2f}h1v{-height}h{width}v{height}h1"
    return f'<path class="pulse" d="{path}" fill="none" stroke="currentColor" stroke-width=".25"/>'


def _lead_label(strip: _Strip, top: float) -> str:
    x = _LEFT + strip.left_s * _MM_PER_S + 1
    return (
        f'<text class="lead" x="{x:g}" y="{top + 3.5:.1f}" font-size="4" font-weight="bold" '
        f'fill="currentColor">{escape(strip.lead)}</text>'
    )


def _highlight(strip: _Strip, mark: Mark, top: float, bottom: float) -> str:
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
