"""Predict a recording and format the result as text, JSON or CSV."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecg.models.decisions import decide
from ecg.records.diagnoses import DIAGNOSES
from ecg.records.headers import RecordError
from ecg.records.leads import LEAD_SETS
from ecg.records.record import Record
from ecg.signals.preprocessing import Preparation

if TYPE_CHECKING:  # importing the predictor loads TensorFlow
    from ecg.models.predictor import Predictor

NOTICE = "For research only: not a medical device, no substitute for a physician's diagnosis."
COLUMNS = ("file", "lead_set", "codes", "abbreviation", "diagnosis", "probability", "present")
_MIN_LISTED = 0.05  # absent diagnoses of a lower probability are not listed


@dataclass(frozen=True)
class Prediction:
    """The diagnoses predicted for one file.

    lead_set: of the model that predicted. probabilities: (26,). present: (26,), bool. notes: how
    the recording was read and prepared, a sentence each.
    """

    file: str
    record: Record
    lead_set: int
    probabilities: np.ndarray
    present: np.ndarray
    notes: tuple[str, ...]

    @property
    def order(self) -> np.ndarray:
        """Indices of all classes: those present first, then by probability."""
        return np.lexsort((-self.probabilities, ~self.present))

    @property
    def listed(self) -> np.ndarray:
        """Indices of the classes that are present or have a probability of at least 5 %."""
        return self.order[(self.present | (self.probabilities >= _MIN_LISTED))[self.order]]


def predict_record(file: str, record: Record, predictor: "Predictor") -> Prediction:
    """Return the predictor's diagnoses for a recording.

    Raises RecordError naming the file where the recording cannot be used.
    """
    model = predictor.model
    try:
        probabilities = predictor.probabilities(record)
    except ValueError as error:  # including RecordError
        raise RecordError(f"{file}: {error}") from error
    present = decide(probabilities[None], model.decision)[0]
    notes = notes_on(record, model.lead_set, model.method.preparation)
    return Prediction(file, record, model.lead_set, probabilities, present, notes)


def notes_on(record: Record, lead_set: int, preparation: Preparation) -> tuple[str, ...]:
    """Return sentences on how the recording was read and prepared, including its warnings."""
    used = LEAD_SETS[lead_set]
    length_s = record.signal.shape[1] / record.fs
    notes = [f"{lead_set}-lead model, using {', '.join(used)}"]
    unused = [lead for lead in record.leads if lead not in used]
    if unused:
        notes.append(f"not used: {', '.join(unused)}")
    missing = [lead for lead in used if lead not in record.leads]
    if missing:
        notes.append(f"missing, replaced by a flat line: {', '.join(missing)}")
    rows = [record.leads.index(lead) for lead in used if lead in record.leads]
    signals = record.signal[rows]
    flat = [
        record.leads[row]
        for row, signal in zip(rows, signals, strict=True)
        if not np.nan_to_num(signal - np.nanmax(signal, initial=-np.inf)).any()
    ]
    if flat:
        notes.append(f"no signal in {', '.join(flat)}")
    if record.fs != preparation.fs:
        notes.append(f"resampled from {record.fs:g} Hz to {preparation.fs:g} Hz")
    if length_s > preparation.duration_s:
        notes.append(f"only the first {preparation.duration_s:g} s of {length_s:.0f} s were used")
    elif length_s < preparation.window_s:
        notes.append(f"{length_s:.1f} s long, shorter than the expected {preparation.window_s:g} s")
    share_missing = np.isnan(signals).mean()
    if share_missing > 0:
        notes.append(f"{share_missing:.1%} of the samples are missing")
    return (*record.warnings, *record.notes, *notes)


def to_text(prediction: Prediction) -> str:
    """Return the prediction as a table for people."""
    record = prediction.record
    length_s = record.signal.shape[1] / record.fs
    lines = [
        f"{prediction.file}: {length_s:.1f} s at {record.fs:g} Hz, {', '.join(record.leads)}",
        *(f"  {note}" for note in prediction.notes),
        "  present  probability  diagnosis",
    ]
    listed = prediction.listed
    for i in listed:
        present = "yes" if prediction.present[i] else "-"
        lines.append(f"  {present:7}  {prediction.probabilities[i]:11.1%}  {diagnosis_name(i)}")
    lines.append(f"  {len(DIAGNOSES) - len(listed)} others, each below {_MIN_LISTED:.0%}")
    return "\n".join(lines)


def diagnosis_name(i: int) -> str:
    """Return the name and abbreviation of class `i`."""
    return f"{DIAGNOSES[i].name} ({DIAGNOSES[i].abbreviation})"


def to_dict(prediction: Prediction) -> dict:
    """Return the prediction as a JSON object, all classes in the order of `Prediction.order`."""
    record = prediction.record
    return {
        "file": prediction.file,
        "fs_hz": record.fs,
        "duration_s": record.signal.shape[1] / record.fs,
        "leads": record.leads,
        "lead_set": prediction.lead_set,
        "notes": prediction.notes,
        "diagnoses": [
            {
                "codes": DIAGNOSES[i].codes,
                "abbreviation": DIAGNOSES[i].abbreviation,
                "name": DIAGNOSES[i].name,
                "probability": float(prediction.probabilities[i]),
                "present": bool(prediction.present[i]),
            }
            for i in prediction.order
        ],
        "notice": NOTICE,
    }


def to_rows(prediction: Prediction) -> list[tuple]:
    """Return the prediction as CSV rows of COLUMNS, one per class."""
    return [
        (
            prediction.file,
            prediction.lead_set,
            DIAGNOSES[i].group,
            DIAGNOSES[i].abbreviation,
            DIAGNOSES[i].name,
            float(prediction.probabilities[i]),
            int(prediction.present[i]),
        )
        for i in prediction.order
    ]
