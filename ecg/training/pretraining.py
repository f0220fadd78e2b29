"""Training on simulated records, before a network sees real ones."""

import math
import time
from dataclasses import asdict, replace
from pathlib import Path

import keras
import numpy as np

from ecg.models.decisions import DecisionOptions
from ecg.models.registry import Method
from ecg.models.training_options import TrainingOptions
from ecg.records.diagnoses import N_CLASSES
from ecg.runtime.cache_keys import cache_key
from ecg.runtime.files import check_room, make_folder, move_whole, temporary_folder
from ecg.signals.preprocessing import Preparation
from ecg.simulation.recordings import simulate_folder
from ecg.training.checkpoints import Checkpoint
from ecg.training.dataset import (
    UNFINISHED,
    Dataset,
    find_dataset,
    prepare_dataset,
    read_dataset,
    size_of,
)
from ecg.training.fit import Start, Trainer

# Of the simulation, the same for every training; no small number, lest it be one that somebody
# simulates a test with.
_SEED = 882_530
_RECORD_BYTES = 210_000  # of a simulated record's files


def simulated_for(method: Method, cache: Path, workers: int) -> Dataset | None:
    """The simulated records that the method's networks are trained on first, if it has any."""
    n_records = method.pretraining.n_records
    if not n_records:
        return None
    return simulated_dataset(n_records, method.preparation, cache, workers)


def simulated_dataset(
    n_records: int, preparation: Preparation, cache: Path, workers: int
) -> Dataset:
    """The dataset of so many simulated records, made by `workers` processes or found in `cache`.

    While it is made, the records themselves take some 210 kB each there.
    Raises OSError where there is not the room for them.
    """
    place = cache / f"simulated-{_cache_key(n_records, preparation)}"
    dataset = find_dataset(place)
    if dataset is None:
        n_bytes = n_records * _RECORD_BYTES + size_of(n_records, preparation)
        check_room(make_folder(cache), n_bytes, f"{n_records} simulated records")
        with temporary_folder(cache, UNFINISHED) as made:
            records = made / "records"
            simulate_folder(records, n_records, _SEED, workers=workers)
            move_whole(prepare_dataset(records, preparation, made, workers).folder, place)
        dataset = read_dataset(place)
    return dataset


def pretrain(
    trainer: Trainer,
    simulated: Dataset,
    time_limit_s: float = math.inf,
    checkpoint: Checkpoint | None = None,
) -> Start:
    """Where `fit` goes on from: the trainer's network trained on all simulated records.

    Its weights are those of the last epoch. checkpoint: see `ecg.training.epochs.run_epochs`; each
    of the stages has one of its own. Raises TrainingError.
    """
    started = time.monotonic()
    method, lead_set = trainer.method, trainer.lead_set
    everything = np.arange(len(simulated))
    options = _options(method, trainer.batch_size)
    prevalence, start = simulated.labels.mean(axis=0), None

    def stage(trainer: Trainer, options: TrainingOptions, name: str, start: Start | None) -> Start:
        left_s = time_limit_s - (time.monotonic() - started)
        label = f"{method.name}, {name}, {lead_set} leads"
        kept = checkpoint and checkpoint.stage(name.split()[0])
        course = trainer.train(
            options, simulated, everything, start, label, left_s, checkpoint=kept
        )
        evidence = course | {
            "n_training": len(simulated),
            "start": None if start is None else start.evidence,
        }
        return Start(trainer.network.get_weights(), prevalence, evidence)

    if method.pretraining.measured_epochs:
        # That part takes seconds, and would learn little beside the other, which fits the training
        # records faster.
        alone = replace(method, network=replace(method.network, steps=()))
        part = Trainer(alone, lead_set, trainer.seed, trainer.devices, len(simulated))
        measured = replace(options, epochs=method.pretraining.measured_epochs)
        start = stage(part, measured, "measurements alone", None)
        start = replace(start, weights=_grown(part.network, trainer.network))
    return stage(trainer, options, "simulated records", start)


def pretraining_method(method: Method, batch_size: int = 1) -> Method:
    """The method as it is trained on simulated records; equal where the weights come out equal.

    batch_size: of the training that follows.
    """
    return replace(method, training=_options(method, batch_size), decision=DecisionOptions())


def _options(method: Method, batch_size: int) -> TrainingOptions:
    """How the whole network is trained on simulated records.

    In batches no smaller than those of the training that follows: with equal ones a compiler that
    makes a program for each shape makes one for both.
    """
    own = method.pretraining
    growth = max(batch_size / own.batch_size, 1.0)
    return replace(
        method.training,
        epochs=own.epochs,
        batch_size=max(own.batch_size, batch_size),
        learning_rate=math.sqrt(growth) * own.learning_rate,
        largest_batch_size=None,
        best="last",
    )


def _grown(part: keras.Model, network: keras.Model) -> list[np.ndarray]:
    """Weights of the whole network, which answers like its trained part at first."""
    grown = {layer.name: layer.get_weights() for layer in network.layers}
    *layers, output = part.layers
    grown |= {layer.name: layer.get_weights() for layer in layers}
    kernel, bias = output.get_weights()
    n_unused = network.layers[-1].kernel.shape[0] - len(kernel)
    unused = np.zeros((n_unused, N_CLASSES), np.float32)
    grown[network.layers[-1].name] = [np.concatenate([unused, kernel]), bias]
    return [weights for layer in network.layers for weights in grown[layer.name]]


def _cache_key(n_records: int, preparation: Preparation) -> str:
    """Changes with what is asked for, and with the code of simulation and preparation."""
    makers = "ecg.simulation.recordings", "ecg.training.dataset"
    return cache_key([asdict(preparation), n_records, _SEED], *makers)[:16]
