"""What is a single lead worth? The two-lead model with leads I and II, with I alone, with II alone.

    python -m benchmarks.one_lead DATA [--folds 5] [--fold 1] [--seed 0]

Trains the default method's two-lead model on the records of DATA outside the fold, first on
simulated records as `train_model.py` does, and scores the records of the fold. A missing lead is a
flat line to the model, and is missing from the measurements, too. ECG_PRESET, ECG_EPOCHS, ECG_CACHE
and ECG_WORKERS apply.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from ecg.evaluation.folds import split_dataset
from ecg.models.decisions import decide
from ecg.models.devices import find_devices
from ecg.models.method import with_epochs
from ecg.models.operating_points import call_findings, default_points
from ecg.models.predictor import Predictor
from ecg.models.registry import find_method
from ecg.models.settings import read_settings
from ecg.records.diagnoses import read_weights
from ecg.records.discovery import find_records
from ecg.records.metrics import score
from ecg.records.record import Record, read_record, select_leads
from ecg.runtime.command_line import running, whole_number
from ecg.training.dataset import dataset_cache, prepare_dataset
from ecg.training.fit import Trainer, TrainingRun, fit
from ecg.training.pretraining import pretrain, simulated_for

LEADS = (("I", "II"), ("I",), ("II",))


def with_leads(record: Record, leads: tuple[str, ...]) -> Record:
    """Return the record with these leads alone."""
    return replace(record, signal=select_leads(record, leads), leads=leads)


def scores_of(predictor: Predictor, records: list[Record], labels) -> dict[str, float]:
    """Return the Challenge's scores, and the clinical rule's sensitivity and PPV."""
    probabilities = np.array(list(predictor.probabilities_of(records)))
    decision = predictor.model.decision
    scores = score(labels, decide(probabilities, decision), probabilities, read_weights()).summary
    present = call_findings(probabilities, decision.points or default_points()).present
    n_right = (present & labels).sum()
    return {
        "AUROC": scores["AUROC"],
        "Challenge metric": scores["Challenge metric"],
        "sensitivity": n_right / labels.sum(),
        "PPV": n_right / max(present.sum(), 1),
    }


def main(arguments=None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.one_lead",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", type=Path, help="folder of records")
    parser.add_argument("--folds", type=whole_number(2), default=5)
    parser.add_argument("--fold", type=whole_number(1), default=1)
    parser.add_argument("--seed", type=whole_number(0), default=0)
    options = parser.parse_args(arguments)
    with running("benchmarks.one_lead"):
        _run(options)


def _run(options: argparse.Namespace) -> None:
    settings, devices = read_settings(), find_devices()
    method = with_epochs(find_method("multiscale_se", settings.preset), settings.epochs)
    run = TrainingRun(method, 2, options.seed)
    with dataset_cache(settings.cache, Path()) as cache:
        dataset = prepare_dataset(options.data, method.preparation, cache, settings.workers)
        split = split_dataset(dataset, options.folds, options.seed)[options.fold - 1]
        trainer = Trainer(run, devices, len(split.kept))
        simulated = simulated_for(method, cache, settings.workers)
        start = None if simulated is None else pretrain(trainer, simulated)
        predictor = Predictor(fit(trainer, dataset, split.kept, start=start))
        files = {record.name: record for record in find_records(options.data)}
        records = [
            read_record(files[name], method.preparation.duration_s)
            for name in dataset.names[split.held_out]
        ]
        labels = dataset.labels[split.held_out]
    for leads in LEADS:
        scores = scores_of(predictor, [with_leads(record, leads) for record in records], labels)
        figures = ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
        print(f"{' and '.join(leads):8} {len(records)} records: {figures}", flush=True)


if __name__ == "__main__":
    main()
