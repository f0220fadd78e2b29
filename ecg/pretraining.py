"""Training on simulated records, before a network sees real ones."""

import hashlib
import json
import math
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

import ecg.simulation
from ecg.classes import N_CLASSES
from ecg.corpus import CORPUS_FORMAT, Corpus, prepare_corpus, read_corpus
from ecg.decisions import DecisionOptions
from ecg.devices import Devices
from ecg.files import digest_files, move_whole
from ecg.methods import Method, build_network
from ecg.model_files import TrainedModel
from ecg.signals import Preparation
from ecg.simulation.recordings import simulate_folder
from ecg.training import Start, fit

# Of the simulation, the same for every training; no small number, lest it be one that somebody
# simulates a test with.
_SEED = 882_530


def simulated_for(method: Method, cache: Path, workers: int) -> Corpus | None:
    """The simulated records that the method's networks are trained on first, if it has any."""
    n_records = method.pretraining.n_records
    if not n_records:
        return None
    return simulated_corpus(n_records, method.preparation, cache, workers)


def simulated_corpus(n_records: int, preparation: Preparation, cache: Path, workers: int) -> Corpus:
    """The corpus of so many simulated records, made by `workers` processes or found in `cache`.

    While it is made, the records themselves take some 210 kB each there.
    """
    place = cache / f"simulated-{_cache_key(n_records, preparation)}"
    if not place.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{place.name}.unfinished-", dir=cache) as made:
            records = Path(made) / "records"
            simulate_folder(records, n_records, _SEED, workers=workers)
            corpus = prepare_corpus(records, preparation, Path(made), workers)
            move_whole(corpus.place, place)
    return read_corpus(place)


def pretrain(
    method: Method,
    simulated: Corpus,
    lead_set: int,
    seed: int,
    devices: Devices,
    time_limit_s: float = math.inf,
) -> Start:
    """Where `fit` goes on from: the method's network trained on simulated records.

    Its weights are those of the last epoch; the records set aside only show how it went.
    """
    started = time.monotonic()
    own, what = pretraining_method(method), (simulated, np.arange(len(simulated)), lead_set, seed)
    start = None
    if method.pretraining.measured_epochs:
        first = fit(_measurements_alone(own), *what, devices, time_limit_s)
        start = Start(_grown(first, own), first.prevalence, first.evidence)
    left = time_limit_s - (time.monotonic() - started)
    model = fit(own, *what, devices, left, start)
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
    """Changes with what is asked for, and with the simulation's own code."""
    code = digest_files(*sorted(Path(ecg.simulation.__path__[0]).glob("*.py")))
    facts = json.dumps([CORPUS_FORMAT, asdict(preparation), n_records, _SEED, code])
    return hashlib.sha256(facts.encode()).hexdigest()[:16]
