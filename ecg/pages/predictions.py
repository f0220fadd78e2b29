"""Format predictions as text, JSON or CSV."""

import math
from dataclasses import asdict, dataclass

import numpy as np

from ecg.models.prediction import TIMELINE_WINDOW_S, USUAL_RANGES, Prediction
from ecg.pages import NOTICE
from ecg.records.diagnoses import DIAGNOSES

COLUMNS = (
    "file",
    "usable",
    "lead_set",
    "codes",
    "abbreviation",
    "diagnosis",
    "probability",
    "present",
    "uncertain",
)
_MIN_LISTED = 0.05  # absent diagnoses of a lower probability are not listed
_QTC_FORMULA = "Bazett"
_MEASUREMENT_NAMES = {
    "heart_rate_bpm": "heart rate",
    "pr_ms": "PR",
    "qrs_ms": "QRS",
    "qtc_ms": "QTc",
    "qrs_axis_deg": "QRS axis",
}
_PRESENT = {  # (present, uncertain) -> the word in the table
    (True, False): "yes",
    (True, True): "probable",
    (False, True): "possible",
    (False, False): "-",
}


@dataclass(frozen=True)
class Failure:
    """A file that could not be read or predicted; error: names it and says why."""

    file: str
    error: str


def listed(prediction: Prediction) -> np.ndarray:
    """Return the indices of the classes that are present, uncertain, or at least 5 % probable."""
    shown = prediction.present | prediction.uncertain | (prediction.probabilities >= _MIN_LISTED)
    return prediction.order[shown[prediction.order]]


def to_text(prediction: Prediction) -> str:
    """Return the prediction as a table for people."""
    record = prediction.record
    lines = [
        f"{prediction.file}: {_duration(prediction.duration_s)} at {record.fs:g} Hz, "
        f"{', '.join(record.leads)}; {_patient(record.age, record.sex)}"
    ]
    if not prediction.usable:
        lines.append("  cannot be judged as an ECG; no diagnoses")
    else:
        lines.append(f"  {measurements_text(prediction)}")
        lines += _unusual(prediction)
    lines += [f"  warning: {warning}" for warning in prediction.warnings]
    lines += [f"  {note}" for note in prediction.notes]
    if prediction.usable:
        lines += _findings(prediction)
    if prediction.timeline is not None:
        lines += _timeline(prediction)
    lines.append(f"  model: {prediction.model.name}; trained on {prediction.model.trained_on}")
    return "\n".join(lines)


def measurements_text(prediction: Prediction) -> str:
    """Return the measurements as a line, "-" for what was not measured."""
    values = prediction.measurements

    def text(value, unit):
        return "-" if value is None else f"{value:.0f}{unit}"

    return (
        f"heart rate {text(values.heart_rate_bpm, '/min')}, PR {text(values.pr_ms, ' ms')}, "
        f"QRS {text(values.qrs_ms, ' ms')}, QT {text(values.qt_ms, ' ms')}, "
        f"QTc ({_QTC_FORMULA}) {text(values.qtc_ms, ' ms')}, "
        f"QRS axis {text(values.qrs_axis_deg, '°')}"
    )


def diagnosis_name(i: int) -> str:
    """Return the name and abbreviation of class `i`."""
    return f"{DIAGNOSES[i].name} ({DIAGNOSES[i].abbreviation})"


def presence(prediction: Prediction, i: int) -> str:
    """Return the word for class `i`: "yes", "probable", "possible" or "-"."""
    return _PRESENT[bool(prediction.present[i]), bool(prediction.uncertain[i])]


def to_dict(prediction: Prediction | Failure) -> dict:
    """Return a JSON object; all classes in the order of `Prediction.order`, none if not usable."""
    if isinstance(prediction, Failure):
        return {
            "file": prediction.file,
            "usable": False,
            "warnings": [],
            "notes": [],
            "diagnoses": [],
            "error": prediction.error,
        }
    record = prediction.record
    return {
        "file": prediction.file,
        "usable": prediction.usable,
        "warnings": prediction.warnings,
        "notes": prediction.notes,
        "fs_hz": record.fs,
        "duration_s": prediction.duration_s,
        "leads": record.leads,
        "lead_set": prediction.lead_set,
        "age_years": None if math.isnan(record.age) else record.age,
        "sex": record.sex,
        "model": asdict(prediction.model),
        "rule": prediction.rule,
        "measurements": asdict(prediction.measurements),
        "qtc_formula": _QTC_FORMULA,
        "outside_usual_range": prediction.unusual,
        "printed_measurements": asdict(record.printed),
        "nothing_abnormal": prediction.is_normal,
        "diagnoses": [
            {
                "codes": DIAGNOSES[i].codes,
                "abbreviation": DIAGNOSES[i].abbreviation,
                "name": DIAGNOSES[i].name,
                "probability": float(prediction.probabilities[i]),
                "present": bool(prediction.present[i]),
                "uncertain": bool(prediction.uncertain[i]),
            }
            for i in (prediction.order if prediction.usable else ())
        ],
        "timeline": _timeline_dict(prediction),
        "notice": NOTICE,
    }


def to_rows(prediction: Prediction) -> list[tuple]:
    """Return CSV rows of COLUMNS, one per class; a single one, without a class, if not usable."""
    head = (prediction.file, int(prediction.usable), prediction.lead_set)
    if not prediction.usable:
        return [(*head, *[""] * (len(COLUMNS) - len(head)))]
    return [
        (
            *head,
            DIAGNOSES[i].group,
            DIAGNOSES[i].abbreviation,
            DIAGNOSES[i].name,
            float(prediction.probabilities[i]),
            int(prediction.present[i]),
            int(prediction.uncertain[i]),
        )
        for i in prediction.order
    ]


def _unusual(prediction: Prediction) -> list[str]:
    ranges = (
        f"{_MEASUREMENT_NAMES[name]} ({low:.0f} to {high:.0f})"
        for name, (low, high) in USUAL_RANGES.items()
        if name in prediction.unusual
    )
    text = ", ".join(ranges)
    return [f"  outside the usual range: {text}"] if text else []


def _findings(prediction: Prediction) -> list[str]:
    lines = ["  present   probability  diagnosis"]
    shown = listed(prediction)
    for i in shown:
        probability = f"{prediction.probabilities[i]:11.1%}"
        lines.append(f"  {presence(prediction, i):8}  {probability}  {diagnosis_name(i)}")
    lines.append(f"  {len(DIAGNOSES) - len(shown)} others, each below {_MIN_LISTED:.0%}")
    if prediction.is_normal:
        lines.append("  nothing abnormal found")
    elif not prediction.present.any():
        lines.append("  no diagnosis is probable enough to be called present")
    return lines


def _timeline(prediction: Prediction) -> list[str]:
    timeline = prediction.timeline
    n_usable = int(timeline.usable.sum())
    line = (
        f"  over time: {n_usable} of {len(timeline.usable)} windows of {TIMELINE_WINDOW_S:g} s "
        "usable"
    )
    rates = timeline.heart_rate_bpm[~np.isnan(timeline.heart_rate_bpm)]
    if len(rates):
        line += f", heart rate {rates.min():.0f} to {rates.max():.0f}/min"
    return [
        line,
        *(
            f"    {diagnosis_name(i)} in {count} of {n_usable} windows, from {_clock(start_s)}"
            for i, count, start_s in timeline.episodes
        ),
    ]


def _timeline_dict(prediction: Prediction) -> dict | None:
    timeline = prediction.timeline
    if timeline is None:
        return None
    rates = timeline.heart_rate_bpm
    return {
        "window_s": TIMELINE_WINDOW_S,
        "start_s": timeline.start_s.tolist(),
        "usable": timeline.usable.tolist(),
        "heart_rate_bpm": [None if math.isnan(rate) else float(rate) for rate in rates],
        "present": [
            [DIAGNOSES[i].abbreviation for i in np.flatnonzero(row)] for row in timeline.present
        ],
        "episodes": [
            {
                "abbreviation": DIAGNOSES[i].abbreviation,
                "n_windows": count,
                "n_usable": int(timeline.usable.sum()),
                "first_start_s": start_s,
            }
            for i, count, start_s in timeline.episodes
        ],
    }


def _patient(age: float, sex: str) -> str:
    return f"{'age unknown' if math.isnan(age) else f'{age:.0f} years'}, sex {sex.lower()}"


def _duration(duration_s: float) -> str:
    return f"{duration_s:.1f} s" if duration_s < 60 else _clock(duration_s)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}"
