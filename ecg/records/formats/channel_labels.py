"""Parse leads and units from channel labels, in the spellings found in files."""

import re

from ecg.records.leads import TWELVE_LEADS, canonical_lead

_PER_MV = {"mv": 1.0, "uv": 1e3, "µv": 1e3, "μv": 1e3, "v": 1e-3, "nv": 1e6}
_ADU = re.compile(r"adu/(\d+\.?\d*|\.\d+)", re.IGNORECASE)
_UNIT = r"(?:[munµμ]v|v|millivolts?|microvolts?)"
# "I (mV)", "I [µV]", "I_mV", "I/mV", "I in mV". V alone, as in V1, is not a unit.
_UNIT_SUFFIX = re.compile(
    rf"[(\[]\s*({_UNIT})\s*[)\]]|(?:[\s_/,]|\bin\s)({_UNIT})\s*$", re.IGNORECASE
)
_BRACKETS = re.compile(r"\(.*?\)|\[.*?\]")
_PREFIX = re.compile(
    r"^(?:(?:lead|ecg|ekg|channel|ableitung|d[eé]rivation|derivaci[oó]n|derivazione)[\s_.:-]*)+",
    re.IGNORECASE,
)
_SUFFIX = re.compile(r"[\s_.:-]+(?:lead|ecg|ekg)$", re.IGNORECASE)
_MAX_LENGTH = 200  # characters of a label
_SYNONYMS = {"di": "I", "dii": "II", "diii": "III", "mlii": "MLII"}
_UNIT_WORDS = {"millivolt": "mV", "millivolts": "mV", "microvolt": "uV", "microvolts": "uV"}


def units_per_mv(unit: str) -> float:
    """Return how many of `unit` make one mV.

    unit: "mV", "uV", "V", "nV", or "adu/GAIN" for digital values with GAIN units per mV.
    Raises ValueError for any other unit.
    """
    adu = _ADU.fullmatch(unit)
    per_mv = float(adu[1]) if adu else _PER_MV.get(unit.lower(), 0.0)
    if not per_mv:
        raise ValueError(f"unit: expected mV, uV, V or adu/GAIN (GAIN > 0), found '{unit}'")
    return per_mv


def parse_lead(label: str) -> str:
    """Return the lead named by a label such as "Lead I (Einthoven)", "ECG V2" or "aVF [µV]".

    A label that names no standard lead is returned without such additions.
    """
    if len(label) > _MAX_LENGTH:
        return label
    name = _BRACKETS.sub(" ", _UNIT_SUFFIX.sub(" ", label)).strip(" _-:.\"'\t")
    name = _SUFFIX.sub("", _PREFIX.sub("", name)).strip(" _-:.")
    lead = canonical_lead(name)
    return _SYNONYMS.get(lead.lower(), lead)


def is_lead(label: str) -> bool:
    """Return whether a label names one of the twelve leads or MLII."""
    return parse_lead(label) in (*TWELVE_LEADS, "MLII")


def parse_unit(label: str) -> str | None:
    """Return the unit stated in a label, as accepted by `units_per_mv`; None without one."""
    found = _UNIT_SUFFIX.search(label[:_MAX_LENGTH])
    if not found:
        return None
    unit = found[1] or found[2]
    return _UNIT_WORDS.get(unit.lower(), unit)
