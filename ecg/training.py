"""Fits one method on one lead set, and one after another into a model folder."""

import contextlib
import math
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from ecg.bags import bag_network
from ecg.batches import Bags, Windows
from ecg.classes import N_CLASSES, read_weights
from ecg.corpus import Corpus, CorpusError, prepare_corpus
from ecg.decisions import best_metric, decide, fit_thresholds, pool_windows
from ecg.devices import Devices, find_devices
from ecg.epochs import run_epochs
from ecg.leads import lead_rows
from ecg.losses import make_loss
from ecg.methods import Method, build_network, find_method
from ecg.model_files import TrainedModel, missing_models, save_model
from ecg.scoring import score
from ecg.selection import select_records
from ecg.settings import Settings
from ecg.splits import hold_out

_PREDICTION_BATCH = 128


def train_model_folder(data_directory, model_directory, settings: Settings) -> None:
    """Trains the lead sets that the settings ask for, on all records below `data_directory`.

    All share one prepared corpus; the time limit is shared evenly among the models still to come.
    """
    started = time.monotonic()
    method = method_for(settings)
    devices = find_devices()
    print(devices, flush=True)
    model_directory = Path(model_directory)
    model_directory.mkdir(parents=True, exist_ok=True)
    with corpus_cache(settings.cache, model_directory) as cache:
        corpus = prepare_corpus(data_directory, method.preparation, cache, settings.workers)
        print(f"{len(corpus)} records to train on, {len(corpus.bad)} left out", flush=True)
        for i, lead_set in enumerate(settings.lead_sets):
            left = settings.time_limit_h * 3600 - (time.monotonic() - started)
            time_limit_s = left / (len(settings.lead_sets) - i)
            everything = np.arange(len(corpus))
            model = fit(method, corpus, everything, lead_set, settings.seed, devices, time_limit_s)
            save_model(model, model_directory)
            _print_scores(model)
    missing = missing_models(model_directory)
    if missing:
        print(
            f"{model_directory}: no model yet for {', '.join(map(str, missing))} leads", flush=True
        )
    else:
        print(f"{model_directory}: complete, a model for each lead set", flush=True)


def method_for(settings: Settings) -> Method:
    """The method of the settings' name and preset, with no more epochs than they allow."""
    method = find_method(settings.method, settings.preset)
    if settings.epochs is None:
        return method
    epochs = min(settings.epochs, method.training.epochs)
    return replace(method, training=replace(method.training, epochs=epochs))


@contextlib.contextmanager
def corpus_cache(kept: Path | None, work_directory: Path):
    """The folder for prepared arrays: `kept`, or a temporary one in `work_directory`.

    Not in the system's own temporary folder: in a container that is a layer in memory or on a
    small disk, and the full training set takes 4 GB, in windows at 500 Hz some 27.
    """
    if kept is not None:
        yield kept
        return
    with tempfile.TemporaryDirectory(prefix=".prepared-", dir=work_directory) as folder:
        yield Path(folder)


def fit(
    method: Method,
    corpus: Corpus,
    indices,
    lead_set: int,
    seed: int,
    devices: Devices,
    time_limit_s: float = math.inf,
    initial_weights: list[np.ndarray] | None = None,
) -> TrainedModel:
    """The method trained on the corpus's records at `indices`, leads of `lead_set`.

    A part of them is set aside to choose the epoch, the learning rate and the thresholds. Stops
    before `time_limit_s` seconds are over, but not before one epoch. initial_weights: of a network
    of this method and lead set, to go on from; without, training starts from the seed.
    Raises CorpusError where the method's selection leaves no record to train on.
    """
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    options = method.training
    kept, held_out = _parts(method, corpus, indices, seed)
    deviation = corpus.lead_deviation_mv[kept][:, lead_rows(lead_set)]
    selected = kept[select_records(corpus.labels[kept], deviation, method.selection, seed)]
    if not len(selected):
        raise CorpusError(f"none of {len(kept)} records fits {method.selection}")
    labels = corpus.labels[selected]
    network, trained = _build(method, lead_set, devices)
    if initial_weights is None:
        _start_at_prevalence(network, labels)
    else:
        network.set_weights(initial_weights)

    def metric_of_validation():
        probabilities = predict(network, method, corpus, held_out, lead_set)
        return best_metric(corpus.labels[held_out], probabilities, read_weights(), method.decision)

    course = run_epochs(
        trained,
        make_loss(method.loss, labels),
        options,
        Bags(
            corpus,
            selected,
            lead_set,
            network.input,
            options.batch_size,
            options.bag_size,
            method.loss.n_alternatives,
            seed,
        ),
        Bags(corpus, held_out, lead_set, network.input, _PREDICTION_BATCH, options.bag_size),
        metric_of_validation,
        devices.jit_compile,
        f"{method.name}, {lead_set} leads",
        time_limit_s,
    )
    # Answers are computed in float32 on every device, so the thresholds have to be too.
    answering = build_network(method, lead_set, N_CLASSES)
    answering.compile(jit_compile=devices.jit_compile)
    answering.set_weights(network.get_weights())
    truth, weights = corpus.labels[held_out], read_weights()
    probabilities = predict(answering, method, corpus, held_out, lead_set)
    if method.decision.fitted_on == "training":
        of_training = predict(answering, method, corpus, kept, lead_set)
        thresholds = fit_thresholds(corpus.labels[kept], of_training, weights, method.decision)
    else:
        thresholds = fit_thresholds(truth, probabilities, weights, method.decision)
    outputs = decide(probabilities, thresholds, method.decision)
    scores = score(truth, outputs, probabilities, weights).summary
    evidence = {
        "data_fingerprint": corpus.fingerprint,
        "n_training": len(selected),
        "n_validation": len(held_out),
        "validated_on_training_records": bool(np.array_equal(kept, held_out)),
        "seed": seed,
        "precision": devices.precision,
        "gpus": devices.gpus,
        **course,
        "validation_scores": {
            name: None if math.isnan(value) else value for name, value in scores.items()
        },
    }
    prevalence = corpus.labels[kept].mean(axis=0)
    return TrainedModel(answering, method, lead_set, thresholds, prevalence, evidence)


def answer_corpus(model: TrainedModel, corpus: Corpus, indices) -> tuple[np.ndarray, np.ndarray]:
    """Outputs, bool, and probabilities of a trained model, each (n_records, 26), for the corpus's
    records at `indices`."""
    probabilities = predict(model.network, model.method, corpus, indices, model.lead_set)
    return decide(probabilities, model.thresholds, model.method.decision), probabilities


def predict(
    network: keras.Model, method: Method, corpus: Corpus, indices, lead_set: int
) -> np.ndarray:
    """Probabilities (n_records, 26) of a network for the corpus's records at `indices`, by the
    method's vote over all windows of each."""
    windows = Windows(corpus, indices, lead_set, network.input, _PREDICTION_BATCH)
    probabilities = np.asarray(network.predict(windows, verbose=0), float)
    return pool_windows(probabilities, corpus.n_windows[indices], method.decision.vote)


def _parts(method: Method, corpus: Corpus, indices, seed) -> tuple[np.ndarray, np.ndarray]:
    """The records of `indices` to train on, before selection, and those to validate on."""
    options = method.training
    sources = corpus.sources[indices] if options.validation_by_source else None
    parts = hold_out(corpus.labels[indices], options.validation_share, seed, sources)
    return tuple(indices[part] for part in parts)


def _build(method: Method, lead_set: int, devices: Devices) -> tuple[keras.Model, keras.Model]:
    """The untrained network in the devices' precision, and the network of bags that trains it."""
    keras.config.set_dtype_policy(devices.precision)
    try:
        network = build_network(method, lead_set, N_CLASSES)
        bags = bag_network(
            network, method.training.bag_size, method.augmentation, method.preparation.fs
        )
    finally:
        keras.config.set_dtype_policy("float32")
    network.compile(jit_compile=devices.jit_compile)
    return network, bags


def _start_at_prevalence(network: keras.Model, labels) -> None:
    """Sets the output layer's bias so that the untrained network answers each class's frequency.

    From a bias of 0 Adam needs hundreds of steps to learn no more than that, half of a short
    training on a small data set.
    """
    network.get_layer("logits").bias.assign(class_log_odds(labels.mean(axis=0)))


def class_log_odds(prevalence) -> np.ndarray:
    """Log-odds (n_classes,) of each class's share of the records, held between 1 and 99 %."""
    share = np.clip(prevalence, 0.01, 0.99)
    return np.log(share / (1 - share))


def _print_scores(model: TrainedModel) -> None:
    scores = model.evidence["validation_scores"].items()
    figures = ", ".join(
        f"{name} {'-' if value is None else f'{value:.3f}'}" for name, value in scores
    )
    part = (
        "on its own training records, too few to set some aside"
        if model.evidence["validated_on_training_records"]
        else f"on the {model.evidence['n_validation']} records set aside for its choices"
    )
    print(f"{model.lead_set} leads, {part}: {figures}", flush=True)
