"""Tables of samples as people have them: exports of programs, spreadsheets, phones and watches."""

import csv
import itertools
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ecg.records.formats.building import LONGEST_S, build_record
from ecg.records.formats.detection import HEAD, encoding_of
from ecg.records.formats.labels import is_lead, lead_in, unit_in, units_per_mv
from ecg.records.formats.table_layout import (
    Layout,
    clean,
    find_layout,
    is_clock,
    is_counter,
    is_time,
    number_in,
    seconds_in,
    time_unit_s,
)
from ecg.records.headers import RecordError
from ecg.records.leads import TWELVE_LEADS
from ecg.records.record import Record
from ecg.signals.preprocessing import MAX_FS, MIN_FS, window_length

_SAMPLE_LINES = 64  # by which the layout is found
_MOST_ROWS = 64  # of a table that has a row a lead
_BLOCK = 4096  # rows that are kept as Python numbers at a time
_QUOTED = 80  # characters of a file that a message shows
_DAY_S = 86_400.0
_DISAGREEMENT = 0.01  # between two rates, as a share: more is a contradiction
_GAP = 2.5  # times the usual step: samples are missing
_WHOLE = 1e-3  # Hz in 1: a rate this close to a whole number is that


def read_table(
    path: Path,
    fs: float | None = None,
    unit: str | None = None,
    leads: tuple[str, ...] | None = None,
    duration_s: float = LONGEST_S,
) -> Record:
    """The record of a table: a column a lead under a line of names, or a row a lead.

    Commas, semicolons, tabs or spaces part the columns; a comma may be the decimal point; an empty
    cell is a missing sample; lines above the table may state the rate and the unit. fs: Hz; None
    where a time column or a line above says it. unit: see `units_per_mv`; None for that of the
    header, else mV. leads: names of the columns in order, where the table has none; else the ones
    to read. Of column names that are no leads, those of times and counters are passed over.
    Raises RecordError naming the file, and the line where there is one to blame.
    """
    table = _Table(path, fs, unit, leads, duration_s)
    try:
        with open(path, "rb") as binary:
            encoding = encoding_of(binary.read(HEAD)) or "utf-8"
        with open(path, newline="", encoding=encoding, errors="replace") as file:
            first = list(itertools.islice(file, _SAMPLE_LINES))
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
    """One table as it is asked for; see `read_table`."""

    path: Path
    fs: float | None
    unit: str | None
    leads: tuple[str, ...] | None
    duration_s: float

    def read_columns(self, layout: Layout, first: list[str], lines) -> Record:
        """The record of a table that has a column a lead."""
        rows = itertools.islice(layout.rows(first), layout.skipped, None)
        some = [row for row in rows if any(map(clean, row))]
        if self._has_rows_of(layout, some):
            return self._read_unnamed_rows(some)
        chosen, time = self._choose(layout, some)
        columns = list(chosen)
        stated = self._agreed({"a line above the table": layout.fs, "--fs": self.fs})
        name = _time_name(layout, some, time)
        guess = _rate(_times(some, time), name) if time is not None else None
        longest = window_length(stated or guess or MAX_FS, self.duration_s)
        values, times = self._read(layout, lines, columns, time, longest)
        if not len(values):
            raise RecordError(f"{self.path}: expected a line for each sample, found none")
        measured = _rate(times, name) if time is not None else None
        units = [layout.units[i] if i < len(layout.units) else None for i in columns]
        return self._build(values.T, list(chosen.values()), units, layout.fs, measured, times)

    def read_rows_of_leads(self, layout: Layout, lines) -> Record:
        """The record of a table that has a row a lead, which begins with its name."""
        names, values, times, time_name = [], [], None, ""
        for i, row in enumerate(itertools.islice(layout.rows(lines), _MOST_ROWS), start=1):
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
            raise RecordError(f"{self.path}: expected rows of one length, a row a lead")
        self._check_names([lead_in(name) for name in names], names, 1)
        measured = _rate(times, time_name) if times is not None else None
        if self.leads and set(self.leads) <= set(map(lead_in, names)):
            kept = [i for i, name in enumerate(names) if lead_in(name) in self.leads]
            names, values = [names[i] for i in kept], [values[i] for i in kept]
        units = [unit_in(name) for name in names]
        leads = [lead_in(name) for name in names]
        return self._build(np.array(values), leads, units, None, measured, times)

    def _has_rows_of(self, layout: Layout, some) -> bool:
        """Whether a table without names has just as many rows as --leads, and far more columns."""
        is_wide = len(some) < _SAMPLE_LINES < min(map(len, some), default=0)
        return is_wide and not layout.names and len(some) == len(self.leads or ())

    def _read_unnamed_rows(self, rows) -> Record:
        columns = range(min(map(len, rows)))
        values = [self._numbers(i, row, columns) for i, row in enumerate(rows, start=1)]
        return self._build(np.array(values), self.leads, [None] * len(rows), None, None, None)

    def _choose(self, layout: Layout, some) -> tuple[dict[int, str], int | None]:
        """Column -> lead of those to read, and the time column, if there is one."""
        n_columns = max(map(len, some), default=len(layout.names))
        names = layout.names
        if not names:
            if not some:
                raise RecordError(f"{self.path}: expected a table, found a text without numbers")
            if not self.leads:
                raise RecordError(
                    f"{self.path}: expected names of leads ({', '.join(TWELVE_LEADS)}) in a line "
                    f"above the numbers, found none; name the columns by --leads"
                )
            time = 0 if n_columns == len(self.leads) + 1 and _ascends(_times(some, 0)) else None
            columns = [i for i in range(n_columns) if i != time]
            self._check_count(len(columns), n_columns)
            return dict(zip(columns, self.leads, strict=True)), time
        line = layout.skipped
        time = next((i for i, name in enumerate(names) if is_time(name)), None)
        if time is None and is_counter(names[0]) and not _counts(_times(some, 0)):
            time = 0 if clean(names[0]).lower() in ("", "index", "unnamed: 0") else None
        others = [i for i, name in enumerate(names) if not (is_time(name) or is_counter(name))]
        found = {i: lead_in(names[i]) for i in others}
        if self.leads and set(self.leads) <= set(found.values()):
            return {i: lead for i, lead in found.items() if lead in self.leads}, time
        if self.leads and not any(is_lead(names[i]) for i in others):
            self._check_count(len(others), len(names), names)
            return dict(zip(others, self.leads, strict=True)), time
        if self.leads:
            lacking = [lead for lead in self.leads if lead not in found.values()]
            raise RecordError(
                f"{self.path}: expected {', '.join(lacking)}, as --leads says, among the columns; "
                f"found {_listed(names)}"
            )
        self._check_names(list(found.values()), names, line)
        return found, time

    def _check_count(self, n_found: int, n_columns: int, names=()) -> None:
        if n_found != len(self.leads):
            listed = f": {_listed(names)}" if names else ""
            raise RecordError(
                f"{self.path}: expected {len(self.leads)} columns, for --leads "
                f"{','.join(self.leads)}; found {n_columns}{listed}"
            )

    def _check_names(self, leads: list[str], names, line: int) -> None:
        strange = [lead for lead in leads if not is_lead(lead)]
        if not leads or strange or len(set(leads)) < len(leads):
            self._refuse_names(strange or leads, names, line)

    def _refuse_names(self, found: list[str], names, line: int) -> None:
        raise RecordError(
            f"{self.path}: expected names of leads ({', '.join(TWELVE_LEADS)}), each once, on line "
            f"{line}; found {_listed(found)} among {_listed(names)}; --leads says which to read"
        )

    def _read(self, layout, lines, columns, time, longest) -> tuple[np.ndarray, np.ndarray]:
        """Samples (n_samples, n_leads), and the times (n_samples,), empty without a column of
        these."""
        blocks, times, rows = [], [], []
        filled = 0
        reader = layout.rows(lines)
        n_read = 0
        try:
            for row in reader:
                n_read += 1
                if n_read <= layout.skipped or not any(cell.strip() for cell in row):
                    continue
                rows.append(self._numbers(n_read, row, columns))
                if time is not None:
                    times.append(_seconds(row[time]) if time < len(row) else math.nan)
                filled += 1
                if len(rows) == _BLOCK:
                    blocks.append(np.array(rows))
                    rows = []
                if filled == longest:
                    break
        except csv.Error as error:
            raise csv.Error(f"line {n_read + 1}: {error}") from error
        if rows:
            blocks.append(np.array(rows))
        values = np.concatenate(blocks) if blocks else np.empty((0, len(columns)))
        return values, np.array(times)

    def _numbers(self, line: int, row: list[str], columns) -> list[float]:
        try:
            return [number_in(row[i]) for i in columns]
        except (IndexError, ValueError) as error:
            # Other columns may say who the patient is.
            cells = ",".join(row[i] for i in columns if i < len(row))
            raise RecordError(
                f"{self.path}, line {line}: expected a number in each of {len(columns)} columns, "
                f"found '{cells[:_QUOTED]}'"
            ) from error

    def _build(self, values, leads, units, stated, measured, times) -> Record:
        fs = self._agreed(
            {"the time column": measured, "a line above the table": stated, "--fs": self.fs}
        )
        if fs is None:
            raise RecordError(
                f"{self.path}: a table has no sampling rate; expected --fs HZ or a column of times "
                f"in s or ms, found none"
            )
        if not MIN_FS <= fs <= MAX_FS:
            raise RecordError(
                f"{self.path}: expected a sampling rate of {MIN_FS:g} to {MAX_FS:g} Hz, "
                f"found {fs:g}"
            )
        per_mv = np.array([self._per_mv(found) for found in units])[:, None]
        signal = values[:, : window_length(fs, self.duration_s)] / per_mv
        record = build_record(self.path, signal, fs, leads)
        return replace(record, warnings=_gaps(times, measured))

    def _agreed(self, rates: dict[str, float | None]) -> float | None:
        """The rate that all who state one agree on, --fs before others; None where nobody does."""
        stated = {who: rate for who, rate in rates.items() if rate is not None}
        if not stated:
            return None
        if max(stated.values()) > (1 + _DISAGREEMENT) * min(stated.values()):
            found = ", ".join(f"{rate:.6g} Hz by {who}" for who, rate in stated.items())
            raise RecordError(f"{self.path}: contradictory sampling rates: {found}")
        return stated.get("--fs") or next(iter(stated.values()))

    def _per_mv(self, found: str | None) -> float:
        if found is None or self.unit is None:
            return units_per_mv(found or self.unit or "mV")
        if not math.isclose(units_per_mv(found), units_per_mv(self.unit)):
            raise RecordError(
                f"{self.path}: contradictory units: {found} in the file, {self.unit} by --unit"
            )
        return units_per_mv(found)


def _listed(names) -> str:
    text = ", ".join(map(clean, names)) or "none"
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}…"


def _time_name(layout: Layout, rows, column: int | None) -> str:
    """The name of the time column, for its unit, which is s where it holds times of a clock."""
    if column is None:
        return ""
    if any(column < len(row) and is_clock(row[column]) for row in rows[:1]):
        return "s"
    return layout.names[column] if layout.names else ""


def _seconds(cell: str) -> float:
    try:
        return seconds_in(cell)
    except ValueError:
        return math.nan


def _times(rows, column: int) -> np.ndarray:
    """Times (n,) in a column: those of a clock in s, other numbers as they are."""
    return np.array([_seconds(row[column]) for row in rows if column < len(row)])


def _steps(times) -> np.ndarray:
    """What each time is behind the one before, where both are known."""
    known = times[np.isfinite(times)]
    steps = np.diff(known)
    # Clocks begin anew at midnight.
    return np.where(steps < -_DAY_S / 2, steps + _DAY_S, steps)


def _ascends(times) -> bool:
    return len(times) > 2 and np.isfinite(times).all() and bool((_steps(times) > 0).all())


def _counts(times) -> bool:
    """Whether the numbers are 0, 1, 2, …, or begin elsewhere."""
    steps = _steps(times)
    return not len(steps) or bool((steps == 1).all())


def _rate(times, name: str) -> float | None:
    """The sampling rate, Hz, by a column of times; None where that says nothing.

    name: of the column, for its unit. Where it states none, the unit is the one of s, ms, µs and ns
    that makes a rate an ECG may have; steps of 1 without a unit count samples.
    """
    steps = _steps(times)
    if len(steps) == 0 or (steps < 0).any() or not (steps > 0).any():
        return None
    usual = np.median(steps[steps > 0])
    step = steps[steps <= _GAP * usual].mean()
    unit_s = time_unit_s(name)
    if unit_s is None and _counts(times):
        return None
    units_s = (1.0, 1e-3, 1e-6, 1e-9) if unit_s is None else (unit_s,)
    rates = [1 / (step * seconds) for seconds in units_s]
    rate = next((rate for rate in rates if MIN_FS <= rate <= MAX_FS), rates[0])
    return float(round(rate)) if abs(rate - round(rate)) < _WHOLE * rate else float(rate)


def _gaps(times, measured: float | None) -> tuple[str, ...]:
    """A warning where the time column leaves samples out."""
    if measured is None:
        return ()
    steps = _steps(times)
    n_gaps = int((steps > _GAP * np.median(steps[steps > 0])).sum())
    return (f"gaps in the time column ({n_gaps}), read as if there were none",) if n_gaps else ()
