"""What the way from probabilities to labels is worth, on answers that cross-validation has left.

    python -m benchmarks.decision_rules OUT … [--out FILE.csv]

Each OUT is a folder of `python -m ecg.cross_validation DATA OUT [--by-source]`. All rules answer
the same out-of-fold probabilities, and what a rule needs is fitted to the answers of the other
folds of the same run (method, variant, lead set, seed), never to those of the fold that it answers.
Prints a table per folder, method and lead set: rows are the records scored, columns the rules,
figures the Challenge metric, the mean over seeds and behind it the largest less the smallest. The
AUROC of all records compares probabilities of one fold's network with those of another's.

Rows with a share of sinus rhythm say how a rule bears another population: records weigh so that
those with sinus rhythm make up the share, and answers stay as they are. In rows with fewer classes
labels outside them are taken away, as in sources whose doctors looked for those alone.
"""

import argparse
import csv
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.label_sets import ExpectedScore, seen_label_sets
from ecg.evaluation.folds import Answers, read_answers
from ecg.models.decisions import Decision, DecisionOptions, calibrate, decide, fit_decision
from ecg.records.diagnoses import DIAGNOSES, N_CLASSES, SINUS_RHYTHM, read_weights
from ecg.records.metrics import areas_under_curves, macro_mean
from ecg.runtime.command_line import running
from ecg.runtime.files import written_whole

_ANY = DecisionOptions(rule="expected_score")
_SEEN = ("seen sets", "seen, calibrated")  # the others' probabilities, another search
RULES = {
    "0.5": None,
    "one threshold": DecisionOptions(shrinkage=np.inf),
    "per class": DecisionOptions(),
    "seen sets": _ANY,
    "seen, calibrated": replace(_ANY, calibrated=True),
    "any set": _ANY,
    "any, calibrated": replace(_ANY, calibrated=True),
}
AUROC, OWN = "AUROC", "as answered"
SINUS_SHARES = (0.15, 0.30, 0.45, 0.60)
# The scored classes among those that these sets of records were labelled with.
FEWER_CLASSES = {
    "CPSC 2018's classes": ("AF", "IAVB", "LBBB", "RBBB", "NSR", "PAC", "PVC"),
    "CODE's classes": ("AF", "IAVB", "LBBB", "RBBB", "NSR", "SB", "STach"),
}
_FILE = re.compile(
    r"(?P<method>[^.]+)\.(?P<variant>[^.]+)\.(?P<leads>\d+)_leads\.seed(?P<seed>\d+)"
    r"\.fold_(?P<fold>.*)\.[0-9a-f]+\.npz"
)


def read_runs(folder: Path) -> dict[tuple[str, str, int, int], list[Answers]]:
    """(method, variant, lead set, seed) -> the answers of its folds, by name of their files.

    Raises ValueError where there are none, where they are of more than one cross-validation (a fold
    twice, or numbered ones beside those of sources), where a run has one fold alone, or a file does
    not hold the answers of a fold.
    """
    runs = {}
    for file in sorted((folder / "folds").glob("[!.]*.fold_*.npz")):
        found = _FILE.fullmatch(file.name)
        if found is None:
            raise ValueError(
                f"{file}: expected a name like METHOD.VARIANT.12_leads.seed0.fold_1.0f.npz"
            )
        key = (found["method"], found["variant"], int(found["leads"]), int(found["seed"]))
        own = runs.setdefault(key, {})
        if found["fold"] in own:
            raise ValueError(f"{file}: expected one file of fold {found['fold']}, found two")
        own[found["fold"]] = file
    if not runs:
        raise ValueError(f"{folder}: expected answers of folds in its folder folds, found none")
    names = {name for own in runs.values() for name in own}
    numbers = {name for name in names if name.isdecimal()}
    if numbers and numbers != names:
        found = ", ".join(map(repr, [*sorted(numbers), *sorted(names - numbers)]))
        raise ValueError(
            f"{folder}: expected folds of one kind of split, by number or by source; found {found}"
        )
    for key, own in runs.items():
        if len(own) < 2:
            raise ValueError(f"{folder}: expected at least 2 folds of {key}, found {len(own)}")
    return {key: [_read(file) for file in own.values()] for key, own in runs.items()}


def answers_by_rule(folds: list[Answers]) -> tuple[Answers, dict[str, np.ndarray]]:
    """All folds' answers together, their probabilities uncalibrated; and each rule's labels."""
    weights, labels = read_weights(), {rule: [] for rule in RULES}
    # What a method's own temperature did is undone first.
    raw = [calibrate(one.probabilities, 1 / one.facts.get("temperature", 1)) for one in folds]
    for i, probabilities in enumerate(raw):
        others = [j for j in range(len(folds)) if j != i]
        truth = np.concatenate([folds[j].labels for j in others])
        fitted_on = np.concatenate([raw[j] for j in others])
        for rule, options in RULES.items():
            if options is None:
                decision = Decision(DecisionOptions(), np.full(N_CLASSES, 0.5))
            else:
                decision = fit_decision(truth, fitted_on, weights, options)
            calibrated = calibrate(probabilities, decision.temperature)
            if rule in _SEEN:
                seen = seen_label_sets(truth)
                labels[rule].append(seen[ExpectedScore(seen, weights).largest(calibrated)])
            else:
                labels[rule].append(decide(calibrated, decision))
    names, truth, own = (
        np.concatenate([getattr(one, part) for one in folds])
        for part in ("names", "labels", "outputs")
    )
    outputs = {OWN: own} | {rule: np.concatenate(parts) for rule, parts in labels.items()}
    return Answers(names, truth, own, np.concatenate(raw), {}), outputs


def weighted_metric(labels, outputs, weights, record_weights) -> float:
    """The Challenge metric where each record counts `record_weights` (n_records,) times."""
    inactive = np.broadcast_to(np.arange(N_CLASSES) == SINUS_RHYTHM, labels.shape)
    observed, correct, floor = (
        record_weights @ _record_scores(labels, answer, weights)
        for answer in (outputs, labels, inactive)
    )
    return float((observed - floor) / (correct - floor)) if correct != floor else 0.0


def sinus_weights(labels, share: float) -> np.ndarray:
    """Weights (n_records,) by which records with sinus rhythm make up the share; NaN where either
    kind of record is missing."""
    sinus = labels[:, SINUS_RHYTHM]
    actual = sinus.mean()
    if actual in (0, 1):
        return np.full(len(labels), np.nan)
    return np.where(sinus, share / actual, (1 - share) / (1 - actual))


def figures(answers: Answers, outputs: dict[str, np.ndarray]) -> dict[tuple[str, str], float]:
    """(records scored, AUROC or rule) -> figure, in the order of the table."""
    labels, every = answers.labels, np.ones(len(answers.labels))
    sources = np.array([re.match("[A-Za-z]*", name)[0] for name in answers.names])
    situations = {f"all {len(labels)} records": (labels, every)}
    for source in np.unique(sources):
        of_it = sources == source
        situations[f"source {source}, {of_it.sum()}"] = (labels, of_it.astype(float))
    for share in SINUS_SHARES:
        situations[f"{share:.0%} sinus rhythm"] = (labels, sinus_weights(labels, share))
    for name, abbreviations in FEWER_CLASSES.items():
        kept = [diagnosis.abbreviation in abbreviations for diagnosis in DIAGNOSES]
        situations[name] = (labels & kept, every)
    found, weights = {}, read_weights()
    for situation, (truth, counts) in situations.items():
        # No AUROC where records weigh differently: the curves know no weights.
        there = counts > 0
        if np.unique(counts[there]).size == 1:
            found[situation, AUROC] = _auroc(truth[there], answers.probabilities[there])
        for rule, answer in outputs.items():
            found[situation, rule] = weighted_metric(truth, answer, weights, counts)
    return found


def print_table(title: str, by_seed: dict[int, dict[tuple[str, str], float]]) -> None:
    """Mean over the seeds, and the largest less the smallest where there are several."""
    columns = [AUROC, OWN, *RULES]
    print(f"\n{title}, seeds {', '.join(map(str, by_seed))}")
    print(f"{'':22s}" + "".join(f"{name:>18s}" for name in columns))
    for situation in dict.fromkeys(what for one in by_seed.values() for what, _ in one):
        cells = []
        for column in columns:
            values = [one.get((situation, column), np.nan) for one in by_seed.values()]
            spread = f" ±{np.ptp(values):.3f}" if len(values) > 1 else ""
            cells.append("-" if np.isnan(values).any() else f"{np.mean(values):.3f}{spread}")
        print(f"{situation:22s}" + "".join(f"{cell:>18s}" for cell in cells))


def main(arguments=None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.decision_rules",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folds", type=Path, nargs="+", help="folders of cross-validations")
    parser.add_argument("--out", type=Path, help="CSV file for the figures of each seed")
    options = parser.parse_args(arguments)
    if options.out and (options.out.is_dir() or not options.out.parent.is_dir()):
        parser.error(f"--out: expected a file in a folder that is there, found {options.out}")
    with running("decision_rules"):
        runs = {folder: read_runs(folder) for folder in options.folds}
    rows = []
    for folder, own in runs.items():
        tables = {}
        for (method, variant, leads, seed), folds in own.items():
            found = figures(*answers_by_rule(folds))
            tables.setdefault((method, variant, leads), {})[seed] = found
            head = (folder, method, variant, leads, seed)
            rows += [(*head, *what, f"{value:.4f}") for what, value in found.items()]
        for (method, variant, leads), by_seed in tables.items():
            print_table(f"{folder}: {method} {variant}, {leads} leads", by_seed)
    if options.out:
        with written_whole(options.out) as unfinished, open(unfinished, "w", newline="") as file:
            head = ("folder", "method", "variant", "leads", "seed", "records", "rule", "figure")
            csv.writer(file).writerows([head, *rows])


def _read(file: Path) -> Answers:
    try:
        # Opened here because numpy does not close an archive that it cannot read.
        with open(file, "rb") as stream:
            return read_answers(stream)
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{file}: expected the answers of a fold, found {error!r}") from error


def _record_scores(labels, outputs, weights) -> np.ndarray:
    """The Challenge's score (n_records,) of each record, before it is moved and scaled."""
    involved = np.maximum(np.count_nonzero(labels | outputs, axis=1), 1)
    return ((labels @ weights) * outputs).sum(axis=1) / involved


def _auroc(labels, probabilities) -> float:
    areas = [areas_under_curves(labels[:, i], probabilities[:, i])[0] for i in range(N_CLASSES)]
    return macro_mean(np.array(areas))


if __name__ == "__main__":
    main()
