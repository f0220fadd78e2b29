"""From the probabilities of windows to those of records and to labels, at least one a record."""

from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from ecg.models.expected_score import climb
from ecg.models.operating_points import OperatingPoints, points_from_dict, points_to_dict
from ecg.records.diagnoses import N_CLASSES, SINUS_RHYTHM, read_weights
from ecg.records.metrics import challenge_metric

_TEMPERATURES = (0.5, 3.0)  # the limits of a fitted one
_POSSIBLE_TEMPERATURES = (0.1, 10.0)  # beyond, probabilities are nearly all 0, 1 or 1/2
# A single number can be fitted to few records, but with fewer than these it is mostly chance.
_FEWEST_TO_CALIBRATE = 20


@dataclass(frozen=True)
class DecisionOptions:
    """How the probabilities of windows become a record's labels.

    vote: "mean" over the windows, or "any" for the largest, so that a record has every class of any
    of its windows.
    rule: "fitted" for a threshold per class, fitted to the Challenge metric; "record_maximum" for
    one threshold per record, its largest probability / divisor; "expected_score" for the label set
    with the largest expected Challenge score, see `ecg.models.expected_score`.
    calibrated: whether a temperature is fitted to the probabilities first, see `calibrate`.
    divisor: of the rule "record_maximum".
    fitted_on: the "validation" records or the "training" records.
    shrinkage: number of positive records at which a class's threshold and the shared one have the
    same weight.
    n_candidates: number of thresholds tried, evenly spaced in log-odds.
    lowest: the least threshold tried; the largest is 1 - lowest.
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
    """A rule with the values fitted for it.

    thresholds: (26,), the least probability of each class's label; (0,) where the rule has none.
    temperature: see `calibrate`.
    weights: (26, 26), the reward matrix that the rule optimises; by default the Challenge's.
    points: of the clinical rule, see `ecg.models.operating_points`; None where none were fitted.
    Raises ValueError where these do not fit the rule.
    """

    options: DecisionOptions
    thresholds: np.ndarray
    temperature: float = 1.0
    weights: np.ndarray = field(default_factory=read_weights, repr=False)
    points: OperatingPoints | None = None

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
    """Probabilities (n_records, n_classes) of records from those of their windows.

    probabilities: (sum of n_windows, n_classes), record after record; n_windows: (n_records,), at
    least 1 each. The vote "any" takes each class's largest.
    """
    firsts = np.cumsum(n_windows) - n_windows
    if vote == "any":
        return np.maximum.reduceat(probabilities, firsts)
    return np.add.reduceat(probabilities, firsts) / np.asarray(n_windows)[:, None]


def calibrate(probabilities, temperature: float) -> np.ndarray:
    """Divide the log-odds of the probabilities by the temperature; returns probabilities.

    A temperature above 1 moves them towards 1/2; 1 leaves them unchanged to the last bit.
    Temperature scaling: Guo et al., ICML 2017, applied here to each class's log-odds.
    """
    if temperature == 1:
        return probabilities
    # Equal to scaling the log-odds, but defined for probabilities of 0 and 1 too.
    present, absent = probabilities ** (1 / temperature), (1 - probabilities) ** (1 / temperature)
    return present / (present + absent)


def decide(probabilities, decision: Decision) -> np.ndarray:
    """Labels (n_records, 26), bool, at least one for each record.

    probabilities: (n_records, 26), already calibrated with the decision's temperature.
    With thresholds, a class is positive from its threshold on; sinus rhythm where none is.
    """
    if decision.options.rule == "expected_score":
        start = np.zeros(probabilities.shape, bool)
        start[:, SINUS_RHYTHM] = True
        return climb(probabilities, start, decision.weights)
    if decision.options.rule == "record_maximum":
        return _reaching(_shares_of_maximum(probabilities, decision.options), probabilities)
    return _reaching(decision.thresholds, probabilities)


def fit_decision(labels, probabilities, weights, options: DecisionOptions) -> Decision:
    """Fit the options' rule to the Challenge metric of some records.

    labels, probabilities: (n_records, 26), of those records; the probabilities are not calibrated
    yet. weights: the Challenge's matrix.
    """
    temperature = fit_temperature(labels, probabilities) if options.calibrated else 1.0
    thresholds = np.empty(0)
    if options.rule == "fitted":
        calibrated = calibrate(probabilities, temperature)
        thresholds = _fit_thresholds(labels, calibrated, weights, options)
    return Decision(options, thresholds, temperature, weights)


def fit_temperature(labels, probabilities) -> float:
    """Return the temperature from 1/2 to 3 with the least mean cross-entropy over records and
    classes.

    labels, probabilities: (n_records, n_classes). 1 where there are fewer than 20 records.
    """
    if len(labels) < _FEWEST_TO_CALIBRATE:
        return 1.0
    # float32 has no probability between 1 - 6e-8 and 1; without clipping, a single wrong one of
    # exactly 1 would cost more than all others together.
    log_odds = logit(np.clip(np.asarray(probabilities, float), 1e-7, 1 - 1e-7))
    log_odds_of_error = np.where(labels, -log_odds, log_odds)

    # Convex in 1 / temperature, so the minimum within the bounds is unique.
    def cross_entropy(log_temperature):
        return np.logaddexp(0, log_odds_of_error * np.exp(-log_temperature)).mean()

    bounds = np.log(_TEMPERATURES)
    return float(np.exp(minimize_scalar(cross_entropy, bounds=bounds, method="bounded").x))


def best_metric(labels, probabilities, weights, options: DecisionOptions) -> float:
    """Return the Challenge metric of these records with the best threshold shared by all classes.

    It ranks epochs. The rule "expected_score" uses it too, since its own labels would need a
    temperature in each epoch. For "record_maximum" it is the metric of the rule's labels.
    """
    if options.rule == "record_maximum":
        outputs = _reaching(_shares_of_maximum(probabilities, options), probabilities)
        return challenge_metric(labels, outputs, weights)
    return max(_shared_thresholds(labels, probabilities, weights, options)[1])


def decision_to_dict(decision: Decision) -> dict:
    """Return the decision as a dict for JSON, without the options and the weights."""
    return {
        "thresholds": decision.thresholds.tolist(),
        "temperature": decision.temperature,
        "operating_points": None if decision.points is None else points_to_dict(decision.points),
    }


def decision_from_dict(values: dict, options: DecisionOptions) -> Decision:
    """Return the decision of a dict from `decision_to_dict`, with the Challenge's weights.

    Raises KeyError, TypeError or ValueError where a value is missing, has another type, or does not
    fit the options' rule.
    """
    thresholds = np.array(values["thresholds"], float)
    points = values.get("operating_points")
    return Decision(
        options,
        thresholds,
        float(values["temperature"]),
        points=None if points is None else points_from_dict(points),
    )


def _fit_thresholds(labels, probabilities, weights, options: DecisionOptions) -> np.ndarray:
    """Thresholds (n_classes,) that raise the Challenge metric on these records.

    First the best threshold shared by all classes; then, with the others kept at that, the best one
    for each class. A class's threshold is the mean of the two in log-odds, weighted by its number
    of positive records against `options.shrinkage`, since for a rare class the second is mostly
    chance.
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
        weight = n_positive[i] / (n_positive[i] + options.shrinkage)
        fitted[i] = weight * _best(candidates, scores) + (1 - weight) * shared
    return expit(fitted)


def _shared_thresholds(labels, probabilities, weights, options) -> tuple[np.ndarray, list[float]]:
    """Candidates in log-odds, and the Challenge metric of each as the threshold of all classes."""
    bound = logit(1 - options.lowest)
    candidates = np.linspace(-bound, bound, options.n_candidates)
    return candidates, [_metric(labels, probabilities, value, weights) for value in candidates]


def _metric(labels, probabilities, log_odds, weights) -> float:
    outputs = _reaching(expit(log_odds), probabilities)
    return challenge_metric(labels, outputs, weights)


def _reaching(thresholds, probabilities) -> np.ndarray:
    """Labels by thresholds; sinus rhythm where no class reaches its threshold."""
    labels = probabilities >= thresholds
    labels[~labels.any(axis=1), SINUS_RHYTHM] = True
    return labels


def _shares_of_maximum(probabilities, options) -> np.ndarray:
    """Return the threshold of each record, (n_records, 1)."""
    return probabilities.max(axis=1, keepdims=True) / options.divisor


def _best(candidates, scores) -> float:
    # The middle one of equally good candidates, farthest from where the score drops.
    best = np.flatnonzero(np.isclose(scores, np.max(scores), rtol=0, atol=1e-12))
    return candidates[best[len(best) // 2]]
