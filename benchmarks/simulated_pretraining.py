"""What simulated records are worth to a model of real ones.

    python -m benchmarks.simulated_pretraining SIMULATED REAL OUT --leads 12 2 --seeds 0 1

Trains on the simulated records alone and scores the real ones; then, fold by fold on the real
records, trains from the seed ("alone") and from the weights that the simulation left
("pre-trained"), and prints the scores side by side. The `ECG_…` variables say how to train.
"""

import argparse
import csv
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from ecg.classes import DIAGNOSES, read_weights
from ecg.corpus import prepare_corpus
from ecg.devices import find_devices
from ecg.leads import LEAD_SETS
from ecg.scoring import score
from ecg.settings import read_settings
from ecg.splits import k_folds
from ecg.training import answer_corpus, class_log_odds, corpus_cache, fit, method_for


def shifted_weights(model, labels) -> list[np.ndarray]:
    """The model's weights, the output bias moved by what the log-odds of each class differ between
    these labels (n_records, 26) and the model's own training records."""
    network = keras.models.clone_model(model.network)
    network.set_weights(model.network.get_weights())
    shift = class_log_odds(labels.mean(axis=0)) - class_log_odds(model.prevalence)
    network.get_layer("logits").bias.assign_add(shift)
    return network.get_weights()


def scores_of(model, corpus, indices):
    """The scores of a trained model on the corpus's records at `indices`."""
    return score(corpus.labels[indices], *answer_corpus(model, corpus, indices), read_weights())


def study(method, simulated, real, lead_set, seeds, n_folds, epochs, devices) -> list[dict]:
    """A row of scores per training, seed and fold; what the simulation alone gives is printed.

    epochs: at most so many on the real records, with the method's own patience.
    """
    on_real = replace(method, training=replace(method.training, epochs=epochs))
    everything = np.arange(len(simulated))
    first = fit(method, simulated, everything, lead_set, seeds[0], devices)
    scores = scores_of(first, real, np.arange(len(real)))
    rows = [{"leads": lead_set, "training": "simulated alone", **scores.summary}]
    print(rows[0], flush=True)
    for diagnosis, value, count in zip(DIAGNOSES, scores.auroc, real.labels.sum(0), strict=True):
        print(f"  {diagnosis.abbreviation:7s} AUROC {value:.3f}, {count} real records", flush=True)
    for seed in seeds:
        for number, (kept, held_out) in enumerate(k_folds(real.labels, n_folds, seeds[0]), start=1):
            start = shifted_weights(first, real.labels[kept])
            for training, weights in (("alone", None), ("pre-trained", start)):
                model = fit(on_real, real, kept, lead_set, seed, devices, initial_weights=weights)
                facts = {"best epoch": model.evidence["best_epoch"]}
                row = {"leads": lead_set, "training": training, "seed": seed, "fold": number}
                rows.append(row | scores_of(model, real, held_out).summary | facts)
                print(rows[-1], flush=True)
    return rows


def print_table(rows) -> None:
    """Mean over folds of each training and seed, and the mean and spread over seeds."""
    for lead_set in dict.fromkeys(row["leads"] for row in rows):
        for name in ("Challenge metric", "AUROC", "AUPRC"):
            for training in ("alone", "pre-trained"):
                own = [
                    row for row in rows if (row["leads"], row["training"]) == (lead_set, training)
                ]
                seeds = dict.fromkeys(row["seed"] for row in own)
                means = [np.mean([row[name] for row in own if row["seed"] == s]) for s in seeds]
                each = " ".join(f"{mean:.3f}" for mean in means)
                print(
                    f"{lead_set:2d} leads, {name:16s} {training:11s} {np.mean(means):.3f}, "
                    f"by seed {each}, spread {np.ptp(means):.3f}"
                )


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("simulated", type=Path)
    parser.add_argument("real", type=Path)
    parser.add_argument("out", type=Path, help="folder for scores.csv")
    parser.add_argument("--leads", type=int, nargs="+", choices=LEAD_SETS, default=[12, 2])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--epochs", type=int, help="on the real records; default: the method's own")
    options = parser.parse_args()
    settings = read_settings()
    method, devices = method_for(settings), find_devices()
    options.out.mkdir(parents=True, exist_ok=True)
    rows = []
    with corpus_cache(settings.cache, options.out) as cache:
        simulated, real = (
            prepare_corpus(folder, method.preparation, cache, settings.workers)
            for folder in (options.simulated, options.real)
        )
        for lead_set in options.leads:
            rows += study(
                method,
                simulated,
                real,
                lead_set,
                options.seeds,
                options.folds,
                options.epochs or method.training.epochs,
                devices,
            )
            with open(options.out / "scores.csv", "w", newline="") as file:
                writer = csv.DictWriter(file, rows[-1].keys(), restval="")
                writer.writeheader()
                writer.writerows(rows)
    print_table(rows)


if __name__ == "__main__":
    main()
