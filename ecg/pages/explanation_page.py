"""Write a page that shows which parts of each recording support its diagnoses."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup
from scipy.special import expit

from ecg.models.prediction import Prediction
from ecg.pages import NOTICE
from ecg.pages.ecg_sheet import SHEET_S, Mark, draw_marked_leads
from ecg.pages.explanation import Explanation, explain
from ecg.pages.page import write_page
from ecg.pages.predictions import diagnosis_name, listed, measurements_text, presence
from ecg.records.leads import LEAD_SETS
from ecg.records.record import Record
from ecg.runtime.progress import track

if TYPE_CHECKING:  # importing the predictor loads TensorFlow
    from ecg.models.predictor import Predictor

_MIN_MARK = 0.25  # weaker parts, relative to the strongest one, are not marked
_N_LISTED = 5  # strongest parts listed per diagnosis


def write_explanations(
    path: str | Path, predictions: Sequence[tuple[Prediction, "Predictor"]]
) -> None:
    """Write the explanation page.

    It shows, for each recording, the prediction, the parts for and against each diagnosis that is
    present, and the probabilities without each lead. Raises OSError.
    """
    recordings = [
        _recording_section(prediction, predictor)
        for prediction, predictor in track(predictions, len(predictions), "explaining recordings")
    ]
    write_page(path, "explanation.html", recordings=recordings, notice=NOTICE, sheet_s=SHEET_S)


def marks_for(explanation: Explanation, i: int) -> list[Mark]:
    """Return marks on the parts that matter most for class `i`, relative to the strongest part."""
    drops = explanation.separable[:, i]
    largest = np.abs(drops).max()
    return [
        Mark(lead, start, end, float(drop / largest))
        for part, drop in zip(explanation.parts, drops, strict=True)
        if largest and abs(drop) >= _MIN_MARK * largest
        for lead in part.leads
        for start, end in part.spans_s
    ]


def _recording_section(prediction: Prediction, predictor: "Predictor") -> dict:
    """Return the values that templates/explanation.html shows for one recording."""
    record = prediction.record
    # Only what is drawn is explained: the prediction from the first 10 s.
    n_shown = math.ceil(SHEET_S * record.fs)
    shown = replace(record, signal=record.signal[:, :n_shown])
    is_long = prediction.timeline is not None
    used_s = math.inf if is_long else predictor.model.method.preparation.duration_s
    leads, prevalence = LEAD_SETS[prediction.lead_set], predictor.model.prevalence
    explanation = explain(predictor.probabilities_of, shown, leads, prevalence)
    present = [i for i in prediction.order if prediction.present[i]]
    return {
        "file": prediction.file,
        "notes": [*prediction.warnings, *prediction.notes, measurements_text(prediction)],
        "is_cut": min(prediction.duration_s, used_s) > SHEET_S,
        "rows": [
            (diagnosis_name(i), presence(prediction, i), float(prediction.probabilities[i]))
            for i in listed(prediction)
        ],
        "figures": [_figure(shown, explanation, i, prevalence[i]) for i in present],
        "present": [diagnosis_name(i) for i in present],
        "without_lead": [
            (lead, row[present].tolist())
            for lead, row in zip(explanation.leads, explanation.without_lead, strict=True)
        ],
        "with_all": expit(explanation.log_odds[present]).tolist(),
    }


def _figure(record: Record, explanation: Explanation, i: int, prevalence: float) -> dict:
    """Return the values that templates/explanation.html shows for class `i`."""
    drops, contributions = explanation.separable[:, i], explanation.contributions[:, i]
    log_odds = explanation.log_odds[i]
    strongest = [part for part in np.argsort(-np.abs(drops)) if drops[part]][:_N_LISTED]
    return {
        "name": diagnosis_name(i),
        "probability": float(expit(log_odds)),
        "prevalence": float(prevalence),
        "change": float(log_odds - explanation.baseline[i]),
        "n_parts": len(explanation.parts),
        "strongest": [
            (
                explanation.parts[part].name,
                float(expit(log_odds - drops[part])),
                float(contributions[part]),
            )
            for part in strongest
        ],
        "svg": Markup(draw_marked_leads(record, marks_for(explanation, i))),
    }
