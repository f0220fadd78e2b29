"""A page on a folder of answers: see `ecg.report`."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from markupsafe import Markup

from ecg.evaluation.answers import (
    N_RESAMPLES,
    Answered,
    always_sinus,
    calibration,
    calibration_error,
    confusion_costs,
    groups_of,
    intervals,
    lost_scores,
    precision_recall_curve,
    read_answered,
    roc_curve,
    summary,
)
from ecg.models.descriptions import ModelFolderError, model_paths, read_description
from ecg.pages.ecg_sheet import SHEET_S, draw_sheet
from ecg.pages.page import write_page
from ecg.pages.plots import draw_calibration, draw_confusion, draw_curves, draw_training
from ecg.records.diagnoses import DIAGNOSES, read_weights
from ecg.records.headers import RecordError
from ecg.records.metrics import score
from ecg.records.outputs import read_answers
from ecg.records.record import read_record
from ecg.runtime.files import check_place
from ecg.runtime.progress import track

_FEW = 20  # records, of which figures are next to chance
_NAMES = [diagnosis.abbreviation for diagnosis in DIAGNOSES]


def write_report(
    model: Path, labels: Path, outputs: Path, page: Path, compared: Path | None, n_worst: int
) -> None:
    """Writes the page.

    compared: a second folder of outputs for the same records. n_worst: records drawn, of each
    lead set. Raises ModelFolderError, RecordError, OSError.
    """
    check_place(page)
    answered = read_answered(labels, outputs)
    models = {lead_set: _model(model, lead_set) for lead_set in answered}
    sections = [
        _section(own, compared, n_worst) | models[lead_set]
        for lead_set, own in track(answered.items(), len(answered), "reporting lead sets")
    ]
    write_page(
        page,
        "report.html",
        model=model,
        labels=labels,
        outputs=outputs,
        compared=compared,
        n_resamples=N_RESAMPLES,
        few=_FEW,
        sheet_s=SHEET_S,
        sections=sections,
    )


def _section(answered: Answered, compared: Path | None, n_worst: int) -> dict:
    """What templates/report.html says of the answers of a lead set."""
    weights = read_weights()
    name = f"{answered.lead_set} leads"
    other = None if compared is None else _answers_of(answered, compared)
    own, *difference = intervals(answered, weights, other)
    return {
        "lead_set": answered.lead_set,
        "n_records": len(answered),
        # Every header that can be read has a rate.
        "unread": [file.name for file in answered.files[np.isnan(answered.fs)]],
        "scores": own,
        "sinus": summary(always_sinus(answered), weights),
        "compared": None if other is None else summary(other, weights),
        "difference": difference[0] if difference else None,
        "classes": _class_rows(answered, weights),
        "figures": _figures(answered, weights, name),
        "groups": _group_rows(answered, weights),
        "worst": _worst(answered, weights, n_worst),
    }


def _model(folder: Path, lead_set: int) -> dict:
    """What templates/report.html says of the lead set's model. Raises ModelFolderError."""
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
        raise ModelFolderError(f"{path}: unreadable: {error!r}") from error


def _answers_of(answered: Answered, folder: Path) -> Answered:
    outputs, probabilities = read_answers(folder / f"{one.name}.csv" for one in answered.files)
    return replace(answered, outputs=outputs, probabilities=probabilities)


def _class_rows(answered: Answered, weights) -> list[dict]:
    labels, outputs, probabilities = answered.labels, answered.outputs, answered.probabilities
    scores = score(labels, outputs, probabilities, weights)
    return [
        {
            "abbreviation": diagnosis.abbreviation,
            "name": diagnosis.name,
            "n_true": int(labels[:, i].sum()),
            "n_given": int(outputs[:, i].sum()),
            "auroc": float(scores.auroc[i]),
            "auprc": float(scores.auprc[i]),
            "f_measure": float(scores.f_measure[i]),
            "calibration_error": calibration_error(labels[:, i], probabilities[:, i]),
        }
        for i, diagnosis in enumerate(DIAGNOSES)
    ]


def _figures(answered: Answered, weights, name: str) -> dict[str, Markup]:
    labels, probabilities = answered.labels, answered.probabilities
    n_true = labels.sum(axis=0)
    both = [i for i, n in enumerate(n_true) if 0 < n < len(answered)]
    roc = {_NAMES[i]: roc_curve(labels[:, i], probabilities[:, i]) for i in both}
    recall = {_NAMES[i]: precision_recall_curve(labels[:, i], probabilities[:, i]) for i in both}
    figures = {
        "roc": draw_curves(
            roc, "false positive rate", "true positive rate", f"ROC curves, {name}", diagonal=True
        ),
        "recall": draw_curves(recall, "recall", "precision", f"Precision and recall, {name}"),
        "calibration": draw_calibration(calibration(labels, probabilities), f"Calibration, {name}"),
        "confusion": draw_confusion(
            confusion_costs(answered, weights), _NAMES, f"Confusion by its cost, {name}"
        ),
    }
    return {what: Markup(svg) for what, svg in figures.items()}


def _group_rows(answered: Answered, weights) -> list[tuple]:
    """(what, value, number of records, the five figures) of each group of records."""
    return [
        (what, value, int(chosen.sum()), summary(answered.part(chosen), weights))
        for what, values in groups_of(answered).items()
        for value, chosen in values.items()
    ]


def _worst(answered: Answered, weights, n_worst: int) -> list[dict]:
    lost = lost_scores(answered, weights)
    return [
        {
            "name": answered.files[i].name,
            "source": answered.sources[i],
            "lost": float(lost[i]),
            "true": _diagnoses(answered.labels[i], answered.probabilities[i]),
            "given": _diagnoses(answered.outputs[i], answered.probabilities[i]),
            **_sheet(answered.files[i]),
        }
        for i in np.argsort(-lost, kind="stable")[:n_worst]
        if lost[i] > 0
    ]


def _diagnoses(chosen, probabilities) -> list[tuple[str, float]]:
    return [(DIAGNOSES[i].name, float(probabilities[i])) for i in np.flatnonzero(chosen)]


def _sheet(files) -> dict:
    try:
        return {"svg": Markup(draw_sheet(read_record(files, SHEET_S))), "unread": ""}
    except RecordError as error:
        return {"svg": "", "unread": str(error)}


def _stages(description: dict) -> dict[str, dict]:
    """The histories of a model's training, the first stage first."""
    evidence, stages = description["evidence"], []
    while evidence:
        stages.insert(0, evidence["history"])
        evidence = evidence.get("start")
    names = ("records",) if len(stages) == 1 else ("measurements alone", "simulated", "records")
    return dict(zip(names[-len(stages) :], stages, strict=True))


def _card(description: dict) -> dict:
    """What a model is and where it comes from, name -> text."""
    method, evidence = description["method"], description["evidence"]
    decision, preparation = method["decision"], method["preparation"]
    temperature = description["decision"].get("temperature")
    return {
        "method": f"{method['name']}: {method['source']}",
        "input": f"{preparation['window_s']:g} s at {preparation['fs']:g} Hz, scaled by "
        f"{preparation['scale']}; windows: at most {preparation['max_windows']}",
        "loss": method["loss"]["kind"],
        "decision": f"{decision['rule']}, vote {decision['vote']}",
        "temperature of the probabilities": "-" if temperature is None else f"{temperature:.2f}",
        "trained on": f"{evidence['n_training']} records",
        "set aside": f"{evidence['n_validation']} records",
        "scores on those": ", ".join(
            f"{name} {'-' if value is None else f'{value:.3f}'}"
            for name, value in evidence["validation_scores"].items()
        ),
        "epochs": f"{evidence['epochs']}, the best one {evidence['best_epoch']}"
        + (", cut by the time limit" if evidence["cut_by_time_limit"] else ""),
        "took": f"{evidence['seconds']:.0f} s",
        "seed": str(evidence["seed"]),
        "precision": evidence["precision"],
        "GPUs": ", ".join(evidence["gpus"]) or "none",
        "data fingerprint": evidence["data_fingerprint"],
        "versions": ", ".join(f"{name} {what}" for name, what in description["versions"].items()),
    }
