"""Probabilities of windows -> those of records -> labels; never an empty answer."""

from dataclasses import dataclass

import numpy as np

from ecg.classes import SINUS_RHYTHM
from ecg.scoring import challenge_metric


@dataclass(frozen=True)
class DecisionOptions:
    """How windows make a record's answer.

    vote: "mean" over the windows, or "any": a record has what any of its windows has.
    rule: "fitted" thresholds per class, for the Challenge metric, or "record_maximum": the
    record's largest probability / divisor is its threshold for all classes.
    fitted_on: the "validation" records or the "training" records.
    shrinkage: positive records at which a class's own threshold and the global one weigh alike.
    n_candidates: thresholds tried, evenly spaced in log-odds between lowest and 1 - lowest.
    """

    vote: str = "mean"
    rule: str = "fitted"
    divisor: float = 5.0
    fitted_on: str = "validation"
    shrinkage: float = 25.0
    n_candidates: int = 49
    lowest: float = 0.01

    def __post_init__(self):
        for name, known in (
            ("vote", ("mean", "any")),
            ("rule", ("fitted", "record_maximum")),
            ("fitted_on", ("validation", "training")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name}: expected {' or '.join(known)}, found {getattr(self, name)}"
                )
        if self.divisor < 1:
            raise ValueError(f"divisor: expected at least 1, found {self.divisor}")
        if self.shrinkage < 0 or self.n_candidates < 1 or not 0 < self.lowest < 0.5:
            raise ValueError(
                "expected shrinkage >= 0, n_candidates >= 1 and 0 < lowest < 0.5; found "
                f"{self.shrinkage}, {self.n_candidates}, {self.lowest}"
            )


def pool_windows(probabilities, n_windows, vote: str) -> np.ndarray:
    """Probabilities (n_records, n_classes) of records whose windows stand one after another.

    probabilities: (sum of n_windows, n_classes); n_windows: (n_records,), at least 1 each.
    A vote of "any" takes each class's largest: it reaches a threshold where any window does.
    """
    firsts = np.cumsum(n_windows) - n_windows
    if vote == "any":
        return np.maximum.reduceat(probabilities, firsts)
    return np.add.reduceat(probabilities, firsts) / np.asarray(n_windows)[:, None]


def decide(probabilities, thresholds, options: DecisionOptions) -> np.ndarray:
    """Labels (n_records, n_classes), bool: probability >= threshold; sinus rhythm where none is.

    thresholds: (n_classes,), or none, (0,), where the options' rule needs none.
    """
    if options.rule == "record_maximum":
        thresholds = probabilities.max(axis=1, keepdims=True) / options.divisor
    labels = probabilities >= thresholds
    labels[~labels.any(axis=1), SINUS_RHYTHM] = True
    return labels


def best_metric(labels, probabilities, weights, options: DecisionOptions) -> float:
    """The Challenge metric of these records, thresholds being the best that all classes share."""
    if options.rule == "record_maximum":
        return challenge_metric(labels, decide(probabilities, np.empty(0), options), weights)
    return max(_shared_thresholds(labels, probabilities, weights, options)[1])


def fit_thresholds(labels, probabilities, weights, options: DecisionOptions) -> np.ndarray:
    """Thresholds (n_classes,) that raise the Challenge metric on these records; none, (0,), where
    the options' rule needs none.

    First the one threshold for all classes that scores best; then, the others held there, each
    class's own best. A class's threshold is the mean of the two in log-odds, weighted by its
    positive records against `options.shrinkage`, since a rare class's own is mostly chance.
    labels, probabilities: (n_records, n_classes); weights: the Challenge's matrix.
    """
    if options.rule == "record_maximum":
        return np.empty(0)
    n_classes = labels.shape[1]
    candidates, scores = _shared_thresholds(labels, probabilities, weights, options)
    shared = _best(candidates, scores)
    fitted = np.full(n_classes, shared)
    n_positive = np.count_nonzero(labels, axis=0)
    for i in np.flatnonzero(n_positive):
        trial = np.full(n_classes, shared)
        scores = []
        for value in candidates:
            trial[i] = value
            scores.append(_metric(labels, probabilities, trial, weights, options))
        own = _best(candidates, scores)
        trust = n_positive[i] / (n_positive[i] + options.shrinkage)
        fitted[i] = trust * own + (1 - trust) * shared
    return _probability(fitted)


def _shared_thresholds(labels, probabilities, weights, options) -> tuple[np.ndarray, list[float]]:
    """Candidates in log-odds, and the Challenge metric with each as the threshold of all."""
    bound = _log_odds(1 - options.lowest)
    candidates = np.linspace(-bound, bound, options.n_candidates)
    return candidates, [
        _metric(labels, probabilities, value, weights, options) for value in candidates
    ]


def _metric(labels, probabilities, log_odds, weights, options) -> float:
    outputs = decide(probabilities, _probability(log_odds), options)
    return challenge_metric(labels, outputs, weights)


def _best(candidates, scores) -> float:
    # Of equally good candidates the middle one, which lies farthest from where the score drops.
    best = np.flatnonzero(np.isclose(scores, np.max(scores), rtol=0, atol=1e-12))
    return candidates[best[len(best) // 2]]


def _log_odds(probability):
    return np.log(probability / (1 - probability))


def _probability(log_odds):
    return 1 / (1 + np.exp(-log_odds))
