"""Compare decision rules (probabilities to labels) on out-of-fold predictions.

    python -m benchmarks.decision_rules OUT … [--out FILE.csv]

Each OUT is the folder of a `python -m ecg.cross_validation DATA OUT [--by-source]`. All rules use
the same out-of-fold probabilities. Each rule is fitted to the other folds of the same run (method,
variant, lead set, seed), never to the fold that it is scored on. Prints a table per folder, method
and lead set: rows are sets of records, columns are rules, and values are the Challenge metric, as
mean and range over seeds. The AUROC of all records mixes probabilities of several folds' networks.

Rows with a share of sinus rhythm simulate another population: records are weighted so that sinus
rhythm has this share, and the predictions are unchanged. Rows with fewer classes remove the labels
of other classes, as in sources that annotate only these.
"""

import argparse
import csv
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.label_sets import ExpectedScore, seen_label_sets
from ecg.evaluation.folds import FoldOutputs, read_fold_outputs
from ecg.models.decisions import Decision, DecisionOptions, calibrate, decide, fit_decision
from ecg.records.diagnoses import DIAGNOSES, N_CLASSES, SINUS_RHYTHM, read_weights
from ecg.records.metrics import areas_under_curves, macro_mean
from ecg.runtime.command_line import running
from ecg.runtime.files import write_rows, written_whole

_ANY = DecisionOptions(rule="expected_score")
_SEEN = ("seen sets", "seen, calibrated")  # searched among the label sets of the other folds
RULES = {
    "0.5": None,
    "one threshold": DecisionOptions(shrinkage=np.inf),
    "per class": DecisionOptions(),
    "seen sets": _ANY,
    "seen, calibrated": replace(_ANY, calibrated=True),
    "any set": _ANY,
    "any, calibrated": replace(_ANY, calibrated=True),
}
AUROC, AS_PREDICTED = "AUROC", "as predicted"
SINUS_SHARES = (0.15, 0.30, 0.45, 0.60)
# The scored classes with which these datasets are labelled.
FEWER_CLASSES = {
    "CPSC 2018's classes": ("AF", "IAVB", "LBBB", "RBBB", "NSR", "PAC", "PVC"),
    "CODE's classes": ("AF", "IAVB", "LBBB", "RBBB", "NSR", "SB", "STach"),
}
_FILE = re.compile(
    r"(?P<method>[^.]+)\.(?P<variant>[^.]+)\.(?P<leads>\d+)_leads\.seed(?P<seed>\d+)"
    r"\.fold_(?P<fold>.*)\.[0-9a-f]+\.npz"
)


def read_runs(folder: Path) -> dict[tuple[str, str, int, int], dict[str, FoldOutputs]]:
    """Return the predictions by (method, variant, lead set, seed) and by fold or source left out.

    Raises ValueError if there are none, if they are of several cross-validations (a repeated fold,
    or both numbered folds and sources), if a run has only one fold, or if a file cannot be read.
    """
    runs = {}
    for file in sorted((folder / "folds").glob("[!.]*.fold_*.npz")):
        found = _FILE.fullmatch(file.name)
        if found is None:
            raise ValueError(
                f"{file}: expected a name like METHOD.VARIANT.12_leads.seed0.fold_1.0f.npz"
            )
        key = (found["method"], found["variant"], int(found["leads"]), int(found["seed"]))
        files = runs.setdefault(key, {})
        if found["fold"] in files:
            raise ValueError(f"{file}: expected one file of fold {found['fold']}, found two")
        files[found["fold"]] = file
    if not runs:
        raise ValueError(f"{folder / 'folds'}: expected predictions of folds, found none")
    names = {name for files in runs.values() for name in files}
    numbers = {name for name in names if name.isdecimal()}
    if numbers and numbers != names:
        found = ", ".join(map(repr, [*sorted(numbers), *sorted(names - numbers)]))
        raise ValueError(
            f"{folder}: expected either numbered folds or sources, not both; found {found}"
        )
    for key, files in runs.items():
        if len(files) < 2:
            raise ValueError(f"{folder}: expected at least 2 folds of {key}, found {len(files)}")
    return {key: {name: _read(file) for name, file in files.items()} for key, files in runs.items()}


def print_run_rows(
    prog: str, description: str, columns: Sequence[str], rows_of: Callable, arguments=None
) -> None:
    """Run the command line of a benchmark that makes a table of each run of cross-validations.

    columns: of the rows, the first of them "run". rows_of: (name of the run, its predictions by
    fold or source) -> rows.
    """
    parser = argparse.ArgumentParser(
        prog=prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+", metavar="OUT")
    parser.add_argument("--out", type=Path, help="file for the rows, as CSV")
    options = parser.parse_args(arguments)
    with running(prog.removeprefix("python -m ")):
        rows = [
            row
            for folder in options.folders
            for (method, variant, lead_set, seed), folds in read_runs(folder).items()
            for row in rows_of(f"{method} {variant}, {lead_set} leads, seed {seed}", folds)
        ]
        for row in rows:
            print(" ".join(f"{row.get(column, ''):>17}" for column in columns[1:]), row["run"])
        if options.out:
            write_rows(options.out, rows, columns)


def answers_by_rule(folds: list[FoldOutputs]) -> tuple[FoldOutputs, dict[str, np.ndarray]]:
    """Return the joined folds with uncalibrated probabilities, and the outputs of each rule."""
    weights, labels = read_weights(), {rule: [] for rule in RULES}
    # Undo the calibration of the method.
    raw = [calibrate(fold.probabilities, 1 / fold.training.get("temperature", 1)) for fold in folds]
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
    names, truth, predicted = (
        np.concatenate([getattr(fold, field) for fold in folds])
        for field in ("names", "labels", "outputs")
    )
    outputs = {rule: np.concatenate(parts) for rule, parts in labels.items()}
    answers = FoldOutputs(names, truth, predicted, np.concatenate(raw), {})
    return answers, {AS_PREDICTED: predicted} | outputs


def weighted_metric(labels, outputs, weights, record_weights) -> float:
    """Return the Challenge metric with each record counted `record_weights` (n_records,) times."""
    all_sinus = np.broadcast_to(np.arange(N_CLASSES) == SINUS_RHYTHM, labels.shape)
    observed, correct, inactive = (
        record_weights @ _record_scores(labels, predicted, weights)
        for predicted in (outputs, labels, all_sinus)
    )
    return float((observed - inactive) / (correct - inactive)) if correct != inactive else 0.0


def sinus_weights(labels, share: float) -> np.ndarray:
    """Return weights (n_records,) that give sinus rhythm this share.

    NaN if no record, or every record, has sinus rhythm.
    """
    sinus = labels[:, SINUS_RHYTHM]
    actual = sinus.mean()
    if actual in (0, 1):
        return np.full(len(labels), np.nan)
    return np.where(sinus, share / actual, (1 - share) / (1 - actual))


def score_rules(
    answers: FoldOutputs, outputs: dict[str, np.ndarray]
) -> dict[tuple[str, str], float]:
    """Return scores by (set of records, AUROC or rule), in the order of the table."""
    labels, equal = answers.labels, np.ones(len(answers.labels))
    sources = np.array([re.match("[A-Za-z]*", name)[0] for name in answers.names])
    subsets = {f"all {len(labels)} records": (labels, equal)}
    for source in np.unique(sources):
        chosen = sources == source
        subsets[f"source {source}, {chosen.sum()}"] = (labels, chosen.astype(float))
    for share in SINUS_SHARES:
        subsets[f"{share:.0%} sinus rhythm"] = (labels, sinus_weights(labels, share))
    for name, abbreviations in FEWER_CLASSES.items():
        kept = [diagnosis.abbreviation in abbreviations for diagnosis in DIAGNOSES]
        subsets[name] = (labels & kept, equal)
    scores, weights = {}, read_weights()
    for subset, (truth, counts) in subsets.items():
        # The AUROC is only computed for equal weights.
        chosen = counts > 0
        if np.unique(counts[chosen]).size == 1:
            scores[subset, AUROC] = _auroc(truth[chosen], answers.probabilities[chosen])
        for rule, predicted in outputs.items():
            scores[subset, rule] = weighted_metric(truth, predicted, weights, counts)
    return scores


def print_table(title: str, by_seed: dict[int, dict[tuple[str, str], float]]) -> None:
    """Print the mean over the seeds, and the range if there are several."""
    columns = [AUROC, AS_PREDICTED, *RULES]
    print(f"\n{title}, seeds {', '.join(map(str, by_seed))}")
    print(f"{'':22s}" + "".join(f"{name:>18s}" for name in columns))
    for subset in dict.fromkeys(subset for scores in by_seed.values() for subset, _ in scores):
        cells = []
        for column in columns:
            values = [scores.get((subset, column), np.nan) for scores in by_seed.values()]
            spread = f" ±{np.ptp(values):.3f}" if len(values) > 1 else ""
            cells.append("-" if np.isnan(values).any() else f"{np.mean(values):.3f}{spread}")
        print(f"{subset:22s}" + "".join(f"{cell:>18s}" for cell in cells))


def main(arguments=None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.decision_rules",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folds", type=Path, nargs="+", help="folders of cross-validations")
    parser.add_argument("--out", type=Path, help="CSV file for the scores of each seed")
    options = parser.parse_args(arguments)
    if options.out and (options.out.is_dir() or not options.out.parent.is_dir()):
        parser.error(f"--out: expected a file in an existing folder, found {options.out}")
    with running("benchmarks.decision_rules"):
        runs = {folder: read_runs(folder) for folder in options.folds}
    rows = []
    for folder, folder_runs in runs.items():
        tables = {}
        for (method, variant, leads, seed), folds in folder_runs.items():
            scores = score_rules(*answers_by_rule(list(folds.values())))
            tables.setdefault((method, variant, leads), {})[seed] = scores
            head = (folder, method, variant, leads, seed)
            rows += [(*head, *key, f"{value:.4f}") for key, value in scores.items()]
        for (method, variant, leads), by_seed in tables.items():
            print_table(f"{folder}: {method} {variant}, {leads} leads", by_seed)
    if options.out:
        with written_whole(options.out) as unfinished, open(unfinished, "w", newline="") as file:
            head = ("folder", "method", "variant", "leads", "seed", "records", "rule", "figure")
            csv.writer(file).writerows([head, *rows])


def _read(file: Path) -> FoldOutputs:
    try:
        # numpy would not close an archive that it cannot read.
        with open(file, "rb") as stream:
            return read_fold_outputs(stream)
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{file}: expected the predictions of a fold, found {error!r}") from error


def _record_scores(labels, outputs, weights) -> np.ndarray:
    """Return the Challenge's score of each record (n_records,), not yet normalised."""
    involved = np.maximum(np.count_nonzero(labels | outputs, axis=1), 1)
    return ((labels @ weights) * outputs).sum(axis=1) / involved


def _auroc(labels, probabilities) -> float:
    areas = [areas_under_curves(labels[:, i], probabilities[:, i])[0] for i in range(N_CLASSES)]
    return macro_mean(np.array(areas))


if __name__ == "__main__":
    main()
