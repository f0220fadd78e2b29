"""One fold of a cross-validation: trained, answered, and kept in a file of its own."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecg.models.devices import find_devices
from ecg.models.method import method_to_dict
from ecg.models.registry import source_module
from ecg.records.diagnoses import read_weights
from ecg.records.metrics import beta_measures, score
from ecg.runtime.cache_keys import cache_key
from ecg.runtime.files import written_whole
from ecg.training.dataset import Dataset, read_dataset
from ecg.training.fit import Trainer, TrainingRun, answer_dataset, fit
from ecg.training.pretraining import Pretraining, read_pretrained
from ecg.training.splits import k_folds, leave_one_source_out


@dataclass(frozen=True)
class Split:
    """One division of a dataset. name: the fold's number, or the source left out. kept, held_out:
    positions of records in the dataset."""

    name: str
    kept: np.ndarray
    held_out: np.ndarray


@dataclass(frozen=True)
class Fold:
    """One training of a cross-validation.

    variant: of the run's method, for the scores. dataset: its folder. file: where the answers go.
    pretraining: the stage before, if the method has one.
    """

    run: TrainingRun
    variant: str
    split: Split
    dataset: Path
    file: Path
    pretraining: Pretraining | None = None


@dataclass(frozen=True)
class FoldOutputs:
    """A fold's answers.

    names (n,); labels, outputs (n, 26), bool; probabilities (n, 26). training: "epochs",
    "best_epoch" and "seconds" of the training, "temperature" of the decision.
    """

    names: np.ndarray
    labels: np.ndarray
    outputs: np.ndarray
    probabilities: np.ndarray
    training: dict

    @property
    def scores(self) -> dict[str, float]:
        """The Challenge's figures, and those of 2020's table form, by name."""
        summary = score(self.labels, self.outputs, self.probabilities, read_weights()).summary
        f_beta, g_beta = beta_measures(self.labels, self.outputs)
        return summary | {"F-beta": f_beta, "G-beta": g_beta}


def split_dataset(dataset: Dataset, n_folds: int | None, seed: int) -> list[Split]:
    """Return the folds of a dataset, labels kept in proportion; None leaves out one source at a
    time.

    Raises ValueError where the dataset has too few records or sources.
    """
    if n_folds is None:
        return [Split(*parts) for parts in leave_one_source_out(dataset.sources)]
    folds = k_folds(dataset.labels, n_folds, seed)
    return [Split(str(i), kept, held_out) for i, (kept, held_out) in enumerate(folds, start=1)]


def plan_fold(
    folder: Path,
    run: TrainingRun,
    variant: str,
    split: Split,
    dataset: Dataset,
    pretraining: Pretraining | None,
) -> Fold:
    """Return the fold, its answers in a file of `folder`.

    The file's name changes with everything that the answers depend on but the machine, so an
    existing file need not be made again.
    """
    kept = split.kept
    records = [dataset.fingerprint, dataset.names[kept].tolist(), dataset.sources[kept].tolist()]
    start = None if pretraining is None else pretraining.key
    dependencies = [method_to_dict(run.method), run.lead_set, run.seed, records, start]
    key = cache_key(dependencies, __name__, source_module(run.method))[:12]
    name = f"{run.method.name}.{variant}.{run.lead_set}_leads.seed{run.seed}.fold_{split.name}"
    return Fold(run, variant, split, dataset.folder, folder / f"{name}.{key}.npz", pretraining)


def run_fold(fold: Fold) -> None:
    """Train on the records kept and write the answers for those held out.

    Every choice (epoch, thresholds) is made within the records kept. Raises OSError where the
    fold's pretraining cannot be read.
    """
    started = time.monotonic()
    dataset = read_dataset(fold.dataset)
    start = None
    if fold.pretraining is not None:
        start = read_pretrained(fold.pretraining.file)
        if start is None:
            raise OSError(f"{fold.pretraining.file}: expected a pretraining, found none or damage")
    kept, held_out = fold.split.kept, fold.split.held_out
    trainer = Trainer(fold.run, find_devices(), len(kept))
    model = fit(trainer, dataset, kept, start=start)
    outputs, probabilities = answer_dataset(model, dataset, held_out)
    training = {name: model.training_log[name] for name in ("epochs", "best_epoch")}
    training["temperature"] = model.decision.temperature
    training["seconds"] = round(time.monotonic() - started)
    with written_whole(fold.file, lasting=True) as unfinished:
        np.savez(
            unfinished,
            names=dataset.names[held_out],
            labels=dataset.labels[held_out],
            outputs=outputs,
            probabilities=probabilities,
            training=json.dumps(training),
        )


def read_fold_outputs(file: Path) -> FoldOutputs:
    """Return the answers that `run_fold` wrote."""
    with np.load(file, allow_pickle=False) as stored:
        return FoldOutputs(**(dict(stored) | {"training": json.loads(str(stored["training"]))}))
