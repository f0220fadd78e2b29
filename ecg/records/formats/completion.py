"""Complete a recording of any format.

Rename MLII, remove the calibration pulse, derive missing limb leads, and check for swapped
electrodes.
"""

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
    "one lead only ({lead}): the models are made for two leads or more; in one they find half as "
    "much"
)
_SWAPPED = (
    "the right and left arm electrodes may be swapped: P, QRS and T are inverted in lead I; not "
    "corrected"
)
_MIN_DURATION_S = 1.0  # a calibration pulse is only removed if this much of the recording remains


def complete(record: Record) -> Record:
    """Return the record with its leads completed, changes listed in `notes`, doubts in `warnings`.

    MLII counts as II if there is no II. Missing limb leads are computed from I and II and follow
    the leads of the file.
    """
    record = _name_mlii(record)
    record = _cut_calibration(record)
    record = _add_limb_leads(record)
    missing = [lead for lead in TWELVE_LEADS if lead not in record.leads]
    known = [lead for lead in TWELVE_LEADS if lead in record.leads]
    if missing and known:
        record = _with_note(record, f"not in the file: {', '.join(missing)}")
    if len(known) == 1:
        record = replace(record, warnings=(*record.warnings, _ONE_LEAD.format(lead=known[0])))
    if _arms_look_swapped(record):
        record = replace(record, warnings=(*record.warnings, _SWAPPED))
    return record


def _name_mlii(record: Record) -> Record:
    if "MLII" not in record.leads or "II" in record.leads:
        return record
    leads = tuple("II" if lead == "MLII" else lead for lead in record.leads)
    return _with_note(replace(record, leads=leads), "MLII is used as lead II")


def _cut_calibration(record: Record) -> Record:
    start = calibration_start(record.signal, record.fs)
    if start is None or start < _MIN_DURATION_S * record.fs:
        return record
    length_s, kept_s = record.signal.shape[1] / record.fs, start / record.fs
    return _with_note(
        replace(record, signal=record.signal[:, :start]),
        f"calibration pulse at the end removed: {kept_s:.1f} of {length_s:.1f} s remain",
    )


def _add_limb_leads(record: Record) -> Record:
    absent = [lead for lead in DERIVED_LEADS if lead not in record.leads]
    if not absent or not {"I", "II"}.issubset(record.leads):
        return record
    derived = derive_limb_leads(*select_leads(record, ("I", "II")))
    signal = np.concatenate([record.signal, [derived[lead] for lead in absent]])
    return _with_note(
        replace(record, signal=signal, leads=(*record.leads, *absent)),
        f"{', '.join(absent)} computed from I and II",
    )


def _arms_look_swapped(record: Record) -> bool:
    if not {"I", "II", "aVR"}.issubset(record.leads):
        return False
    chest = [lead for lead in ("V5", "V6") if lead in record.leads]
    limbs = select_leads(record, ("I", "II", "aVR"))
    return arms_look_swapped(limbs, select_leads(record, chest), record.fs)


def _with_note(record: Record, note: str) -> Record:
    return replace(record, notes=(*record.notes, note))
