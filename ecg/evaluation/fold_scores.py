"""The scores of folds: rows of scores.csv, and the figures for the papers' tables."""

from collections.abc import Callable

import numpy as np

from ecg.evaluation.folds import Fold, FoldOutputs
from ecg.evaluation.tables import Measured
from ecg.records.metrics import macro_mean

_ALL = "all"  # seeds
_MEAN, _SD = "mean", "SD over folds"


def score_rows(folds: list[Fold], answers: list[FoldOutputs]) -> list[dict]:
    """Rows for scores.csv: one for each fold, then the summaries of the folds that share method,
    variant and lead set (see `_summaries`)."""
    groups = {}
    for fold, answered in zip(folds, answers, strict=True):
        method, lead_set = fold.run.method.name, fold.run.lead_set
        head = (("method", method), ("variant", fold.variant), ("leads", lead_set))
        groups.setdefault(head, []).append((fold, answered, answered.scores))
    rows = []
    for head, group in groups.items():
        lines = [
            (fold.run.seed, fold.split.name, scores, answered.training)
            for fold, answered, scores in group
        ]
        lines += [(seed, name, scores, {}) for seed, name, scores in _summaries(group)]
        for seed, name, scores, training in lines:
            figures = {figure: round(value, 4) for figure, value in scores.items()}
            rows.append(dict(head) | {"seed": seed, "fold": name} | figures | training)
    return rows


def measured_in(rows: list[dict], equal: dict[tuple[str, str], tuple[str, ...]]) -> Measured:
    """Return the figures of `score_rows` that the papers' tables show.

    equal: (method, variant trained) -> all variants that are equal to it.
    """
    measured = {}
    for mean, sd in zip(*(_of_all_seeds(rows, name) for name in (_MEAN, _SD)), strict=True):
        head = [mean["method"], mean["variant"], mean["leads"]]
        n_scores = sum(
            [row["method"], row["variant"], row["leads"]] == head and "epochs" in row
            for row in rows
        )
        for variant in equal[mean["method"], mean["variant"]]:
            for figure, value in mean.items():
                if isinstance(value, float):
                    key = (mean["method"], variant, mean["leads"], figure)
                    measured[key] = (value, sd[figure], n_scores)
    return measured


def _summaries(group) -> list[tuple[object, str, dict]]:
    """(seed, name, scores) of one method, variant and lead set.

    For each seed the mean over folds and the scores of all its answers together; then mean and
    standard deviation over all folds, and the standard deviation of the seeds' means.
    """
    summaries, means = [], []
    for seed in dict.fromkeys(fold.run.seed for fold, _, _ in group):
        of_seed = [(answers, scores) for fold, answers, scores in group if fold.run.seed == seed]
        means.append(_over(macro_mean, [scores for _, scores in of_seed]))
        together = _together([answers for answers, _ in of_seed])
        summaries += [(seed, _MEAN, means[-1]), (seed, "together", together.scores)]
    scores_of_all = [scores for _, _, scores in group]
    summaries.append((_ALL, _MEAN, _over(macro_mean, scores_of_all)))
    summaries.append((_ALL, _SD, _over(_standard_deviation, scores_of_all)))
    if len(means) > 1:
        summaries.append((_ALL, "SD over seeds", _over(_standard_deviation, means)))
    return summaries


def _together(answers: list[FoldOutputs]) -> FoldOutputs:
    """Return the answers of all folds as those of one."""
    fields = ("names", "labels", "outputs", "probabilities")
    arrays = (np.concatenate([getattr(fold, name) for fold in answers]) for name in fields)
    return FoldOutputs(*arrays, training={})


def _over(statistic: Callable, scores: list[dict]) -> dict[str, float]:
    """Return the statistic of each figure over the scores."""
    return {name: float(statistic(np.array([of[name] for of in scores]))) for name in scores[0]}


def _standard_deviation(figures) -> float:
    """Return the standard deviation of a sample; NaN where fewer than two figures are defined."""
    defined = figures[~np.isnan(figures)]
    return float(defined.std(ddof=1)) if len(defined) > 1 else np.nan


def _of_all_seeds(rows, name) -> list[dict]:
    return [row for row in rows if (row["seed"], row["fold"]) == (_ALL, name)]
