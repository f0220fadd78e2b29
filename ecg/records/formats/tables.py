"""Read tables of samples: CSV exports of programs, spreadsheets, phones and watches."""

import csv
import itertools
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ecg.records.formats.building import MAX_DURATION_S, build_record
from ecg.records.formats.channel_labels import is_lead, parse_lead, parse_unit, units_per_mv
from ecg.records.formats.detection import HEAD_BYTES, detect_encoding
from ecg.records.formats.table_layout import (
    Layout,
    clean,
    find_layout,
    is_clock,
    is_counter,
    is_time,
    parse_number,
    parse_seconds,
    time_unit_s,
)
from ecg.records.headers import RecordError
from ecg.records.leads import TWELVE_LEADS
from ecg.records.record import Record
from ecg.signals.preprocessing import MAX_FS, MIN_FS, window_length

_LAYOUT_LINES = 64  # lines by which the layout is detected
_MAX_ROWS = 64  # of a table with one row per lead
_BLOCK = 4096  # rows held as Python numbers at a time
_MAX_QUOTED = 80  # characters of the file in a message
_DAY_S = 86_400.0
_RATE_TOLERANCE = 0.01  # relative; sampling rates that differ by more contradict each other
_GAP = 2.5  # a time step of more than this many median steps is a gap
_ROUNDING = 1e-3  # relative; sampling rates this close to a whole number are rounded


def read_table(
    path: Path,
    fs: float | None = None,
    unit: str | None = None,
    leads: tuple[str, ...] | None = None,
    duration_s: float = MAX_DURATION_S,
) -> Record:
    """Read a table with one column per lead, or one row per lead.

    Columns are separated by commas, semicolons, tabs or spaces; the decimal separator may be a
    comma; an empty cell is a missing sample. Lines above the table may state sampling rate and
    unit. Columns named as times or sample counters are not read as leads.

    fs: Hz; None if the time column or a line above the table states it.
    unit: see `units_per_mv`; None for that stated in the file, else mV.
    leads: names of the columns, if the table has none; otherwise the leads to read.
    Raises RecordError naming the file and, where possible, the line.
    """
    table = _Table(path, fs, unit, leads, duration_s)
    try:
        with open(path, "rb") as binary:
            encoding = detect_encoding(binary.read(HEAD_BYTES)) or "utf-8"
        with open(path, newline="", encoding=encoding, errors="replace") as file:
            first = list(itertools.islice(file, _LAYOUT_LINES))
            layout = find_layout(first)
            lines = itertools.chain(first, file)
            if layout.is_transposed:
                return table.read_rows_of_leads(layout, lines)
            return table.read_columns(layout, first, lines)
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from error
    except csv.Error as error:
        raise RecordError(f"{path}, {error}") from error


@dataclass(frozen=True)
class _Table:
    """The arguments of `read_table`."""

    path: Path
    fs: float | None
    unit: str | None
    leads: tuple[str, ...] | None
    duration_s: float

    def read_columns(self, layout: Layout, first: list[str], lines) -> Record:
        """Read a table with one column per lead."""
        rows = itertools.islice(layout.rows(first), layout.n_skipped, None)
        head = [row for row in rows if any(map(clean, row))]
        if self._has_unnamed_rows(layout, head):
            return self._read_unnamed_rows(head)
        leads, time = self._choose_columns(layout, head)
        stated_fs = self._agreed_fs({"a line above the table": layout.fs, "--fs": self.fs})
        time_name = _time_name(layout, head, time)
        guessed_fs = _measure_fs(_times(head, time), time_name) if time is not None else None
        max_samples = window_length(stated_fs or guessed_fs or MAX_FS, self.duration_s)
        values, times = self._read_samples(layout, lines, list(leads), time, max_samples)
        if not len(values):
            raise RecordError(f"{self.path}: expected a line per sample, found none")
        measured_fs = _measure_fs(times, time_name) if time is not None else None
        units = [layout.units[i] if i < len(layout.units) else None for i in leads]
        return self._build(values.T, list(leads.values()), units, layout.fs, measured_fs, times)

    def read_rows_of_leads(self, layout: Layout, lines) -> Record:
        """Read a table with one row per lead, which begins with the lead's name."""
        names, values, times, time_name = [], [], None, ""
        for i, row in enumerate(itertools.islice(layout.rows(lines), _MAX_ROWS), start=1):
            if not any(map(clean, row)):
                continue
            name = clean(row[0])
            if not is_lead(name):
                if is_time(name) or (not values and is_counter(name)) or name.lower() == "lead":
                    times = np.array([_seconds(cell) for cell in row[1:]])
                    time_name = "s" if is_clock(row[1]) else name
                    continue
                self._refuse_names([name], [*names, name], i)
            names.append(name)
            values.append(self._numbers(i, row[1:], range(len(row) - 1)))
        if len({len(row) for row in values}) > 1:
            raise RecordError(f"{self.path}: expected one row per lead, all of one length")
        self._check_names([parse_lead(name) for name in names], names, 1)
        measured_fs = _measure_fs(times, time_name) if times is not None else None
        if self.leads and set(self.leads) <= set(map(parse_lead, names)):
            kept = [i for i, name in enumerate(names) if parse_lead(name) in self.leads]
            names, values = [names[i] for i in kept], [values[i] for i in kept]
        units = [parse_unit(name) for name in names]
        leads = [parse_lead(name) for name in names]
        return self._build(np.array(values), leads, units, None, measured_fs, times)

    def _has_unnamed_rows(self, layout: Layout, head) -> bool:
        """Return whether there is one row without a name for each of --leads."""
        is_wide = len(head) < _LAYOUT_LINES < min(map(len, head), default=0)
        return is_wide and not layout.names and len(head) == len(self.leads or ())

    def _read_unnamed_rows(self, rows) -> Record:
        columns = range(min(map(len, rows)))
        values = [self._numbers(i, row, columns) for i, row in enumerate(rows, start=1)]
        return self._build(np.array(values), self.leads, [None] * len(rows), None, None, None)

    def _choose_columns(self, layout: Layout, head) -> tuple[dict[int, str], int | None]:
        """Return the leads to read by column, and the time column, if there is one."""
        n_columns = max(map(len, head), default=len(layout.names))
        names = layout.names
        if not names:
            if not head:
                raise RecordError(f"{self.path}: expected a table, found text without numbers")
            if not self.leads:
                raise RecordError(
                    f"{self.path}: expected lead names ({', '.join(TWELVE_LEADS)}) in a line above "
                    f"the numbers, found none; use --leads to name the columns"
                )
            time = 0 if n_columns == len(self.leads) + 1 and _ascends(_times(head, 0)) else None
            columns = [i for i in range(n_columns) if i != time]
            self._check_count(len(columns), n_columns)
            return dict(zip(columns, self.leads, strict=True)), time
        line = layout.n_skipped
        time = next((i for i, name in enumerate(names) if is_time(name)), None)
        if time is None and is_counter(names[0]) and not _counts(_times(head, 0)):
            time = 0 if clean(names[0]).lower() in ("", "index", "unnamed: 0") else None
        others = [i for i, name in enumerate(names) if not (is_time(name) or is_counter(name))]
        found = {i: parse_lead(names[i]) for i in others}
        if self.leads and set(self.leads) <= set(found.values()):
            return {i: lead for i, lead in found.items() if lead in self.leads}, time
        if self.leads and not any(is_lead(names[i]) for i in others):
            self._check_count(len(others), len(names), names)
            return dict(zip(others, self.leads, strict=True)), time
        if self.leads:
            missing = [lead for lead in self.leads if lead not in found.values()]
            raise RecordError(
                f"{self.path}: expected columns {', '.join(missing)}, as given by --leads; "
                f"found {_listed(names)}"
            )
        self._check_names(list(found.values()), names, line)
        return found, time

    def _check_count(self, n_found: int, n_columns: int, names=()) -> None:
        if n_found != len(self.leads):
            listed = f": {_listed(names)}" if names else ""
            raise RecordError(
                f"{self.path}: expected {len(self.leads)} columns for --leads "
                f"{','.join(self.leads)}; found {n_columns}{listed}"
            )

    def _check_names(self, leads: list[str], names, line: int) -> None:
        unknown = [lead for lead in leads if not is_lead(lead)]
        if not leads or unknown or len(set(leads)) < len(leads):
            self._refuse_names(unknown or leads, names, line)

    def _refuse_names(self, found: list[str], names, line: int) -> None:
        raise RecordError(
            f"{self.path}: expected lead names ({', '.join(TWELVE_LEADS)}), each once, on line "
            f"{line}; found {_listed(found)} among {_listed(names)}; use --leads to choose columns"
        )

    def _read_samples(
        self, layout, lines, columns, time, max_samples
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the samples (n_samples, n_leads) and their times (n_samples,).

        Without a time column, the times are empty.
        """
        blocks, times, rows = [], [], []
        n_samples = 0
        reader = layout.rows(lines)
        n_read = 0
        try:
            for row in reader:
                n_read += 1
                if n_read <= layout.n_skipped or not any(cell.strip() for cell in row):
                    continue
                rows.append(self._numbers(n_read, row, columns))
                if time is not None:
                    times.append(_seconds(row[time]) if time < len(row) else math.nan)
                n_samples += 1
                if len(rows) == _BLOCK:
                    blocks.append(np.array(rows))
                    rows = []
                if n_samples == max_samples:
                    break
        except csv.Error as error:
            raise csv.Error(f"line {n_read + 1}: {error}") from error
        if rows:
            blocks.append(np.array(rows))
        values = np.concatenate(blocks) if blocks else np.empty((0, len(columns)))
        return values, np.array(times)

    def _numbers(self, line: int, row: list[str], columns) -> list[float]:
        try:
            return [parse_number(row[i]) for i in columns]
        except (IndexError, ValueError) as error:
            # Other columns are not shown: they may hold patient data.
            cells = ",".join(row[i] for i in columns if i < len(row))
            raise RecordError(
                f"{self.path}, line {line}: expected a number in each of {len(columns)} columns, "
                f"found '{cells[:_MAX_QUOTED]}'"
            ) from error

    def _build(self, values, leads, units, stated_fs, measured_fs, times) -> Record:
        fs = self._agreed_fs(
            {"the time column": measured_fs, "a line above the table": stated_fs, "--fs": self.fs}
        )
        if fs is None:
            raise RecordError(
                f"{self.path}: expected a sampling rate, from --fs HZ or a time column in s or ms; "
                f"found none"
            )
        if not MIN_FS <= fs <= MAX_FS:
            raise RecordError(
                f"{self.path}: expected a sampling rate of {MIN_FS:g} to {MAX_FS:g} Hz, "
                f"found {fs:g}"
            )
        per_mv = np.array([self._per_mv(unit) for unit in units])[:, None]
        signal = values[:, : window_length(fs, self.duration_s)] / per_mv
        record = build_record(self.path, signal, fs, leads)
        return replace(record, warnings=_gaps(times, measured_fs))

    def _agreed_fs(self, rates: dict[str, float | None]) -> float | None:
        """Return the sampling rate on which all sources agree; None if none states one.

        rates: source -> Hz; "--fs" has precedence. Raises RecordError for contradictory rates.
        """
        stated = {source: rate for source, rate in rates.items() if rate is not None}
        if not stated:
            return None
        if max(stated.values()) > (1 + _RATE_TOLERANCE) * min(stated.values()):
            found = ", ".join(f"{rate:.6g} Hz by {source}" for source, rate in stated.items())
            raise RecordError(f"{self.path}: contradictory sampling rates: {found}")
        return stated.get("--fs") or next(iter(stated.values()))

    def _per_mv(self, unit: str | None) -> float:
        """Return how many units of a column make one mV; unit: as stated in the file."""
        if unit is None or self.unit is None:
            return units_per_mv(unit or self.unit or "mV")
        if not math.isclose(units_per_mv(unit), units_per_mv(self.unit)):
            raise RecordError(
                f"{self.path}: contradictory units: {unit} in the file, {self.unit} by --unit"
            )
        return units_per_mv(unit)


def _listed(names) -> str:
    text = ", ".join(map(clean, names)) or "none"
    return text if len(text) <= _MAX_QUOTED else f"{text[:_MAX_QUOTED]}…"


def _time_name(layout: Layout, rows, column: int | None) -> str:
    """Return the name of the time column, which may state its unit; "s" for clock times."""
    if column is None:
        return ""
    if any(column < len(row) and is_clock(row[column]) for row in rows[:1]):
        return "s"
    return layout.names[column] if layout.names else ""


def _seconds(cell: str) -> float:
    try:
        return parse_seconds(cell)
    except ValueError:
        return math.nan


def _times(rows, column: int) -> np.ndarray:
    """Return the times (n,) in a column: clock times in s, other numbers as they are."""
    return np.array([_seconds(row[column]) for row in rows if column < len(row)])


def _steps(times) -> np.ndarray:
    """Return the differences of successive known times."""
    known = times[np.isfinite(times)]
    steps = np.diff(known)
    # Clock times start over at midnight.
    return np.where(steps < -_DAY_S / 2, steps + _DAY_S, steps)


def _ascends(times) -> bool:
    return len(times) > 2 and np.isfinite(times).all() and bool((_steps(times) > 0).all())


def _counts(times) -> bool:
    """Return whether the numbers increase by 1."""
    steps = _steps(times)
    return not len(steps) or bool((steps == 1).all())


def _measure_fs(times, name: str) -> float | None:
    """Return the sampling rate, Hz, by a column of times; None if it does not determine one.

    name: of the column, which may state the unit. Otherwise the unit is the first of s, ms, µs and
    ns that gives a possible sampling rate; steps of 1 without a unit count samples.
    """
    steps = _steps(times)
    if len(steps) == 0 or (steps < 0).any() or not (steps > 0).any():
        return None
    median_step = np.median(steps[steps > 0])
    step = steps[steps <= _GAP * median_step].mean()
    unit_s = time_unit_s(name)
    if unit_s is None and _counts(times):
        return None
    units_s = (1.0, 1e-3, 1e-6, 1e-9) if unit_s is None else (unit_s,)
    rates = [1 / (step * seconds) for seconds in units_s]
    rate = next((rate for rate in rates if MIN_FS <= rate <= MAX_FS), rates[0])
    return float(round(rate)) if abs(rate - round(rate)) < _ROUNDING * rate else float(rate)


def _gaps(times, measured_fs: float | None) -> tuple[str, ...]:
    """Return a warning if there are gaps in the time column."""
    if measured_fs is None:
        return ()
    steps = _steps(times)
    n_gaps = int((steps > _GAP * np.median(steps[steps > 0])).sum())
    return (f"gaps in the time column ({n_gaps}), which were ignored",) if n_gaps else ()
