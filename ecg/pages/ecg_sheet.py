"""Draw a record as a printed ECG, in SVG: 25 mm/s, 10 mm/mV, on millimetre paper.

One unit of the SVG is 1 mm. Colours come from the CSS variables of the page, with defaults for
light paper.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from ecg.records.leads import TWELVE_LEADS
from ecg.records.record import Record

SHEET_S = 10.0  # length of a sheet
MM_PER_S, MM_PER_MV = 25.0, 10.0

_LEFT, _EDGE = 12.0, 2.0  # mm: left margin, which holds the calibration pulse; other margins
SHEET_MM = _LEFT + SHEET_S * MM_PER_S + _EDGE  # width of a sheet
_FOOT = 5.0  # mm: below the last row, for the seconds
_LARGE_SQUARE = 5.0  # mm; baselines lie on its lines
_PULSE_S, _PULSE_MV = 0.2, 1.0
_MIN_HALF_MM, _MAX_HALF_MM = 8.0, 35.0  # limits of a row's height above and below its baseline
_LINE_MM = 0.28  # thickness of a trace
_BINS_PER_S = 125  # 5 per mm, each drawn from its minimum to its maximum: about the line width
_UNITS_PER_MM = 100  # path coordinates are whole numbers, which are shorter than fractions
_RHYTHM_LEAD = "II"  # repeated over the whole width
_COLUMNS = {12: 4, 6: 2}  # lead set -> columns that it is printed in
_MARK_COLOURS = {True: "--for, #2a9d4a", False: "--against, #8a5cd6"}  # by whether it supports
_BAR_MM = 0.9  # thickness of the bar that closes a mark
_DEEPEST = 0.45  # opacity of a mark of weight 1
_MARK_LEVELS = 4  # depths of colour, so that marks of one depth are one path


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


@dataclass(frozen=True)
class _Row:
    """Strips side by side; top, baseline and bottom: mm from the top of the sheet."""

    strips: tuple[_Strip, ...]
    top: float
    baseline: float
    bottom: float


@dataclass(frozen=True)
class Sheet:
    """Where the first 10 s of a record stand on paper; width, height: mm."""

    record: Record
    rows: tuple[_Row, ...]
    width: float
    height: float

    @property
    def label(self) -> str:
        """A description for those who cannot see the sheet."""
        return f"ECG, {SHEET_S:g} s at 25 mm/s and 10 mm/mV: leads {', '.join(self.record.leads)}"


def draw_sheet(record: Record, marks: Sequence[Mark] = ()) -> str:
    """Return an SVG of the record's first 10 s in the usual printed layout, with marks behind it.

    Twelve leads are in four columns of 2.5 s, six leads in two columns of 5 s, with lead II as
    rhythm strip below; other leads have one row each.
    """
    sheet = lay_out(record)
    label = escape(f"{sheet.label}; record {record.name}", quote=True)
    return (
        f'<svg class="ecg" xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{label}" '
        f'viewBox="0 0 {sheet.width:g} {sheet.height:g}" style="width:100%">'
        f"{draw_paper(sheet)}{draw_marks(sheet, marks)}{draw_traces(sheet)}</svg>"
    )


def lay_out(record: Record) -> Sheet:
    """Return the usual printed layout of a record, see `draw_sheet`."""
    rows, bottom = [], _EDGE
    for strips in _arrange(record.leads):
        above, below = _extent(record, strips)
        baseline = np.ceil((bottom + above) / _LARGE_SQUARE) * _LARGE_SQUARE
        rows.append(_Row(strips, bottom, float(baseline), float(baseline + below)))
        bottom = rows[-1].bottom
    height = np.ceil((bottom + _FOOT) / _LARGE_SQUARE) * _LARGE_SQUARE
    return Sheet(record, tuple(rows), SHEET_MM, float(height))


def draw_paper(sheet: Sheet) -> str:
    """Return SVG elements: millimetre paper with a scale of seconds."""
    # Lines, not an SVG pattern: its id would occur once per sheet of a page.
    width, height = sheet.width, sheet.height
    lines = []
    for step, colour, thickness in ((1, "--grid, #f3c9c9", 0.08), (5, "--grid-bold, #e49a9a", 0.2)):
        # From the start of the traces, so that seconds and baselines lie on bold lines.
        xs = range(int(_LEFT) % step, int(width) + 1, step)
        path = "".join(f"M{x} 0V{height:g}" for x in xs)
        path += "".join(f"M0 {y}H{width:g}" for y in range(0, int(height) + 1, step))
        lines.append(f'<path d="{path}" stroke="var({colour})" stroke-width="{thickness}"/>')
    seconds = "".join(
        f'<text x="{_LEFT + second * MM_PER_S:g}" y="{height - 1.2:g}">{second} s</text>'
        for second in range(int(SHEET_S) - 1)  # the last one gives way to the scale
    )
    return (
        f'{"".join(lines)}<g class="scale" font-size="3" fill="currentColor">{seconds}'
        f'<text x="{width - _EDGE:g}" y="{height - 1.2:g}" text-anchor="end">'
        f"{MM_PER_S:g} mm/s, {MM_PER_MV:g} mm/mV</text></g>"
    )


def draw_traces(sheet: Sheet) -> str:
    """Return SVG elements: every lead with its name, and a calibration pulse before every row."""
    parts = []
    for row in sheet.rows:
        parts.append(_calibration_pulse(row.baseline))
        parts += [_separator(strip, row.baseline) for strip in row.strips[1:]]
        parts += [_trace(sheet.record, strip, row.baseline) for strip in row.strips]
        parts += [_lead_label(strip, row.top) for strip in row.strips]
    return "".join(parts)


def draw_marks(sheet: Sheet, marks: Sequence[Mark]) -> str:
    """Return SVG elements: a block for every mark, closed by a bar above it if its weight is
    positive, and by one below if it is negative, so that colour is not the only difference."""
    blocks, bars = {}, {}
    for row in sheet.rows:
        for strip in row.strips:
            for mark in marks:
                _add_mark(strip, row, mark, blocks, bars)
    shading = "".join(
        f'<path class="mark" fill="var({_MARK_COLOURS[is_for]})" '
        f'fill-opacity="{_DEEPEST * level / _MARK_LEVELS:.2f}" d="{"".join(paths)}"/>'
        for (is_for, level), paths in sorted(blocks.items())
    )
    return shading + "".join(
        f'<path class="mark-bar" fill="var({_MARK_COLOURS[is_for]})" d="{"".join(paths)}"/>'
        for is_for, paths in sorted(bars.items())
    )


def _add_mark(strip: _Strip, row: _Row, mark: Mark, blocks: dict, bars: dict) -> None:
    """Add the path of a mark's block to `blocks`, by sign and depth, and of its bar to `bars`."""
    start, end = max(mark.start_s, strip.start_s), min(mark.end_s, strip.end_s)
    if mark.lead != strip.lead or end <= start or not mark.weight:
        return
    is_for = mark.weight > 0
    level = max(round(abs(mark.weight) * _MARK_LEVELS), 1)
    x = _LEFT + (strip.left_s + start - strip.start_s) * MM_PER_S
    width = (end - start) * MM_PER_S
    height = row.bottom - row.top
    blocks.setdefault((is_for, level), []).append(_block(x, row.top, width, height))
    bar_top = row.top if is_for else row.bottom - _BAR_MM
    bars.setdefault(is_for, []).append(_block(x, bar_top, width, _BAR_MM))


def _block(x: float, y: float, width: float, height: float) -> str:
    return f"M{x:.2f} {y:.2f}h{width:.2f}v{height:.2f}h{-width:.2f}z"


def _arrange(leads: tuple[str, ...]) -> list[tuple[_Strip, ...]]:
    """Return the strips of each row: the leads in columns, a rhythm strip, then other leads."""
    n_columns = 1
    for size in _COLUMNS:
        columned = TWELVE_LEADS[:size]
        if set(columned) <= set(leads):
            n_columns = _COLUMNS[size]
            break
    else:
        columned = ()
    whole = [lead for lead in leads if lead not in columned]
    n_rows, width_s = len(columned) // n_columns, SHEET_S / n_columns
    rows = [
        tuple(
            _Strip(lead, i * width_s, i * width_s, (i + 1) * width_s)
            for i, lead in enumerate(columned[row::n_rows])
        )
        for row in range(n_rows)
    ]
    rhythm = [_RHYTHM_LEAD] if columned else []
    return rows + [(_Strip(lead, 0.0, 0.0, SHEET_S),) for lead in rhythm + whole]


def _values_mm(record: Record, strip: _Strip) -> np.ndarray:
    """Return the strip's values (n_samples,) in mm around their median, clipped to the row."""
    span = slice(round(strip.start_s * record.fs), round(strip.end_s * record.fs))
    values = record.signal[record.leads.index(strip.lead), span].astype(float)
    if not np.isfinite(values).any():
        return values
    return np.clip((values - np.nanmedian(values)) * MM_PER_MV, -_MAX_HALF_MM, _MAX_HALF_MM)


def _extent(record: Record, strips: tuple[_Strip, ...]) -> tuple[float, float]:
    """Return the height of a row above and below its baseline, mm."""
    values = np.concatenate([_values_mm(record, strip) for strip in strips])
    values = values[np.isfinite(values)]
    highest, lowest = (values.max(), values.min()) if len(values) else (0.0, 0.0)
    # The calibration pulse needs 1 mV, whatever the signal.
    return max(highest, _PULSE_MV * MM_PER_MV) + 4, max(-lowest, _MIN_HALF_MM - 3) + 3


def _trace(record: Record, strip: _Strip, baseline: float) -> str:
    values = _values_mm(record, strip)
    indices, values = _min_max_samples(values, record.fs)
    x = np.rint((_LEFT + (strip.left_s + indices / record.fs) * MM_PER_S) * _UNITS_PER_MM)
    y = np.where(np.isfinite(values), (baseline - values) * _UNITS_PER_MM, np.nan)
    path = "".join(
        _path(x[run], np.rint(y[run])) for run in _true_runs(np.isfinite(y)) if run.size > 1
    )
    return (
        f'<path class="trace" transform="scale({1 / _UNITS_PER_MM:g})" d="{path}" fill="none" '
        f'stroke="currentColor" stroke-width="{_LINE_MM * _UNITS_PER_MM:g}" '
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


def _calibration_pulse(baseline: float) -> str:
    x, width, height = _EDGE, _PULSE_S * MM_PER_S, _PULSE_MV * MM_PER_MV
    path = f"M{x} {baseline:g}h1v{-height}h{width}v{height}h1"
    return f'<path class="pulse" d="{path}" fill="none" stroke="currentColor" stroke-width=".25"/>'


def _separator(strip: _Strip, baseline: float) -> str:
    """Return a short line between two strips of a row, which are of different leads."""
    x = _LEFT + strip.left_s * MM_PER_S
    return (
        f'<path class="separator" d="M{x:g} {baseline - 4:g}v8" stroke="currentColor" '
        f'stroke-width=".2"/>'
    )


def _lead_label(strip: _Strip, top: float) -> str:
    x = _LEFT + strip.left_s * MM_PER_S + 1
    return (
        f'<text class="lead" x="{x:g}" y="{top + 3.8:.1f}" font-size="4" font-weight="bold" '
        f'fill="currentColor">{escape(strip.lead)}</text>'
    )
