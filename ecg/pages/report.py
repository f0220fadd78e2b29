"""Write the HTML report on a folder of outputs: see `ecg.report`."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from markupsafe import Markup

from ecg.evaluation.confidence_intervals import N_RESAMPLES, Interval, auroc_interval
from ecg.evaluation.diagnostic_accuracy import FEWEST_POSITIVE, diagnostic_accuracy
from ecg.evaluation.labelled_outputs import (
    LabelledOutputs,
    always_sinus,
    calibration,
    calibration_error,
    confusion_costs,
    confusion_counts,
    intervals,
    lost_scores,
    precision_recall_curve,
    read_labelled_outputs,
    roc_curve,
    subgroups_of,
    summary,
)
from ecg.models.decisions import calibrate
from ecg.models.descriptions import ModelFolderError, model_paths, read_description
from ecg.models.operating_points import OperatingPoints, call_findings, points_from_dict
from ecg.pages.ecg_sheet import SHEET_S, draw_sheet
from ecg.pages.page import write_page
from ecg.pages.plots import (
    Curve,
    ScoreRow,
    draw_calibration,
    draw_curves,
    draw_scores,
    interval_text,
)
from ecg.pages.report_facts import describe_evaluation, limits, model_card, notices, stages
from ecg.pages.training_plot import draw_training
from ecg.records.diagnoses import DIAGNOSES, read_weights
from ecg.records.headers import RecordError
from ecg.records.metrics import brier_score, score
from ecg.records.outputs import read_outputs
from ecg.records.record import read_record
from ecg.runtime.files import check_place
from ecg.runtime.progress import track

_MIN_GROUP = 20  # records; scores of smaller groups are mostly chance
_N_CONFUSIONS = 8  # listed, the costliest
_HEADLINES = {"AUROC": 0.5, "Challenge metric": 0.0}  # drawn -> left end of the axis, if not lower
_CHANCE = {"AUROC": 0.5, "Challenge metric": 0.0}


def write_report(
    model: Path, labels: Path, outputs: Path, page: Path, compared: Path | None, n_worst: int
) -> None:
    """Write the report to `page`.

    model: a model folder. labels: a folder of records with their diagnoses. outputs: a folder of
    output files for them. compared: other outputs for the same records. n_worst: records drawn
    per lead set. Raises ModelFolderError, RecordError, OSError.
    """
    check_place(page)
    answered = read_labelled_outputs(labels, outputs)
    descriptions = {lead_set: read_description(model, lead_set) for lead_set in answered}
    models = {
        lead_set: _model_values(model, lead_set, description)
        for lead_set, description in descriptions.items()
    }
    sections = [
        _score_values(records, _operating_points(descriptions[lead_set]), compared, n_worst)
        | models[lead_set]
        for lead_set, records in track(answered.items(), len(answered), "reporting lead sets")
    ]
    write_page(
        page,
        "report.html",
        # Names alone: the page may be passed on, and folders say who made it.
        folders={
            name: Path(folder).resolve().name
            for name, folder in (
                ("model", model),
                ("records", labels),
                ("outputs", outputs),
                ("compared with", compared),
            )
            if folder is not None
        },
        methods=sorted({description["method"]["name"] for description in descriptions.values()}),
        n_records=sum(map(len, answered.values())),
        n_simulated=int(sum(records.simulated.sum() for records in answered.values())),
        facts=describe_evaluation(answered, descriptions),
        notices=notices(answered, descriptions),
        headlines=_headlines(sections),
        n_resamples=N_RESAMPLES,
        min_group=_MIN_GROUP,
        fewest_positive=FEWEST_POSITIVE,
        sheet_s=SHEET_S,
        sections=sections,
    )


def _score_values(
    answered: LabelledOutputs, points: OperatingPoints | None, compared: Path | None, n_worst: int
) -> dict:
    """Return what templates/report_section.html shows for the outputs of a lead set."""
    weights = read_weights()
    other = None if compared is None else _with_outputs(answered, compared)
    scores, *difference = intervals(answered, weights, other)
    classes = _class_rows(answered, answered.outputs, weights)
    return {
        "lead_set": answered.lead_set,
        "n_records": len(answered),
        # Any readable header states a sampling rate.
        "unreadable": [file.name for file in answered.files[np.isnan(answered.fs)]],
        "scores": scores,
        "origins": _origin_rows(answered, scores, weights),
        "sinus": summary(always_sinus(answered), weights),
        "compared": None if other is None else summary(other, weights),
        "difference": difference[0] if difference else None,
        "classes": classes,
        "clinical": None if points is None else _clinical_rows(answered, points),
        **_curves(answered, classes),
        "calibration": _calibration_panels(answered, classes),
        "confusion": _confusion(answered, weights),
        "groups": _group_rows(answered, scores, weights),
        "worst": _worst(answered, weights, n_worst),
    }


def _model_values(folder: Path, lead_set: int, description: dict) -> dict:
    """Return what templates/report_section.html shows for the model of a lead set.

    Raises ModelFolderError.
    """
    try:
        training = draw_training(stages(description), f"Training of {lead_set} leads")
        return {
            "card": model_card(description),
            "limits": limits(description),
            "options": json.dumps(description["method"], indent=1),
            "training": Markup(training),
            "thresholds": [float(value) for value in description["decision"]["thresholds"]],
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        path = model_paths(folder, lead_set)[1]
        raise ModelFolderError(f"{path}: cannot be read: {error!r}") from error


def _operating_points(description: dict) -> OperatingPoints | None:
    points = description["decision"].get("operating_points")
    return None if points is None else points_from_dict(points)


def _with_outputs(answered: LabelledOutputs, folder: Path) -> LabelledOutputs:
    """Return the same records with the outputs in another folder."""
    outputs, probabilities = read_outputs(folder / f"{file.name}.csv" for file in answered.files)
    return replace(answered, outputs=outputs, probabilities=probabilities)


def _headlines(sections: list[dict]) -> dict[str, Markup]:
    """Return the figure of each headline score over the lead sets; real and simulated records are
    drawn separately."""
    figures = {}
    for name, lowest in _HEADLINES.items():
        rows = []
        for section in sections:
            parts = [part for part in section["origins"] if part[0] != "both"]
            for origin, n, scores in parts:
                kind = "records" if origin == "real" and len(parts) == 1 else origin
                text = f"{section['lead_set']} leads, {n:,} {kind}"
                rows.append(ScoreRow(text, scores[name], is_simulated=origin == "simulated"))
        # fmin: the limits of a score that is not defined are NaN.
        lowest = np.fmin.reduce([lowest, *(np.floor(row.score.low * 10) / 10 for row in rows)])
        label = f"{name} with 95 % intervals: " + "; ".join(
            f"{row.name} {interval_text(row.score)}" for row in rows
        )
        figures[name] = Markup(draw_scores(rows, float(lowest), label, _CHANCE[name]))
    return figures


def _origin_rows(answered: LabelledOutputs, scores, weights) -> list[tuple]:
    """Return (origin, number of records, scores) of real and simulated records, and of both."""
    origins = subgroups_of(answered)["origin"]
    if len(origins) == 1:
        return [(*origins, len(answered), scores)]
    parts = [
        (origin, int(chosen.sum()), next(intervals(answered.part(chosen), weights)))
        for origin, chosen in origins.items()
    ]
    return [*parts, ("both", len(answered), scores)]


def _class_rows(answered: LabelledOutputs, called, weights) -> list[dict]:
    """Return the scores of each finding, the most frequent first."""
    labels, probabilities = answered.labels, answered.probabilities
    scores = score(labels, called, probabilities, weights)
    rows = [
        {
            "index": i,
            "abbreviation": diagnosis.abbreviation,
            "name": diagnosis.name,
            "accuracy": diagnostic_accuracy(labels[:, i], called[:, i]),
            "auroc": auroc_interval(labels[:, i], probabilities[:, i]),
            "auprc": float(scores.auprc[i]),
            "f_measure": float(scores.f_measure[i]),
            "brier": brier_score(labels[:, i], probabilities[:, i]),
            "calibration_error": calibration_error(labels[:, i], probabilities[:, i]),
        }
        for i, diagnosis in enumerate(DIAGNOSES)
    ]
    return sorted(rows, key=lambda row: -row["accuracy"].n_positive)


def _clinical_rows(answered: LabelledOutputs, points: OperatingPoints) -> list[dict]:
    """Return the accuracy of each finding as `ecg.predict` calls it, the most frequent first."""
    calibrated = calibrate(answered.probabilities, points.temperature)
    present = call_findings(calibrated, points).present
    rows = [
        {
            "abbreviation": diagnosis.abbreviation,
            "name": diagnosis.name,
            "accuracy": diagnostic_accuracy(answered.labels[:, i], present[:, i]),
            "threshold": float(points.thresholds[i]),
        }
        for i, diagnosis in enumerate(DIAGNOSES)
    ]
    return sorted(rows, key=lambda row: -row["accuracy"].n_positive)


def _curves(answered: LabelledOutputs, classes: list[dict]) -> dict:
    """Return the curves of the findings that some records have and others do not, with a legend."""
    labels, probabilities = answered.labels, answered.probabilities
    shown = [row for row in classes if not np.isnan(row["auroc"].value)]
    legend, roc, recall = [], [], []
    for style, row in enumerate(shown):
        accuracy, auroc = row["accuracy"], row["auroc"]
        text = (
            f"{row['abbreviation']}, {row['name']}: AUROC {interval_text(auroc)}, "
            f"AUPRC {row['auprc']:.3f}; {accuracy.n_positive:,} of {len(answered):,} records"
        )
        pair = labels[:, row["index"]], probabilities[:, row["index"]]
        for curves, points in ((roc, roc_curve(*pair)), (recall, precision_recall_curve(*pair))):
            curves.append(Curve(row["abbreviation"], points, text, style, accuracy.is_rare))
        legend.append({"curve": roc[-1], "auroc": auroc.value, "name": row["name"]})
    name = f"{answered.lead_set} leads"
    axes = "false positive rate (1 - specificity)", "sensitivity"
    return {
        "legend": legend,
        "roc": Markup(draw_curves(roc, *axes, f"ROC curves, {name}")),
        "recall": Markup(
            draw_curves(
                recall,
                "recall (sensitivity)",
                "precision (PPV)",
                f"Precision-recall curves, {name}",
                steps=True,
            )
        ),
    }


def _calibration_panels(answered: LabelledOutputs, classes: list[dict]) -> list[dict]:
    """Return the calibration of all findings together, and of each that occurs."""
    labels, probabilities = answered.labels, answered.probabilities
    panels = [
        {
            "title": "all findings",
            "name": "all findings together",
            "n": int(labels.sum()),
            "brier": brier_score(labels.ravel(), probabilities.ravel()),
            "calibration_error": calibration_error(labels, probabilities),
            "is_rare": False,
            "bins": calibration(labels, probabilities),
        }
    ]
    panels += [
        {
            "title": row["abbreviation"],
            "name": row["name"],
            "n": row["accuracy"].n_positive,
            "brier": row["brier"],
            "calibration_error": row["calibration_error"],
            "is_rare": row["accuracy"].is_rare,
            "bins": calibration(labels[:, row["index"]], probabilities[:, row["index"]]),
        }
        for row in classes
        if row["accuracy"].n_positive
    ]
    for panel in panels:
        label = f"Calibration of {panel['name']}, {answered.lead_set} leads"
        panel["svg"] = Markup(draw_calibration(panel.pop("bins"), label))
    return panels


def _confusion(answered: LabelledOutputs, weights) -> dict:
    """Return the confusion of true and called findings as a table, and its costliest cells."""
    counts, costs = confusion_counts(answered), confusion_costs(answered, weights)
    n_true, n_called = answered.labels.sum(axis=0), answered.outputs.sum(axis=0)
    called = np.flatnonzero(n_called)
    rows = [
        {
            "title": DIAGNOSES[i].abbreviation,
            "name": DIAGNOSES[i].name,
            "n": int(n_true[i]),
            "missed": int(n_true[i] - counts[i, i]),
            "cells": [
                {
                    "called": DIAGNOSES[j].abbreviation,
                    "n": int(counts[i, j]),
                    "share": float(counts[i, j] / n_true[i]),
                    "is_right": bool(i == j),
                    "lost": float(max(-costs[i, j], 0)),
                }
                for j in called
            ],
        }
        for i in np.flatnonzero(n_true)
    ]
    wrong = [
        (DIAGNOSES[i].name, DIAGNOSES[j].name, int(counts[i, j]), float(-costs[i, j]))
        for i, j in _largest(-costs, _N_CONFUSIONS)
    ]
    columns = [(DIAGNOSES[j].abbreviation, DIAGNOSES[j].name, int(n_called[j])) for j in called]
    return {"columns": columns, "rows": rows, "costliest": wrong}


def _largest(values: np.ndarray, n: int) -> Iterator[tuple[int, int]]:
    """Yield the places (row, column) of the n largest positive values, the largest first."""
    for place in np.argsort(-values, axis=None, kind="stable")[:n]:
        row, column = np.unravel_index(place, values.shape)
        if values[row, column] > 0:
            yield int(row), int(column)


def _group_rows(answered: LabelledOutputs, scores, weights) -> list[dict]:
    """Return the scores of each group of records; those of small groups have no intervals.

    scores: of all records, which are those of an attribute's only group.
    """

    def scores_of(chosen):
        part = answered.part(chosen)
        if len(part) < _MIN_GROUP:
            return {
                name: Interval(value, np.nan, np.nan)
                for name, value in summary(part, weights).items()
            }
        return scores if len(part) == len(answered) else next(intervals(part, weights))

    return [
        {
            "attribute": attribute,
            "name": group,
            "n": int(chosen.sum()),
            "is_simulated": bool(answered.simulated[chosen].all()),
            "scores": scores_of(chosen),
        }
        for attribute, groups in subgroups_of(answered).items()
        for group, chosen in groups.items()
    ]


def _worst(answered: LabelledOutputs, weights, n_worst: int) -> list[dict]:
    """Return the records whose errors cost the Challenge metric most."""
    lost, labels, outputs = lost_scores(answered, weights), answered.labels, answered.outputs
    return [
        {
            "name": answered.files[i].name,
            "source": answered.sources[i],
            "is_simulated": bool(answered.simulated[i]),
            "lost": float(lost[i]),
            "right": _diagnoses(labels[i] & outputs[i], answered.probabilities[i]),
            "missed": _diagnoses(labels[i] & ~outputs[i], answered.probabilities[i]),
            "invented": _diagnoses(outputs[i] & ~labels[i], answered.probabilities[i]),
            **_sheet(answered.files[i]),
        }
        for i in np.argsort(-lost, kind="stable")[:n_worst]
        if lost[i] > 0
    ]


def _diagnoses(chosen, probabilities) -> list[tuple[str, float]]:
    return [(DIAGNOSES[i].name, float(probabilities[i])) for i in np.flatnonzero(chosen)]


def _sheet(files) -> dict:
    try:
        return {"svg": Markup(draw_sheet(read_record(files, SHEET_S))), "error": ""}
    except RecordError as error:
        return {"svg": "", "error": str(error)}
