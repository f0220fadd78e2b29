"""Pretraining on simulated records, before a network is trained on real ones."""

import json
import math
import time
import zipfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import keras
import numpy as np

from ecg.models.decisions import DecisionOptions
from ecg.models.devices import Devices, find_devices
from ecg.models.method import Method, method_to_dict, recipe_for
from ecg.models.model_files import versions
from ecg.models.registry import source_module
from ecg.models.training_options import TrainingOptions
from ecg.records.diagnoses import N_CLASSES
from ecg.runtime.cache_keys import cache_key
from ecg.runtime.files import (
    check_room,
    make_folder,
    move_whole,
    temporary_folder,
    written_whole,
)
from ecg.signals.preprocessing import Preparation
from ecg.simulation.recordings import simulate_folder
from ecg.simulation.sources import SOURCES
from ecg.training.checkpoints import Checkpoint
from ecg.training.dataset import (
    UNFINISHED_PREFIX,
    Dataset,
    dataset_bytes,
    find_dataset,
    prepare_dataset,
    read_dataset,
)
from ecg.training.epochs import Stage
from ecg.training.fit import Start, Trainer, TrainingRun

_RECORD_BYTES = 210_000  # of a simulated record's files
_READ_ERRORS = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


@dataclass(frozen=True)
class Pretraining:
    """The stage on simulated records that equal trainings share, whatever their real records.

    simulated: the dataset's folder. n_records: about how many real records follow. key: stands for
    everything that its weights depend on but the machine. file: where they are kept.
    """

    run: TrainingRun
    simulated: Path
    n_records: int
    key: str
    file: Path


@dataclass(frozen=True)
class Simulation:
    """What simulated records are, whatever their number: see `simulate_folder`."""

    seed: int
    sources: tuple[str, ...] = tuple(SOURCES)
    label_errors: float | None = None


# The seed is the same for every pretraining, an unusual number that no test set will have.
_FOR_PRETRAINING = Simulation(seed=882_530)


def simulated_for(method: Method, cache: Path, workers: int) -> Dataset | None:
    """Return the simulated records for the method's pretraining; None where it has none."""
    n_records = method.pretraining.n_records
    if not n_records:
        return None
    return simulated_dataset(n_records, method.preparation, cache, workers)


def simulated_dataset(
    n_records: int,
    preparation: Preparation,
    cache: Path,
    workers: int,
    simulation: Simulation = _FOR_PRETRAINING,
) -> Dataset:
    """Return the dataset of `n_records` simulated records, from the cache or simulated and
    prepared anew.

    workers: processes that simulate and prepare. simulation: by default that of every pretraining.
    Until they are prepared, simulated records take some 210 kB each. Raises OSError where there is
    not enough disk space.
    """
    folder = cache / f"simulated-{_cache_key(n_records, preparation, simulation)}"
    dataset = find_dataset(folder)
    if dataset is None:
        n_bytes = n_records * _RECORD_BYTES + dataset_bytes(n_records, preparation)
        check_room(make_folder(cache), n_bytes, f"{n_records} simulated records")
        with temporary_folder(cache, UNFINISHED_PREFIX) as unfinished:
            records = unfinished / "records"
            simulate_folder(
                records,
                n_records,
                simulation.seed,
                simulation.sources,
                workers=workers,
                label_errors=simulation.label_errors,
            )
            prepared = prepare_dataset(records, preparation, unfinished, workers)
            move_whole(prepared.folder, folder)
        dataset = read_dataset(folder)
    return dataset


def pretrain(
    trainer: Trainer,
    simulated: Dataset,
    time_limit_s: float = math.inf,
    checkpoint: Checkpoint | None = None,
) -> Start:
    """Train the trainer's network on all simulated records; return the start for `fit`.

    The weights are those of the last epoch. time_limit_s: for all stages. checkpoint: each stage
    has one of its own, see `Checkpoint.for_stage`. Raises TrainingError.
    """
    started = time.monotonic()
    method, lead_set = trainer.run.method, trainer.run.lead_set
    all_records, prevalence = np.arange(len(simulated)), simulated.labels.mean(axis=0)
    options = _options(method)

    def train(trainer: Trainer, options: TrainingOptions, name: str, start: Start | None) -> Start:
        stage = Stage(
            f"{method.name}, {name}, {lead_set} leads",
            options,
            time_limit_s - (time.monotonic() - started),
            checkpoint and checkpoint.for_stage(name.split()[0]),
        )
        log = trainer.train(stage, simulated, all_records, start)
        before = None if start is None else start.log
        log |= {"n_training": len(simulated), "start": before}
        return Start(trainer.network.get_weights(), prevalence, log)

    start = None
    if method.pretraining.measured_epochs:
        # The part of the network that sees the measurements trains in seconds. Trained together
        # with the part that sees the signal from the start, it would learn little, because the
        # latter fits faster.
        alone = replace(method, network=replace(method.network, steps=()))
        run = replace(trainer.run, method=alone)
        part = Trainer(run, trainer.devices, len(simulated))
        measured = replace(options, epochs=method.pretraining.measured_epochs)
        start = train(part, measured, "measurements alone", None)
        start = replace(start, weights=_extended(part.network, trainer.network))
    return train(trainer, options, "simulated records", start)


def plan_pretraining(
    folder: Path, run: TrainingRun, simulated: Dataset, n_records: int, devices: Devices
) -> Pretraining:
    """Return the pretraining of a run on about `n_records` real records.

    folder: for its file, whose name changes with everything that the weights depend on, so an
    existing file need not be made again.
    """
    method = run.method
    pretrained = pretraining_method(recipe_for(method, n_records))
    dependencies = [method_to_dict(pretrained), run.lead_set, run.seed, simulated.fingerprint]
    key = cache_key(dependencies, __name__, source_module(method))[:12]
    machine = cache_key([devices.precision, versions()])[:6]
    name = f"pretrained-{method.name}.{run.lead_set}_leads.seed{run.seed}.{key}-{machine}.npz"
    return Pretraining(run, simulated.folder, n_records, key, folder / name)


def run_pretraining(pretraining: Pretraining) -> None:
    """Train on the simulated records and keep the weights."""
    trainer = Trainer(pretraining.run, find_devices(), pretraining.n_records)
    keep_pretrained(pretrain(trainer, read_dataset(pretraining.simulated)), pretraining.file)


def keep_pretrained(start: Start, file: Path) -> None:
    """Write a result of `pretrain`, which `read_pretrained` reads."""
    with written_whole(file, lasting=True) as unfinished:
        np.savez(unfinished, *start.weights, prevalence=start.prevalence, log=json.dumps(start.log))


def read_pretrained(file: Path) -> Start | None:
    """Return what `keep_pretrained` wrote; None where the file is missing or unreadable."""
    try:
        # numpy would not close an archive that it cannot read.
        with open(file, "rb") as stream, np.load(stream, allow_pickle=False) as stored:
            weights = [stored[f"arr_{i}"] for i in range(len(stored.files) - 2)]
            return Start(weights, stored["prevalence"], json.loads(str(stored["log"])))
    except _READ_ERRORS:
        return None


def pretraining_method(method: Method) -> Method:
    """Return the method as it is pretrained: methods for which it is equal get equal weights.

    method: for the number of real records that follow, see `recipe_for`.
    """
    return replace(method, training=_options(method), decision=DecisionOptions())


def _options(method: Method) -> TrainingOptions:
    """Options for training the whole network on simulated records.

    Batches are at least as large as those of the training that follows, so that one compiled
    training step can serve both.
    """
    pretraining, batch_size = method.pretraining, method.training.batch_size
    growth = max(batch_size / pretraining.batch_size, 1.0)
    return replace(
        method.training,
        epochs=pretraining.epochs,
        batch_size=max(pretraining.batch_size, batch_size),
        learning_rate=math.sqrt(growth) * pretraining.learning_rate,
        largest_batch_size=None,
        best="last",
    )


def _extended(part: keras.Model, network: keras.Model) -> list[np.ndarray]:
    """Weights of the whole network with which its outputs equal those of its trained part."""
    weights = {layer.name: layer.get_weights() for layer in network.layers}
    *layers, output = part.layers
    weights |= {layer.name: layer.get_weights() for layer in layers}
    kernel, bias = output.get_weights()
    n_unused = network.layers[-1].kernel.shape[0] - len(kernel)
    unused = np.zeros((n_unused, N_CLASSES), np.float32)
    weights[network.layers[-1].name] = [np.concatenate([unused, kernel]), bias]
    return [array for layer in network.layers for array in weights[layer.name]]


def _cache_key(n_records: int, preparation: Preparation, simulation: Simulation) -> str:
    """Return a key of the records, the preparation, and the code of both.

    That of all sources without label errors is made of the seed alone, as caches have it.
    """
    options = [asdict(preparation), n_records, simulation.seed]
    if simulation != Simulation(simulation.seed):
        options += [simulation.sources, simulation.label_errors]
    return cache_key(options, "ecg.simulation.recordings", "ecg.training.dataset")[:16]
