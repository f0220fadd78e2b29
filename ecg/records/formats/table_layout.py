"""The first lines of a table -> how it is laid out: what parts its columns, where the names of the
leads are, in which units its numbers are, which column is the time."""

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median_low

from ecg.records.formats.labels import is_lead, lead_in, unit_in, units_per_mv

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
_LONE_LEAD = re.compile(r"(?<![A-Za-z])(I|II)(?![A-Za-z])")
_LONGEST = 200  # characters of a line above the table, or of a name
_FEWEST_PREAMBLE = 3  # lines that a phone's export begins with


@dataclass(frozen=True)
class Layout:
    """How a table is laid out.

    delimiter: what parts columns; a space stands for any run of spaces, and it is empty where there
    is one column. quote: what may stand around a cell. names: of the columns; empty where the table
    names none. skipped: rows before the first numbers. is_transposed: a row a lead, which names
    itself. units: of each column, None where nothing states one. fs: Hz, where a line above the
    table states it.
    """

    delimiter: str
    quote: str
    names: tuple[str, ...]
    skipped: int
    is_transposed: bool
    units: tuple[str | None, ...]
    fs: float | None

    def rows(self, lines: Iterable[str]) -> Iterable[list[str]]:
        """The cells of each line."""
        return split(lines, self.delimiter, self.quote)


def find_layout(lines: list[str]) -> Layout:
    """The layout of a table that begins with these lines.

    Raises csv.Error naming the line where one cannot be parted into cells.
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
        is_phone = delimiter == "" and len(preamble) >= _FEWEST_PREAMBLE and (fs or unit)
        names = (_phone_lead(preamble),) if is_phone and first < len(rows) else ()
        return Layout(delimiter, quote, names, first, False, (unit,) * len(names), fs)
    names = tuple(rows[header])
    below = [rows[i] for i in above if i > header][:1]
    has_units = bool(below) and any(_as_unit(cell) for cell in below[0])
    units = [unit_in(name) or (unit if is_lead(name) else None) for name in names]
    if has_units:
        units = [_as_unit(cell) or unit for cell, unit in zip(below[0], units, strict=False)]
        units += [None] * (len(names) - len(units))
    return Layout(delimiter, quote, names, header + 1 + has_units, False, tuple(units), fs)


def split(lines: Iterable[str], delimiter: str, quote: str) -> Iterable[list[str]]:
    """The cells of each line; see `Layout`."""
    if delimiter == " ":
        return (line.split() for line in lines)
    if delimiter == "":
        return ([line.strip()] for line in lines)
    return csv.reader(lines, delimiter=delimiter, quotechar=quote)


def clean(cell: str) -> str:
    """A cell without what spreadsheets and exports wrap around it."""
    return cell.strip().strip("\ufeff'\"").strip()


def number_in(cell: str) -> float:
    """The number in a cell, with a decimal point or comma; NaN where it stands for none.

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


def seconds_in(cell: str) -> float:
    """The time in a cell as a number, or as seconds where it is that of a clock.

    Raises ValueError.
    """
    clock = _CLOCK.fullmatch(cell[:_LONGEST].strip())
    if not clock:
        return number_in(cell)
    hours, minutes, seconds = clock.groups()
    return (int(hours or 0) * 60 + int(minutes)) * 60 + float(seconds.replace(",", "."))


def is_clock(cell: str) -> bool:
    """Whether a cell is a time of day, or a date with one."""
    return bool(_CLOCK.fullmatch(cell[:_LONGEST].strip()))


def is_counter(name: str) -> bool:
    """Whether a column is named as one that counts samples, or not at all."""
    return bool(_COUNTER.fullmatch(clean(name[:_LONGEST])))


def is_time(name: str) -> bool:
    """Whether a column is named as the time."""
    return bool(_TIME.fullmatch(_TIME_UNIT.sub("", clean(name[:_LONGEST])).strip()))


def time_unit_s(name: str) -> float | None:
    """Seconds in the unit of a time column, by its name; None where that states none."""
    bracket = _TIME_UNIT.search(name[:_LONGEST])
    found = bracket or _TIME.fullmatch(clean(name[:_LONGEST]))
    unit = (found[1] or "") if found else ""
    return _SECONDS.get((unit or clean(name)).lower())


def _delimiter(lines: list[str]) -> str:
    filled = [line.strip() for line in lines if line.strip()]
    # The numbers stand last; before them may stand anything.
    tail = filled[len(filled) // 2 :] or [""]
    for mark in ";\t|":
        if median_low([line.count(mark) for line in tail]):
            return mark
    if all(_NUMBER.fullmatch(clean(line)) for line in tail):
        # "1,5" is one number with a decimal comma where the line above has one column, or where a
        # phone put its lines there, the last of which names the unit.
        above = [line for line in filled if not _NUMBER.fullmatch(clean(line))] or [","]
        has_leads = any(map(is_lead, above[-1].split(",")))
        is_phone = len(above) >= _FEWEST_PREAMBLE and not has_leads
        return "," if "," in above[-1] and "," in "".join(tail) and not is_phone else ""
    tokens = [line.split() for line in tail]
    if all(len(row) > 1 and all(map(_NUMBER.fullmatch, row)) for row in tokens):
        return " "
    return "," if median_low([line.count(",") for line in tail]) else _spaces(tail)


def _spaces(lines: list[str]) -> str:
    """Spaces, where they part numbers from a name before them (a row a lead)."""
    rows = [line.split() for line in lines]
    return " " if all(len(row) > 2 and _NUMBER.fullmatch(row[-1]) for row in rows) else ""


def _is_number(cell: str) -> bool:
    try:
        number_in(cell)
    except ValueError:
        return False
    return True


def _is_numeric(row: list[str]) -> bool:
    """Whether a row holds numbers and times alone, and a number at least."""
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
    """Whether rows begin with the name of a lead, and numbers follow."""
    first = next((i for i in filled if is_lead(rows[i][0])), None)
    if first is None or len(rows[first]) < 3:
        return False
    return _is_numeric(rows[first][1:]) and all(
        len(rows[i]) > 2 and _is_numeric(rows[i][1:]) for i in filled if i > first
    )


def _header(rows: list[list[str]], above: list[int]) -> int | None:
    """The row of names among those above the numbers; None where there is none."""
    named = [i for i in above if any(map(is_lead, rows[i])) and not _is_pair(rows[i])]
    if named:
        return named[-1]
    # A table whose names are no leads has as many names as numbers.
    last = above[-1] if above else None
    is_table = last is not None and last + 1 < len(rows) and len(above) <= 2
    return last if is_table and len(rows[last]) == len(rows[last + 1]) > 1 else None


def _is_pair(row: list[str]) -> bool:
    """Whether a row is a line such as "Lead,Lead I"."""
    return len(row) == 2 and is_lead(row[1]) and not (is_lead(row[0]) or is_time(row[0]))


def _as_unit(cell: str) -> str | None:
    unit = cell.strip(" ()[]'\"")
    try:
        units_per_mv(unit)
    except ValueError:
        return None
    return unit


def _stated_rate(rows: list[list[str]]) -> float | None:
    """The rate in Hz that one of the lines before the table states."""
    texts = [" ".join(row)[:_LONGEST] for row in rows]
    rates = [(text, found) for text in texts if (found := _HERTZ.search(text))]
    sampling = [pair for pair in rates if _SAMPLING.search(pair[0])] or rates
    return number_in(sampling[0][1][1]) if len(sampling) == 1 else None


def _stated_unit(rows: list[list[str]]) -> str | None:
    units = {unit for row in rows for cell in row[1:] if (unit := _as_unit(cell))}
    return units.pop() if len(units) == 1 else None


def _phone_lead(rows: list[list[str]]) -> str:
    """The lead that a phone's export names in one of its lines; else I, which watches record."""
    # The lead's line stands behind that of the patient's name, whatever they are called.
    cells = [cell for row in reversed(rows) for cell in row[1:] if len(cell) < 24]
    named = [lead_in(cell) for cell in cells if is_lead(cell)]
    named += [found[1] for cell in cells if (found := _LONE_LEAD.search(cell))]
    return named[0] if named else "I"
