"""Training on simulated records, before a network sees real ones."""

import math
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from ecg.cache_keys import cache_key
from ecg.checkpoints import Checkpoint
from ecg.classes import N_CLASSES
from ecg.corpus import (
    UNFINISHED,
    Corpus,
    find_corpus,
    prepare_corpus,
    read_corpus,
    size_of,
)
from ecg.decisions import DecisionOptions
from ecg.devices import Devices
from ecg.files import check_room, make_folder, move_whole, temporary_folder
from ecg.methods import Method, build_network
from ecg.model_files import TrainedModel
from ecg.signals import Preparation
from ecg.simulation.recordings import simulate_folder
from ecg.training import Start, fit

# Of the simulation, the same for every training; no small number, lest it be one that somebody
# simulates a test with.
_SEED = 882_530
_RECORD_BYTES = 210_000  # of a simulated record's files


def simulated_for(method: Method, cache: Path, workers: int) -> Corpus | None:
    """The simulated records that the method's networks are trained on first, if it has any."""
    n_records = method.pretraining.n_records
    if not n_records:
        return None
    return simulated_corpus(n_records, method.preparation, cache, workers)


def simulated_corpus(n_records: int, preparation: Preparation, cache: Path, workers: int) -> Corpus:
    """The corpus of so many simulated records, made by `workers` processes or found in `cache`.

    While it is made, the records themselves take some 210 kB each there.
    Raises OSError where there is not the room for them.
    """
    place = cache / f"simulated-{_cache_key(n_records, preparation)}"
    corpus = find_corpus(place)
    if corpus is None:
        n_bytes = n_records * _RECORD_BYTES + size_of(n_records, preparation)
        check_room(make_folder(cache), n_bytes, f"{n_records} simulated records")
        with temporary_folder(cache, UNFINISHED) as made:
            records = made / "records"
            simulate_folder(records, n_records, _SEED, workers=workers)
            move_whole(prepare_corpus(records, preparation, made, workers).place, place)
        corpus = read_corpus(place)
    return corpus


def pretrain(
    method: Method,
    simulated: Corpus,
    lead_set: int,
    seed: int,
    devices: Devices,
    time_limit_s: float = math.inf,
    checkpoint: Checkpoint | None = None,
) -> Start:
    """Where `fit` goes on from: the method's network trained on simulated records.

    Its weights are those of the last epoch; the records set aside only show how it went.
    checkpoint: see `ecg.epochs.run_epochs`; each of the stages has one of its own.
    """
    started = time.monotonic()
    own, what = pretraining_method(method), (simulated, np.arange(len(simulated)), lead_set, seed)
    start = None
    if method.pretraining.measured_epochs:
        stage = checkpoint and checkpoint.stage("measurements")
        first = fit(_measurements_alone(own), *what, devices, time_limit_s, checkpoint=stage)
        start = Start(_grown(first, own), first.prevalence, first.evidence)
    left = time_limit_s - (time.monotonic() - started)
    stage = checkpoint and checkpoint.stage("simulated")
    model = fit(own, *what, devices, left, start=start, checkpoint=stage)
    return Start(model.network.get_weights(), model.prevalence, model.evidence)


def pretraining_method(method: Method) -> Method:
    """The method as it is trained on simulated records; equal where the weights come out equal."""
    options = method.pretraining
    training = replace(
        method.training,
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        best="last",
    )
    name = f"{method.name}, simulated records"
    return replace(method, name=name, training=training, decision=DecisionOptions())


def _measurements_alone(method: Method) -> Method:
    """The method without the signal. That part takes seconds, and would learn little beside the
    other, which fits the training records faster."""
    return replace(
        method,
        name=f"{method.name}, measurements alone",
        network=replace(method.network, steps=()),
        training=replace(method.training, epochs=method.pretraining.measured_epochs),
    )


def _grown(part: TrainedModel, method: Method) -> list[np.ndarray]:
    """Weights of the method's whole network, which answers like its trained part at first."""
    network = build_network(method, part.lead_set, N_CLASSES)
    for layer in part.network.layers:
        if layer.name != "logits":
            network.get_layer(layer.name).set_weights(layer.get_weights())
    kernel, bias = part.network.get_layer("logits").get_weights()
    logits = network.get_layer("logits")
    unused = np.zeros((logits.kernel.shape[0] - len(kernel), N_CLASSES), np.float32)
    logits.set_weights([np.concatenate([unused, kernel]), bias])
    return network.get_weights()


def _cache_key(n_records: int, preparation: Preparation) -> str:
    """Changes with what is asked for, and with the code of simulation and preparation."""
    makers = "ecg.simulation.recordings", "ecg.corpus"
    return cache_key([asdict(preparation), n_records, _SEED], *makers)[:16]
