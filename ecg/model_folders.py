"""Trains a model folder: one method, one lead set after another, on all records of a folder."""

import time
from pathlib import Path

import numpy as np

from ecg.corpus import Corpus, corpus_cache, prepare_corpus
from ecg.devices import Devices, find_devices
from ecg.methods import Method, find_method, with_epochs
from ecg.model_descriptions import missing_models
from ecg.model_files import TrainedModel, save_model
from ecg.pretraining import pretrain, simulated_for
from ecg.settings import Settings
from ecg.training import fit


def train_model_folder(data_directory, model_directory, settings: Settings) -> None:
    """Trains the lead sets that the settings ask for, on all records below `data_directory`.

    All share one prepared corpus; the time limit is shared evenly among the models still to come.
    """
    started = time.monotonic()
    method = with_epochs(find_method(settings.method, settings.preset), settings.epochs)
    devices = find_devices()
    print(devices, flush=True)
    model_directory = Path(model_directory)
    model_directory.mkdir(parents=True, exist_ok=True)
    with corpus_cache(settings.cache, model_directory) as cache:
        corpus = prepare_corpus(data_directory, method.preparation, cache, settings.workers)
        print(f"{len(corpus)} records to train on, {len(corpus.bad)} left out", flush=True)
        simulated = simulated_for(method, cache, settings.workers)
        for i, lead_set in enumerate(settings.lead_sets):
            left = settings.time_limit_h * 3600 - (time.monotonic() - started)
            time_limit_s = left / (len(settings.lead_sets) - i)
            model = _train(
                method, corpus, simulated, lead_set, settings.seed, devices, time_limit_s
            )
            save_model(model, model_directory)
            _print_scores(model)
    missing = missing_models(model_directory)
    if missing:
        print(
            f"{model_directory}: no model yet for {', '.join(map(str, missing))} leads", flush=True
        )
    else:
        print(f"{model_directory}: complete, a model for each lead set", flush=True)


def _train(
    method: Method,
    corpus: Corpus,
    simulated: Corpus | None,
    lead_set: int,
    seed: int,
    devices: Devices,
    time_limit_s: float,
) -> TrainedModel:
    """The lead set's model, trained on the simulated records first where there are some."""
    started = time.monotonic()
    start = None
    if simulated is not None:
        # The records themselves are what counts, so they get the larger part of the time.
        start = pretrain(method, simulated, lead_set, seed, devices, time_limit_s / 2)
    left = time_limit_s - (time.monotonic() - started)
    return fit(method, corpus, np.arange(len(corpus)), lead_set, seed, devices, left, start)


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
