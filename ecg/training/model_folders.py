"""Train one method on a folder of records: a model for each lead set, all in one model folder."""

import contextlib
import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np

from ecg.models.descriptions import ModelFolderError, missing_models
from ecg.models.devices import Devices, find_devices, keep_compiled
from ecg.models.fine_tuning import FineTuningOptions, fine_tuned, fine_tuning_for
from ecg.models.method import Method, method_to_dict, recipe_for, with_epochs
from ecg.models.model_files import TrainedModel, load_trained_model, save_model, versions
from ecg.models.registry import find_method, source_module
from ecg.models.settings import Settings
from ecg.records.diagnoses import WEIGHTS_FILE
from ecg.runtime.cache_keys import cache_key
from ecg.runtime.files import digest_files, held, make_folder
from ecg.runtime.processes import jobs_at_once, n_workers, on_cluster, run_jobs
from ecg.training.checkpoints import Checkpoint
from ecg.training.dataset import Dataset, prepare_dataset, read_dataset
from ecg.training.fit import Start, Trainer, TrainingError, TrainingRun, fit
from ecg.training.pretraining import (
    Pretraining,
    keep_pretrained,
    plan_pretraining,
    pretrain,
    read_pretrained,
    simulated_for,
)
from ecg.training.starts import StartModel, find_start, read_start

_WORK_FOLDER = ".training"  # in the model folder, until training is finished


@dataclass(frozen=True)
class ModelTraining:
    """The training of one model; can be sent to another process.

    dataset: folder of the prepared records, see `read_dataset`. folder: where the model is saved.
    time_limit_s: for all its stages. pretraining: the stage on simulated records, if any. start,
    fine_tuning: the model that it goes on from, if any, and how.
    """

    run: TrainingRun
    dataset: Path
    folder: Path
    checkpoint: Checkpoint
    time_limit_s: float
    pretraining: Pretraining | None = None
    start: StartModel | None = None
    fine_tuning: FineTuningOptions | None = None


def train_model_folder(data_directory, model_directory, settings: Settings) -> None:
    """Train a model for each lead set of the settings, on all records below `data_directory`.

    The time limit is divided evenly among the models that are still to train. If the same training
    was interrupted before, it resumes: finished models are kept, and the unfinished one continues
    after its last epoch. On a cluster or on GPUs several models are trained at once, see
    `ecg.runtime.processes.jobs_at_once`. With a start in the settings, each model goes on from the
    one of its lead set there, without pretraining.
    Raises TrainingError while another training is using the model folder, ModelFolderError where
    the start lacks a model or has others than the settings ask for.
    """
    started = time.monotonic()
    method = with_epochs(find_method(settings.method, settings.preset), settings.epochs)
    devices = find_devices()
    print(devices, flush=True)
    model_directory = Path(model_directory).resolve()
    starts = _find_starts(settings, method, model_directory)
    make_folder(model_directory)
    with on_cluster(settings.dask) as client, _work_folder(model_directory) as work:
        cache = (settings.cache or work / "prepared").resolve()
        dataset = prepare_dataset(data_directory, method.preparation, cache, settings.workers)
        print(f"{len(dataset)} records to train on, {len(dataset.rejected)} left out", flush=True)
        fine_tuning = fine_tuning_for(len(dataset)) if starts else None
        if fine_tuning is not None:
            method = with_epochs(fine_tuned(method, fine_tuning), settings.epochs)
            print(_start_line(settings.start, fine_tuning), flush=True)
        simulated = simulated_for(method, cache, settings.workers)
        runs = [
            TrainingRun(
                starts[lead_set].continued_by(method) if starts else method, lead_set, settings.seed
            )
            for lead_set in settings.lead_sets
        ]
        keys = {
            run: training_key(run, dataset, simulated, devices, starts.get(run.lead_set))
            for run in runs
        }
        to_train = [run for run in runs if not _is_trained(model_directory, run, keys[run])]

        def plan(run: TrainingRun, n_rounds: int) -> ModelTraining:
            """Return the training of a model in the first of `n_rounds` equal parts of the time
            left."""
            left_s = settings.time_limit_h * 3600 - (time.monotonic() - started)
            pretraining = None
            if simulated is not None:
                pretraining = plan_pretraining(cache, run, simulated, len(dataset), devices)
            return ModelTraining(
                run,
                dataset.folder,
                model_directory,
                Checkpoint(work / f"{run.lead_set}_leads.npz", keys[run]),
                left_s / n_rounds,
                pretraining,
                starts.get(run.lead_set),
                fine_tuning,
            )

        if devices.jit_compile:
            keep_compiled(cache / "compiled")
        n_at_once = jobs_at_once() if client is None else n_workers(client)
        if client is None and n_at_once < 2:
            for i, run in enumerate(to_train):
                training = plan(run, len(to_train) - i)
                print(_train(training, dataset, simulated, devices), flush=True)
        else:
            n_rounds = math.ceil(len(to_train) / n_at_once)
            trainings = [plan(run, n_rounds) for run in to_train]
            for _, scores in run_jobs(train_model, trainings, client=client):
                print(scores, flush=True)
    missing = missing_models(model_directory)
    if missing:
        print(
            f"{model_directory}: no model yet for {', '.join(map(str, missing))} leads", flush=True
        )
    else:
        print(f"{model_directory}: complete, a model for each lead set", flush=True)


def train_model(training: ModelTraining) -> str:
    """Train and save one model, reading the datasets anew; return a line with its scores."""
    dataset = read_dataset(training.dataset)
    pretraining = training.pretraining
    simulated = None if pretraining is None else read_dataset(pretraining.simulated)
    return _train(training, dataset, simulated, find_devices())


def training_key(
    run: TrainingRun,
    dataset: Dataset,
    simulated: Dataset | None,
    devices: Devices,
    start: StartModel | None = None,
) -> str:
    """Return a key of everything that the trained model depends on, including the code."""
    dependencies = [
        run.lead_set,
        method_to_dict(recipe_for(run.method, len(dataset))),
        run.seed,
        [dataset.fingerprint, dataset.sources.tolist()],
        None if simulated is None else simulated.fingerprint,
        None if start is None else start.digest,
        devices.precision,
        versions(),
        digest_files(WEIGHTS_FILE),
    ]
    modules = "ecg.training.pretraining", "ecg.training.starts"
    return cache_key(dependencies, source_module(run.method), *modules)


def _find_starts(
    settings: Settings, method: Method, model_directory: Path
) -> dict[int, StartModel]:
    """Return the model that each lead set's training starts from; nothing without a start."""
    if settings.start is None:
        return {}
    folder = settings.start.resolve()
    if folder == model_directory:
        raise ModelFolderError(
            f"{folder}: expected another folder for the models than the one to start from"
        )
    return {lead_set: find_start(folder, method, lead_set) for lead_set in settings.lead_sets}


def _start_line(folder: Path, options: FineTuningOptions) -> str:
    return f"starting from {folder}: training at {options.rate_share:g} of the usual rate"


def _train(
    training: ModelTraining, dataset: Dataset, simulated: Dataset | None, devices: Devices
) -> str:
    """Pretrain on the simulated records, if any, train on the records, and save the model.

    A training with a start goes on from that model instead. Return a line with its scores.
    """
    started = time.monotonic()
    checkpoint, time_limit_s = training.checkpoint, training.time_limit_s
    keras.backend.clear_session()  # frees the memory of the previous model
    start = None
    if training.start is not None:
        start = read_start(training.start)
        keras.backend.clear_session()
    trainer = Trainer(training.run, devices, len(dataset), training.fine_tuning)
    if training.pretraining is not None:
        # Real records matter most, so they get at least half of the time.
        start = _pretrained(training, trainer, simulated, time_limit_s / 2)
    left_s = time_limit_s - (time.monotonic() - started)
    all_records = np.arange(len(dataset))
    model = fit(trainer, dataset, all_records, left_s, start, checkpoint.for_stage("records"))
    model = replace(model, training_log=model.training_log | {"training_key": checkpoint.key})
    save_model(model, training.folder)
    return _scores_line(model)


def _pretrained(
    training: ModelTraining, trainer: Trainer, simulated: Dataset, time_limit_s: float
) -> Start:
    """Return the start that an equal training before this one kept, or train it and keep it."""
    file = training.pretraining.file
    start = read_pretrained(file)
    if start is not None:
        lead_set = training.run.lead_set
        print(f"{lead_set} leads: trained on simulated records before, kept", flush=True)
        return start
    start = pretrain(trainer, simulated, time_limit_s, training.checkpoint)
    if not was_cut(start.log):
        keep_pretrained(start, file)
    return start


@contextlib.contextmanager
def _work_folder(model_directory: Path) -> Iterator[Path]:
    """Yield a folder for checkpoints and prepared records.

    It is removed when training is finished, or interrupted before it wrote any file. The model
    folder is locked; raises TrainingError where another training holds the lock.
    """
    with held(model_directory) as locked:
        if locked is False:  # None without locks
            raise TrainingError(f"{model_directory}: another training is using this folder")
        for leftover in model_directory.glob(".*_leads.*"):  # from a training that was killed
            leftover.unlink()
        work = model_directory / _WORK_FOLDER
        work.mkdir(exist_ok=True)
        try:
            yield work
        except BaseException:
            if not any(path.is_file() for path in work.rglob("*")):
                shutil.rmtree(work, ignore_errors=True)
            raise
        shutil.rmtree(work, ignore_errors=True)


def _is_trained(folder: Path, run: TrainingRun, key: str) -> bool:
    """Whether the folder holds the model that the run would produce; prints a line if so."""
    try:
        log = load_trained_model(folder, run.lead_set).training_log
    except ModelFolderError:
        return False
    # A model that was cut by the time limit is trained again, with all its epochs.
    if log.get("training_key") != key or was_cut(log):
        return False
    print(f"{run.lead_set} leads: already trained, kept", flush=True)
    return True


def was_cut(log: dict | None) -> bool:
    """Whether a stage of a training was; a model that it started from does not count."""
    if not log or "digest" in log:
        return False
    return log["cut_by_time_limit"] or was_cut(log["start"])


def _scores_line(model: TrainedModel) -> str:
    scores = model.training_log["validation_scores"].items()
    figures = ", ".join(
        f"{name} {'-' if value is None else f'{value:.3f}'}" for name, value in scores
    )
    scored_on = (
        "on the training records, which are too few to set some aside"
        if model.training_log["validated_on_training_records"]
        else f"on {model.training_log['n_validation']} validation records"
    )
    cut = "; cut by the time limit" if was_cut(model.training_log) else ""
    return f"{model.lead_set} leads, {scored_on}: {figures}{cut}"
