"""Write the HTML report on a folder of outputs: see `ecg.report`."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from markupsafe import Markup

from ecg.evaluation.confidence_intervals import N_RESAMPLES
from ecg.evaluation.labelled_outputs import (
    LabelledOutputs,
    always_sinus,
    calibration,
    calibration_error,
    confusion_costs,
    intervals,
    lost_scores,
    precision_recall_curve,
    read_labelled_outputs,
    roc_curve,
    subgroups_of,
    summary,
)
from ecg.models.descriptions import ModelFolderError, model_paths, read_description
from ecg.pages.ecg_sheet import SHEET_S, draw_sheet
from ecg.pages.page import write_page
from ecg.pages.plots import draw_calibration, draw_confusion, draw_curves, draw_training
from ecg.records.diagnoses import DIAGNOSES, read_weights
from ecg.records.headers import RecordError
from ecg.records.metrics import score
from ecg.records.outputs import read_outputs
from ecg.records.record import read_record
from ecg.runtime.files import check_place
from ecg.runtime.progress import track

_MIN_GROUP = 20  # records; scores of smaller groups are mostly chance
_ABBREVIATIONS = [diagnosis.abbreviation for diagnosis in DIAGNOSES]


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
    models = {lead_set: _model_values(model, lead_set) for lead_set in answered}
    sections = [
        _score_values(records, compared, n_worst) | models[lead_set]
        for lead_set, records in track(answered.items(), len(answered), "reporting lead sets")
    ]
    write_page(
        page,
        "report.html",
        model=model,
        labels=labels,
        outputs=outputs,
        compared=compared,
        n_resamples=N_RESAMPLES,
        min_group=_MIN_GROUP,
        sheet_s=SHEET_S,
        sections=sections,
    )


def _score_values(answered: LabelledOutputs, compared: Path | None, n_worst: int) -> dict:
    """Return what templates/report.html shows for the outputs of a lead set."""
    weights = read_weights()
    name = f"{answered.lead_set} leads"
    other = None if compared is None else _with_outputs(answered, compared)
    scores, *difference = intervals(answered, weights, other)
    return {
        "lead_set": answered.lead_set,
        "n_records": len(answered),
        # Any readable header states a sampling rate.
        "unreadable": [file.name for file in answered.files[np.isnan(answered.fs)]],
        "scores": scores,
        "sinus": summary(always_sinus(answered), weights),
        "compared": None if other is None else summary(other, weights),
        "difference": difference[0] if difference else None,
        "classes": _class_rows(answered, weights),
        "figures": _figures(answered, weights, name),
        "groups": _group_rows(answered, weights),
        "worst": _worst(answered, weights, n_worst),
    }


def _model_values(folder: Path, lead_set: int) -> dict:
    """Return what templates/report.html shows for the model of a lead set.

    Raises ModelFolderError.
    """
    description = read_description(folder, lead_set)
    try:
        training = draw_training(_stages(description), f"Training of {lead_set} leads")
        return {
            "card": _card(description),
            "options": json.dumps(description["method"], indent=1),
            "training": Markup(training),
            "thresholds": [float(value) for value in description["decision"]["thresholds"]],
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        path = model_paths(folder, lead_set)[1]
        raise ModelFolderError(f"{path}: cannot be read: {error!r}") from error


def _with_outputs(answered: LabelledOutputs, folder: Path) -> LabelledOutputs:
    """Return the same records with the outputs in another folder."""
    outputs, probabilities = read_outputs(folder / f"{file.name}.csv" for file in answered.files)
    return replace(answered, outputs=outputs, probabilities=probabilities)


def _class_rows(answered: LabelledOutputs, weights) -> list[dict]:
    labels, outputs, probabilities = answered.labels, answered.outputs, answered.probabilities
    scores = score(labels, outputs, probabilities, weights)
    return [
        {
            "abbreviation": diagnosis.abbreviation,
            "name": diagnosis.name,
            "n_true": int(labels[:, i].sum()),
            "n_predicted": int(outputs[:, i].sum()),
            "auroc": float(scores.auroc[i]),
            "auprc": float(scores.auprc[i]),
            "f_measure": float(scores.f_measure[i]),
            "calibration_error": calibration_error(labels[:, i], probabilities[:, i]),
        }
        for i, diagnosis in enumerate(DIAGNOSES)
    ]


def _figures(answered: LabelledOutputs, weights, name: str) -> dict[str, Markup]:
    labels, probabilities = answered.labels, answered.probabilities
    # A curve needs records with and without the diagnosis.
    columns = {
        abbreviation: (labels[:, i], probabilities[:, i])
        for i, abbreviation in enumerate(_ABBREVIATIONS)
        if 0 < labels[:, i].sum() < len(answered)
    }
    roc = {abbreviation: roc_curve(*pair) for abbreviation, pair in columns.items()}
    recall = {abbreviation: precision_recall_curve(*pair) for abbreviation, pair in columns.items()}
    figures = {
        "roc": draw_curves(
            roc, "false positive rate", "true positive rate", f"ROC curves, {name}", diagonal=True
        ),
        "recall": draw_curves(recall, "recall", "precision", f"Precision-recall curves, {name}"),
        "calibration": draw_calibration(calibration(labels, probabilities), f"Calibration, {name}"),
        "confusion": draw_confusion(
            confusion_costs(answered, weights), _ABBREVIATIONS, f"Confusion by cost, {name}"
        ),
    }
    return {kind: Markup(svg) for kind, svg in figures.items()}


def _group_rows(answered: LabelledOutputs, weights) -> list[tuple]:
    """Return (attribute, group, number of records, scores) of each group of records."""
    return [
        (attribute, group, int(chosen.sum()), summary(answered.part(chosen), weights))
        for attribute, groups in subgroups_of(answered).items()
        for group, chosen in groups.items()
    ]


def _worst(answered: LabelledOutputs, weights, n_worst: int) -> list[dict]:
    """Return the records whose errors cost the Challenge metric most."""
    lost = lost_scores(answered, weights)
    return [
        {
            "name": answered.files[i].name,
            "source": answered.sources[i],
            "lost": float(lost[i]),
            "true": _diagnoses(answered.labels[i], answered.probabilities[i]),
            "predicted": _diagnoses(answered.outputs[i], answered.probabilities[i]),
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


def _stages(description: dict) -> dict[str, dict]:
    """Return the training history of each stage by name, in order of training.

    Stages of a model that the training started from are not among them.
    """
    stage, stages = description["training_log"], []
    while stage and "digest" not in stage:
        stages.insert(0, stage["history"])
        stage = stage.get("start")
    names = ("records",) if len(stages) == 1 else ("measurements alone", "simulated", "records")
    return dict(zip(names[-len(stages) :], stages, strict=True))


def _card(description: dict) -> dict:
    """Return the model card: what the model is and how it was trained, name -> text."""
    method, training = description["method"], description["training_log"]
    decision, preparation = method["decision"], method["preparation"]
    temperature = description["decision"].get("temperature")
    return {
        "method": f"{method['name']}: {method['source']}",
        "input": f"{preparation['window_s']:g} s at {preparation['fs']:g} Hz, scaled by "
        f"{preparation['scale']}; windows: at most {preparation['max_windows']}",
        "loss": method["loss"]["kind"],
        "decision": f"{decision['rule']}, vote {decision['vote']}",
        "temperature": "-" if temperature is None else f"{temperature:.2f}",
        "training set": f"{training['n_training']} records",
        "start": _start(training.get("start")),
        "validation set": f"{training['n_validation']} records",
        "validation scores": ", ".join(
            f"{name} {'-' if value is None else f'{value:.3f}'}"
            for name, value in training["validation_scores"].items()
        ),
        "epochs": f"{training['epochs']}, best: {training['best_epoch']}"
        + (", stopped by the time limit" if training["cut_by_time_limit"] else ""),
        "training time": f"{training['seconds']:.0f} s",
        "seed": str(training["seed"]),
        "precision": training["precision"],
        "GPUs": ", ".join(training["gpus"]) or "none",
        "data fingerprint": training["data_fingerprint"],
        "versions": ", ".join(f"{name} {v}" for name, v in description["versions"].items()),
    }


def _start(log: dict | None) -> str:
    """Return what the training started from; log: of that."""
    if not log:
        return "random weights"
    if "digest" not in log:
        return f"pretrained on {log['n_training']} simulated records"
    return f"a model trained on {log['n_training']} records, {log['digest'][:12]}"
