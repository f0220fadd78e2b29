"""Does the best recipe change with the number of records that are trained on?

    python -m benchmarks.scaling OUT --size 600 6000 60000 --seeds 0 1 --leads 2

For want of real records in such numbers, these are simulated: trainings on four sources are scored
on three others, 400 records each. In all of them annotators get a tenth of the findings wrong, much
as studies found for rhythms (docs/simulation.md), so even a perfect network scores less than 1. A
seed decides the records trained on, the network and the order; a larger size has the records of the
smaller ones, too. The records scored are always the same.

The recipe is the default method's for few records (`Method.by_size` does not count here), with its
batch size and learning rate for that size; candidates change one choice of it. Networks start from
scratch, because pretraining would have seen the sources that are scored. The validation records
are a part of those trained on. Candidates that come to the same as the default at a size, or by
ECG_PRESET or ECG_EPOCHS, are listed and skipped.

OUT keeps scaling.csv, with a row for each training and source scored; the prepared records, in
OUT/prepared unless ECG_CACHE names a folder; and the state of an interrupted training after each
epoch. If interrupted, rerun the same command to resume; rows that exist already are not computed
again. Their key depends on the method and all records, but not on the code: after a change of the
code, use another OUT. Rows with other keys stay in the file but are left out of the table. It shows
means over the sources scored, ± their standard deviation over seeds, and the differences from the
default, paired by seed, ± their standard error; * marks those larger than twice that, which chance
alone makes of every third difference with two seeds, and of every fifth with three.
"""

import argparse
import hashlib
import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from benchmarks.candidates import CANDIDATES, DEFAULT, Candidate
from benchmarks.recipe import FIGURES, METHOD, compared, read_rows
from ecg.models.devices import find_devices
from ecg.models.method import Method, changed, method_to_dict, recipe_for, with_epochs
from ecg.models.settings import Settings, read_settings
from ecg.models.training_options import PretrainingOptions
from ecg.records.diagnoses import read_weights
from ecg.records.leads import LEAD_SETS
from ecg.records.metrics import score
from ecg.runtime.command_line import running, whole_number
from ecg.runtime.files import make_folder, write_rows
from ecg.training.checkpoints import Checkpoint
from ecg.training.dataset import Dataset
from ecg.training.fit import Trainer, TrainingRun, answer_dataset, fit
from ecg.training.model_folders import training_key
from ecg.training.pretraining import Simulation, simulated_dataset

TRAINED_ON = (
    "simulated-hospital",
    "simulated-county",
    "simulated-network",
    "simulated-telemetry",
)
SCORED_ON = ("simulated-heart-centre", "simulated-laboratory", "simulated-ambulance")
N_SCORED = 400  # records of each source
LABEL_ERRORS = 0.1  # see docs/simulation.md
COLUMNS = ("size", "candidate", "leads", "seed", "scored_on", *FIGURES, "key")
_SCORED_SEED = 0  # no patient of these is trained on: each source has its own


def _twice_the_width_and_epochs(method: Method) -> Method:
    return CANDIDATES["twice the epochs"].change(CANDIDATES["twice the width"].change(method))


RECIPES = {
    **{name: CANDIDATES[name] for name in (DEFAULT, "twice the epochs", "twice the width")},
    "twice the width and epochs": Candidate(_twice_the_width_and_epochs),
    "without feature dropout": CANDIDATES["without feature dropout"],
    "batch 16 at every size": Candidate(
        changed("training", batch_size=16, largest_batch_size=None)
    ),
}


def recipe_of(candidate: Candidate, size: int, settings: Settings) -> Method:
    """Return the candidate's method for that many records, without pretraining.

    Its batch size is fixed, so candidates with equal results train alike.
    """
    method = candidate.method(METHOD, settings.preset)
    method = replace(method, by_size=(), pretraining=PretrainingOptions())
    method = recipe_for(with_epochs(method, settings.epochs), size)
    return changed("training", largest_batch_size=None)(method)


class Bench:
    """Trains candidates on simulated records and scores them on sources that they have not seen.

    out: for the states of interrupted trainings. cache: for prepared records.
    """

    def __init__(self, out: Path, cache: Path, settings: Settings):
        self.out, self.cache, self.settings = out, cache, settings
        self.devices, self.corpora = find_devices(), {}
        self.preparation = recipe_of(RECIPES[DEFAULT], 1, settings).preparation
        self.scored = {
            source: self._simulated(N_SCORED, _SCORED_SEED, (source,)) for source in SCORED_ON
        }

    def corpus(self, size: int, seed: int) -> Dataset:
        """Return the records to train on."""
        if (size, seed) not in self.corpora:
            self.corpora[size, seed] = self._simulated(size, seed, TRAINED_ON)
        return self.corpora[size, seed]

    def key(self, candidate: Candidate, size: int, seed: int) -> str:
        """Return a key of everything that a row's figures depend on, apart from its other
        columns."""
        datasets = (self.corpus(size, seed), *self.scored.values())
        records = [dataset.fingerprint for dataset in datasets]
        method = method_to_dict(recipe_of(candidate, size, self.settings))
        return hashlib.sha256(json.dumps([method, records]).encode()).hexdigest()[:12]

    def scores(
        self, candidate: Candidate, size: int, lead_set: int, seed: int
    ) -> dict[str, dict[str, float]]:
        """Train, or resume training, and return the figures on each source scored."""
        keras.backend.clear_session()
        run = TrainingRun(recipe_of(candidate, size, self.settings), lead_set, seed)
        corpus = self.corpus(size, seed)
        key = training_key(run, corpus, None, self.devices)
        state = make_folder(self.out / f"unfinished-{key[:12]}")
        trainer = Trainer(run, self.devices, len(corpus))
        everything, checkpoint = np.arange(len(corpus)), Checkpoint(state / "training.npz", key)
        model = fit(trainer, corpus, everything, checkpoint=checkpoint)
        figures = {}
        for source, dataset in self.scored.items():
            outputs, probabilities = answer_dataset(model, dataset, np.arange(len(dataset)))
            summary = score(dataset.labels, outputs, probabilities, read_weights()).summary
            figures[source] = {name: summary[name] for name in FIGURES}
        shutil.rmtree(state)
        return figures

    def _simulated(self, n_records: int, seed: int, sources: tuple[str, ...]) -> Dataset:
        simulation = Simulation(seed, sources, LABEL_ERRORS)
        workers = self.settings.workers
        return simulated_dataset(n_records, self.preparation, self.cache, workers, simulation)


def table(rows: list[dict[str, str]]) -> str:
    """Compare the candidates by size and number of leads, on the mean of the sources scored."""
    lines = []
    for size, leads in dict.fromkeys((row["size"], row["leads"]) for row in rows):
        by_name = {}
        for row in rows:
            if (row["size"], row["leads"]) == (size, leads):
                figures = [float(row[name]) for name in FIGURES]
                by_seed = by_name.setdefault(row["candidate"], {})
                by_seed.setdefault(row["seed"], []).append(figures)
        means = {
            name: {seed: np.mean(figures, axis=0) for seed, figures in by_seed.items()}
            for name, by_seed in by_name.items()
        }
        lines += ["", f"{size} records, {leads} leads", *compared(means)]
    return "\n".join(lines)


def main(arguments=None) -> None:
    """Run the command line."""
    options = _parse(arguments)
    with running("benchmarks.scaling"):
        _run(options)


def _run(options: argparse.Namespace) -> None:
    settings = read_settings()
    if settings.method != METHOD:
        raise ValueError(f"ECG_METHOD: expected {METHOD}, found {settings.method}")
    file = make_folder(options.out) / "scaling.csv"
    rows = read_rows(file, COLUMNS)
    bench = Bench(options.out, settings.cache or options.out / "prepared", settings)
    for size in options.size:
        usual = recipe_of(RECIPES[DEFAULT], size, settings)
        skipped = [
            name
            for name in options.candidate
            if name != DEFAULT and recipe_of(RECIPES[name], size, settings) == usual
        ]
        if skipped:
            print(f"{size} records: equal to the default: {', '.join(skipped)}", flush=True)
        names = [name for name in options.candidate if name not in skipped]
        for seed, lead_set, name in itertools.product(options.seeds, options.leads, names):
            head = {
                "size": str(size),
                "candidate": name,
                "leads": str(lead_set),
                "seed": str(seed),
                "key": bench.key(RECIPES[name], size, seed),
            }
            if any(head.items() <= row.items() for row in rows):
                continue
            scores = bench.scores(RECIPES[name], size, lead_set, seed)
            rows += [
                head | {"scored_on": source} | {name: f"{value:.4f}" for name, value in of.items()}
                for source, of in scores.items()
            ]
            print(f"{size} records, {lead_set} leads, seed {seed}, {name}: done", flush=True)
            write_rows(file, rows, COLUMNS)
    keys = {
        (str(size), str(seed), name): bench.key(RECIPES[name], size, seed)
        for size, seed, name in itertools.product(options.size, options.seeds, RECIPES)
    }

    def is_current(row):
        return row["key"] == keys.get((row["size"], row["seed"], row["candidate"]))

    print(table([row for row in rows if is_current(row)]))


def _parse(arguments) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sizes, seeds = whole_number(4, below=10**6), whole_number(0, below=2**32)
    parser.add_argument("out", type=Path, help="folder for scaling.csv; keep it to resume")
    parser.add_argument("--size", type=sizes, nargs="+", default=[600, 6000, 60000])
    parser.add_argument(
        "--candidate",
        nargs="+",
        choices=RECIPES,
        default=list(RECIPES),
        metavar="NAME",
        help=f"one or more of {', '.join(map(repr, RECIPES))}; default: all",
    )
    parser.add_argument("--seeds", type=seeds, nargs="+", default=[0, 1])
    parser.add_argument("--leads", type=int, nargs="+", choices=LEAD_SETS, default=[2])
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
