"""Answers of folds -> rows of scores, and what the papers' tables take from them."""

from collections.abc import Callable

import numpy as np

from ecg.evaluation.folds import Answers, Fold
from ecg.evaluation.tables import Measured
from ecg.records.metrics import macro_mean

_ALL = "all"  # the seeds
_MEAN, _SPREAD = "mean", "SD over folds"


def score_rows(folds: list[Fold], answers: list[Answers]) -> list[dict]:
    """Rows for scores.csv: one per fold, then what `_summaries` makes of the folds that share
    method, variant and lead set."""
    groups = {}
    for fold, own in zip(folds, answers, strict=True):
        head = (("method", fold.method.name), ("variant", fold.variant), ("leads", fold.lead_set))
        groups.setdefault(head, []).append((fold, own, own.scores))
    rows = []
    for head, group in groups.items():
        lines = [(fold.seed, fold.name, scores, own.facts) for fold, own, scores in group]
        lines += [(seed, name, scores, {}) for seed, name, scores in _summaries(group)]
        for seed, name, scores, facts in lines:
            figures = {figure: round(value, 4) for figure, value in scores.items()}
            rows.append(dict(head) | {"seed": seed, "fold": name} | figures | facts)
    return rows


def measured_in(rows: list[dict], stands_for: dict[tuple[str, str], tuple[str, ...]]) -> Measured:
    """What the papers' tables take from `score_rows`.

    stands_for: (method, variant trained) -> all variants that it is.
    """
    measured = {}
    for mean, spread in zip(*(_of_all_seeds(rows, name) for name in (_MEAN, _SPREAD)), strict=True):
        own = [mean["method"], mean["variant"], mean["leads"]]
        n_scores = sum(
            [row["method"], row["variant"], row["leads"]] == own and "epochs" in row for row in rows
        )
        for variant in stands_for[mean["method"], mean["variant"]]:
            for figure, value in mean.items():
                if isinstance(value, float):
                    key = (mean["method"], variant, mean["leads"], figure)
                    measured[key] = (value, spread[figure], n_scores)
    return measured


def _summaries(group) -> list[tuple[object, str, dict]]:
    """(seed, name, scores): per seed the mean over folds and the scores of all its answers
    together; then mean and standard deviation over all folds, and that of the seeds' means."""
    summaries, means = [], []
    for seed in dict.fromkeys(fold.seed for fold, _, _ in group):
        means.append(_over(macro_mean, [one for fold, _, one in group if fold.seed == seed]))
        answers = _together([own for fold, own, _ in group if fold.seed == seed])
        summaries += [(seed, _MEAN, means[-1]), (seed, "together", answers.scores)]
    every = [scores for _, _, scores in group]
    summaries += [(_ALL, _MEAN, _over(macro_mean, every)), (_ALL, _SPREAD, _over(_spread, every))]
    if len(means) > 1:
        summaries.append((_ALL, "SD over seeds", _over(_spread, means)))
    return summaries


def _together(answers: list[Answers]) -> Answers:
    parts = ("names", "labels", "outputs", "probabilities")
    return Answers(
        *(np.concatenate([getattr(one, part) for one in answers]) for part in parts), facts={}
    )


def _over(statistic: Callable, scores: list[dict]) -> dict[str, float]:
    """The statistic of each figure over the scores."""
    return {
        figure: float(statistic(np.array([one[figure] for one in scores]))) for figure in scores[0]
    }


def _spread(figures) -> float:
    """Standard deviation of a sample; NaN where fewer than two figures are defined."""
    defined = figures[~np.isnan(figures)]
    return float(defined.std(ddof=1)) if len(defined) > 1 else np.nan


def _of_all_seeds(rows, name) -> list[dict]:
    return [row for row in rows if (row["seed"], row["fold"]) == (_ALL, name)]
