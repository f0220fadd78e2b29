"""Probabilities of windows -> those of records -> labels; never an empty answer."""

from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from ecg.models.expected_score import climb
from ecg.records.diagnoses import N_CLASSES, SINUS_RHYTHM, read_weights
from ecg.records.metrics import challenge_metric

_TEMPERATURES = (0.5, 3.0)  # between which one is fitted
_POSSIBLE_TEMPERATURES = (0.1, 10.0)  # beyond which probabilities are all but 0, 1 or 1/2
# One number follows from few records, but from a handful it is chance.
_FEWEST_TO_CALIBRATE = 20


@dataclass(frozen=True)
class DecisionOptions:
    """How windows make a record's answer.

    vote: "mean" over the windows, or "any": a record has what any of its windows has.
    rule: "fitted" thresholds per class, for the Challenge metric; "record_maximum": the record's
    largest probability / divisor is its threshold for all classes; or "expected_score": the label
    set of the largest expected Challenge score, see `ecg.models.expected_score`.
    calibrated: whether a temperature is fitted to the probabilities before the rule, see
    `calibrate`.
    fitted_on: the "validation" records or the "training" records.
    shrinkage: positive records at which a class's own threshold and the global one weigh alike.
    n_candidates: thresholds tried, evenly spaced in log-odds between lowest and 1 - lowest.
    """

    vote: str = "mean"
    rule: str = "fitted"
    calibrated: bool = False
    divisor: float = 5.0
    fitted_on: str = "validation"
    shrinkage: float = 25.0
    n_candidates: int = 49
    lowest: float = 0.01

    def __post_init__(self):
        for name, known in (
            ("vote", ("mean", "any")),
            ("rule", ("fitted", "record_maximum", "expected_score")),
            ("fitted_on", ("validation", "training")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name}: expected {' or '.join(known)}, found {getattr(self, name)}"
                )
        if not self.divisor >= 1:
            raise ValueError(f"divisor: expected at least 1, found {self.divisor}")
        if not (self.shrinkage >= 0 and self.n_candidates >= 1 and 0 < self.lowest < 0.5):
            raise ValueError(
                "expected shrinkage >= 0, n_candidates >= 1 and 0 < lowest < 0.5; found "
                f"{self.shrinkage}, {self.n_candidates}, {self.lowest}"
            )


@dataclass(frozen=True, eq=False)
class Decision:
    """A rule with all that was fitted for it.

    thresholds: (26,), probability from which a class is answered; (0,) where the rule needs none.
    temperature: see `calibrate`. weights: (26, 26), the rewards that the rule is for, by default
    the Challenge's.
    Raises ValueError where these do not fit the rule.
    """

    options: DecisionOptions
    thresholds: np.ndarray
    temperature: float = 1.0
    weights: np.ndarray = field(default_factory=read_weights, repr=False)

    def __post_init__(self):
        n_thresholds = N_CLASSES if self.options.rule == "fitted" else 0
        in_range = ((self.thresholds >= 0) & (self.thresholds <= 1)).all()
        if self.thresholds.shape != (n_thresholds,) or not in_range:
            raise ValueError(
                f"expected {n_thresholds} thresholds between 0 and 1, found {self.thresholds}"
            )
        low, high = _POSSIBLE_TEMPERATURES
        if not low <= self.temperature <= high:
            raise ValueError(
                f"expected a temperature of {low:g} to {high:g}, found {self.temperature}"
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


def calibrate(probabilities, temperature: float) -> np.ndarray:
    """Probabilities of the same shape with their log-odds divided by the temperature.

    Above 1 it moves them towards 1/2. At 1 they stay the same to the last bit.
    Temperature scaling: Guo et al., ICML 2017, here of each class's own log-odds.
    """
    if temperature == 1:
        return probabilities
    # The same as by log-odds, but defined at probabilities of 0 and 1 too.
    present, absent = probabilities ** (1 / temperature), (1 - probabilities) ** (1 / temperature)
    return present / (present + absent)


def decide(probabilities, decision: Decision) -> np.ndarray:
    """Labels (n_records, 26), bool, at least one a record.

    probabilities: (n_records, 26), by `calibrate` with the decision's temperature already.
    By thresholds: probability >= threshold; sinus rhythm where none is.
    """
    if decision.options.rule == "expected_score":
        start = np.zeros(probabilities.shape, bool)
        start[:, SINUS_RHYTHM] = True
        return climb(probabilities, start, decision.weights)
    if decision.options.rule == "record_maximum":
        return _reaching(_shares_of_maximum(probabilities, decision.options), probabilities)
    return _reaching(decision.thresholds, probabilities)


def fit_decision(labels, probabilities, weights, options: DecisionOptions) -> Decision:
    """The options' rule with what it needs, fitted to the Challenge metric on some records.

    labels, probabilities: (n_records, 26), of the records to fit on; the probabilities as they
    come, not calibrated. weights: the Challenge's matrix.
    """
    temperature = fit_temperature(labels, probabilities) if options.calibrated else 1.0
    thresholds = np.empty(0)
    if options.rule == "fitted":
        calibrated = calibrate(probabilities, temperature)
        thresholds = _fit_thresholds(labels, calibrated, weights, options)
    return Decision(options, thresholds, temperature, weights)


def fit_temperature(labels, probabilities) -> float:
    """The temperature between 1/2 and 3 with the least mean cross-entropy over records and classes.

    labels, probabilities: (n_records, n_classes). 1 where there are fewer than 20 records.
    """
    if len(labels) < _FEWEST_TO_CALIBRATE:
        return 1.0
    # float32 knows no probability between 1 - 6e-8 and 1; unclipped, one that is certain and
    # wrong would cost more than all others together.
    log_odds = logit(np.clip(np.asarray(probabilities, float), 1e-7, 1 - 1e-7))
    against = np.where(labels, -log_odds, log_odds)

    # Convex in 1 / temperature, so that the minimum between the bounds is the only one.
    def cross_entropy(log_temperature):
        return np.logaddexp(0, against * np.exp(-log_temperature)).mean()

    bounds = np.log(_TEMPERATURES)
    return float(np.exp(minimize_scalar(cross_entropy, bounds=bounds, method="bounded").x))


def best_metric(labels, probabilities, weights, options: DecisionOptions) -> float:
    """The Challenge metric of these records, thresholds being the best that all classes share.

    It ranks epochs, so it stands for the rule "expected_score" too, whose own metric would need a
    temperature in each. By "record_maximum" it is that of the rule's labels.
    """
    if options.rule == "record_maximum":
        outputs = _reaching(_shares_of_maximum(probabilities, options), probabilities)
        return challenge_metric(labels, outputs, weights)
    return max(_shared_thresholds(labels, probabilities, weights, options)[1])


def decision_to_dict(decision: Decision) -> dict:
    """What `decision_from_dict` reads, for JSON; without the options and the weights."""
    return {"thresholds": decision.thresholds.tolist(), "temperature": decision.temperature}


def decision_from_dict(values: dict, options: DecisionOptions) -> Decision:
    """The decision that `decision_to_dict` wrote, by the Challenge's weights.

    Raises KeyError, TypeError or ValueError where a value is missing, of another kind, or does not
    fit the options' rule.
    """
    thresholds = np.array(values["thresholds"], float)
    return Decision(options, thresholds, float(values["temperature"]))


def _fit_thresholds(labels, probabilities, weights, options: DecisionOptions) -> np.ndarray:
    """Thresholds (n_classes,) that raise the Challenge metric on these records.

    First the one threshold for all classes that scores best; then, the others held there, each
    class's own best. A class's threshold is the mean of the two in log-odds, weighted by its
    positive records against `options.shrinkage`, since a rare class's own is mostly chance.
    labels, probabilities: (n_records, n_classes); weights: the Challenge's matrix.
    """
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
            scores.append(_metric(labels, probabilities, trial, weights))
        own = _best(candidates, scores)
        trust = n_positive[i] / (n_positive[i] + options.shrinkage)
        fitted[i] = trust * own + (1 - trust) * shared
    return expit(fitted)


def _shared_thresholds(labels, probabilities, weights, options) -> tuple[np.ndarray, list[float]]:
    """Candidates in log-odds, and the Challenge metric with each as the threshold of all."""
    bound = logit(1 - options.lowest)
    candidates = np.linspace(-bound, bound, options.n_candidates)
    return candidates, [_metric(labels, probabilities, value, weights) for value in candidates]


def _metric(labels, probabilities, log_odds, weights) -> float:
    outputs = _reaching(expit(log_odds), probabilities)
    return challenge_metric(labels, outputs, weights)


def _reaching(thresholds, probabilities) -> np.ndarray:
    """Labels by thresholds; sinus rhythm where no class reaches its own."""
    labels = probabilities >= thresholds
    labels[~labels.any(axis=1), SINUS_RHYTHM] = True
    return labels


def _shares_of_maximum(probabilities, options) -> np.ndarray:
    """Each record's own threshold (n_records, 1)."""
    return probabilities.max(axis=1, keepdims=True) / options.divisor


def _best(candidates, scores) -> float:
    # Of equally good candidates the middle one, which lies farthest from where the score drops.
    best = np.flatnonzero(np.isclose(scores, np.max(scores), rtol=0, atol=1e-12))
    return candidates[best[len(best) // 2]]
