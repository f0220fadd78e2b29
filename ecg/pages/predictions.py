"""A recording -> a model's answer as people read it: what was done to it, diagnoses, tables."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecg.models.decisions import decide
from ecg.records.diagnoses import DIAGNOSES
from ecg.records.headers import RecordError
from ecg.records.leads import LEAD_SETS
from ecg.records.record import Record
from ecg.signals.preprocessing import Preparation

if TYPE_CHECKING:  # the commands show their help without loading TensorFlow
    from ecg.models.predictor import Predictor

NOTICE = "Not a medical device: for research. No diagnosis without a physician."
COLUMNS = ("file", "lead_set", "codes", "abbreviation", "diagnosis", "probability", "present")
_LIKELY = 0.05  # less probable diagnoses that are not given stand in no table for people


@dataclass(frozen=True)
class Prediction:
    """One file's answer. probabilities (26,); present (26,), bool; lead_set: of the model that
    answered; notes: what was done to the recording before."""

    file: str
    record: Record
    lead_set: int
    probabilities: np.ndarray
    present: np.ndarray
    notes: tuple[str, ...]

    @property
    def order(self) -> np.ndarray:
        """Numbers of the classes: those present first, then by probability."""
        return np.lexsort((-self.probabilities, ~self.present))

    @property
    def worth_showing(self) -> np.ndarray:
        """Those of `order` that are present or not unlikely."""
        return self.order[(self.present | (self.probabilities >= _LIKELY))[self.order]]


def predict(file: str, record: Record, predictor: "Predictor") -> Prediction:
    """The predictor's answer for a recording. Raises RecordError naming the file where it has
    none."""
    model = predictor.model
    try:
        probabilities = predictor.probabilities(record)
    except ValueError as error:  # RecordError is one
        raise RecordError(f"{file}: {error}") from error
    present = decide(probabilities[None], model.decision)[0]
    notes = notes_on(record, model.lead_set, model.method.preparation)
    return Prediction(file, record, model.lead_set, probabilities, present, notes)


def notes_on(record: Record, lead_set: int, preparation: Preparation) -> tuple[str, ...]:
    """What the user should know of how the recording was read, a sentence each."""
    used = LEAD_SETS[lead_set]
    length_s = record.signal.shape[1] / record.fs
    notes = [f"answered by the {lead_set}-lead model, from {', '.join(used)}"]
    unused = [lead for lead in record.leads if lead not in used]
    if unused:
        notes.append(f"not used: {', '.join(unused)}")
    missing = [lead for lead in used if lead not in record.leads]
    if missing:
        notes.append(f"missing and taken as flat: {', '.join(missing)}")
    rows = [record.leads.index(lead) for lead in used if lead in record.leads]
    signals = record.signal[rows]
    flat = [
        record.leads[row]
        for row, signal in zip(rows, signals, strict=True)
        if not np.nan_to_num(signal - np.nanmax(signal, initial=-np.inf)).any()
    ]
    if flat:
        notes.append(f"without a signal: {', '.join(flat)}")
    if record.fs != preparation.fs:
        notes.append(f"resampled from {record.fs:g} Hz to {preparation.fs:g} Hz")
    if length_s > preparation.duration_s:
        notes.append(f"the first {preparation.duration_s:g} s of {length_s:.0f} s were read")
    elif length_s < preparation.window_s:
        notes.append(f"{length_s:.1f} s long; {preparation.window_s:g} s are expected")
    share_missing = np.isnan(signals).mean()
    if share_missing > 0:
        notes.append(f"{share_missing:.1%} of the samples are missing")
    return (*record.warnings, *record.notes, *notes)


def table_of(prediction: Prediction) -> str:
    """The answer as lines of text."""
    record = prediction.record
    length_s = record.signal.shape[1] / record.fs
    lines = [
        f"{prediction.file}: {length_s:.1f} s at {record.fs:g} Hz, {', '.join(record.leads)}",
        *(f"  {note}" for note in prediction.notes),
        "  present  probability  diagnosis",
    ]
    shown = prediction.worth_showing
    for i in shown:
        present = "yes" if prediction.present[i] else "-"
        lines.append(f"  {present:7}  {prediction.probabilities[i]:11.1%}  {name_of(i)}")
    lines.append(f"  {len(DIAGNOSES) - len(shown)} others, each below {_LIKELY:.0%}")
    return "\n".join(lines)


def name_of(number: int) -> str:
    """A class's name and abbreviation."""
    return f"{DIAGNOSES[number].name} ({DIAGNOSES[number].abbreviation})"


def to_dict(prediction: Prediction) -> dict:
    """The answer for JSON, all classes in the order of `Prediction.order`."""
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
    """The answer for a CSV file, a row of COLUMNS a class."""
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
