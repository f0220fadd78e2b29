"""Measures what each choice of the default recipe contributes, by changing one at a time.

    python -m benchmarks.recipe DATA OUT --leads 12 2 --seeds 0 1 2 [--candidate NAME …]
    python -m benchmarks.recipe DATA OUT --measurements --leads 12 2 --seeds 0 1 2
    ECG_PRESET=demo python -m benchmarks.recipe DATA OUT --simulated 600

Each candidate (`benchmarks.candidates`) is cross-validated twice: on random folds, split anew for
each seed, and leaving out one source at a time. Everything that a candidate selects or fits (epoch,
calibration, decision) is based on the training records of the fold alone. With --measurements the
networks see no signal, which takes minutes instead of hours and suffices for choices that do not
concern the signal.

ECG_PRESET, ECG_EPOCHS, ECG_CACHE and ECG_WORKERS apply. The narrow networks of the preset "demo"
are not pretrained on simulated records; --simulated N pretrains them on N records in the stages of
the full preset, all but "as published". Candidates that the preset or ECG_EPOCHS makes equal to the
default are listed and skipped.

OUT/recipe.csv has a row for each candidate, lead set, seed and split; rows that exist already are
not computed again. The key of a row depends on the method, the records and the number of folds, but
not on the code: after a change of the code, use another OUT. Rows with other keys stay in the file
but are left out of the table. AUROC and AUPRC by source are means over the sources with at least 40
records, nan without such a source; the Challenge metric is computed on all records together. In
the table, differences from the default are paired by seed and marked * where larger than twice
their standard error.
"""

import argparse
import csv
import hashlib
import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from benchmarks.candidates import CANDIDATES, DEFAULT, NEEDS_SIGNAL, Candidate
from ecg.evaluation.folds import split_dataset
from ecg.models.devices import find_devices
from ecg.models.method import Method, method_to_dict, recipe_for, with_epochs
from ecg.models.settings import Settings, read_settings
from ecg.records.diagnoses import read_weights
from ecg.records.leads import LEAD_SETS
from ecg.records.metrics import challenge_metric, macro_mean, score
from ecg.runtime.command_line import running, whole_number
from ecg.runtime.files import write_rows
from ecg.training.dataset import Dataset, dataset_cache, prepare_dataset
from ecg.training.fit import Start, Trainer, TrainingRun, answer_dataset
from ecg.training.pretraining import pretrain, pretraining_method, simulated_for

METHOD = "multiscale_se"
MIN_SOURCE_RECORDS = 40
FIGURES = ("AUROC", "AUPRC", "Challenge metric")
COLUMNS = ("candidate", "network", "leads", "seed", "split", *FIGURES, "key")


class Bench:
    """Cross-validates candidates on one folder of records.

    measurements_only: whether the networks see no signal. n_simulated: see `Candidate.method`.
    """

    def __init__(
        self,
        data: Path,
        cache: Path,
        settings: Settings,
        measurements_only: bool = False,
        n_simulated: int | None = None,
    ):
        self.data, self.cache, self.settings = data, cache, settings
        self.measurements_only, self.n_simulated = measurements_only, n_simulated
        self.devices, self.starts = find_devices(), {}
        self.dataset = self._prepare(self.method(CANDIDATES[DEFAULT]))

    def method(self, candidate: Candidate) -> Method:
        """Return the candidate's method, with the preset and epochs of the settings."""
        method = candidate.method(METHOD, self.settings.preset, self.n_simulated)
        if self.measurements_only:
            method = replace(method, network=replace(method.network, steps=()))
        return with_epochs(method, self.settings.epochs)

    def is_default(self, candidate: Candidate) -> bool:
        """Whether the candidate is equal to the default."""
        return candidate.changes_method_only and self.method(candidate) == self.method(Candidate())

    def key(self, candidate: Candidate, n_folds: int | None) -> str:
        """Return a key of everything that a row's figures depend on, apart from its other
        columns."""
        records = [self.dataset.fingerprint, self.dataset.sources.tolist()]
        method = recipe_for(self.method(candidate), len(self.dataset))
        text = json.dumps([method_to_dict(method), records, n_folds])
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def scores(self, candidate: Candidate, lead_set: int, seed: int, n_folds: int | None) -> dict:
        """Return the figures of one cross-validation; n_folds: None to leave out one source at a
        time."""
        method = self.method(candidate)
        dataset = self._prepare(method)
        run = TrainingRun(recipe_for(method, len(dataset)), lead_set, seed)
        labels, outputs = dataset.labels, np.zeros_like(dataset.labels)
        fold_scores = []
        for split in split_dataset(dataset, n_folds, seed):
            keras.backend.clear_session()
            held_out = split.held_out
            start = self._start(run)
            trainer = candidate.trainer(run, self.devices, len(split.kept))
            model = candidate.fit(trainer, dataset, split.kept, start=start)
            outputs[held_out], probabilities = answer_dataset(model, dataset, held_out)
            if n_folds is not None or len(held_out) >= MIN_SOURCE_RECORDS:
                scores = score(labels[held_out], outputs[held_out], probabilities, read_weights())
                fold_scores.append(scores.summary)
            print(f"  fold {split.name} of {len(held_out)} records", flush=True)
        means = {
            name: macro_mean(np.array([scores[name] for scores in fold_scores])) for name in FIGURES
        }
        return means | {"Challenge metric": challenge_metric(labels, outputs, read_weights())}

    def _prepare(self, method: Method) -> Dataset:
        return prepare_dataset(self.data, method.preparation, self.cache, self.settings.workers)

    def _start(self, run: TrainingRun) -> Start | None:
        """Return the start of all folds, shared by candidates with the same pretraining."""
        method, n_records = run.method, len(self.dataset)
        if not method.pretraining.n_records:
            return None
        key = replace(run, method=pretraining_method(method))
        if key not in self.starts:
            simulated = simulated_for(method, self.cache, self.settings.workers)
            trainer = Trainer(run, self.devices, n_records)
            self.starts[key] = pretrain(trainer, simulated)
        return self.starts[key]


def read_rows(file: Path, columns: Sequence[str] = COLUMNS) -> list[dict[str, str]]:
    """Return the rows that `write_rows` wrote; none where the file does not exist.

    Raises ValueError where the file has other columns.
    """
    if not file.exists():
        return []
    with open(file, newline="") as text:
        lines = list(csv.reader(text))
    if lines[:1] != [list(columns)] or any(len(line) != len(columns) for line in lines):
        raise ValueError(f"{file}: expected rows of {', '.join(columns)}; found others")
    return [dict(zip(columns, line, strict=True)) for line in lines[1:]]


def table(rows: list[dict[str, str]]) -> str:
    """Mean and standard deviation over seeds of each figure, and the difference from `DEFAULT`."""
    lines = []
    for setting in dict.fromkeys((row["network"], row["leads"], row["split"]) for row in rows):
        by_name = {}
        for row in rows:
            if (row["network"], row["leads"], row["split"]) != setting:
                continue
            figures = [float(row[name]) for name in FIGURES]
            by_name.setdefault(row["candidate"], {})[row["seed"]] = np.array(figures)
        lines += ["", f"{setting[0]}, {setting[1]} leads, {setting[2]}", *compared(by_name)]
    return "\n".join(lines)


def compared(by_name: dict[str, dict[str, np.ndarray]]) -> list[str]:
    """Return the lines of a table of candidates, with their differences from `DEFAULT`.

    by_name: candidate -> seed -> values of FIGURES.
    """
    lines = [f"{'':36s}" + "".join(f"{name:>32s}" for name in FIGURES)]
    for name, by_seed in by_name.items():
        cells = [_cell(by_seed, by_name.get(DEFAULT, {}), i) for i in range(len(FIGURES))]
        lines.append(f"{name:36s}" + "".join(f"{cell:>32s}" for cell in cells))
    return lines


def _cell(by_seed: dict, reference: dict, figure: int) -> str:
    values = np.array([values[figure] for values in by_seed.values()])
    text = f"{values.mean():.3f}" + (f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else "")
    shared = [seed for seed in by_seed if seed in reference]
    differences = np.array([by_seed[seed][figure] - reference[seed][figure] for seed in shared])
    if not differences.any() or np.isnan(differences).any():
        return text
    text += f" ({differences.mean():+.3f}"
    if len(differences) > 1:
        error = differences.std(ddof=1) / np.sqrt(len(differences))
        text += f" ± {error:.3f}{'*' if abs(differences.mean()) > 2 * error else ''}"
    return text + ")"


def main(arguments=None) -> None:
    """Run the command line."""
    options = _parse(arguments)
    with running("benchmarks.recipe"):
        _run(options)


def _run(options: argparse.Namespace) -> None:
    file = options.out / "recipe.csv"
    splits = {f"{options.folds} folds": options.folds, "by source": None}
    settings = read_settings()
    if settings.method != METHOD:
        raise ValueError(f"ECG_METHOD: expected {METHOD}, found {settings.method}")
    options.out.mkdir(parents=True, exist_ok=True)
    rows = read_rows(file)
    with dataset_cache(settings.cache, options.out) as cache:
        bench = Bench(options.data, cache, settings, options.measurements, options.simulated)
        # Show errors in the records before training starts.
        for n_folds in splits.values():
            split_dataset(bench.dataset, n_folds, options.seeds[0])
        skipped = [
            name
            for name in options.candidate
            if name != DEFAULT and bench.is_default(CANDIDATES[name])
        ]
        if skipped:
            print(f"skipped, equal to the default: {', '.join(skipped)}", flush=True)
        keys = {
            (name, split): bench.key(CANDIDATES[name], n_folds)
            for name in _candidates(options.measurements)
            for split, n_folds in splits.items()
        }
        network = "measurements alone" if options.measurements else settings.preset
        names = [name for name in options.candidate if name not in skipped]
        for lead_set, name, seed, split in itertools.product(
            options.leads, names, options.seeds, splits
        ):
            row = {
                "candidate": name,
                "network": network,
                "leads": str(lead_set),
                "seed": str(seed),
                "split": split,
                "key": keys[name, split],
            }
            if any(row.items() <= other.items() for other in rows):
                continue
            scores = bench.scores(CANDIDATES[name], lead_set, seed, splits[split])
            rows.append(row | {figure: f"{scores[figure]:.4f}" for figure in FIGURES})
            print(rows[-1], flush=True)
            write_rows(file, rows, COLUMNS)
    print(table([row for row in rows if row["key"] == keys.get((row["candidate"], row["split"]))]))


def _parse(arguments) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recipe",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", type=Path, help="folder of records")
    parser.add_argument("out", type=Path, help="folder for recipe.csv; keep it to resume")
    parser.add_argument("--leads", type=int, nargs="+", choices=LEAD_SETS, default=[12, 2])
    parser.add_argument("--seeds", type=whole_number(0, below=2**32), nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--folds", type=whole_number(2, below=2**32), default=5, help="of the random split"
    )
    parser.add_argument("--candidate", nargs="+", metavar="NAME", help="default: all")
    parser.add_argument(
        "--measurements",
        action="store_true",
        help="train on measurements alone, without the signal",
    )
    parser.add_argument(
        "--simulated",
        type=whole_number(1, below=2**32),
        metavar="N",
        help="simulated records for pretraining; default: the preset's",
    )
    options = parser.parse_args(arguments)
    known = _candidates(options.measurements)
    unknown = [name for name in options.candidate or [] if name not in known]
    if unknown:
        parser.error(
            f"--candidate: expected some of {', '.join(map(repr, known))}; "
            f"found {', '.join(map(repr, unknown))}"
        )
    options.candidate = options.candidate or known
    return options


def _candidates(measurements_only: bool) -> list[str]:
    return [name for name in CANDIDATES if not (measurements_only and name in NEEDS_SIGNAL)]


if __name__ == "__main__":
    main()
