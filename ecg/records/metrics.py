"""The Challenge's metrics on arrays, as the PhysioNet/CinC Challenge 2021 defines them.

Everywhere: labels (truth) and outputs (answers) are (n_records, n_classes) bool, probabilities
(n_records, n_classes) float. A figure that is not defined (no positive record, say) is NaN, and
macro means leave it out.
"""

from dataclasses import dataclass

import numpy as np

from ecg.records.diagnoses import SINUS_RHYTHM

_BLOCK = 1024  # records: they fit the cache, and their product is no job to wake threads for


@dataclass(frozen=True)
class Scores:
    """Figures per class, (n_classes,), and over all records."""

    auroc: np.ndarray
    auprc: np.ndarray
    f_measure: np.ndarray
    accuracy: float
    challenge_metric: float

    @property
    def summary(self) -> dict[str, float]:
        """The five figures under the names and in the order that the Challenge prints them."""
        return {
            "AUROC": macro_mean(self.auroc),
            "AUPRC": macro_mean(self.auprc),
            "Accuracy": self.accuracy,
            "F-measure": macro_mean(self.f_measure),
            "Challenge metric": self.challenge_metric,
        }


def score(labels, outputs, probabilities, weights) -> Scores:
    """All the Challenge's figures; weights: (n_classes, n_classes), see `challenge_metric`."""
    # Stored class by class, as most figures read them.
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
    """AUROC and AUPRC of one class; label (n_records,) bool, probability (n_records,).

    Thresholds are the distinct probabilities, from "none is positive" downwards. AUROC is the
    area under the piecewise linear curve of true negative over true positive rate, AUPRC that
    under the piecewise constant curve of precision over recall.
    """
    n_positive = np.count_nonzero(label)
    n_negative = len(label) - n_positive
    if n_positive == 0:
        return np.nan, np.nan
    # Areas grow where recall does: at the probabilities of positive records, and nowhere else.
    thresholds, gained = np.unique(probability[label], return_counts=True)
    negatives = np.sort(probability[~label])
    less, not_more = (np.searchsorted(negatives, thresholds, side) for side in ("left", "right"))
    # From here on downwards, from "none is positive".
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
    """2TP / (2TP + FP + FN) per class; NaN where a class is neither true nor answered anywhere."""
    twice_true = 2.0 * np.count_nonzero(labels & outputs, axis=0)
    wrong = np.count_nonzero(labels != outputs, axis=0)
    return _ratio(twice_true, twice_true + wrong)


def beta_measures(labels, outputs, beta=2.0) -> tuple[float, float]:
    """F-beta and G-beta, by which the Challenge of 2020 scored in its first phase.

    Per class (1 + b^2) TP / ((1 + b^2) TP + FP + b^2 FN) and TP / (TP + FP + b FN), where a record
    counts as 1 / max(1, its true classes); then the macro means. beta: weight of what was missed
    against what was wrongly answered. The Challenge: Perez Alday et al., Physiol. Meas. 41 (2020)
    124003; the definition: its scoring program.
    """
    share = 1 / np.maximum(np.count_nonzero(labels, axis=1), 1)
    true, false, missed = (
        share @ answers for answers in (labels & outputs, ~labels & outputs, labels & ~outputs)
    )
    rewarded = (1 + beta**2) * true
    f_beta = _ratio(rewarded, rewarded + false + beta**2 * missed)
    g_beta = _ratio(true, true + false + beta * missed)
    return macro_mean(f_beta), macro_mean(g_beta)


def challenge_metric(labels, outputs, weights, sinus_rhythm=SINUS_RHYTHM) -> float:
    """Weighted accuracy, scaled so that the true labels score 1 and always-sinus scores 0.

    weights[j, k]: reward for answering k where j is true. 0 where the two ends coincide.
    """
    inactive = np.zeros_like(outputs)
    inactive[:, sinus_rhythm] = True
    observed, correct, floor = (
        np.nansum(weights * _confusion(labels, answer)) for answer in (outputs, labels, inactive)
    )
    return float((observed - floor) / (correct - floor)) if correct != floor else 0.0


def macro_mean(figures) -> float:
    """Mean of the figures that are defined; NaN where none is."""
    n_defined = np.count_nonzero(~np.isnan(figures))
    # Over all places, as the Challenge adds: the order can move the last printed digit.
    return float(np.nansum(figures) / n_defined) if n_defined else np.nan


def _confusion(labels, outputs) -> np.ndarray:
    """A[j, k]: records with j true and k answered, each as 1 / (its classes true or answered)."""
    total = np.zeros((labels.shape[1], outputs.shape[1]))
    for i in range(0, len(labels), _BLOCK):
        truth, answers = labels[i : i + _BLOCK], outputs[i : i + _BLOCK]
        involved = np.maximum(np.count_nonzero(truth | answers, axis=1), 1)
        total += truth.T.astype(float) @ (answers / involved[:, None])
    return total


def _running_sum(terms) -> float:
    # One by one, as the definition adds: np.sum's order can move the last printed digit.
    return float(np.cumsum(terms)[-1])


def _ratio(numerator, denominator) -> np.ndarray:
    out = np.full(len(numerator), np.nan)
    return np.divide(numerator, denominator, out=out, where=denominator > 0)
