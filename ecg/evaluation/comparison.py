"""Methods, variants and lead sets -> folds to train -> scores.csv and the papers' tables."""

import argparse
import csv
import itertools
import time
from collections.abc import Iterable
from pathlib import Path

from ecg.evaluation.fold_scores import measured_in, score_rows
from ecg.evaluation.folds import (
    Fold,
    fold_file,
    pretraining_of,
    read_answers,
    run_fold,
    run_pretraining,
    split_dataset,
)
from ecg.evaluation.tables import tables_for
from ecg.evaluation.variants import VARIANTS, distinct_variants
from ecg.models.devices import keep_compiled
from ecg.models.registry import METHODS, Method, find_method, with_epochs
from ecg.models.settings import Settings
from ecg.runtime.files import make_folder, write_text, written_whole
from ecg.runtime.processes import on_cluster, run_jobs
from ecg.training.dataset import dataset_cache, prepare_dataset
from ecg.training.pretraining import simulated_for

ALL = "all"


def compare(options: argparse.Namespace, settings: Settings) -> None:
    """Train and score what the command line asks for; writes scores.csv, tables.txt and folds/."""
    # What is wrong with the call or the data shows before training starts.
    names = options.method or [settings.method]
    names = METHODS if ALL in names else dict.fromkeys(names)
    methods = [find_method(name, settings.preset) for name in names]
    # Fewer epochs come last: what a paper trains for is not what its method's default does.
    chosen = {
        with_epochs(method, settings.epochs): variants
        for method, variants in choose_variants(methods, options.variant).items()
    }
    out = options.out.resolve()
    make_folder(out / "folds")
    with on_cluster(settings.dask) as client, dataset_cache(settings.cache, out) as cache:
        folds = plan_folds(
            chosen,
            options.data,
            out,
            cache.resolve(),
            dict.fromkeys(options.leads or settings.lead_sets),
            None if options.by_source else options.folds,
            dict.fromkeys(options.seeds or [settings.seed]),
            settings,
        )
        keep_compiled(cache.resolve() / "compiled")
        rows = cross_validate(folds, options.jobs, client)
    stands_for = {(method.name, variants[0]): variants for method, variants in chosen.items()}
    tables = tables_for(measured_in(rows, stands_for))
    text = "\n\n".join([_heading(options, settings, chosen), *tables]) + "\n"
    _write_rows(options.out / "scores.csv", rows)
    write_text(options.out / "tables.txt", text)
    print(f"\n{text}", flush=True)


def choose_variants(methods: Iterable[Method], names) -> dict[Method, tuple[str, ...]]:
    """The different methods to train, each with every variant that it stands for.

    names: of variants; a method takes those that it has, or all of its own for "all".
    Raises ValueError for a name that none of the methods has, or a method that has none of them.
    """
    methods = list(methods)
    known = {name for method in methods for name in VARIANTS[method.name]}
    unknown = set(names) - known - {ALL}
    if unknown:
        raise ValueError(
            f"--variant: expected {ALL} or some of {', '.join(sorted(known))}; "
            f"found {', '.join(sorted(unknown))}"
        )
    chosen = {}
    for method in methods:
        own = [name for name in VARIANTS[method.name] if ALL in names or name in names]
        if not own:
            raise ValueError(
                f"--variant: expected some of {', '.join(VARIANTS[method.name])} for "
                f"{method.name}; found {', '.join(names)}"
            )
        chosen |= distinct_variants(method, own)
    return chosen


def plan_folds(
    chosen: dict[Method, tuple[str, ...]],
    data: Path,
    out: Path,
    cache: Path,
    lead_sets: Iterable[int],
    n_folds: int | None,
    seeds: Iterable[int],
    settings: Settings,
) -> list[Fold]:
    """Every fold to train, in the order of scores.csv; the records are prepared for them.

    n_folds: None leaves out a source at a time. The split follows from the settings' seed, so
    that all methods, lead sets and seeds share it.
    """
    prepared = {
        preparation: prepare_dataset(data, preparation, cache, settings.workers)
        for preparation in dict.fromkeys(method.preparation for method in chosen)
    }
    folds = []
    for method, variants in chosen.items():
        dataset = prepared[method.preparation]
        splits = split_dataset(dataset, n_folds, settings.seed)
        simulated = simulated_for(method, cache, settings.workers)
        for lead_set, seed in itertools.product(lead_sets, seeds):
            first = None
            if simulated is not None:
                first = pretraining_of(out / "folds", method, lead_set, seed, simulated, dataset)
            for name, kept, held_out in splits:
                what = (method, variants[0], lead_set, seed, name)
                file = fold_file(out / "folds", *what, dataset, kept, first)
                folds.append(Fold(*what, dataset.folder, kept, held_out, file, first))
    return folds


def cross_validate(folds: list[Fold], n_at_once: int | None, client=None) -> list[dict]:
    """The rows of scores.csv; trains the folds whose file is not there, and says how they score.

    client: of a cluster that trains them, see `ecg.runtime.processes.on_cluster`.
    """
    missing = [fold for fold in folds if not fold.file.exists()]
    print(f"{len(folds)} folds, {len(folds) - len(missing)} of them are there already", flush=True)
    stages = dict.fromkeys(fold.pretraining for fold in missing if fold.pretraining is not None)
    to_train = [stage for stage in stages if not stage.file.exists()]
    for stage, _ in run_jobs(run_pretraining, to_train, n_at_once, client):
        print(f"{stage.file.name}: trained on simulated records", flush=True)
    started = time.monotonic()
    trained = run_jobs(run_fold, missing, n_at_once, client)
    for n_done, (fold, _) in enumerate(trained, start=1):
        answers = read_answers(fold.file)
        scores = answers.scores
        print(
            f"{n_done}/{len(missing)} {fold.method.name} {fold.variant}, {fold.lead_set} leads, "
            f"seed {fold.seed}, fold {fold.name}: "
            f"Challenge metric {scores['Challenge metric']:.3f}, "
            f"AUROC {scores['AUROC']:.3f}, {answers.facts['epochs']} epochs, "
            f"{answers.facts['seconds']} s, some "
            f"{(time.monotonic() - started) / 60 / n_done * (len(missing) - n_done):.0f} min left",
            flush=True,
        )
    return score_rows(folds, [read_answers(fold.file) for fold in folds])


def _heading(options, settings: Settings, chosen: dict[Method, tuple[str, ...]]) -> str:
    """What the figures here are of."""
    split = "one source left out at a time" if options.by_source else f"{options.folds} folds"
    most = ", ".join(
        f"{method.name} {variants[0]} {method.training.epochs}"
        for method, variants in chosen.items()
    )
    return (
        f"Measured here on {options.data}, {split}, preset {settings.preset}; at most so many "
        f"epochs: {most}."
    )


def _write_rows(path: Path, rows: list[dict]) -> None:
    with (
        written_whole(path) as unfinished,
        open(unfinished, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, rows[0].keys(), restval="")
        writer.writeheader()
        writer.writerows(rows)
