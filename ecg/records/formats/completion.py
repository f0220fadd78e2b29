"""What is done to a recording of any format once it is read: leads under standard names, the
calibration pulse cut off, limb leads derived, and doubts about its leads."""

from dataclasses import replace

import numpy as np

from ecg.records.lead_arithmetic import (
    DERIVED_LEADS,
    arms_look_swapped,
    calibration_start,
    derive_limb_leads,
)
from ecg.records.leads import TWELVE_LEADS
from ecg.records.record import Record, select_leads

_ONE_LEAD = (
    "one lead only ({lead}): the rhythm can be judged, most other findings cannot; take them for "
    "hints"
)
_SWAPPED = (
    "the electrodes of the right and left arm look swapped: P, QRS and T are upside down in lead "
    "I; nothing was mended"
)
_SHORTEST_S = 1.0  # what is left of a recording whose end is cut off


def complete(record: Record) -> Record:
    """The record with what its leads allow, each step told in `notes`, each doubt in `warnings`.

    MLII counts as II where there is no II. III, aVR, aVL and aVF are computed where the file has I
    and II; they follow the leads of the file.
    """
    record = _name_mlii(record)
    record = _cut_calibration(record)
    record = _add_limb_leads(record)
    missing = [lead for lead in TWELVE_LEADS if lead not in record.leads]
    known = [lead for lead in TWELVE_LEADS if lead in record.leads]
    if missing and known:
        record = _noted(record, f"not in the file: {', '.join(missing)}")
    if len(known) == 1:
        record = replace(record, warnings=(*record.warnings, _ONE_LEAD.format(lead=known[0])))
    if _arms_look_swapped(record):
        record = replace(record, warnings=(*record.warnings, _SWAPPED))
    return record


def _name_mlii(record: Record) -> Record:
    if "MLII" not in record.leads or "II" in record.leads:
        return record
    leads = tuple("II" if lead == "MLII" else lead for lead in record.leads)
    return _noted(replace(record, leads=leads), "MLII is read as lead II")


def _cut_calibration(record: Record) -> Record:
    start = calibration_start(record.signal, record.fs)
    if start is None or start < _SHORTEST_S * record.fs:
        return record
    length_s, kept_s = record.signal.shape[1] / record.fs, start / record.fs
    return _noted(
        replace(record, signal=record.signal[:, :start]),
        f"a calibration pulse at the end was cut off: {kept_s:.1f} of {length_s:.1f} s are left",
    )


def _add_limb_leads(record: Record) -> Record:
    absent = [lead for lead in DERIVED_LEADS if lead not in record.leads]
    if not absent or not {"I", "II"}.issubset(record.leads):
        return record
    derived = derive_limb_leads(*select_leads(record, ("I", "II")))
    signal = np.concatenate([record.signal, [derived[lead] for lead in absent]])
    return _noted(
        replace(record, signal=signal, leads=(*record.leads, *absent)),
        f"{', '.join(absent)} computed from I and II",
    )


def _arms_look_swapped(record: Record) -> bool:
    if not {"I", "II", "aVR"}.issubset(record.leads):
        return False
    chest = [lead for lead in ("V5", "V6") if lead in record.leads]
    limbs = select_leads(record, ("I", "II", "aVR"))
    return arms_look_swapped(limbs, select_leads(record, chest), record.fs)


def _noted(record: Record, note: str) -> Record:
    return replace(record, notes=(*record.notes, note))
