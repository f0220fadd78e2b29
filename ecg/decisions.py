"""Probabilities -> labels: thresholds fitted for the Challenge metric, never an empty answer."""

from dataclasses import dataclass

import numpy as np

from ecg.classes import SINUS_RHYTHM
from ecg.scoring import challenge_metric


@dataclass(frozen=True)
class DecisionOptions:
    """shrinkage: positive records at which a class's own threshold and the global one weigh alike.
    n_candidates: thresholds tried, evenly spaced in log-odds between lowest and 1 - lowest."""

    shrinkage: float = 25.0
    n_candidates: int = 49
    lowest: float = 0.01

    def __post_init__(self):
        if self.shrinkage < 0 or self.n_candidates < 1 or not 0 < self.lowest < 0.5:
            raise ValueError(
                "expected shrinkage >= 0, n_candidates >= 1 and 0 < lowest < 0.5; found "
                f"{self.shrinkage}, {self.n_candidates}, {self.lowest}"
            )


def decide(probabilities, thresholds) -> np.ndarray:
    """Labels (n_records, n_classes), bool: probability >= threshold; sinus rhythm where none is."""
    labels = probabilities >= thresholds
    labels[~labels.any(axis=1), SINUS_RHYTHM] = True
    return labels


def fit_thresholds(labels, probabilities, weights, options) -> np.ndarray:
    """Thresholds (n_classes,) that raise the Challenge metric on these records.

    First the one threshold for all classes that scores best; then, the others held there, each
    class's own best. A class's threshold is the mean of the two in log-odds, weighted by its
    positive records against `options.shrinkage`, since a rare class's own is mostly chance.
    labels, probabilities: (n_records, n_classes); weights: the Challenge's matrix.
    """
    bound = _log_odds(1 - options.lowest)
    candidates = np.linspace(-bound, bound, options.n_candidates)
    n_classes = labels.shape[1]

    def metric(log_odds):
        return challenge_metric(labels, decide(probabilities, _probability(log_odds)), weights)

    shared = _best(candidates, [metric(np.full(n_classes, value)) for value in candidates])
    fitted = np.full(n_classes, shared)
    n_positive = np.count_nonzero(labels, axis=0)
    for i in np.flatnonzero(n_positive):
        trial = np.full(n_classes, shared)
        scores = []
        for value in candidates:
            trial[i] = value
            scores.append(metric(trial))
        own = _best(candidates, scores)
        trust = n_positive[i] / (n_positive[i] + options.shrinkage)
        fitted[i] = trust * own + (1 - trust) * shared
    return _probability(fitted)


def _best(candidates, scores) -> float:
    # Of equally good candidates the middle one, which lies farthest from where the score drops.
    best = np.flatnonzero(np.isclose(scores, np.max(scores), rtol=0, atol=1e-12))
    return candidates[best[len(best) // 2]]


def _log_odds(probability):
    return np.log(probability / (1 - probability))


def _probability(log_odds):
    return 1 / (1 + np.exp(-log_odds))
