"""Detect the layout of a table by its first lines: delimiter, lead names, units, sampling rate."""

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median_low

from ecg.records.formats.channel_labels import is_lead, parse_lead, parse_unit, units_per_mv

_NUMBER = re.compile(r"[-+]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][-+]?\d+)?")
_MISSING = {"", "nan", "na", "n/a", "#n/a", "null", "none", "-", "--", "---", "?", "*"}
_CLOCK = re.compile(
    r"(?:.*[\sT'\[])?(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2}(?:[.,]\d+)?)"
    r"(?:[Z'\]\sAPM]*|\s*[+-]\d\d:?\d\d)"
)
_TIME = re.compile(
    r"(?:elapsed|rec(?:ording)?|sample)?[\s_-]*"
    r"(?:t|time|times|zeit|uhrzeit|temps|tiempo|tempo|hora|heure|tijd|tid|time ?stamps?|"
    r"zeit ?stempel|date ?time|date/time|datum/zeit|milliseconds|millis|seconds|sekunden|ms|sec|s)"
    r"(?:[\s_/-]*(?:in[\s_]*)?(s|sec|secs|seconds|sekunden|ms|msec|milliseconds|us|µs|μs|ns))?",
    re.IGNORECASE,
)
_TIME_UNIT = re.compile(r"[(\[]\s*([a-zµμ]+)\s*[)\]]", re.IGNORECASE)
_SECONDS = {
    **dict.fromkeys(("s", "sec", "secs", "seconds", "sekunden"), 1.0),
    **dict.fromkeys(("ms", "msec", "milliseconds", "millis"), 1e-3),
    **dict.fromkeys(("us", "µs", "μs"), 1e-6),
    "ns": 1e-9,
}
_COUNTER = re.compile(
    r"(?:sample|samples|index|idx|nr|no|number|n|#|row|frame|date|datum)?[\s_.-]*"
    r"(?:no|nr|number|index|count|#)?\.?|unnamed: 0",
    re.IGNORECASE,
)
_HERTZ = re.compile(
    r"(\d+(?:[.,]\d+)?)\s*(?:hz|hertz|ヘルツ|赫兹|赫茲|헤르츠|герц|гц|samples/s)", re.IGNORECASE
)
_SAMPLING = re.compile(
    r"sampl|abtast|[ée]chantillon|muestr|campion|amostra|sampel|サンプル|采样|取樣|샘플|дискрет",
    re.IGNORECASE,
)
_LEAD_WORD = re.compile(r"(?<![A-Za-z])(I|II)(?![A-Za-z])")
_MAX_LENGTH = 200  # characters searched in a name or a line above the table
_MIN_PREAMBLE = 3  # lines above the samples in a phone's export


@dataclass(frozen=True)
class Layout:
    """The layout of a table.

    delimiter: " " for any run of spaces, "" for a single column.
    quote: quote character.
    names: column names; empty if the table has none.
    n_skipped: rows before the first numbers.
    is_transposed: one row per lead, beginning with its name, instead of one column per lead.
    units: unit of each column; None if not stated.
    fs: Hz, as stated in a line above the table; None if not stated.
    """

    delimiter: str
    quote: str
    names: tuple[str, ...]
    n_skipped: int
    is_transposed: bool
    units: tuple[str | None, ...]
    fs: float | None

    def rows(self, lines: Iterable[str]) -> Iterable[list[str]]:
        """Yield the cells of each line."""
        return split(lines, self.delimiter, self.quote)


def find_layout(lines: list[str]) -> Layout:
    """Return the layout of a table that begins with `lines`.

    Raises csv.Error naming the line if one cannot be split into cells.
    """
    quote = "'" if any(line.startswith("'") for line in lines[:3]) else '"'
    delimiter = _delimiter(lines)
    rows = _rows(lines, delimiter, quote)
    filled = [i for i, row in enumerate(rows) if any(row)]
    if _is_transposed(rows, filled):
        return Layout(delimiter, quote, (), 0, True, (), None)
    first = next((i for i in filled if _is_numeric(rows[i])), len(rows))
    above = [i for i in filled if i < first]
    header = _header(rows, above)
    preamble = [_key_and_value(rows[i]) for i in above if i != header]
    fs, unit = _stated_rate(preamble), _stated_unit(preamble)
    if header is None:
        is_phone = delimiter == "" and len(preamble) >= _MIN_PREAMBLE and (fs or unit)
        names = (_phone_lead(preamble),) if is_phone and first < len(rows) else ()
        return Layout(delimiter, quote, names, first, False, (unit,) * len(names), fs)
    names = tuple(rows[header])
    below = [rows[i] for i in above if i > header][:1]
    has_units = bool(below) and any(_as_unit(cell) for cell in below[0])
    units = [parse_unit(name) or (unit if is_lead(name) else None) for name in names]
    if has_units:
        units = [_as_unit(cell) or unit for cell, unit in zip(below[0], units, strict=False)]
        units += [None] * (len(names) - len(units))
    return Layout(delimiter, quote, names, header + 1 + has_units, False, tuple(units), fs)


def split(lines: Iterable[str], delimiter: str, quote: str) -> Iterable[list[str]]:
    """Yield the cells of each line; `delimiter` and `quote` as in `Layout`."""
    if delimiter == " ":
        return (line.split() for line in lines)
    if delimiter == "":
        return ([line.strip()] for line in lines)
    return csv.reader(lines, delimiter=delimiter, quotechar=quote)


def clean(cell: str) -> str:
    """Strip spaces, quotes and byte order marks from a cell."""
    return cell.strip().strip("\ufeff'\"").strip()


def parse_number(cell: str) -> float:
    """Return the number in a cell, with decimal point or comma; NaN for a missing value.

    Raises ValueError.
    """
    try:
        return float(cell)
    except ValueError:
        text = clean(cell)
        if text.lower() in _MISSING:
            return float("nan")
        if text.rfind(",") > text.rfind("."):
            return float(text.replace(".", "").replace(",", "."))
        return float(text.replace(",", ""))


def parse_seconds(cell: str) -> float:
    """Return a clock time in s, any other number as it is.

    Raises ValueError.
    """
    clock = _CLOCK.fullmatch(cell[:_MAX_LENGTH].strip())
    if not clock:
        return parse_number(cell)
    hours, minutes, seconds = clock.groups()
    return (int(hours or 0) * 60 + int(minutes)) * 60 + float(seconds.replace(",", "."))


def is_clock(cell: str) -> bool:
    """Return whether a cell is a time of day, with or without a date."""
    return bool(_CLOCK.fullmatch(cell[:_MAX_LENGTH].strip()))


def is_counter(name: str) -> bool:
    """Return whether a column name is that of a sample counter, or empty."""
    return bool(_COUNTER.fullmatch(clean(name[:_MAX_LENGTH])))


def is_time(name: str) -> bool:
    """Return whether a column name is that of a time column."""
    return bool(_TIME.fullmatch(_TIME_UNIT.sub("", clean(name[:_MAX_LENGTH])).strip()))


def time_unit_s(name: str) -> float | None:
    """Return the unit of a time column, in s, by the column's name; None if it states none."""
    bracket = _TIME_UNIT.search(name[:_MAX_LENGTH])
    found = bracket or _TIME.fullmatch(clean(name[:_MAX_LENGTH]))
    unit = (found[1] or "") if found else ""
    return _SECONDS.get((unit or clean(name)).lower())


def _delimiter(lines: list[str]) -> str:
    filled = [line.strip() for line in lines if line.strip()]
    # The numbers are at the end; anything may come before them.
    tail = filled[len(filled) // 2 :] or [""]
    for mark in ";\t|":
        if median_low([line.count(mark) for line in tail]):
            return mark
    if all(_NUMBER.fullmatch(clean(line)) for line in tail):
        # "1,5" is one number with a decimal comma if the line above has one column, or if this is
        # a phone's export, whose last line above the samples states the unit.
        above = [line for line in filled if not _NUMBER.fullmatch(clean(line))] or [","]
        has_leads = any(map(is_lead, above[-1].split(",")))
        is_phone = len(above) >= _MIN_PREAMBLE and not has_leads
        return "," if "," in above[-1] and "," in "".join(tail) and not is_phone else ""
    tokens = [line.split() for line in tail]
    if all(len(row) > 1 and all(map(_NUMBER.fullmatch, row)) for row in tokens):
        return " "
    return "," if median_low([line.count(",") for line in tail]) else _spaces(tail)


def _spaces(lines: list[str]) -> str:
    """Return " " if every line is a name followed by numbers (one row per lead), else ""."""
    rows = [line.split() for line in lines]
    return " " if all(len(row) > 2 and _NUMBER.fullmatch(row[-1]) for row in rows) else ""


def _is_number(cell: str) -> bool:
    try:
        parse_number(cell)
    except ValueError:
        return False
    return True


def _is_numeric(row: list[str]) -> bool:
    """Return whether a row holds only numbers and times, and at least one number."""
    known = [cell for cell in row if cell.lower() not in _MISSING]
    return any(map(_is_number, known)) and all(_is_number(cell) or is_clock(cell) for cell in known)


def _rows(lines: list[str], delimiter: str, quote: str) -> list[list[str]]:
    rows: list[list[str]] = []
    try:
        for row in split(lines, delimiter, quote):
            rows.append([clean(cell) for cell in row])
    except csv.Error as error:
        raise csv.Error(f"line {len(rows) + 1}: {error}") from error
    return rows


def _key_and_value(row: list[str]) -> list[str]:
    return re.split(r"[,;:\t]", row[0], maxsplit=1) if len(row) == 1 else row


def _is_transposed(rows: list[list[str]], filled: list[int]) -> bool:
    """Return whether rows consist of a lead name followed by numbers."""
    first = next((i for i in filled if is_lead(rows[i][0])), None)
    if first is None or len(rows[first]) < 3:
        return False
    return _is_numeric(rows[first][1:]) and all(
        len(rows[i]) > 2 and _is_numeric(rows[i][1:]) for i in filled if i > first
    )


def _header(rows: list[list[str]], above: list[int]) -> int | None:
    """Return the index of the row of column names above the numbers; None if there is none."""
    named = [i for i in above if any(map(is_lead, rows[i])) and not _is_pair(rows[i])]
    if named:
        return named[-1]
    # Names that are not leads are recognised by their number, which is that of the columns.
    last = above[-1] if above else None
    is_table = last is not None and last + 1 < len(rows) and len(above) <= 2
    return last if is_table and len(rows[last]) == len(rows[last + 1]) > 1 else None


def _is_pair(row: list[str]) -> bool:
    """Return whether a row is a key and a value, such as "Lead,Lead I"."""
    return len(row) == 2 and is_lead(row[1]) and not (is_lead(row[0]) or is_time(row[0]))


def _as_unit(cell: str) -> str | None:
    unit = cell.strip(" ()[]'\"")
    try:
        units_per_mv(unit)
    except ValueError:
        return None
    return unit


def _stated_rate(rows: list[list[str]]) -> float | None:
    """Return the sampling rate, Hz, stated in the lines above the table; None if not stated."""
    texts = [" ".join(row)[:_MAX_LENGTH] for row in rows]
    rates = [(text, found) for text in texts if (found := _HERTZ.search(text))]
    sampling = [pair for pair in rates if _SAMPLING.search(pair[0])] or rates
    return parse_number(sampling[0][1][1]) if len(sampling) == 1 else None


def _stated_unit(rows: list[list[str]]) -> str | None:
    units = {unit for row in rows for cell in row[1:] if (unit := _as_unit(cell))}
    return units.pop() if len(units) == 1 else None


def _phone_lead(rows: list[list[str]]) -> str:
    """Return the lead stated above the samples of a phone's export; by default I, as of watches."""
    # The lead comes after the patient's name, in any language.
    cells = [cell for row in reversed(rows) for cell in row[1:] if len(cell) < 24]
    named = [parse_lead(cell) for cell in cells if is_lead(cell)]
    named += [found[1] for cell in cells if (found := _LEAD_WORD.search(cell))]
    return named[0] if named else "I"
