"""Write the model card of the shipped models.

    python -m benchmarks.model_card STARTER RECORDS FOLDS SOURCES [--out FILE.md]

STARTER holds the models, as `python -m benchmarks.pack_models` writes them; RECORDS the records
that they were trained on; FOLDS and SOURCES the answers of two cross-validations of the same
recipe, by folds and by source (`python -m ecg.cross_validation RECORDS FOLDS`, and with
--by-source). Every number of the card is read or computed from these. RECORDS/SOURCES.csv, if it is
there, tells the licence (licence_of_data) and the copy (source_repo) of each `record`.
"""

import argparse
import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmarks.clinical_rule import clinical_findings
from benchmarks.pack_models import runs_by_lead_set
from ecg.evaluation.confidence_intervals import (
    N_RESAMPLES,
    Interval,
    auroc_interval,
    draw_resamples,
    percentile_interval,
    resampled_summaries,
)
from ecg.evaluation.diagnostic_accuracy import diagnostic_accuracy
from ecg.evaluation.folds import FoldOutputs
from ecg.evaluation.labelled_outputs import (
    LabelledOutputs,
    calibration,
    calibration_error,
    intervals,
    subgroups_of,
)
from ecg.models.descriptions import find_models, model_paths, read_description
from ecg.models.operating_points import OperatingPoints, points_from_dict
from ecg.pages import NOTICE
from ecg.records.diagnoses import DIAGNOSES, read_weights
from ecg.records.discovery import RecordFiles, find_records, sources_of
from ecg.records.headers import RecordError
from ecg.records.leads import TWELVE_LEADS
from ecg.records.metrics import brier_score, macro_mean
from ecg.records.record import read_record, select_leads
from ecg.runtime.command_line import running
from ecg.runtime.files import write_text
from ecg.runtime.progress import track
from ecg.signals.measurements import measure_globally

CARD = "MODEL_CARD.md"
_TEMPLATE = "model_card.md.jinja"
_AUROC, _METRIC = "AUROC", "Challenge metric"
_FEW = 20  # records, or records with a finding: scores of fewer are mostly chance
_HEART_RATE_BANDS = {  # per minute
    "below 60/min": (0.0, 60.0),
    "60 to 100/min": (60.0, 100.5),
    "above 100/min": (100.5, np.inf),
}
_MEASURED_S = 10.0
_UNKNOWN = "not stated"

_CPSC = (
    "Liu F. et al., An open access database for evaluating the algorithms of electrocardiogram "
    "rhythm and morphology abnormality detection, Journal of Medical Imaging and Health "
    "Informatics 8(7), 2018"
)
_CHAPMAN = (
    "Zheng J. et al., A 12-lead electrocardiogram database for arrhythmia research covering more "
    "than 10,000 patients, Scientific Data 7:48, 2020"
)
_NINGBO = (
    "Zheng J. et al., Optimal multi-stage arrhythmia classification approach, Scientific Reports "
    "10:2898, 2020"
)
_PTB = (
    "Bousseljot R., Kreiseler D. and Schnabel A., Nutzung der EKG-Signaldatenbank CARDIODAT der "
    "PTB über das Internet, Biomedizinische Technik 40(S1), 1995"
)
_PTB_XL = (
    "Wagner P. et al., PTB-XL, a large publicly available electrocardiography dataset, Scientific "
    "Data 7:154, 2020"
)
_GEORGIA = (
    "Emory University, in Perez Alday E.A. et al., Classification of 12-lead ECGs: the "
    "PhysioNet/Computing in Cardiology Challenge 2020, Physiological Measurement 41:124003, 2020"
)
_INCART = "St Petersburg INCART 12-lead Arrhythmia Database, PhysioNet, 2008"
# A source's name among the records, by letters or by the download's folder -> database, reference.
_DATABASES = {
    "A": ("CPSC 2018", _CPSC),
    "Q": ("CPSC 2018, extra", _CPSC),
    "S": ("PTB", _PTB),
    "HR": ("PTB-XL", _PTB_XL),
    "E": ("Georgia", _GEORGIA),
    "JS": ("Chapman-Shaoxing and Ningbo", f"{_CHAPMAN}; {_NINGBO}"),
    "I": ("INCART", _INCART),
    "cpsc_2018": ("CPSC 2018", _CPSC),
    "cpsc_2018_extra": ("CPSC 2018, extra", _CPSC),
    "ptb": ("PTB", _PTB),
    "ptb-xl": ("PTB-XL", _PTB_XL),
    "georgia": ("Georgia", _GEORGIA),
    "chapman_shaoxing": ("Chapman-Shaoxing", _CHAPMAN),
    "ningbo": ("Ningbo", _NINGBO),
    "st_petersburg_incart": ("INCART", _INCART),
}


@dataclass(frozen=True)
class Patient:
    """What is known of a record besides its diagnoses.

    source: as `sources_of` tells it. age: years, NaN where unknown. heart_rate_bpm: measured in the
    first 10 s, NaN where it could not be. licence, copy: "" where nobody says.
    """

    files: RecordFiles
    source: str
    sex: str
    age: float
    fs: float
    heart_rate_bpm: float
    licence: str = ""
    copy: str = ""


@dataclass(frozen=True)
class Evaluation:
    """The answers of a cross-validation to the records, of one lead set.

    folds: fold by fold. answered: all of them. clinical: (n_records, 26), bool, the findings by the
    clinical rule, whose points are fitted to the other folds. heart_rates_bpm: (n_records,).
    """

    folds: list[FoldOutputs]
    answered: LabelledOutputs
    clinical: np.ndarray
    heart_rates_bpm: np.ndarray


# Reading ----------------------------------------------------------------------------------------


def read_patients(folder: Path) -> dict[str, Patient]:
    """Return record name -> patient for all records below the folder that can be read."""
    files = find_records(folder)
    if not files:
        raise RecordError(f"{folder}: expected records (NAME.hea), found none")
    origins = _read_origins(folder / "SOURCES.csv")
    patients = {}
    pairs = zip(files, sources_of(files), strict=True)
    for record_files, source in track(pairs, len(files), "measuring heart rates"):
        try:
            record = read_record(record_files, _MEASURED_S)
        except RecordError:  # training left it out, too, and named it
            continue
        rate = measure_globally(select_leads(record, TWELVE_LEADS), record.fs).heart_rate_bpm
        patients[record_files.name] = Patient(
            record_files,
            source,
            record.sex,
            record.age,
            record.fs,
            np.nan if rate is None else rate,
            **origins.get(record_files.name, {}),
        )
    return patients


def _read_origins(path: Path) -> dict[str, dict[str, str]]:
    if not path.exists():
        return {}
    columns = {"licence": "licence_of_data", "copy": "source_repo"}
    with open(path, newline="", encoding="utf-8") as file:
        return {
            row["record"]: {field: row.get(column) or "" for field, column in columns.items()}
            for row in csv.DictReader(file)
        }


def read_descriptions(starter: Path) -> dict[int, dict]:
    """Return lead set -> description of the folder's models, the largest lead set first.

    Raises ValueError where they were trained by several methods, or a model is not packed.
    """
    descriptions = {}
    for lead_set in find_models(starter):
        description = descriptions[lead_set] = read_description(starter, lead_set)
        path = model_paths(starter, lead_set)[1]
        if "release" not in description:
            raise ValueError(
                f"{path}: expected a model written by benchmarks.pack_models, found another"
            )
        if description["method"] != next(iter(descriptions.values()))["method"]:
            raise ValueError(f"{path}: expected the method of the other models, found another")
    return descriptions


def evaluate(out: Path, patients: dict[str, Patient], epochs: int | None) -> dict[int, Evaluation]:
    """Return lead set -> evaluation of the answers of a cross-validation.

    epochs: of the shipped models; None where each training ends when it no longer gains. Raises
    ValueError where the answers are to other records than the patients', or of trainings of another
    length.
    """
    evaluations = {}
    for lead_set, folds in runs_by_lead_set(out).items():
        names = np.concatenate([fold.names for fold in folds]).tolist()
        if sorted(names) != sorted(patients):
            n_others = len(set(names) ^ set(patients))
            raise ValueError(
                f"{out}: expected one answer for each of {len(patients)} records, {lead_set} "
                f"leads; found {len(names)} answers, {n_others} records have none or are others"
            )
        found = sorted({fold.training["epochs"] for fold in folds})
        if epochs is not None and found != [epochs]:
            raise ValueError(
                f"{out}: expected folds of {epochs} epochs, as the models of {lead_set} leads; "
                f"found {', '.join(map(str, found))}"
            )
        evaluations[lead_set] = _evaluation(lead_set, folds, [patients[name] for name in names])
    return evaluations


def _evaluation(lead_set: int, folds: list[FoldOutputs], patients: Sequence[Patient]) -> Evaluation:
    answered = LabelledOutputs(
        lead_set,
        np.array([patient.files for patient in patients], object),
        np.array([patient.source for patient in patients], object),
        np.array([patient.sex for patient in patients], object),
        np.array([patient.age for patient in patients], float),
        np.array([patient.fs for patient in patients], float),
        *(
            np.concatenate([getattr(fold, name) for fold in folds])
            for name in ("labels", "outputs", "probabilities")
        ),
    )
    rates = np.array([patient.heart_rate_bpm for patient in patients], float)
    return Evaluation(folds, answered, clinical_findings(folds), rates)


# Tables -----------------------------------------------------------------------------------------


def table(headings: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a Markdown table; columns whose cells all begin as numbers do are aligned right."""
    headings, rows = list(headings), [[str(cell) for cell in row] for row in rows]
    alignments = [
        "---:" if i and all(re.match(r"[-.\d]", row[i]) for row in rows) else "---"
        for i in range(len(headings))
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in [headings, alignments, *rows])


def number(value: float) -> str:
    """Return a score with three decimals, without the zero before the point; "-" for NaN."""
    return "-" if np.isnan(value) else f"{value:.3f}".replace("0.", ".", 1)


def with_interval(found: Interval) -> str:
    """Return a score and its interval, "-" where it is not defined."""
    if np.isnan(found.value):
        return "-"
    return f"{number(found.value)} ({number(found.low)} to {number(found.high)})"


def fold_means(folds: list[FoldOutputs]) -> dict[str, tuple[Interval, float]]:
    """Return the mean of AUROC and Challenge metric over folds, with its interval, and the standard
    deviation.

    Folds of fewer than 20 records do not count; NaN where there are no others. The interval is that
    of resamples of the records within each fold.
    """
    folds = [fold for fold in folds if len(fold.names) >= _FEW]
    if not folds:
        return {name: (Interval(np.nan, np.nan, np.nan), np.nan) for name in (_AUROC, _METRIC)}
    weights, found = read_weights(), {}
    resampled = [
        resampled_summaries(
            fold.labels,
            fold.outputs,
            fold.probabilities,
            weights,
            draw_resamples(len(fold.names), seed),
        )
        for seed, fold in enumerate(folds)
    ]
    for name in (_AUROC, _METRIC):
        scores = np.array([fold.scores[name] for fold in folds])
        of_folds = np.array([summaries[name] for summaries in resampled])
        means = np.array([macro_mean(column) for column in of_folds.T])
        defined = scores[~np.isnan(scores)]
        spread = float(defined.std(ddof=1)) if len(defined) > 1 else np.nan
        found[name] = percentile_interval(macro_mean(scores), means), spread
    return found


def score_table(evaluations: dict[int, Evaluation], folds: str) -> str:
    """Return a row for each lead set; folds: a word for what was held out in turn."""
    rows = []
    for lead_set, found in evaluations.items():
        means = fold_means(found.folds)
        (together,) = intervals(found.answered, read_weights())
        cells = [
            cell
            for name in (_AUROC, _METRIC)
            for cell in (with_interval(means[name][0]), number(means[name][1]))
        ]
        rows.append([lead_set, *cells, with_interval(together[_METRIC])])
    headings = [
        heading
        for name in (_AUROC, _METRIC)
        for heading in (f"{name}, mean over {folds} (95 %)", f"SD over {folds}")
    ]
    return table(["leads", *headings, f"{_METRIC}, all records (95 %)"], rows)


def clinical_table(evaluations: dict[int, Evaluation]) -> str:
    """Return a table of the clinical rule over all findings, with a row for each lead set."""
    rows = []
    for lead_set, found in evaluations.items():
        labels = found.answered.labels
        accuracy = diagnostic_accuracy(labels.ravel(), found.clinical.ravel())
        shares = (accuracy.sensitivity, accuracy.specificity, accuracy.ppv, accuracy.npv)
        cells = (number(share.value) for share in shares)
        rows.append([lead_set, accuracy.n_positive, accuracy.n_called, *cells])
    headings = (
        "leads",
        "true findings",
        "called present",
        "sensitivity",
        "specificity",
        "PPV",
        "NPV",
    )
    return table(headings, rows)


def source_table(by_fold: dict[int, Evaluation], by_source: dict[int, Evaluation]) -> str:
    """Return AUROC and Challenge metric of each source, left out or not, by lead set.

    A cell: while the other folds hold records of the source, then while none does.
    """
    weights = read_weights()
    rows = []
    for source, n_records in _counted(next(iter(by_fold.values())).answered.sources):
        cells = []
        for lead_set in by_source:
            pair = []
            for evaluations in (by_fold, by_source):
                answered = evaluations[lead_set].answered
                part = answered.part(answered.sources == source)
                pair.append(next(intervals(part, weights)) if n_records >= _FEW else None)
            for name in (_AUROC, _METRIC):
                known, unseen = (
                    "-" if scores is None else number(scores[name].value) for scores in pair
                )
                cells.append(f"{known} → {unseen}")
        rows.append([_database(source), n_records, *cells])
    headings = [f"{lead_set} leads, {name}" for lead_set in by_source for name in (_AUROC, _METRIC)]
    return table(["source", "records", *headings], rows)


def finding_table(evaluation: Evaluation, points: OperatingPoints | None) -> str:
    """Return a row for each finding that a record has, the most frequent first.

    points: of the shipped model; None where it has none.
    """
    answered = evaluation.answered
    rows = []
    for i in _frequent(answered.labels, at_least=1):
        label = answered.labels[:, i]
        accuracy = diagnostic_accuracy(label, evaluation.clinical[:, i])
        rows.append(
            [
                _finding(i),
                accuracy.n_positive,
                with_interval(auroc_interval(label, answered.probabilities[:, i])),
                "-" if points is None else number(points.thresholds[i]),
                with_interval(accuracy.sensitivity),
                number(accuracy.specificity.value),
                with_interval(accuracy.ppv),
                number(accuracy.npv.value),
            ]
        )
    headings = (
        "finding",
        "records",
        f"{_AUROC} (95 %)",
        "operating point",
        "sensitivity (95 %)",
        "specificity",
        "PPV (95 %)",
        "NPV",
    )
    return table(headings, rows)


def lead_set_table(evaluations: dict[int, Evaluation]) -> str:
    """Return sensitivity and PPV of each finding that at least 20 records have, by lead set."""
    rows = []
    labels = next(iter(evaluations.values())).answered.labels
    for i in _frequent(labels, at_least=_FEW):
        cells = []
        for found in evaluations.values():
            accuracy = diagnostic_accuracy(found.answered.labels[:, i], found.clinical[:, i])
            cells.append(f"{number(accuracy.sensitivity.value)} / {number(accuracy.ppv.value)}")
        rows.append([_finding(i), labels[:, i].sum(), *cells])
    return table(["finding", "records", *(f"{size} leads" for size in evaluations)], rows)


def groups_of(evaluation: Evaluation) -> dict[str, np.ndarray]:
    """Return group -> which records are in it (n_records,), bool: by sex, age and heart rate."""
    found, rates = subgroups_of(evaluation.answered), evaluation.heart_rates_bpm
    groups = {
        f"{name}: {value.lower()}": chosen
        for name in ("sex", "age")
        for value, chosen in found[name].items()
    }
    groups |= {
        f"heart rate: {name}": (low <= rates) & (rates < high)
        for name, (low, high) in _HEART_RATE_BANDS.items()
    }
    groups["heart rate: not measured"] = np.isnan(rates)
    return {name: chosen for name, chosen in groups.items() if chosen.any()}


def group_table(evaluation: Evaluation) -> str:
    """Return the scores of groups of records, with intervals; of fewer than 20 their number."""
    rows, weights = [], read_weights()
    for name, chosen in groups_of(evaluation).items():
        part, called = evaluation.answered.part(chosen), evaluation.clinical[chosen]
        cells = ["-"] * 4
        if len(part) >= _FEW:
            (scores,) = intervals(part, weights)
            accuracy = diagnostic_accuracy(part.labels.ravel(), called.ravel())
            cells = [
                with_interval(scores[_AUROC]),
                with_interval(scores[_METRIC]),
                number(accuracy.sensitivity.value),
                number(accuracy.ppv.value),
            ]
        rows.append([name, len(part), *cells])
    headings = (f"{_AUROC} (95 %)", f"{_METRIC} (95 %)", "sensitivity", "PPV")
    return table(["group", "records", *headings], rows)


def calibration_table(evaluations: dict[int, Evaluation]) -> str:
    """Return Brier score and expected calibration error by lead set.

    The Brier score is also given of always answering each finding's share of the records.
    """
    rows = []
    for lead_set, found in evaluations.items():
        labels, probabilities = found.answered.labels, found.answered.probabilities
        brier = brier_score(labels, probabilities)
        shares = labels.mean(axis=0)
        known = float((shares * (1 - shares)).mean())
        error = calibration_error(labels, probabilities)
        rows.append([lead_set, f"{brier:.4f}", f"{known:.4f}", f"{error:.4f}"])
    headings = ("leads", "Brier score", "of the shares alone", "expected calibration error")
    return table(headings, rows)


def reliability_table(evaluation: Evaluation) -> str:
    """Return for tenths of the range of probabilities how many are there and how many are true."""
    bins = calibration(evaluation.answered.labels, evaluation.answered.probabilities)
    rows = [
        [f"{i / 10:.1f} to {(i + 1) / 10:.1f}", int(count), number(mean), number(share)]
        for i, (count, mean, share) in enumerate(bins)
    ]
    return table(["probability", "answers", "mean probability", "share that is true"], rows)


def data_table(patients: dict[str, Patient]) -> str:
    """Return a row for each source: its records, licences and reference."""
    rows = []
    for source, n_records in _counted(patient.source for patient in patients.values()):
        of_source = [patient for patient in patients.values() if patient.source == source]
        licences = _listed(patient.licence or _UNKNOWN for patient in of_source)
        reference = _DATABASES.get(source, ("", _UNKNOWN))[1]
        rows.append([_database(source), n_records, licences, reference])
    return table(["source", "records", "licence", "reference"], rows)


def file_table(starter: Path, descriptions: dict[int, dict], parameters: dict[int, int]) -> str:
    """Return a row for each model: its size, parameters, validation scores, origin and digest."""
    rows = []
    for lead_set, description in descriptions.items():
        weights_file, _ = model_paths(starter, lead_set)
        log, release = description["training_log"], description["release"]
        rows.append(
            [
                f"`{weights_file.name}`",
                f"{parameters[lead_set]:,}",
                f"{weights_file.stat().st_size / 1e6:.1f} MB",
                f"{_seconds(log) / 60:.0f} min",
                f"{description['decision']['temperature']:.2f}",
                release["commit"],
                f"`{description['weights']['sha256']}`",
            ]
        )
    headings = ("file", "parameters", "size", "training", "temperature", "commit", "SHA-256")
    return table(headings, rows)


def _seconds(log: dict | None) -> float:
    """Return the duration of a training and the stages before it."""
    return 0.0 if not log else log.get("seconds", 0.0) + _seconds(log.get("start"))


def _counted(names: Iterable[str]) -> list[tuple[str, int]]:
    return Counter(names).most_common()


def _listed(names: Iterable[str]) -> str:
    """Return the different names, the most frequent first, with their numbers if there are several;
    "" for none."""
    counts = _counted(names)
    if not counts:
        return ""
    if len(counts) == 1:
        return counts[0][0]
    return "; ".join(f"{name} ({count})" for name, count in counts)


def _database(source: str) -> str:
    name = _DATABASES.get(source, ("",))[0]
    return f"{name} ({source})" if name else source or "-"


def _finding(i: int) -> str:
    return f"{DIAGNOSES[i].name} ({DIAGNOSES[i].abbreviation})"


def _frequent(labels, at_least: int) -> list[int]:
    """Return the findings that at least so many records have, the most frequent first."""
    counts = labels.sum(axis=0)
    return [int(i) for i in np.argsort(-counts, kind="stable") if counts[i] >= at_least]


# The card ---------------------------------------------------------------------------------------


def recipe_of(method: dict, log: dict) -> dict[str, object]:
    """Return what the card tells of a training; method, log: of a model's description.

    "stages": name, records, epochs, batch size and learning rate of each, in order of training.
    """
    stages, stage = [], log
    while stage and "digest" not in stage:
        stages.insert(0, stage)
        stage = stage.get("start")
    names = ("measurements alone, simulated records", "simulated records", "real records")
    usual = method["training"]
    rows = [
        [
            name,
            f"{stage['n_training']:,}",
            stage["epochs"],
            stage.get("batch_size", usual["batch_size"]),
            f"{stage.get('learning_rate', usual['learning_rate']):g}",
        ]
        for name, stage in zip(names[-len(stages) :], stages, strict=True)
    ]
    return {
        "stages": table(["stage", "records", "epochs", "batch size", "learning rate"], rows),
        "n_simulated": sum(stage["n_training"] for stage in stages[-2:-1]),
        "n_validation": log["n_validation"],
        "precision": log["precision"],
        "seed": log["seed"],
        "gpus": ", ".join(log["gpus"]),
        "options": [
            f"{part}: " + ", ".join(f"{name} {_option(value)}" for name, value in options.items())
            for part, options in method.items()
            if isinstance(options, dict)
        ],
    }


def _option(value) -> str:
    """Return an option of a method as the card shows it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "-".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def limits_of(patients: dict[str, Patient], labels: np.ndarray) -> dict[str, object]:
    """Return the numbers that the card's limits are about; labels: (n_records, 26), bool."""
    ages = np.array([patient.age for patient in patients.values()])
    known = ages[~np.isnan(ages)]
    counts = labels.sum(axis=0)
    numbers = {diagnosis.abbreviation: int(counts[i]) for i, diagnosis in enumerate(DIAGNOSES)}
    rare = [name for name, count in numbers.items() if 0 < count < _FEW]
    return {
        "n_under_18": int((known < 18).sum()),
        "n_over_80": int((known >= 80).sum()),
        "n_paced": numbers["PR"],
        "absent": [name for name, count in numbers.items() if count == 0],
        "rare": [f"{name} ({numbers[name]})" for name in rare],
        "n_sources": len({patient.source for patient in patients.values()}),
    }


def headline(evaluation: Evaluation) -> dict[str, str]:
    """Return the mean AUROC and Challenge metric over folds, and the metric's range."""
    means = fold_means(evaluation.folds)
    metrics = [fold.scores[_METRIC] for fold in evaluation.folds if len(fold.names) >= _FEW] or [
        np.nan
    ]
    return {
        "auroc": number(means[_AUROC][0].value),
        "metric": number(means[_METRIC][0].value),
        "lowest": number(min(metrics)),
        "highest": number(max(metrics)),
    }


def card_values(
    starter: Path,
    patients: dict[str, Patient],
    by_fold: dict[int, Evaluation],
    by_source: dict[int, Evaluation],
    parameters: dict[int, int],
) -> dict[str, object]:
    """Return what the template shows; parameters: lead set -> number of the network's weights."""
    descriptions = read_descriptions(starter)
    largest = max(descriptions)
    # By source some lead sets may be left out: that takes as long as all the rest.
    for name, evaluations, needed in (
        ("folds", by_fold, descriptions),
        ("sources", by_source, [largest]),
    ):
        missing = [str(lead_set) for lead_set in needed if lead_set not in evaluations]
        if missing:
            raise ValueError(
                f"{starter}: expected {name} of its lead sets, found none of "
                f"{', '.join(missing)} leads"
            )
    by_fold, by_source = (
        {lead_set: evaluations[lead_set] for lead_set in descriptions if lead_set in evaluations}
        for evaluations in (by_fold, by_source)
    )
    description = descriptions[largest]
    points = description["decision"].get("operating_points")
    method, log = description["method"], description["training_log"]
    return {
        "notice": NOTICE,
        "lead_sets": list(descriptions),
        "largest": largest,
        "method": method,
        "recipe": recipe_of(method, log),
        "points": None if points is None else points["n_records"],
        "versions": ", ".join(f"{name} {text}" for name, text in description["versions"].items()),
        "release": description["release"],
        "n_records": len(patients),
        "n_folds": len(by_fold[largest].folds),
        "n_sources_left_out": len(by_source[largest].folds),
        "n_resamples": N_RESAMPLES,
        "few": _FEW,
        "n_findings": len(DIAGNOSES),
        "limits": limits_of(patients, by_fold[largest].answered.labels),
        "copies": _listed(patient.copy for patient in patients.values() if patient.copy),
        "seen": headline(by_fold[largest]),
        "unseen": headline(by_source[largest]),
        "data_table": data_table(patients),
        "file_table": file_table(starter, descriptions, parameters),
        "score_table": score_table(by_fold, "folds"),
        "unseen_table": score_table(by_source, "sources"),
        "source_table": source_table(by_fold, by_source),
        "clinical_table": clinical_table(by_fold),
        "clinical_unseen_table": clinical_table(by_source),
        "finding_table": finding_table(
            by_fold[largest], None if points is None else points_from_dict(points)
        ),
        "lead_set_table": lead_set_table(by_fold),
        "group_table": group_table(by_fold[largest]),
        "calibration_table": calibration_table(by_fold),
        "reliability_table": reliability_table(by_fold[largest]),
    }


def render(values: dict[str, object]) -> str:
    """Return the card."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(_TEMPLATE).render(values)


def count_parameters(starter: Path) -> dict[int, int]:
    """Return lead set -> number of weights of its network; all models are loaded for it."""
    from ecg.models.model_files import load_trained_model  # loads TensorFlow

    return {
        lead_set: load_trained_model(starter, lead_set).network.count_params()
        for lead_set in find_models(starter)
    }


def main(arguments=None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.model_card",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("starter", type=Path, help="folder of the packed models")
    parser.add_argument("records", type=Path, help="folder of the records they were trained on")
    parser.add_argument("folds", type=Path, help="folder of the cross-validation by folds")
    parser.add_argument("sources", type=Path, help="folder of the one by source")
    parser.add_argument("--out", type=Path, help=f"default: {CARD} in the folder of the models")
    options = parser.parse_args(arguments)
    with running("benchmarks.model_card"):
        description = next(iter(read_descriptions(options.starter).values()))
        is_fixed = description["method"]["training"]["best"] == "last"
        epochs = description["training_log"]["epochs"] if is_fixed else None
        patients = read_patients(options.records)
        by_fold, by_source = (
            evaluate(out, patients, epochs) for out in (options.folds, options.sources)
        )
        parameters = count_parameters(options.starter)
        values = card_values(options.starter, patients, by_fold, by_source, parameters)
        out = options.out or options.starter / CARD
        write_text(out, render(values))
        print(f"{out}: written")


if __name__ == "__main__":
    main()
