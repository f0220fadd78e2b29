"""`python -m ecg.cross_validation DATA OUT`: out-of-fold scores of a method on each lead set."""

import argparse
import csv
import sys
import time
from pathlib import Path

import numpy as np

from ecg.classes import read_weights
from ecg.corpus import Corpus, CorpusError, prepare_corpus
from ecg.decisions import decide
from ecg.devices import Devices, find_devices
from ecg.headers import RecordError
from ecg.leads import LEAD_SETS
from ecg.methods import Method
from ecg.scoring import score
from ecg.settings import SettingsError, read_settings
from ecg.splits import k_folds
from ecg.training import corpus_cache, fit, method_for, predict


def cross_validate(
    method: Method,
    corpus: Corpus,
    lead_set: int,
    n_folds: int,
    seed: int,
    devices: Devices,
    out: Path,
) -> list[dict]:
    """A row of scores per fold, and one over all out-of-fold answers.

    Every choice (epoch, thresholds) is made within the fold's training part. A fold's answers
    are kept as `METHOD_12_leads_fold1.npz`: names, labels, outputs (n, 26), probabilities (n, 26).
    """
    rows, answers = [], []
    for number, (kept, held_out) in enumerate(k_folds(corpus.labels, n_folds, seed), start=1):
        started = time.monotonic()
        model = fit(method, corpus, kept, lead_set, seed, devices)
        probabilities = predict(model.network, corpus, held_out, lead_set, devices)
        fold = {
            "labels": corpus.labels[held_out],
            "outputs": decide(probabilities, model.thresholds),
            "probabilities": probabilities,
        }
        file = out / f"{method.name}_{lead_set}_leads_fold{number}.npz"
        np.savez(file, names=corpus.names[held_out], **fold)
        answers.append(fold)
        facts = {"epochs": model.evidence["epochs"], "seconds": round(time.monotonic() - started)}
        rows.append(_row(method, lead_set, str(number), fold) | facts)
        print(rows[-1], flush=True)
    together = {name: np.concatenate([fold[name] for fold in answers]) for name in answers[0]}
    rows.append(_row(method, lead_set, "all", together))
    print(rows[-1], flush=True)
    return rows


def _row(method, lead_set, fold, answers) -> dict:
    scores = score(**answers, weights=read_weights())
    figures = {name: round(value, 4) for name, value in scores.summary.items()}
    return {"method": method.name, "leads": lead_set, "fold": fold, **figures}


def main(arguments=None) -> None:
    """Runs the command line; the `ECG_…` variables say how to train, but for ECG_TIME_LIMIT_H."""
    parser = argparse.ArgumentParser(prog="python -m ecg.cross_validation", description=__doc__)
    parser.add_argument("data", type=Path, help="folder of records, nested or flat")
    parser.add_argument("out", type=Path, help="folder for scores.csv and the out-of-fold answers")
    parser.add_argument(
        "--leads", type=int, nargs="+", choices=LEAD_SETS, help="default: ECG_LEADS"
    )
    parser.add_argument("--folds", type=int, default=5)
    options = parser.parse_args(arguments)
    try:
        settings = read_settings()
        method = method_for(settings)
        devices = find_devices()
        print(devices, flush=True)
        options.out.mkdir(parents=True, exist_ok=True)
        rows = []
        with corpus_cache(settings.cache, options.out) as cache:
            corpus = prepare_corpus(options.data, method.preparation, cache, settings.workers)
            for lead_set in options.leads or settings.lead_sets:
                rows += cross_validate(
                    method, corpus, lead_set, options.folds, settings.seed, devices, options.out
                )
                _write_scores(options.out / "scores.csv", rows)
    except (CorpusError, RecordError, SettingsError, OSError) as error:
        sys.exit(f"cross_validation: {error}")


def _write_scores(path: Path, rows: list[dict]) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), restval="")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
