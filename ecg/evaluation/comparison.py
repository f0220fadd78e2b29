"""Cross-validate methods and write scores.csv and the papers' tables."""

import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecg.evaluation.fold_scores import measured_in, score_rows
from ecg.evaluation.folds import (
    Fold,
    plan_fold,
    read_fold_outputs,
    run_fold,
    split_dataset,
)
from ecg.evaluation.tables import tables_for
from ecg.models.devices import find_devices, keep_compiled
from ecg.models.method import Method, recipe_for, with_epochs
from ecg.models.registry import METHODS, find_method
from ecg.models.settings import Settings
from ecg.runtime.files import make_folder, write_rows, write_text
from ecg.runtime.processes import on_cluster, run_jobs
from ecg.training.dataset import dataset_cache, prepare_dataset
from ecg.training.fit import TrainingRun
from ecg.training.pretraining import (
    plan_pretraining,
    read_pretrained,
    run_pretraining,
    simulated_for,
)

ALL = "all"


@dataclass(frozen=True)
class Comparison:
    """What to cross-validate.

    data: folder of records. out: folder for scores.csv, tables.txt and folds/. methods, variants:
    names, or "all". n_folds: None leaves out one source at a time. seeds: each fold is trained once
    for each. n_at_once: folds trained side by side; None for the number of the
    cluster's workers or, without a cluster, `ecg.runtime.processes.jobs_at_once`.
    """

    data: Path
    out: Path
    methods: tuple[str, ...]
    variants: tuple[str, ...]
    lead_sets: tuple[int, ...]
    seeds: tuple[int, ...]
    n_folds: int | None = 5
    n_at_once: int | None = None


def compare(comparison: Comparison, settings: Settings) -> None:
    """Train and score what is compared; write scores.csv, tables.txt and folds/.

    settings: for the preset, the epochs, the seed of the split, the cache, workers and the cluster.
    """
    # Mistakes in the call or the data show before training starts.
    names = comparison.methods
    names = tuple(METHODS) if ALL in names else tuple(dict.fromkeys(names))
    # The epochs are capped last: a paper's number differs from its default's.
    chosen = {
        with_epochs(method, settings.epochs): variants
        for method, variants in choose_variants(names, comparison.variants, settings.preset).items()
    }
    out = comparison.out.resolve()
    make_folder(out / "folds")
    with on_cluster(settings.dask) as client, dataset_cache(settings.cache, out) as cache:
        folds = plan_folds(chosen, comparison, cache.resolve(), settings)
        keep_compiled(cache.resolve() / "compiled")
        rows = cross_validate(folds, comparison.n_at_once, client)
    equal = {(method.name, variants[0]): variants for method, variants in chosen.items()}
    tables = tables_for(measured_in(rows, equal))
    text = "\n\n".join([_heading(comparison, settings, folds), *tables]) + "\n"
    write_rows(out / "scores.csv", rows, rows[0])
    write_text(out / "tables.txt", text)
    print(f"\n{text}", flush=True)


def choose_variants(
    methods: Iterable[str], variants: Iterable[str], preset: str
) -> dict[Method, tuple[str, ...]]:
    """Return the different methods to train, each with the names of all variants that are equal to
    it.

    So nothing is trained twice, and a figure serves each table that has it: at full width,
    "published" of mtfnet is "channels_64" and "bilstm_4" as well, asked for or not.
    methods, variants: names; a method takes the variants that it has, or all of them for "all".
    Raises ValueError for a variant that none of the methods has, or a method that has none of them.
    """
    known = {name: METHODS[name].variants for name in methods}
    unknown = set(variants).difference(*known.values()) - {ALL}
    if unknown:
        expected = sorted(set().union(*known.values()))
        raise ValueError(
            f"--variant: expected {ALL} or some of {', '.join(expected)}; "
            f"found {', '.join(sorted(unknown))}"
        )
    chosen = {}
    for method, of_method in known.items():
        wanted = [name for name in of_method if ALL in variants or name in variants]
        if not wanted:
            raise ValueError(
                f"--variant: expected some of {', '.join(of_method)} for {method}; "
                f"found {', '.join(variants)}"
            )
        built = {name: find_method(method, preset, name) for name in of_method}
        for name in wanted:
            equal = tuple(other for other in of_method if built[other] == built[name])
            chosen[built[name]] = equal
    return chosen


def plan_folds(
    chosen: dict[Method, tuple[str, ...]], comparison: Comparison, cache: Path, settings: Settings
) -> list[Fold]:
    """Every fold to train, in the order of scores.csv, after preparing the records.

    chosen: see `choose_variants`. The split depends on the settings' seed alone, so all methods,
    lead sets and seeds share it. All folds have the recipe for the number of records that they
    train on on average, and so can share a pretraining.
    """
    folder = comparison.out.resolve() / "folds"
    # With a cache that is kept, the folds share a pretraining with the training of models.
    pretrained, devices = folder if settings.cache is None else cache, find_devices()
    prepared = {
        preparation: prepare_dataset(comparison.data, preparation, cache, settings.workers)
        for preparation in dict.fromkeys(method.preparation for method in chosen)
    }
    folds = []
    for method, variants in chosen.items():
        dataset = prepared[method.preparation]
        splits = split_dataset(dataset, comparison.n_folds, settings.seed)
        n_records = round(np.mean([len(split.kept) for split in splits]))
        recipe = recipe_for(method, n_records)
        simulated = simulated_for(method, cache, settings.workers)
        for lead_set, seed in itertools.product(comparison.lead_sets, comparison.seeds):
            run, pretraining = TrainingRun(recipe, lead_set, seed), None
            if simulated is not None:
                pretraining = plan_pretraining(pretrained, run, simulated, n_records, devices)
            folds += [
                plan_fold(folder, run, variants[0], split, dataset, pretraining) for split in splits
            ]
    return folds


def cross_validate(folds: list[Fold], n_at_once: int | None, client=None) -> list[dict]:
    """Train the folds whose file is missing, print their scores, and return all rows of
    scores.csv.

    client: of a cluster that trains them, see `ecg.runtime.processes.on_cluster`.
    """
    missing = [fold for fold in folds if not fold.file.exists()]
    print(f"{len(folds)} folds, {len(folds) - len(missing)} already trained", flush=True)
    needed = dict.fromkeys(fold.pretraining for fold in missing if fold.pretraining is not None)
    to_train = [pretraining for pretraining in needed if read_pretrained(pretraining.file) is None]
    for pretraining, _ in run_jobs(run_pretraining, to_train, n_at_once, client):
        print(f"{pretraining.file.name}: trained on simulated records", flush=True)
    started = time.monotonic()
    trained = run_jobs(run_fold, missing, n_at_once, client)
    for n_done, (fold, _) in enumerate(trained, start=1):
        left_min = (time.monotonic() - started) / 60 / n_done * (len(missing) - n_done)
        print(f"{n_done}/{len(missing)} {_line(fold)}, about {left_min:.0f} min left", flush=True)
    return score_rows(folds, [read_fold_outputs(fold.file) for fold in folds])


def _line(fold: Fold) -> str:
    run, answers = fold.run, read_fold_outputs(fold.file)
    scores = answers.scores
    return (
        f"{run.method.name} {fold.variant}, {run.lead_set} leads, seed {run.seed}, "
        f"fold {fold.split.name}: Challenge metric {scores['Challenge metric']:.3f}, "
        f"AUROC {scores['AUROC']:.3f}, {answers.training['epochs']} epochs, "
        f"{answers.training['seconds']} s"
    )


def _heading(comparison: Comparison, settings: Settings, folds: list[Fold]) -> str:
    """Return a sentence on what the figures were measured on."""
    by_source, n_folds = comparison.n_folds is None, comparison.n_folds
    split = "one source left out at a time" if by_source else f"{n_folds} folds"
    methods = dict.fromkeys((fold.run.method, fold.variant) for fold in folds)
    epochs = ", ".join(
        f"{method.name} {variant} {method.training.epochs}" for method, variant in methods
    )
    return (
        f"Measured here on {comparison.data}, {split}, preset {settings.preset}; most epochs: "
        f"{epochs}."
    )
