"""Write a page of ECGs: tracings, measurements, findings, and what each finding rests on."""

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup
from scipy.special import expit

from ecg.models.prediction import (
    TIMELINE_WINDOW_S,
    USUAL_RANGES,
    Prediction,
    findings_by,
)
from ecg.pages import NOTICE
from ecg.pages.ecg_sheet import (
    MM_PER_MV,
    MM_PER_S,
    SHEET_MM,
    SHEET_S,
    draw_marks,
    draw_paper,
    draw_traces,
    lay_out,
)
from ecg.pages.evidence import marks_for, percent, weigh_parts
from ecg.pages.explanation import Explanation, explain
from ecg.pages.page import join_names, write_page
from ecg.pages.predictions import Failure, listed
from ecg.pages.timeline import clock, draw_timeline
from ecg.records.diagnoses import DIAGNOSES
from ecg.records.leads import LEAD_SETS
from ecg.records.record import Record
from ecg.runtime.progress import track

if TYPE_CHECKING:  # importing the predictor loads TensorFlow
    from ecg.models.predictor import Predictor

_MEASUREMENTS = (  # field, name, unit
    ("heart_rate_bpm", "Heart rate", "/min"),
    ("pr_ms", "PR", "ms"),
    ("qrs_ms", "QRS", "ms"),
    ("qt_ms", "QT", "ms"),
    ("qtc_ms", "QTc (Bazett)", "ms"),
    ("qrs_axis_deg", "QRS axis", "°"),
)
_PRESENCE = {  # (present, uncertain) -> the words in the list; none for others
    (True, False): "present",
    (True, True): "probably present",
    (False, True): "possible",
    (False, False): "",
}


def write_explanations(
    path: str | Path, predictions: Sequence[tuple[Prediction | Failure, "Predictor | None"]]
) -> None:
    """Write the page of the recordings, as `ecg.predict.predict_files` returns them.

    Recordings that cannot be judged are drawn without findings, and files that could not be read
    are named with the reason. Raises OSError.
    """
    recordings = [
        _failed(result) if isinstance(result, Failure) else _recording(result, predictor)
        for result, predictor in track(predictions, len(predictions), "explaining recordings")
    ]
    write_page(
        path,
        "explanation.html",
        recordings=recordings,
        notice=NOTICE,
        date=date.today().isoformat(),
        sheet_mm=SHEET_MM,
        mm_per_s=MM_PER_S,
        mm_per_mv=MM_PER_MV,
    )


def _failed(failure: Failure) -> dict:
    """Return the values that templates/explanation.html shows for a file that was not read."""
    name = Path(failure.file).name
    return {
        "name": name,
        "error": failure.error.replace(failure.file, name),
        "state": "could not be read",
        "rate": "",
        "summary": "",
    }


def _recording(prediction: Prediction, predictor: "Predictor") -> dict:
    """Return the values that templates/explanation.html shows for one recording."""
    start_s, shown = _shown(prediction)
    explanation = _explain(prediction, predictor, shown)
    unexplained = prediction.usable and explanation is None
    sheet = lay_out(shown)
    rate = prediction.measurements.heart_rate_bpm
    return {
        "name": Path(prediction.file).name,
        "error": "",
        "state": _state(prediction),
        "rate": "" if rate is None else f"{rate:.0f}",
        "summary": _summary(prediction),
        "patient": _patient(prediction.record),
        "recorded": _recorded(prediction),
        "rule": prediction.rule,
        "usable": prediction.usable,
        "is_normal": prediction.is_normal,
        "warnings": prediction.warnings,
        "notes": [
            *prediction.notes,
            *_notes_on_the_stretch(prediction, predictor, start_s),
            *(["no finding is explained: this tracing cannot be judged"] if unexplained else []),
        ],
        "model": prediction.model.name,
        "trained_on": prediction.model.trained_on,
        "measurements": _measurements(prediction),
        "has_printed": any(
            value is not None for value in asdict(prediction.record.printed).values()
        ),
        "findings": [_finding(prediction, predictor, explanation, i) for i in listed(prediction)],
        "n_unlisted": len(DIAGNOSES) - len(listed(prediction)),
        "any_present": bool(prediction.present.any()),
        "sheet": {
            "label": sheet.label,
            "width": sheet.width,
            "height": sheet.height,
            "paper": Markup(draw_paper(sheet)),
            "traces": Markup(draw_traces(sheet)),
            "marks": {
                int(i): Markup(draw_marks(sheet, marks_for(explanation, i)))
                for i in _explained(prediction, explanation)
            },
        },
        "timeline": _timeline(prediction, start_s),
    }


def _shown(prediction: Prediction) -> tuple[float, Record]:
    """Return the 10 s that are drawn and explained, and their start in s.

    Of a long recording, those of its first part in which most of its findings are present, and the
    first usable ones among these; otherwise the first 10 s.
    """
    record, timeline = prediction.record, prediction.timeline
    start_s = 0.0
    if timeline is not None:
        length_s = record.signal.shape[1] / record.fs
        inside = timeline.start_s + TIMELINE_WINDOW_S <= length_s
        n_found = timeline.present[:, prediction.present].sum(axis=1)
        score = np.where(inside & timeline.usable, 1 + n_found, 0)
        start_s = float(timeline.start_s[score.argmax()])
    start = round(start_s * record.fs)
    stop = start + math.ceil(SHEET_S * record.fs)
    return start_s, replace(record, signal=record.signal[:, start:stop])


def _explain(prediction: Prediction, predictor: "Predictor", shown: Record) -> Explanation | None:
    """Return what the findings rest on in the stretch shown; None where it cannot be judged."""
    if not prediction.usable:
        return None
    leads = LEAD_SETS[prediction.lead_set]
    try:
        return explain(predictor.probabilities_of, shown, leads, predictor.model.prevalence)
    except ValueError:  # although others of the recording can: a note says so
        return None


def _explained(prediction: Prediction, explanation: Explanation | None) -> list[int]:
    """Return the classes that can be chosen: those that are present or uncertain."""
    if explanation is None:
        return []
    return [int(i) for i in listed(prediction) if prediction.present[i] or prediction.uncertain[i]]


def _finding(prediction: Prediction, predictor, explanation: Explanation | None, i) -> dict:
    """Return the values of one row of the list of findings, and of what the finding rests on."""
    probability = float(prediction.probabilities[i])
    finding = {
        "i": int(i),
        "name": DIAGNOSES[i].name,
        "abbreviation": DIAGNOSES[i].abbreviation,
        "probability": probability,
        "percent": percent(probability),
        "present": bool(prediction.present[i]),
        "uncertain": bool(prediction.uncertain[i]),
        "word": _PRESENCE[bool(prediction.present[i]), bool(prediction.uncertain[i])],
        "evidence": None,
    }
    if int(i) in _explained(prediction, explanation):
        finding["evidence"] = _evidence(prediction, predictor, explanation, i)
    return finding


def _evidence(prediction: Prediction, predictor, explanation: Explanation, i) -> dict:
    """Return the values that templates/explanation.html shows of what a finding rests on."""
    evidence = weigh_parts(explanation, i)
    groups = [("Waves", evidence.waves)] if evidence.waves else []
    groups += [("Beats" if evidence.waves else "Seconds of the tracing", evidence.beats)]
    return {
        "headline": evidence.headline,
        "probability": percent(evidence.probability),
        "groups": [
            (
                title,
                [
                    {
                        "name": part.name,
                        "share": abs(part.share),
                        "percent": percent(abs(part.share)),
                        "is_for": part.share > 0,
                        "without": percent(part.probability),
                    }
                    for part in parts
                ],
            )
            for title, parts in groups
            if parts
        ],
        "by_wave": [(name, percent(share)) for name, share in evidence.by_wave],
        **_missing_leads(prediction, predictor, explanation, i),
    }


def _missing_leads(prediction: Prediction, predictor, explanation: Explanation, i) -> dict:
    """Return class `i` without each lead: its probability, and whether it stays present."""
    whole = expit(explanation.log_odds)
    cases = np.vstack([whole, explanation.without_lead])
    is_present, *stays = findings_by(cases, predictor.model, prediction.rule).present[:, i]
    leads = [
        {
            "lead": lead,
            "percent": percent(float(row[i])),
            "change": float(row[i] - whole[i]),
            "is_lost": bool(is_present and not stays),
        }
        for lead, row, stays in zip(explanation.leads, explanation.without_lead, stays, strict=True)
    ]
    return {"leads": leads, "leads_sentence": _leads_sentence(leads, is_present)}


def _leads_sentence(leads: list[dict], is_present: bool) -> str:
    """Return a sentence on the leads without which the finding changes most."""
    lost = [lead["lead"] for lead in leads if lead["is_lost"]]
    if lost:
        return f"It would no longer be called present if {join_names(lost, 'or')} were missing."
    if not leads:
        return ""
    largest = max(leads, key=lambda lead: abs(lead["change"]))
    change = f"changes most without {largest['lead']} ({largest['percent']})."
    if is_present:
        return f"It would still be called present without any one lead; it {change}"
    return f"It {change}"


def _measurements(prediction: Prediction) -> list[dict]:
    """Return the rows of the table of measurements."""
    values, printed = asdict(prediction.measurements), asdict(prediction.record.printed)
    rows = []
    for field, name, unit in _MEASUREMENTS:
        low, high = USUAL_RANGES.get(field, (None, None))
        rows.append(
            {
                "name": name,
                "value": _number(values[field]),
                "unit": unit,
                "usual": "" if low is None else f"{_number(low)} to {_number(high)}",
                "is_unusual": field in prediction.unusual,
                "is_high": high is not None and (values[field] or 0) > high,
                "printed": _number(printed[field]),
            }
        )
    return rows


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}".replace("-", "\N{MINUS SIGN}")


def _timeline(prediction: Prediction, start_s: float) -> dict | None:
    timeline = prediction.timeline
    if timeline is None:
        return None
    n_usable = int(timeline.usable.sum())
    shown_s = start_s if prediction.usable else None
    return {
        "svg": Markup(draw_timeline(timeline, prediction.duration_s, shown_s)),
        "n_windows": len(timeline.usable),
        "n_usable": n_usable,
        "window_s": TIMELINE_WINDOW_S,
        "episodes": [
            (DIAGNOSES[i].name, DIAGNOSES[i].abbreviation, count, clock(first_s))
            for i, count, first_s in timeline.episodes
        ],
    }


def _state(prediction: Prediction) -> str:
    """Return what the contents list says of a recording besides its findings."""
    if not prediction.usable:
        return "cannot be judged"
    return "with warnings" if prediction.warnings else ""


def _summary(prediction: Prediction) -> str:
    """Return the findings in a line."""
    if not prediction.usable:
        return ""
    if prediction.is_normal:
        return "nothing abnormal found"
    names = [
        DIAGNOSES[i].name + (" (probable)" if prediction.uncertain[i] else "")
        for i in prediction.order
        if prediction.present[i]
    ]
    return ", ".join(names) or "no finding called present"


def _patient(record: Record) -> str:
    age = "age unknown" if math.isnan(record.age) else f"{record.age:.0f} years"
    return f"{age}, {'sex unknown' if record.sex == 'Unknown' else record.sex.lower()}"


def _recorded(prediction: Prediction) -> str:
    seconds, record = prediction.duration_s, prediction.record
    length = f"{seconds:.1f} s" if seconds < 60 else clock(seconds)
    n_leads = len(record.leads)
    return f"{length} at {record.fs:g} Hz, {n_leads} lead{'s' if n_leads > 1 else ''}"


def _notes_on_the_stretch(prediction: Prediction, predictor, start_s: float) -> list[str]:
    """Return a sentence where the marks explain less than the findings are of."""
    if prediction.timeline is not None:
        begin, end = clock(start_s), clock(start_s + SHEET_S)
        return [
            f"findings and measurements are of the whole recording; tracing and marks of {begin} "
            f"to {end}"
        ]
    if min(prediction.duration_s, predictor.model.method.preparation.duration_s) > SHEET_S:
        return [
            f"findings are of the whole recording; tracing and marks of the first {SHEET_S:g} s"
        ]
    return []
