"""Parse and write header files, in both dialects of the Challenge.

The Challenge's downloads have `A0001.mat 16+24 1000/mV 16 0 28 -1716 0 I` and `#Age: 74`; PhysioNet
1.0.2 and later have `A0001.mat 16x1+24 1000.0(0)/mV …` and `# Age: 74`. Both are WFDB headers, so
the rules and defaults are those of the WFDB header format (header(5)).
"""

import math
import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ecg.records.leads import canonical_lead

DEFAULT_FS = 250.0  # Hz, where line 1 has none (header(5))
DEFAULT_GAIN = 200.0  # per unit, where the gain is missing or 0 (header(5))
_LEAST_GAIN = 10.0  # per mV; below, one step exceeds many P waves, as with "1000/V" for "1000/mV"

# The units in mV; keys in lower case, since headers spell them mV, mv and MV.
_MILLIVOLTS = {"mv": 1.0, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "v": 1e3}

_DIGITS = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_NUMBER = re.compile(_DIGITS)
_GAIN = re.compile(rf"({_DIGITS})?(?:\(({_DIGITS})\))?(?:/(\S*))?")
_COUNT = re.compile(r"\d{1,12}", re.ASCII)
_COMMENT = re.compile(r"#\s*([A-Za-z]+)\s*:(.*)")


class RecordError(ValueError):
    """A header or signal file that does not follow the format; the message names the record."""


@dataclass(frozen=True)
class Header:
    """The content of a header.

    name: record id of line 1. fs: Hz. n_samples: samples per lead; None where line 1 has none.
    leads: in the header's order and standard spelling.
    adc_gains (per mV), baselines (ADC units), files: of each lead; a gain is NaN where the lead's
    unit is not a voltage.
    age: years or NaN. sex: "Male", "Female" or "Unknown". dx: codes, without duplicates.
    warnings: a phrase for each value that is readable but doubtful.
    """

    name: str
    fs: float
    n_samples: int | None
    leads: tuple[str, ...]
    adc_gains: tuple[float, ...]
    baselines: tuple[float, ...]
    files: tuple[str, ...]
    age: float
    sex: str
    dx: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def parse_header(text: str) -> Header:
    """Return the `Header` of a header file's text, with any line endings.

    Raises RecordError where line 1 or a signal line cannot be parsed.
    """
    lines = [line.strip() for line in text.lstrip("\ufeff").splitlines()]
    body = [line for line in lines if line and not line.startswith("#")]
    if not body:
        raise RecordError("empty header: expected a record line 'NAME n_leads fs n_samples'")
    name, n_leads, fs, n_samples = _parse_record_line(body[0])
    signal_lines = body[1 : 1 + n_leads]
    if len(signal_lines) != n_leads:
        raise RecordError(
            f"{name}: line 1 promises {n_leads} signal lines, the header has {len(signal_lines)}"
        )
    signals = [_parse_signal_line(name, line) for line in signal_lines]
    comments = _comments([line for line in lines if line.startswith("#")])
    return Header(
        name=name,
        fs=fs,
        n_samples=n_samples,
        leads=tuple(signal["lead"] for signal in signals),
        adc_gains=tuple(signal["adc_gain"] for signal in signals),
        baselines=tuple(signal["baseline"] for signal in signals),
        files=tuple(signal["file"] for signal in signals),
        age=_parse_age(comments.get("age", "")),
        sex=_parse_sex(comments.get("sex", "")),
        dx=_parse_dx(comments.get("dx", "")),
        warnings=_warnings(signals),
    )


def format_header(header: Header, recording, physionet: bool = False) -> str:
    """Return the text of a header file, in the dialect of the Challenge's downloads or of
    PhysioNet 1.0.3.

    recording: (n_leads, n_samples), int16, the digital values, for the first values and checksums.
    Gains are written per mV.
    """
    signal_format, mark = ("16x1+24", "# ") if physionet else ("16+24", "#")
    n_leads, n_samples = recording.shape
    lines = [f"{header.name} {n_leads} {header.fs:.12g} {n_samples}"]
    for lead, file, gain, baseline, values in zip(
        header.leads, header.files, header.adc_gains, header.baselines, recording, strict=True
    ):
        scale = str(float(gain)) if physionet else f"{gain:.12g}"
        if baseline or physionet:
            scale += f"({baseline:.0f})"
        # header(5): the sum of all values as a signed 16-bit number.
        checksum = (int(values.sum(dtype=np.int64)) + 2**15) % 2**16 - 2**15
        lines.append(f"{file} {signal_format} {scale}/mV 16 0 {values[0]} {checksum} 0 {lead}")
    age = "NaN" if math.isnan(header.age) else f"{header.age:g}"
    comments = {"Age": age, "Sex": header.sex, "Dx": ",".join(header.dx)}
    lines += [f"{mark}{name}: {text}" for name, text in comments.items()]
    return "\n".join(lines) + "\n"


def read_dx(text: str) -> tuple[str, ...]:
    """Return the diagnosis codes of a header's text, without duplicates; empty without a `#Dx`
    line.

    Scoring needs nothing else of a label file, so the rest may be unreadable.
    """
    # Comments are at the end of a header, so lines before the first "#" are skipped.
    first = text.rfind("\n", 0, text.find("#")) + 1
    lines = [line for line in text[first:].splitlines() if "dx" in line.lower()]
    return _parse_dx(_comments(lines).get("dx", ""))


def _parse_record_line(line: str) -> tuple[str, int, float, int | None]:
    name, *fields = line.split()
    name, _, n_segments = name.partition("/")
    if n_segments and n_segments != "1":
        raise RecordError(f"{name}: a record of {n_segments} segments; expected a single segment")
    if not fields:
        raise RecordError(f"{name}: expected 'NAME n_leads fs n_samples' on line 1, found '{line}'")
    n_leads = int(fields[0]) if _COUNT.fullmatch(fields[0]) else 0
    if n_leads < 1:
        raise RecordError(f"{name}: expected a number of leads on line 1, found '{fields[0]}'")
    fs = DEFAULT_FS
    if len(fields) > 1:
        fs = _number(name, "sampling rate", re.split(r"[/(]", fields[1])[0])
    # header(5): 0 means unknown. The number follows from the signal file as well, so an unreadable
    # one is no error.
    n_samples = int(fields[2]) if len(fields) > 2 and _COUNT.fullmatch(fields[2]) else 0
    return name, n_leads, fs, n_samples or None


def _parse_signal_line(name: str, line: str) -> dict:
    # file format gain ADC-resolution ADC-zero first-value checksum block-size description
    fields = line.split(maxsplit=8)
    if len(fields) < 3:
        raise RecordError(
            f"{name}: expected 'FILE format gain … lead' in a signal line, found '{line}'"
        )
    # With three fields, the third is the lead's name and the gain is missing.
    gain_field = _GAIN.fullmatch(fields[2]) if len(fields) > 3 else None
    if len(fields) > 3 and not gain_field:
        raise RecordError(f"{name}: unreadable gain '{fields[2]}' in '{line}'")
    gain, baseline, unit = gain_field.groups() if gain_field else (None, None, None)
    adc_gain = _number(name, "gain", gain or str(DEFAULT_GAIN))
    adc_zero = fields[4] if len(fields) > 5 else "0"
    millivolts = _MILLIVOLTS.get(unit.lower() if unit else "mv", math.nan)
    return {
        "file": fields[0],
        "lead": canonical_lead(fields[-1]),
        "adc_gain": (adc_gain or DEFAULT_GAIN) / millivolts,
        "gain_doubt": _gain_doubt(adc_gain, adc_gain / millivolts),
        "baseline": _number(name, "baseline", adc_zero if baseline is None else baseline),
    }


def _gain_doubt(written: float, per_mv: float) -> str:
    """Return what is doubtful about a gain in a header; empty where nothing is."""
    if written == 0:
        return f"a gain of 0, read as {DEFAULT_GAIN:g} per unit"
    if written < 0:
        return "a gain below 0, which turns the signal upside down"
    if per_mv < _LEAST_GAIN:
        return f"a gain of {per_mv:g} per mV, too coarse for an ECG"
    return ""


def _warnings(signals: list[dict]) -> tuple[str, ...]:
    """Return the doubts about a header's signal lines, each with the leads concerned."""
    doubts: dict[str, list[str]] = {}
    seen = set()
    for signal in signals:
        if signal["gain_doubt"]:
            doubts.setdefault(signal["gain_doubt"], []).append(signal["lead"])
        if signal["lead"] in seen:
            doubts.setdefault("named more than once, the first one is read", []).append(
                signal["lead"]
            )
        seen.add(signal["lead"])
    return tuple(f"{', '.join(dict.fromkeys(leads))}: {doubt}" for doubt, leads in doubts.items())


def _comments(lines) -> dict[str, str]:
    """Lower-case keys -> text of the `#Key: text` lines; texts of the same key joined by commas."""
    comments = {}
    for line in lines:
        match = _COMMENT.match(line.strip())
        if match:
            key, text = match[1].lower(), match[2].strip()
            comments[key] = f"{comments[key]},{text}" if key in comments else text
    return comments


def _parse_age(text: str) -> float:
    age = float(text) if _NUMBER.fullmatch(text) else math.nan
    return age if 0 <= age < math.inf else math.nan


def _parse_sex(text: str) -> str:
    return {"m": "Male", "male": "Male", "f": "Female", "female": "Female"}.get(
        text.lower(), "Unknown"
    )


@lru_cache(4096)
def _parse_dx(text: str) -> tuple[str, ...]:
    # SNOMED CT identifiers are numbers; "Unknown" and the like are not codes.
    codes = (code.strip() for code in text.split(","))
    return tuple(dict.fromkeys(code for code in codes if code.isdigit()))


def _number(name: str, field: str, text: str) -> float:
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(value):
        raise RecordError(f"{name}: expected a number as {field}, found '{text}'")
    return value
