"""Labels as people and machines write them -> leads and units."""

import re

from ecg.records.leads import TWELVE_LEADS, canonical_lead

_PER_MV = {"mv": 1.0, "uv": 1e3, "µv": 1e3, "μv": 1e3, "v": 1e-3, "nv": 1e6}
_ADU = re.compile(r"adu/(\d+\.?\d*|\.\d+)", re.IGNORECASE)
_UNIT = r"(?:[munµμ]v|v|millivolts?|microvolts?)"
# "I (mV)", "I [µV]", "I_mV", "I/mV", "I in mV"; a lone V would be that of V1.
_UNIT_BEHIND = re.compile(
    rf"[(\[]\s*({_UNIT})\s*[)\]]|(?:[\s_/,]|\bin\s)({_UNIT})\s*$", re.IGNORECASE
)
_BRACKETS = re.compile(r"\(.*?\)|\[.*?\]")
_WORD_BEFORE = re.compile(
    r"^(?:(?:lead|ecg|ekg|channel|ableitung|d[eé]rivation|derivaci[oó]n|derivazione)[\s_.:-]*)+",
    re.IGNORECASE,
)
_WORD_BEHIND = re.compile(r"[\s_.:-]+(?:lead|ecg|ekg)$", re.IGNORECASE)
_LONGEST = 200  # characters of a label
_OTHER_NAMES = {"di": "I", "dii": "II", "diii": "III", "mlii": "MLII"}
_SPELT_OUT = {"millivolt": "mV", "millivolts": "mV", "microvolt": "uV", "microvolts": "uV"}


def units_per_mv(unit: str) -> float:
    """How many of the unit make one mV: of "mV", "uV", "V", or "adu/GAIN", GAIN per mV.

    Raises ValueError for any other.
    """
    adu = _ADU.fullmatch(unit)
    per_mv = float(adu[1]) if adu else _PER_MV.get(unit.lower(), 0.0)
    if not per_mv:
        raise ValueError(f"unit: expected mV, uV, V or adu/GAIN (GAIN > 0), found '{unit}'")
    return per_mv


def lead_in(label: str) -> str:
    """The lead that a label names, such as "Lead I (Einthoven)", "ECG V2" or "aVF [µV]"; where it
    names none of the twelve, the label without such words."""
    if len(label) > _LONGEST:
        return label
    bare = _BRACKETS.sub(" ", _UNIT_BEHIND.sub(" ", label)).strip(" _-:.\"'\t")
    bare = _WORD_BEHIND.sub("", _WORD_BEFORE.sub("", bare)).strip(" _-:.")
    lead = canonical_lead(bare)
    return _OTHER_NAMES.get(lead.lower(), lead)


def is_lead(label: str) -> bool:
    """Whether a label names one of the twelve leads, or MLII, which is read as II."""
    return lead_in(label) in (*TWELVE_LEADS, "MLII")


def unit_in(label: str) -> str | None:
    """The unit that a column's label states, as `units_per_mv` takes it; None where it has none."""
    found = _UNIT_BEHIND.search(label[:_LONGEST])
    if not found:
        return None
    unit = found[1] or found[2]
    return _SPELT_OUT.get(unit.lower(), unit)
