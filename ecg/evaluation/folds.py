"""One fold of a cross-validation: trained, answered, and kept in a file of its own."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecg.models.devices import find_devices
from ecg.models.registry import Method, method_to_dict
from ecg.records.diagnoses import read_weights
from ecg.records.metrics import beta_measures, score
from ecg.runtime.cache_keys import cache_key
from ecg.runtime.files import written_whole
from ecg.training.dataset import Dataset, read_dataset
from ecg.training.fit import Start, Trainer, answer_dataset, fit
from ecg.training.pretraining import pretrain, pretraining_method
from ecg.training.splits import by_source, k_folds


@dataclass(frozen=True)
class Pretraining:
    """What the folds of one method, lead set and seed go on from. simulated: the dataset's folder.
    n_training: records of the training that follows, about. file: where the weights go."""

    method: Method
    lead_set: int
    seed: int
    simulated: Path
    n_training: int
    file: Path


@dataclass(frozen=True)
class Fold:
    """What to train and on what. dataset: its folder. name: the fold's number, or the source left
    out. kept, held_out: positions of records in the dataset. file: where the answers go.
    pretraining: what comes before, if the method has one."""

    method: Method
    variant: str
    lead_set: int
    seed: int
    name: str
    dataset: Path
    kept: np.ndarray
    held_out: np.ndarray
    file: Path
    pretraining: Pretraining | None = None


@dataclass(frozen=True)
class Answers:
    """A fold's answers. names (n,); labels, outputs (n, 26), bool; probabilities (n, 26). facts:
    epochs and best_epoch of its training, temperature of its decision, seconds."""

    names: np.ndarray
    labels: np.ndarray
    outputs: np.ndarray
    probabilities: np.ndarray
    facts: dict

    @property
    def scores(self) -> dict[str, float]:
        """The Challenge's figures, and those of 2020's table form, by name."""
        summary = score(self.labels, self.outputs, self.probabilities, read_weights()).summary
        f_beta, g_beta = beta_measures(self.labels, self.outputs)
        return summary | {"F-beta": f_beta, "G-beta": g_beta}


def split_dataset(
    dataset: Dataset, n_folds: int | None, seed: int
) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """(name, positions kept, positions held out) of each fold; None leaves out a source at a time.

    Raises ValueError where the dataset has too few records or sources.
    """
    if n_folds is None:
        return by_source(dataset.sources)
    folds = k_folds(dataset.labels, n_folds, seed)
    return [(str(i), kept, held_out) for i, (kept, held_out) in enumerate(folds, start=1)]


def fold_file(
    folder: Path,
    method: Method,
    variant: str,
    lead_set: int,
    seed: int,
    name: str,
    dataset: Dataset,
    kept,
    pretraining: Pretraining | None,
) -> Path:
    """The file of a fold's answers. Its name changes with all that they depend on but the machine,
    so that a file which is there need not be made again."""
    records = [dataset.fingerprint, dataset.names[kept].tolist(), dataset.sources[kept].tolist()]
    first = None if pretraining is None else pretraining.file.name
    facts = [method_to_dict(method), lead_set, seed, records, first]
    head = f"{method.name}.{variant}.{lead_set}_leads.seed{seed}"
    return folder / f"{head}.fold_{name}.{cache_key(facts, __name__)[:12]}.npz"


def pretraining_of(
    folder: Path, method: Method, lead_set: int, seed: int, simulated: Dataset, dataset: Dataset
) -> Pretraining:
    """The pre-training whose weights are in a file of a name like `fold_file`'s."""
    first = pretraining_method(method, method.training.scaled_to(len(dataset)).batch_size)
    key = cache_key(
        [method_to_dict(first), lead_set, seed, simulated.fingerprint], "ecg.training.pretraining"
    )
    file = folder / f"{method.name}.{lead_set}_leads.seed{seed}.start.{key[:12]}.npz"
    return Pretraining(method, lead_set, seed, simulated.folder, len(dataset), file)


def run_pretraining(first: Pretraining) -> None:
    """Trains on the simulated records and writes the weights."""
    simulated = read_dataset(first.simulated)
    what = (first.method, first.lead_set, first.seed, find_devices(), first.n_training)
    start = pretrain(Trainer(*what), simulated)
    with written_whole(first.file, lasting=True) as unfinished:
        np.savez(unfinished, *start.weights, prevalence=start.prevalence)


def run_fold(fold: Fold) -> None:
    """Trains on the records kept and writes the answers for those held out.

    Every choice (epoch, thresholds) is made within the records kept.
    """
    started = time.monotonic()
    dataset = read_dataset(fold.dataset)
    start = None if fold.pretraining is None else _read_start(fold.pretraining.file)
    trainer = Trainer(fold.method, fold.lead_set, fold.seed, find_devices(), len(fold.kept))
    model = fit(trainer, dataset, fold.kept, start=start)
    outputs, probabilities = answer_dataset(model, dataset, fold.held_out)
    facts = {name: model.evidence[name] for name in ("epochs", "best_epoch")}
    facts["temperature"] = model.decision.temperature
    facts["seconds"] = round(time.monotonic() - started)
    with written_whole(fold.file, lasting=True) as unfinished:
        np.savez(
            unfinished,
            names=dataset.names[fold.held_out],
            labels=dataset.labels[fold.held_out],
            outputs=outputs,
            probabilities=probabilities,
            facts=json.dumps(facts),
        )


def read_answers(file: Path) -> Answers:
    """The answers that `run_fold` wrote."""
    with np.load(file, allow_pickle=False) as stored:
        return Answers(**(dict(stored) | {"facts": json.loads(str(stored["facts"]))}))


def _read_start(file: Path) -> Start:
    with np.load(file, allow_pickle=False) as stored:
        weights = [stored[f"arr_{i}"] for i in range(len(stored.files) - 1)]
        return Start(weights, stored["prevalence"])
