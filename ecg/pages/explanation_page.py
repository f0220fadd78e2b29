"""Answers -> a page that shows which parts of each recording spoke for its diagnoses."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from ecg.pages.ecg_sheet import SHEET_S, Mark, draw_marked_leads
from ecg.pages.explanation import Explanation, explain
from ecg.pages.page import write_page
from ecg.pages.predictions import NOTICE, Prediction, name_of
from ecg.records.leads import LEAD_SETS
from ecg.records.record import Record
from ecg.runtime.progress import track

if TYPE_CHECKING:  # the commands show their help without loading TensorFlow
    from ecg.models.predictor import Predictor

_LEAST_MARK = 0.25  # of what the strongest part does: what does less is not drawn
_N_LISTED = 5  # parts in a diagnosis's table


def write_explanations(
    path: str | Path, predictions: Sequence[tuple[Prediction, "Predictor"]]
) -> None:
    """Writes the page: for each recording its answer, its leads with the parts that spoke for or
    against each diagnosis present, and what would change without a lead. Raises OSError."""
    recordings = [
        _explain(*one) for one in track(predictions, len(predictions), "explaining recordings")
    ]
    write_page(path, "explanation.html", recordings=recordings, notice=NOTICE, sheet_s=SHEET_S)


def marks_of(told: Explanation, number: int) -> list[Mark]:
    """The parts that stand out for the class of that number, by the one that does the most."""
    own = told.own[:, number]
    largest = np.abs(own).max()
    return [
        Mark(lead, start, end, float(value / largest))
        for part, value in zip(told.parts, own, strict=True)
        if largest and abs(value) >= _LEAST_MARK * largest
        for lead in part.leads
        for start, end in part.spans_s
    ]


def _explain(prediction: Prediction, predictor: "Predictor") -> dict:
    """What templates/explanation.html says of one recording."""
    record = prediction.record
    # What can be drawn is what is explained: the answer for the first 10 s.
    n_shown = math.ceil(SHEET_S * record.fs)
    shown = replace(record, signal=record.signal[:, :n_shown])
    answered_s = min(
        record.signal.shape[1] / record.fs, predictor.model.method.preparation.duration_s
    )
    leads, prevalence = LEAD_SETS[prediction.lead_set], predictor.model.prevalence
    told = explain(predictor.probabilities_of, shown, leads, prevalence)
    present = [i for i in prediction.order if prediction.present[i]]
    return {
        "file": prediction.file,
        "notes": prediction.notes,
        "cut": answered_s > SHEET_S,
        "rows": [
            (name_of(i), bool(prediction.present[i]), float(prediction.probabilities[i]))
            for i in prediction.worth_showing
        ],
        "figures": [_figure(shown, told, i, prevalence[i]) for i in present],
        "present": [name_of(i) for i in present],
        "without_lead": [
            (lead, [float(row[i]) for i in present])
            for lead, row in zip(told.leads, told.without_lead, strict=True)
        ],
        "with_all": [float(_probability(told.whole[i])) for i in present],
    }


def _figure(record: Record, told: Explanation, number: int, prevalence: float) -> dict:
    own, contributions = told.own[:, number], told.contributions[:, number]
    strongest = [i for i in np.argsort(-np.abs(own)) if own[i]][:_N_LISTED]
    return {
        "name": name_of(number),
        "probability": float(_probability(told.whole[number])),
        "prevalence": float(prevalence),
        "change": float(told.whole[number] - told.empty[number]),
        "n_parts": len(told.parts),
        "strongest": [
            (
                told.parts[i].name,
                float(_probability(told.whole[number] - own[i])),
                float(contributions[i]),
            )
            for i in strongest
        ],
        "svg": Markup(draw_marked_leads(record, marks_of(told, number))),
    }


def _probability(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))
