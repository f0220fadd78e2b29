"""Which findings are called present in one person's ECG: `ecg.predict --rule clinical`.

The Challenge's score rewards findings that are merely likely, so its label set contains more than
twice as many as are true. Here a finding is present if its probability reaches its operating point,
the threshold with the finding's best F1 score, at which about as many are missed as are falsely
called. Of two findings that exclude each other, the one that exceeds its point by less is dropped.
The method and its numbers are ours; they were chosen on out-of-fold answers to 643 records.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from ecg.records.diagnoses import DIAGNOSES, N_CLASSES

RULES = ("clinical", "challenge")  # by which `ecg.predict` calls findings present

# By abbreviation: the members of each pair exclude each other.
_CONTRADICTIONS = (
    ("LAD", "RAD"),
    ("NSR", "AF"),
    ("NSR", "AFL"),
    ("NSR", "SB"),
    ("NSR", "STach"),
    ("SB", "STach"),
    ("AF", "AFL"),
    ("AF", "SA"),
    ("AF", "IAVB"),
    ("LBBB", "RBBB"),
)
_CANDIDATES = expit(np.linspace(logit(0.05), logit(0.95), 61))  # thresholds tried
_PRIOR = 1 / 3  # the threshold where there are no records to fit one to
_PRIOR_RECORDS = 50  # the common threshold of so many records has the same weight as the prior
_FEWEST_POSITIVE = 30  # records with a finding, for it to have a point of its own
_SHRINKAGE = 100  # the own point of so many positive records has the weight of the common one
_UNCERTAIN_ODDS = 2.0  # the odds of an uncertain finding are within this factor of the point's
_N_FOLDS = 5  # for the sensitivity and the PPV


@dataclass(frozen=True, eq=False)
class OperatingPoints:
    """The operating point of each finding, and how well it does.

    thresholds: (26,), probabilities. temperature: by which probabilities are calibrated first, see
    `ecg.models.decisions.calibrate`. n_records: that they were fitted on; 0 for none. n_positive:
    (26,), records with the finding among them; a finding with fewer than 30 has the common point.
    sensitivity, ppv: (26,), on records that the points were not fitted on (five folds); NaN where
    there was no record with the finding, or none called so.
    Raises ValueError where these do not fit together.
    """

    thresholds: np.ndarray
    temperature: float
    n_records: int
    n_positive: np.ndarray
    sensitivity: np.ndarray
    ppv: np.ndarray

    def __post_init__(self):
        shapes = {
            values.shape
            for values in (self.thresholds, self.n_positive, self.sensitivity, self.ppv)
        }
        if shapes != {(N_CLASSES,)} or not self.temperature > 0 or self.n_records < 0:
            raise ValueError(
                f"expected {N_CLASSES} operating points and a positive temperature; found arrays "
                f"of shape {shapes}, temperature {self.temperature}"
            )
        if not ((self.thresholds > 0) & (self.thresholds < 1)).all():
            raise ValueError(f"expected operating points within (0, 1), found {self.thresholds}")

    @property
    def is_common(self) -> np.ndarray:
        """(26,), bool: whether the finding is too rare for a point of its own."""
        return self.n_positive < _FEWEST_POSITIVE

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities (26,) between which a finding is uncertain: half and twice the odds."""
        odds, step = logit(self.thresholds), np.log(_UNCERTAIN_ODDS)
        return expit(odds - step), expit(odds + step)


@dataclass(frozen=True)
class Findings:
    """present, uncertain: (n_records, 26), bool. A finding may be both, or uncertain alone."""

    present: np.ndarray
    uncertain: np.ndarray


def default_points() -> OperatingPoints:
    """Return a point of 1/3 for every finding, for models that were saved without any."""
    nothing, unknown = np.zeros(N_CLASSES, int), np.full(N_CLASSES, np.nan)
    return OperatingPoints(np.full(N_CLASSES, _PRIOR), 1.0, 0, nothing, unknown, unknown)


def fit_points(labels, probabilities, temperature: float = 1.0) -> OperatingPoints:
    """Operating points fitted to records that the network was not trained on.

    labels, probabilities: (n_records, 26), bool and calibrated by `temperature`; at least 1 record.
    """
    called = np.zeros_like(labels)
    fold_of = np.arange(len(labels)) % _N_FOLDS  # records of one source stand together
    for fold in range(_N_FOLDS):
        held_out = fold_of == fold
        if held_out.any() and not held_out.all():
            thresholds = _fit_thresholds(labels[~held_out], probabilities[~held_out])
            called[held_out] = _call(probabilities[held_out], thresholds)
    n_positive, n_right = labels.sum(axis=0), (labels & called).sum(axis=0)
    with np.errstate(invalid="ignore"):
        sensitivity, ppv = n_right / n_positive, n_right / called.sum(axis=0)
    thresholds = _fit_thresholds(labels, probabilities)
    return OperatingPoints(thresholds, temperature, len(labels), n_positive, sensitivity, ppv)


def call_findings(probabilities, points: OperatingPoints) -> Findings:
    """Return the findings of records by their operating points, without contradictions.

    probabilities: (n_records, 26), calibrated by `points.temperature`. A finding that another one
    excludes is uncertain.
    """
    present = _call(probabilities, points.thresholds)
    low, high = points.bounds
    dropped = (probabilities >= points.thresholds) & ~present
    return Findings(present, ((probabilities >= low) & (probabilities < high)) | dropped)


def contradicts(present) -> np.ndarray:
    """(n_records,), bool: whether two findings that exclude each other are present.

    present: (n_records, 26), bool.
    """
    present = np.asarray(present, float)
    return np.einsum("ri,ij,rj->r", present, excluding(), present) > 0


def excluding() -> np.ndarray:
    """(26, 26), bool, symmetric: which findings exclude each other."""
    numbers = {diagnosis.abbreviation: i for i, diagnosis in enumerate(DIAGNOSES)}
    table = np.zeros((N_CLASSES, N_CLASSES), bool)
    for one, other in _CONTRADICTIONS:
        table[numbers[one], numbers[other]] = table[numbers[other], numbers[one]] = True
    return table


def points_to_dict(points: OperatingPoints) -> dict:
    """Return the points as JSON can hold them; undefined figures are None."""
    return {
        "temperature": points.temperature,
        "n_records": points.n_records,
        "findings": [
            {
                "finding": diagnosis.group,
                "threshold": float(points.thresholds[i]),
                "common": bool(points.is_common[i]),
                "n_positive": int(points.n_positive[i]),
                "sensitivity": _none_for_nan(points.sensitivity[i]),
                "ppv": _none_for_nan(points.ppv[i]),
            }
            for i, diagnosis in enumerate(DIAGNOSES)
        ],
    }


def points_from_dict(values: dict) -> OperatingPoints:
    """Return the points that `points_to_dict` wrote.

    Raises KeyError, TypeError or ValueError where a value is missing or of another kind.
    """
    findings = values["findings"]
    if [finding["finding"] for finding in findings] != [diagnosis.group for diagnosis in DIAGNOSES]:
        raise ValueError("expected operating points of the 26 findings in their order")

    def column(name, kind=float):
        found = [finding[name] for finding in findings]
        return np.array([np.nan if value is None else kind(value) for value in found])

    return OperatingPoints(
        column("threshold"),
        float(values["temperature"]),
        int(values["n_records"]),
        column("n_positive", int),
        column("sensitivity"),
        column("ppv"),
    )


def _fit_thresholds(labels, probabilities) -> np.ndarray:
    """Thresholds (26,): a common one by the F1 score of all findings together, and each frequent
    finding's own by its F1 score, drawn to the common one in log-odds."""
    common = _best(labels.ravel(), probabilities.ravel())
    trust = len(labels) / (len(labels) + _PRIOR_RECORDS)
    common_odds = trust * logit(common) + (1 - trust) * logit(_PRIOR)
    odds = np.full(N_CLASSES, common_odds)
    n_positive = labels.sum(axis=0)
    for i in np.flatnonzero(n_positive >= _FEWEST_POSITIVE):
        trust = n_positive[i] / (n_positive[i] + _SHRINKAGE)
        best = logit(_best(labels[:, i], probabilities[:, i]))
        odds[i] = trust * best + (1 - trust) * common_odds
    return expit(odds)


def _best(labels, probabilities) -> float:
    """Return the candidate of the largest F1 score; the middle one of equals.

    labels, probabilities: (n,).
    """
    called = probabilities >= _CANDIDATES[:, None]
    n_right = np.count_nonzero(called & labels, axis=1)
    n_involved = np.count_nonzero(called, axis=1) + np.count_nonzero(labels)
    scores = 2 * n_right / np.maximum(n_involved, 1)
    best = np.flatnonzero(np.isclose(scores, scores.max(), rtol=0, atol=1e-12))
    return float(_CANDIDATES[best[len(best) // 2]])


def _call(probabilities, thresholds) -> np.ndarray:
    """(n_records, 26), bool: the findings that reach their thresholds, from the one that exceeds
    its own most (in log-odds), each unless one before it excludes it."""
    exceeding = logit(np.clip(probabilities, 1e-9, 1 - 1e-9)) - logit(thresholds)
    present, excluded, table = np.zeros(exceeding.shape, bool), exceeding < 0, excluding()
    rows = np.arange(len(exceeding))
    for column in np.argsort(-exceeding, axis=1).T:
        called = ~excluded[rows, column]
        present[rows, column] = called
        excluded |= called[:, None] & table[column]
    return present


def _none_for_nan(value) -> float | None:
    return None if np.isnan(value) else float(value)
