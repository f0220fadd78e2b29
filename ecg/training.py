"""Fits one method on one lead set, and one after another into a model folder."""

import contextlib
import math
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from ecg.batches import Batches
from ecg.classes import N_CLASSES, read_weights
from ecg.corpus import Corpus, prepare_corpus
from ecg.decisions import decide, fit_thresholds
from ecg.devices import Devices, find_devices
from ecg.losses import WeightedBinaryCrossentropy, inverse_frequency_weights
from ecg.methods import Method, build_network, find_method
from ecg.model_files import TrainedModel, missing_models, save_model
from ecg.scoring import score
from ecg.settings import Settings
from ecg.splits import hold_out

_PREDICTION_BATCH = 128


class _EpochLines(keras.callbacks.Callback):
    """Prints a line an epoch and stops training before its time is over."""

    def __init__(self, label, epochs, time_limit_s):
        super().__init__()
        self.label, self.epochs, self.time_limit_s = label, epochs, time_limit_s
        self.started = time.monotonic()
        self.cut = False

    def on_epoch_end(self, epoch, logs=None):
        elapsed = time.monotonic() - self.started
        an_epoch = elapsed / (epoch + 1)
        left = (self.epochs - epoch - 1) * an_epoch
        print(
            f"{self.label}, epoch {epoch + 1}/{self.epochs}: loss {logs['loss']:.4f}, "
            f"validation loss {logs['val_loss']:.4f}, learning rate {logs['learning_rate']:.2g}, "
            f"{elapsed:.0f} s, at most {left:.0f} s left",
            flush=True,
        )
        if left > 0 and elapsed + an_epoch > self.time_limit_s:
            print(f"{self.label}: stopped by the time limit after epoch {epoch + 1}", flush=True)
            self.cut = self.model.stop_training = True


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
    small disk, and the full training set takes 4 GB.
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
    """
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    labels = corpus.labels[indices]
    parts = hold_out(labels, method.training.validation_share, seed)
    kept, held_out = (indices[part] for part in parts)
    network, course = _run_epochs(
        method,
        Batches(corpus, kept, lead_set, method.training.batch_size, seed),
        Batches(corpus, held_out, lead_set, _PREDICTION_BATCH),
        corpus.labels[kept],
        devices,
        _EpochLines(f"{lead_set} leads", method.training.epochs, time_limit_s),
        initial_weights,
    )
    # Answers are computed in float32 on every device, so the thresholds have to be too.
    answering = build_network(method, lead_set, N_CLASSES)
    answering.set_weights(network.get_weights())
    truth, weights = corpus.labels[held_out], read_weights()
    probabilities = predict(answering, corpus, held_out, lead_set, devices)
    thresholds = fit_thresholds(truth, probabilities, weights, method.decision)
    scores = score(truth, decide(probabilities, thresholds), probabilities, weights).summary
    evidence = {
        "data_fingerprint": corpus.fingerprint,
        "n_training": len(kept),
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


def predict(
    network: keras.Model, corpus: Corpus, indices, lead_set: int, devices: Devices
) -> np.ndarray:
    """Probabilities (n_records, 26) of a network for the corpus's records at `indices`."""
    batches = Batches(corpus, indices, lead_set, _PREDICTION_BATCH)
    network.compile(jit_compile=devices.jit_compile)
    return np.asarray(network.predict(batches, verbose=0), float)


def _run_epochs(
    method: Method,
    training: Batches,
    validation: Batches,
    labels,
    devices: Devices,
    log: _EpochLines,
    initial_weights: list[np.ndarray] | None,
) -> tuple[keras.Model, dict]:
    """The network with the weights of its best epoch, and the course of its training.

    labels: (n_records, 26) bool, of the training records.
    """
    options = method.training
    keras.config.set_dtype_policy(devices.precision)
    try:
        network = build_network(method, len(training.leads), N_CLASSES)
    finally:
        keras.config.set_dtype_policy("float32")
    if initial_weights is None:
        _start_at_prevalence(network, labels)
    else:
        network.set_weights(initial_weights)
    loss = method.loss
    class_weights = inverse_frequency_weights(labels, loss.epsilon, loss.weight_floor)
    optimizer = keras.optimizers.Adam(options.learning_rate)
    # Built inside the first step, its variables would make TensorFlow trace that step twice.
    optimizer.build(network.trainable_variables)
    network.compile(
        optimizer, WeightedBinaryCrossentropy(class_weights), jit_compile=devices.jit_compile
    )
    stop = keras.callbacks.EarlyStopping(patience=options.stop_patience, restore_best_weights=True)
    reduce = keras.callbacks.ReduceLROnPlateau(
        factor=options.lr_factor, patience=options.lr_patience
    )
    started = time.monotonic()
    history = network.fit(
        training,
        validation_data=validation,
        epochs=options.epochs,
        shuffle=False,  # the batches shuffle themselves, by the seed
        callbacks=[reduce, stop, log],
        verbose=0,
    ).history
    return network, {
        "epochs": len(history["loss"]),
        "best_epoch": stop.best_epoch + 1,
        "cut_by_time_limit": log.cut,
        "seconds": round(time.monotonic() - started, 1),
        "history": {name: [float(value) for value in values] for name, values in history.items()},
    }


def _start_at_prevalence(network: keras.Model, labels) -> None:
    """Sets the output layer's bias so that the untrained network answers each class's frequency.

    From a bias of 0 Adam needs hundreds of steps to learn no more than that, half of a short
    training on a small data set.
    """
    network.get_layer("probabilities").bias.assign(class_log_odds(labels.mean(axis=0)))


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
        else f"on the {model.evidence['n_validation']} records that chose the thresholds"
    )
    print(f"{model.lead_set} leads, {part}: {figures}", flush=True)
