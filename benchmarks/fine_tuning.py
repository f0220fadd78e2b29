"""What do a hospital's first records gain a model that was trained elsewhere?

    python -m benchmarks.fine_tuning DATA --source HR --sizes 20 50 100 200 --seeds 0 1 2

Trains a model on the records of DATA without those of the source, first on simulated records as
`train_model.py` does. Then, for each seed and size, goes on from it on that many records of the
source, and beside that trains from scratch on them (on simulated records first). These two and the
start alone are scored on the same other records of the source: for each seed all but the largest
size. A seed decides which records these are, and the training on them.

ECG_PRESET, ECG_EPOCHS, ECG_CACHE and ECG_WORKERS apply. --rate-share, --epochs, --n-prior-records
and --fewest-to-refit replace the options of `ecg.models.fine_tuning.fine_tuning_for` at every size.

OUT (--out) keeps the start of each source, and fine_tuning.csv with a row for each training; none
of them is made again, unless the records, options or code have changed.
"""

import argparse
import itertools
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import keras
import numpy as np

from benchmarks.recipe import read_rows
from ecg.models.descriptions import missing_models
from ecg.models.devices import find_devices
from ecg.models.fine_tuning import FineTuningOptions, fine_tuned, fine_tuning_for
from ecg.models.method import method_to_dict, recipe_for, with_epochs
from ecg.models.model_files import TrainedModel, load_trained_model, save_model
from ecg.models.registry import find_method, source_module
from ecg.models.settings import Settings, read_settings
from ecg.records.diagnoses import read_weights
from ecg.records.leads import LEAD_SETS
from ecg.records.metrics import score
from ecg.runtime.cache_keys import cache_key
from ecg.runtime.command_line import running, whole_number
from ecg.runtime.files import write_rows
from ecg.training.dataset import Dataset, dataset_cache, prepare_dataset
from ecg.training.fit import Start, Trainer, TrainingRun, answer_dataset, fit
from ecg.training.pretraining import (
    plan_pretraining,
    read_pretrained,
    run_pretraining,
    simulated_for,
)
from ecg.training.starts import find_start, read_start

METHOD = "multiscale_se"
TRAININGS = ("start alone", "fine-tuned", "from scratch")
FIGURES = ("AUROC", "AUPRC", "Challenge metric")
COLUMNS = ("training", "source", "leads", "size", "seed", "n_scored", *FIGURES, "key")
_START_SEED = 0


@dataclass(frozen=True)
class Parts:
    """Positions of records in the dataset: those of other sources, and those of the source that may
    be trained on, in the order drawn, or that are scored."""

    others: np.ndarray
    pool: np.ndarray
    scored: np.ndarray


def divide(dataset: Dataset, source: str, n_pool: int, seed: int) -> Parts:
    """Return the parts of a dataset for one source and seed.

    Raises ValueError where the source has no more than `n_pool` records, or all there are.
    """
    of_source = dataset.sources == source
    if not n_pool < of_source.sum() < len(dataset):
        counts = zip(*np.unique(dataset.sources, return_counts=True), strict=True)
        raise ValueError(
            f"expected more than {n_pool} records of {source}, and some of other sources; found "
            f"{', '.join(f'{n} of {name}' for name, n in counts)}"
        )
    drawn = np.random.default_rng(seed).permutation(np.flatnonzero(of_source))
    return Parts(np.flatnonzero(~of_source), drawn[:n_pool], np.sort(drawn[n_pool:]))


class Bench:
    """Trains and scores on one folder of records.

    cache: for prepared records. out: for networks. changes: replace options of the fine-tuning.
    """

    def __init__(self, data: Path, cache: Path, out: Path, settings: Settings, changes: dict):
        method = find_method(METHOD, settings.preset)
        self.cache, self.out, self.settings, self.changes = cache, out, settings, changes
        self.devices = find_devices()
        workers = settings.workers
        self.dataset = prepare_dataset(data, method.preparation, cache, workers)
        # One recipe for all, so that they can share a pretraining.
        self.method = recipe_for(with_epochs(method, settings.epochs), len(self.dataset))

    def options(self, size: int) -> FineTuningOptions:
        """Return the options of the fine-tuning on that many records."""
        return replace(fine_tuning_for(size), **self.changes)

    def key(self, training: str, size: int, lead_set: int) -> str:
        """Return a key of what a row depends on, apart from its other columns: records, options and
        code."""
        options = asdict(self.options(size)) if training == "fine-tuned" else None
        records = [self.dataset.fingerprint, self.dataset.sources.tolist()]
        method = method_to_dict(self.method)
        modules = source_module(self.method), "ecg.training.pretraining", "ecg.training.starts"
        return cache_key([method, lead_set, records, options], *modules)[:12]

    def scores(self, training: str, parts: Parts, size: int, lead_set: int, seed: int) -> dict:
        """Return the figures of one training, on the records to be scored.

        size: number of records of the source to train on; 0 for the start alone.
        """
        keras.backend.clear_session()
        kept = parts.pool[:size]
        start_folder = self._start_folder(parts, lead_set)
        if training == "start alone":
            model = load_trained_model(start_folder, lead_set)
        elif training == "fine-tuned":
            options = self.options(size)
            method = with_epochs(fine_tuned(self.method, options), self.settings.epochs)
            start = read_start(find_start(start_folder, method, lead_set))
            run = TrainingRun(method, lead_set, seed)
            model = self._fit(run, kept, start, options)
        else:
            run = TrainingRun(self.method, lead_set, seed)
            model = self._fit(run, kept, self._pretrained(lead_set))
        outputs, probabilities = answer_dataset(model, self.dataset, parts.scored)
        labels = self.dataset.labels[parts.scored]
        summary = score(labels, outputs, probabilities, read_weights()).summary
        return {name: summary[name] for name in FIGURES}

    def _start_folder(self, parts: Parts, lead_set: int) -> Path:
        """Return the folder of the model trained on the other sources, trained if it is missing."""
        key = cache_key(self.dataset.names[parts.others].tolist())[:12]
        folder = self.out / f"start-{key}-{self.key('start alone', 0, lead_set)}"
        if lead_set in missing_models(folder):
            run = TrainingRun(self.method, lead_set, _START_SEED)
            save_model(self._fit(run, parts.others, self._pretrained(lead_set)), folder)
        return folder

    def _fit(
        self,
        run: TrainingRun,
        indices,
        start: Start | None,
        options: FineTuningOptions | None = None,
    ) -> TrainedModel:
        trainer = Trainer(run, self.devices, len(indices), options)
        return fit(trainer, self.dataset, indices, start=start)

    def _pretrained(self, lead_set: int) -> Start | None:
        """Return the network trained on simulated records, the same for all; None without."""
        simulated = simulated_for(self.method, self.cache, self.settings.workers)
        if simulated is None:
            return None
        run = TrainingRun(self.method, lead_set, _START_SEED)
        pretraining = plan_pretraining(self.cache, run, simulated, len(self.dataset), self.devices)
        if read_pretrained(pretraining.file) is None:
            run_pretraining(pretraining)
        return read_pretrained(pretraining.file)


def table(rows: list[dict[str, str]]) -> str:
    """Mean and standard deviation over seeds of each figure, by source, number of leads, size and
    training."""
    groups = {}
    for row in rows:
        name = f"{row['source']}, {row['leads']} leads, {row['size']:>4} records, {row['training']}"
        groups.setdefault(name, []).append([float(row[figure]) for figure in FIGURES])
    lines = [f"{'':44}" + "".join(f"{figure:>20}" for figure in FIGURES)]
    for name, figures in groups.items():
        means, deviations = np.mean(figures, axis=0), np.std(figures, axis=0)
        cells = zip(means, deviations, strict=True)
        lines.append(f"{name:44}" + "".join(f"{m:12.3f} ± {sd:.3f}" for m, sd in cells))
    return "\n".join(lines)


def main(arguments=None) -> None:
    """Run the command line."""
    options = _parse(arguments)
    with running("benchmarks.fine_tuning"):
        _run(options)


def _run(options: argparse.Namespace) -> None:
    settings = read_settings()
    if settings.method != METHOD:
        raise ValueError(f"ECG_METHOD: expected {METHOD}, found {settings.method}")
    names = "rate_share", "epochs", "n_prior_records", "fewest_to_refit"
    changes = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    file = options.out / "fine_tuning.csv"
    options.out.mkdir(parents=True, exist_ok=True)
    rows, wanted = read_rows(file, COLUMNS), []
    with dataset_cache(settings.cache, options.out) as cache:
        bench = Bench(options.data, cache, options.out, settings, changes)
        parts = {
            (source, seed): divide(bench.dataset, source, max(options.sizes), seed)
            for source, seed in itertools.product(options.source, options.seeds)
        }
        for lead_set, (source, seed) in itertools.product(options.leads, parts):
            trainings = [("start alone", 0), *itertools.product(TRAININGS[1:], options.sizes)]
            for training, size in trainings:
                head = {
                    "training": training,
                    "source": source,
                    "leads": str(lead_set),
                    "size": str(size),
                    "seed": str(seed),
                    "n_scored": str(len(parts[source, seed].scored)),
                    "key": bench.key(training, size, lead_set),
                }
                row = next((row for row in rows if head.items() <= row.items()), None)
                if row is None:
                    scores = bench.scores(training, parts[source, seed], size, lead_set, seed)
                    row = head | {name: f"{scores[name]:.4f}" for name in FIGURES}
                    rows.append(row)
                    write_rows(file, rows, COLUMNS)
                    print(row, flush=True)
                wanted.append(row)
    print(table(wanted))


def _parse(arguments) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fine_tuning",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    numbers = whole_number(0, below=2**32)
    sizes = whole_number(1, below=2**32)
    parser.add_argument("data", type=Path, help="folder of records")
    parser.add_argument("--source", nargs="+", required=True, help="whose records come last")
    parser.add_argument("--sizes", type=sizes, nargs="+", default=[20, 50, 100, 200])
    parser.add_argument("--seeds", type=numbers, nargs="+", default=[0, 1, 2])
    parser.add_argument("--leads", type=int, nargs="+", choices=LEAD_SETS, default=[12])
    parser.add_argument("--out", type=Path, default=Path("out/fine_tuning"))
    parser.add_argument("--rate-share", type=float)
    parser.add_argument("--epochs", type=sizes)
    parser.add_argument("--n-prior-records", type=sizes)
    parser.add_argument("--fewest-to-refit", type=sizes)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
