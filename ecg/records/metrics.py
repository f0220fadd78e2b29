"""The Challenge's metrics on arrays, as the PhysioNet/CinC Challenge 2021 defines them.

Everywhere: labels (truth) and outputs (predictions) are (n_records, n_classes), bool; probabilities
are (n_records, n_classes), float. A metric that is not defined (without a positive record, say) is
NaN, and macro means ignore it.
"""

from dataclasses import dataclass

import numpy as np

from ecg.records.diagnoses import SINUS_RHYTHM

_BLOCK = 1024  # records: they fit the CPU's cache, and their product starts no threads


@dataclass(frozen=True)
class Scores:
    """Metrics per class, (n_classes,), and over all records."""

    auroc: np.ndarray
    auprc: np.ndarray
    f_measure: np.ndarray
    accuracy: float
    challenge_metric: float

    @property
    def summary(self) -> dict[str, float]:
        """The five metrics, with the names and in the order of the Challenge."""
        return {
            "AUROC": macro_mean(self.auroc),
            "AUPRC": macro_mean(self.auprc),
            "Accuracy": self.accuracy,
            "F-measure": macro_mean(self.f_measure),
            "Challenge metric": self.challenge_metric,
        }


def score(labels, outputs, probabilities, weights) -> Scores:
    """All the Challenge's metrics; weights: (n_classes, n_classes), see `challenge_metric`."""
    # In memory class by class, as most metrics read them.
    labels, outputs, probabilities = map(np.asfortranarray, (labels, outputs, probabilities))
    auroc, auprc = np.array(list(map(areas_under_curves, labels.T, probabilities.T))).T
    return Scores(
        auroc=auroc,
        auprc=auprc,
        f_measure=f_measure(labels, outputs),
        accuracy=float(np.mean(np.all(labels == outputs, axis=1))),
        challenge_metric=challenge_metric(labels, outputs, weights),
    )


def areas_under_curves(label, probability) -> tuple[float, float]:
    """AUROC and AUPRC of a class; label (n_records,), bool, probability (n_records,).

    Thresholds are the distinct probabilities, from "none is positive" downwards. AUROC is the
    area under the piecewise linear curve of true negative over true positive rate, AUPRC that
    under the piecewise constant curve of precision over recall.
    """
    n_positive = np.count_nonzero(label)
    n_negative = len(label) - n_positive
    if n_positive == 0:
        return np.nan, np.nan
    # Only thresholds at the probabilities of positive records raise the recall, so add area.
    thresholds, gained = np.unique(probability[label], return_counts=True)
    negatives = np.sort(probability[~label])
    less, not_more = (np.searchsorted(negatives, thresholds, side) for side in ("left", "right"))
    # From here on in descending order, from "none is positive".
    less, not_more, gained = less[::-1], not_more[::-1], gained[::-1]
    true_positives = np.cumsum(gained)
    recall_gained = np.diff(true_positives / n_positive, prepend=0.0)
    precision = true_positives / (true_positives + n_negative - less)
    auprc = _running_sum(recall_gained * precision)
    if n_negative == 0:
        return np.nan, auprc
    # The true negative rate at each threshold, and at the last one above it.
    specificity, specificity_above = less / n_negative, not_more / n_negative
    return _running_sum(0.5 * recall_gained * (specificity + specificity_above)), auprc


def f_measure(labels, outputs) -> np.ndarray:
    """2TP / (2TP + FP + FN) per class; NaN for a class that is nowhere true or predicted."""
    n_right = np.count_nonzero(labels & outputs, axis=0)
    return f_measure_of_counts(n_right, np.count_nonzero(labels != outputs, axis=0))


def f_measure_of_counts(n_right, n_wrong) -> np.ndarray:
    """2TP / (2TP + FP + FN) from TP and FP + FN, arrays of one shape; NaN where all are 0."""
    twice_true_positives = 2.0 * np.asarray(n_right)
    return _ratio(twice_true_positives, twice_true_positives + n_wrong)


def beta_measures(labels, outputs, beta=2.0) -> tuple[float, float]:
    """F-beta and G-beta, the scores of the first phase of the Challenge of 2020.

    Per class (1 + b^2) TP / ((1 + b^2) TP + FP + b^2 FN) and TP / (TP + FP + b FN), where a record
    counts as 1 / max(1, its true classes); then the macro means. beta: weight of false negatives
    against false positives. The Challenge: Perez Alday et al., Physiol. Meas. 41 (2020) 124003; the
    definition: its scoring program.
    """
    share = 1 / np.maximum(np.count_nonzero(labels, axis=1), 1)
    tp, fp, fn = (share @ hits for hits in (labels & outputs, ~labels & outputs, labels & ~outputs))
    weighted_tp = (1 + beta**2) * tp
    f_beta = _ratio(weighted_tp, weighted_tp + fp + beta**2 * fn)
    g_beta = _ratio(tp, tp + fp + beta * fn)
    return macro_mean(f_beta), macro_mean(g_beta)


def challenge_metric(labels, outputs, weights, sinus_rhythm=SINUS_RHYTHM) -> float:
    """Weighted accuracy, scaled so that the true labels score 1 and always sinus rhythm scores 0.

    weights[j, k]: reward for predicting k where j is true. 0 where those two scores are equal.
    """
    inactive = np.zeros_like(outputs)
    inactive[:, sinus_rhythm] = True
    observed, correct, floor = (
        np.nansum(weights * _confusion(labels, other)) for other in (outputs, labels, inactive)
    )
    return float((observed - floor) / (correct - floor)) if correct != floor else 0.0


def rewards_by_record(labels, outputs, weights) -> np.ndarray:
    """Return the reward (n_records,) of each record in the Challenge metric, before scaling."""
    return ((labels @ weights) * outputs).sum(axis=1) / count_classes(labels, outputs)


def count_classes(labels, outputs) -> np.ndarray:
    """Return the number of classes (n_records,) that are true or predicted in each record, at
    least 1."""
    return np.maximum(np.count_nonzero(labels | outputs, axis=1), 1)


def brier_score(label, probability) -> float:
    """Return the mean squared distance between the probabilities and the labels, 0 to 1."""
    return float(np.mean(np.square(np.asarray(probability, float) - label)))


def macro_mean(figures) -> float:
    """Return the mean of the figures that are defined; NaN where none is."""
    n_defined = np.count_nonzero(~np.isnan(figures))
    # Summed with zeros for NaN, as the Challenge does: the order can change the last printed digit.
    return float(np.nansum(figures) / n_defined) if n_defined else np.nan


def _confusion(labels, outputs) -> np.ndarray:
    """A[j, k]: records with j true and k predicted, each as 1 / (its classes true or predicted)."""
    total = np.zeros((labels.shape[1], outputs.shape[1]))
    for i in range(0, len(labels), _BLOCK):
        truth, predicted = labels[i : i + _BLOCK], outputs[i : i + _BLOCK]
        total += truth.T.astype(float) @ (predicted / count_classes(truth, predicted)[:, None])
    return total


def _running_sum(terms) -> float:
    # One by one, as in the definition: np.sum's order can change the last printed digit.
    return float(np.cumsum(terms)[-1])


def _ratio(numerator, denominator) -> np.ndarray:
    out = np.full(np.shape(numerator), np.nan)
    return np.divide(numerator, denominator, out=out, where=denominator > 0)
