"""What a report says in words: what was tested on what, and what the model is."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from ecg.evaluation.labelled_outputs import LabelledOutputs
from ecg.models.descriptions import describe_training
from ecg.pages import NOTICE
from ecg.pages.page import join_names
from ecg.records.diagnoses import DIAGNOSES

_FEWEST_IN_TRAINING = 10  # records with a finding, for it to be learnt at all
_MOST_SOURCES = 8  # listed by name
_RULES = {  # DecisionOptions.rule -> what it labels a record with
    "fitted": "findings whose probability reaches the threshold fitted for each",
    "record_maximum": "findings at least 1/{divisor:g} as probable as the record's likeliest",
    "expected_score": "the set of findings with the largest expected Challenge metric",
}
_SEX_NAMES = {"Female": "female", "Male": "male"}


@dataclass(frozen=True)
class Notice:
    """A sentence at the head of the report; is_warning: a reason not to believe the scores."""

    text: str
    is_warning: bool = False


def describe_evaluation(
    answered: dict[int, LabelledOutputs], descriptions: dict[int, dict]
) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return facts as (name, [(lead sets, text), ...]), the lead sets "" where they agree.

    answered, descriptions: lead set -> its records and outputs, the content of its model's JSON.
    """
    models = {
        "model": lambda description: "{name}: {source}".format(**description["method"]),
        "trained on": lambda description: describe_training(
            description["training_log"], counted=True
        ),
        "labelled with": lambda description: _rule_text(description["method"]["decision"]),
    }
    records = {
        "tested on": _test_text,
        "patients": _patients_text,
        "sampling rate": lambda records: _counted(
            ("unknown" if np.isnan(fs) else f"{fs:g} Hz") for fs in records.fs
        ),
    }
    facts = {name: _by_lead_set(descriptions, text) for name, text in models.items()}
    facts |= {name: _by_lead_set(answered, text) for name, text in records.items()}
    order = ("model", "trained on", "tested on", "patients", "sampling rate", "labelled with")
    return [(name, facts[name]) for name in order]


def notices(answered: dict[int, LabelledOutputs], descriptions: dict[int, dict]) -> list[Notice]:
    """Return what limits the scores, the most important first."""
    simulated = np.concatenate([records.simulated for records in answered.values()])
    n_simulated, n_records = int(simulated.sum()), len(simulated)
    found = []
    if n_simulated == n_records:
        found.append(
            Notice(
                f"All {n_records:,} tested records are simulated. The scores say nothing about "
                "patients.",
                is_warning=True,
            )
        )
    elif n_simulated:
        found.append(
            Notice(
                f"{n_simulated:,} of {n_records:,} tested records are simulated. Only the scores "
                "of real records, shown separately, say anything about patients; all other "
                "figures are of both together.",
                is_warning=True,
            )
        )
    logs = {lead_set: found["training_log"] for lead_set, found in descriptions.items()}
    never_real = [lead_set for lead_set, log in logs.items() if _is_simulated_alone(log)]
    if never_real:
        found.append(
            Notice(
                f"The model for {join_names(never_real)} leads was trained on simulated records "
                "alone.",
                is_warning=True,
            )
        )
    shared = sorted(
        {
            source
            for lead_set, records in answered.items()
            for source in set(records.sources[~records.simulated]) & set(_sources(logs[lead_set]))
        }
    )
    if shared:
        found.append(
            Notice(
                f"The model was trained on records of {join_names(shared)} too. If these very "
                "records are among them, the scores are too high; for other hospitals "
                "they are likely to be lower."
            )
        )
    return [*found, Notice(NOTICE)]


def model_card(description: dict) -> dict[str, str]:
    """Return what the model is and how it was trained, name -> text.

    Raises KeyError, TypeError or ValueError where the description lacks a value.
    """
    method, training = description["method"], description["training_log"]
    decision, preparation = method["decision"], method["preparation"]
    temperature = description["decision"].get("temperature")
    return {
        "method": f"{method['name']}: {method['source']}",
        "leads": ", ".join(description["leads"]),
        "input": f"{preparation['window_s']:g} s at {preparation['fs']:g} Hz, scaled by "
        f"{preparation['scale']}; windows: at most {preparation['max_windows']}",
        "output": f"probabilities and labels of {len(DIAGNOSES)} findings",
        "loss": method["loss"]["kind"],
        "decision rule": f"{_rule_text(decision)}; vote of windows: {decision['vote']}",
        "temperature": "-" if temperature is None else f"{temperature:.2f}",
        "training data": describe_training(training, counted=True),
        "training set": f"{training['n_training']:,} records",
        "validation set": f"{training['n_validation']:,} records",
        "start": _start_text(training.get("start")),
        "validation scores": ", ".join(
            f"{name} {'-' if value is None else f'{value:.3f}'}"
            for name, value in training["validation_scores"].items()
        )
        or "-",
        "epochs": f"{training['epochs']}, best: {training['best_epoch']}"
        + (", stopped by the time limit" if training["cut_by_time_limit"] else ""),
        "training time": f"{training['seconds']:.0f} s",
        "seed": str(training["seed"]),
        "precision": training["precision"],
        "GPUs": ", ".join(training["gpus"]) or "none",
        "data fingerprint": training["data_fingerprint"],
        "weights (SHA-256)": description["weights"]["sha256"],
        "versions": f"description format {description['format']}, "
        + ", ".join(f"{name} {version}" for name, version in description["versions"].items()),
    }


def limits(description: dict) -> list[str]:
    """Return sentences on what the model cannot do."""
    training = description["training_log"]
    found = [
        f"It knows {len(DIAGNOSES)} findings and says nothing of others, such as infarction.",
        "Its probabilities assume that findings are as frequent as in training.",
    ]
    n_known = np.asarray(description["prevalence"]) * training["n_training"]
    rare = [
        diagnosis.abbreviation
        for diagnosis, n in zip(DIAGNOSES, n_known, strict=True)
        if n < _FEWEST_IN_TRAINING
    ]
    if rare:
        found.append(
            f"Fewer than about {_FEWEST_IN_TRAINING} training records had "
            f"{join_names(rare, 'or')}: what it says of these is not to be relied on."
        )
    if training["validated_on_training_records"]:
        found.append("Its validation records were among its training records.")
    return found


def stages(description: dict) -> dict[str, dict]:
    """Return the training history of each stage by name, in order of training.

    Stages of a model that the training started from are not among them.
    """
    stage, histories = description["training_log"], []
    while stage and "digest" not in stage:
        histories.insert(0, stage["history"])
        stage = stage.get("start")
    names = ("measurements alone", "simulated", "records")
    names = ("records",) if len(histories) == 1 else names[-len(histories) :]
    return dict(zip(names, histories, strict=True))


def _by_lead_set(values: dict, text: Callable) -> list[tuple[str, str]]:
    """Return (lead sets, text) for each different text; "" for the lead sets if there is one."""
    groups = {}
    for lead_set, value in values.items():
        groups.setdefault(text(value), []).append(lead_set)
    if len(groups) == 1:
        return [("", next(iter(groups)))]
    return [(f"{join_names(lead_sets)} leads", found) for found, lead_sets in groups.items()]


def _test_text(records: LabelledOutputs) -> str:
    """Return how many records there are, of which sources, and how many are simulated."""
    n_simulated, is_real = int(records.simulated.sum()), ~records.simulated
    if n_simulated == len(records):
        return f"{n_simulated:,} simulated records, and no real one"
    text = f"{is_real.sum():,} real records of {_counted(records.sources[is_real])}"
    return text + (f", and {n_simulated:,} simulated ones" if n_simulated else "")


def _patients_text(records: LabelledOutputs) -> str:
    records = records.part(~records.simulated)
    if not len(records):
        return "none"
    ages = records.ages[np.isfinite(records.ages)]
    text = "ages unknown"
    if len(ages):
        text = f"median age {np.median(ages):.0f} years ({ages.min():.0f} to {ages.max():.0f})"
    return f"{text}; {_counted(_SEX_NAMES.get(sex, 'sex unknown') for sex in records.sexes)}"


def _rule_text(decision: dict) -> str:
    return _RULES[decision["rule"]].format(divisor=decision["divisor"])


def _counted(values: Iterable[str]) -> str:
    """Return the values with how often each occurs, the most frequent first."""
    counts = Counter(value or "-" for value in values).most_common()
    text = ", ".join(f"{value} ({n:,})" for value, n in counts[:_MOST_SOURCES])
    n_others = sum(n for _, n in counts[_MOST_SOURCES:])
    return text + (f", others ({n_others:,})" if n_others else "")


def _sources(log: dict) -> list[str]:
    """Return the sources of the training records, those of the model it started from included."""
    start = log.get("start") or {}
    return [*log.get("sources", {}), *(_sources(start) if "digest" in start else [])]


def _is_simulated_alone(log: dict) -> bool:
    start = log.get("start") or {}
    is_alone = "n_simulated" in log and log["n_simulated"] == sum(log["sources"].values())
    return is_alone and ("digest" not in start or _is_simulated_alone(start))


def _start_text(log: dict | None) -> str:
    """Return what the training started from; log: of that."""
    if not log:
        return "random weights"
    if "digest" not in log:
        return f"pretrained on {log['n_training']} simulated records"
    return f"a model trained on {log['n_training']} records, {log['digest'][:12]}"
