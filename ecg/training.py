"""Fits one method on one lead set."""

import math
import time
from dataclasses import dataclass, field, replace

import keras
import numpy as np

from ecg.bags import bag_network
from ecg.batches import Bags, Windows
from ecg.checkpoints import Checkpoint
from ecg.classes import N_CLASSES, read_weights
from ecg.corpus import Corpus, CorpusError
from ecg.decisions import best_metric, calibrate, decide, fit_decision, pool_windows
from ecg.devices import Devices
from ecg.epochs import NotFiniteError, run_epochs
from ecg.leads import lead_rows
from ecg.losses import make_loss
from ecg.methods import Method, build_network
from ecg.model_files import TrainedModel
from ecg.scoring import score
from ecg.selection import select_records
from ecg.splits import hold_out

_PREDICTION_BATCH = 128
_SLOWER = 0.1  # of the learning rate, where the loss has not stayed finite


class TrainingError(ValueError):
    """A training that cannot come to a model; the message says why."""


@dataclass(frozen=True)
class Start:
    """What a training goes on from. weights: of the network, in Keras's order. prevalence: (26,),
    the classes' shares of the records that it was trained on. evidence: of that training, as a
    model's JSON has it."""

    weights: list[np.ndarray]
    prevalence: np.ndarray
    evidence: dict = field(default_factory=dict)


def fit(
    method: Method,
    corpus: Corpus,
    indices,
    lead_set: int,
    seed: int,
    devices: Devices,
    time_limit_s: float = math.inf,
    start: Start | None = None,
    checkpoint: Checkpoint | None = None,
) -> TrainedModel:
    """The method trained on the corpus's records at `indices`, leads of `lead_set`.

    A part of them is set aside to choose the epoch and the learning rate, and to fit the decision.
    Stops before `time_limit_s` seconds are over, but not before one epoch. start: of this method
    and lead set; without, training starts from the seed. checkpoint: see `ecg.epochs.run_epochs`.
    Where the loss does not stay finite, all begins anew once, at a tenth of the learning rate.
    Raises CorpusError where the method's selection leaves no record to train on, TrainingError
    where the loss is not finite the second time either.
    """
    started = time.monotonic()
    what = (corpus, indices, lead_set, seed, devices)
    try:
        return _fit_once(method, *what, time_limit_s, start, checkpoint)
    except NotFiniteError as error:
        first = error
    rate = _SLOWER * method.training.learning_rate
    print(f"{first}; begins anew at {rate:.2g}", flush=True)
    slower = replace(method, training=replace(method.training, learning_rate=rate))
    left = time_limit_s - (time.monotonic() - started)
    checkpoint = checkpoint and checkpoint.stage("slower")
    try:
        model = _fit_once(slower, *what, left, start, checkpoint)
    except NotFiniteError as error:
        raise TrainingError(f"{first}; then {error}") from error
    return replace(model, evidence=model.evidence | {"slower_because": str(first)})


def _fit_once(
    method: Method,
    corpus: Corpus,
    indices,
    lead_set: int,
    seed: int,
    devices: Devices,
    time_limit_s: float,
    start: Start | None,
    checkpoint: Checkpoint | None,
) -> TrainedModel:
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
    _set_start(network, start, labels)

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
        checkpoint,
    )
    # Answers are computed in float32 on every device, so the thresholds have to be too.
    answering = build_network(method, lead_set, N_CLASSES)
    answering.compile(jit_compile=devices.jit_compile)
    answering.set_weights(network.get_weights())
    truth, weights = corpus.labels[held_out], read_weights()
    probabilities = predict(answering, method, corpus, held_out, lead_set)
    fitted_on = (truth, probabilities)
    if method.decision.fitted_on == "training":
        fitted_on = (corpus.labels[kept], predict(answering, method, corpus, kept, lead_set))
    decision = fit_decision(*fitted_on, weights, method.decision)
    probabilities = calibrate(probabilities, decision.temperature)
    outputs = decide(probabilities, decision)
    scores = score(truth, outputs, probabilities, weights).summary
    evidence = {
        "data_fingerprint": corpus.fingerprint,
        "n_training": len(selected),
        "n_validation": len(held_out),
        "validated_on_training_records": bool(np.array_equal(kept, held_out)),
        "seed": seed,
        "precision": devices.precision,
        "gpus": devices.gpus,
        "start": None if start is None else start.evidence,
        **course,
        "validation_scores": {
            name: None if math.isnan(value) else value for name, value in scores.items()
        },
    }
    prevalence = corpus.labels[kept].mean(axis=0)
    return TrainedModel(answering, method, lead_set, decision, prevalence, evidence)


def answer_corpus(model: TrainedModel, corpus: Corpus, indices) -> tuple[np.ndarray, np.ndarray]:
    """Outputs, bool, and calibrated probabilities of a trained model, each (n_records, 26), for the
    corpus's records at `indices`."""
    probabilities = predict(model.network, model.method, corpus, indices, model.lead_set)
    probabilities = calibrate(probabilities, model.decision.temperature)
    return decide(probabilities, model.decision), probabilities


def predict(
    network: keras.Model, method: Method, corpus: Corpus, indices, lead_set: int
) -> np.ndarray:
    """Probabilities (n_records, 26) of a network for the corpus's records at `indices`, by the
    method's vote over all windows of each. Raises NotFiniteError where one is no number."""
    windows = Windows(corpus, indices, lead_set, network.input, _PREDICTION_BATCH)
    probabilities = np.asarray(network.predict(windows, verbose=0), float)
    if not np.isfinite(probabilities).all():
        raise NotFiniteError(
            f"{method.name}, {lead_set} leads: expected finite probabilities, found others"
        )
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


def _set_start(network: keras.Model, start: Start | None, labels) -> None:
    """Sets the weights to go on from, the output's bias at what each class's frequency asks for.

    Without a start that is what makes the network answer those frequencies: from a bias of 0 Adam
    needs hundreds of steps to learn no more than that, half of a short training on a small data
    set. With one it is the difference to the frequencies that the network has learned.
    """
    bias = class_log_odds(labels.mean(axis=0))
    output = network.get_layer("logits")
    if start is None:
        output.bias.assign(bias)
    else:
        network.set_weights(start.weights)
        output.bias.assign_add(bias - class_log_odds(start.prevalence))


def class_log_odds(prevalence) -> np.ndarray:
    """Log-odds (n_classes,) of each class's share of the records, held between 1 and 99 %."""
    share = np.clip(prevalence, 0.01, 0.99)
    return np.log(share / (1 - share))
