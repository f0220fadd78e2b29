"""Estimates the share of sinus rhythm among a hospital's records from their unlabelled answers.

Hospitals differ in how often they write sinus rhythm, and a network's probabilities assume the
share among its training records. Expectation maximisation finds the share that fits the answers
best (Saerens, Latinne and Decaestecker, Neural Computation 14(1), 2002), here as if ten more
records with the share in training had been seen, so that a few answers move it little.
"""

from dataclasses import dataclass

import numpy as np

from ecg.records.diagnoses import SINUS_RHYTHM

_N_ITERATIONS = 300
_N_PRIOR_RECORDS = 10
_LEAST_GAIN = 10.0  # a chi-squared variable of one degree of freedom exceeds it once in 600 cases
_SHARES = (0.001, 0.999)  # the limits of a share; 0 or 1 could never be left


@dataclass(frozen=True)
class ShareEstimate:
    """The share of sinus rhythm among the records of one hospital.

    share_in_training: of the model, from .001 to .999. share: the estimate, in the same limits.
    gain: likelihood-ratio statistic of the estimate against the share in training, at least 0.
    n_records: that the estimate is made from.
    """

    share_in_training: float
    share: float
    gain: float
    n_records: int

    @property
    def applied(self) -> bool:
        """Whether the answers differ enough from training for `adapt` to use the estimate."""
        return self.gain > _LEAST_GAIN

    def __str__(self):
        use = "applied"
        if not self.applied:
            use = "not applied: the folder's answers do not differ enough from training"
        return (
            f"share of sinus rhythm {self.share_in_training:.1%} in training, {self.share:.1%} "
            f"estimated here (gain {self.gain:.1f}, records {self.n_records}); {use}"
        )


def estimate_share(probabilities, share_in_training: float) -> ShareEstimate:
    """Estimate the share of sinus rhythm among records of one hospital.

    probabilities: (n_records,), calibrated, of sinus rhythm, from 0 to 1; there may be none.
    share_in_training: its share among the records that the model was trained on.
    """
    chances = np.asarray(probabilities, float)
    known = float(np.clip(share_in_training, *_SHARES))
    share = known
    for _ in range(_N_ITERATIONS):
        total = _with_share(chances, known, share).sum() + _N_PRIOR_RECORDS * known
        share = float(np.clip(total / (len(chances) + _N_PRIOR_RECORDS), *_SHARES))
    present, absent = _weighted(chances, known, share)
    gain = 2 * float(np.log(present + absent).sum())
    # Rounding may leave it below 0, the gain of the share in training itself.
    return ShareEstimate(known, share, max(gain, 0.0), len(chances))


def adapt(probabilities, estimate: ShareEstimate) -> np.ndarray:
    """Return the probabilities (…, 26) with that of sinus rhythm as the estimated share makes it.

    All others stay as they are, and so does sinus rhythm where the estimate is not applied.
    """
    adapted = np.array(probabilities)
    if estimate.applied:
        chances = adapted[..., SINUS_RHYTHM]
        known, share = estimate.share_in_training, estimate.share
        adapted[..., SINUS_RHYTHM] = _with_share(chances, known, share)
    return adapted


def _with_share(chances, known: float, share: float) -> np.ndarray:
    """Return the probabilities if the share were `share`, where they were made for `known`."""
    present, absent = _weighted(chances, known, share)
    return present / (present + absent)


def _weighted(chances, known: float, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of presence and absence by Bayes' theorem, before they are divided by their
    sum; that sum is the likelihood of the record relative to that under the known share."""
    # Not as a ratio of both, which does not exist for a probability of 1.
    return chances * (share / known), (1 - chances) * ((1 - share) / (1 - known))
