"""How well each finding is recognised: sensitivity, specificity and predictive values."""

from dataclasses import dataclass

import numpy as np

from ecg.evaluation.confidence_intervals import Interval, proportion

FEWEST_POSITIVE = 10  # records with a finding; of rarer ones the figures say little


@dataclass(frozen=True)
class DiagnosticAccuracy:
    """The figures of one finding, each with its 95 % interval; NaN where not defined.

    n_positive, n_called: records that have the finding, and that are labelled with it.
    sensitivity: share of those with it that are labelled; specificity: of those without it that are
    not. ppv, npv: share of those labelled that have it, of those not labelled that do not.
    """

    n_positive: int
    n_called: int
    sensitivity: Interval
    specificity: Interval
    ppv: Interval
    npv: Interval

    @property
    def is_rare(self) -> bool:
        """Whether fewer than 10 records have the finding."""
        return self.n_positive < FEWEST_POSITIVE


def diagnostic_accuracy(label, called) -> DiagnosticAccuracy:
    """Return the figures of a finding; label (truth), called: (n_records,), bool."""
    n_records, n_positive, n_called = len(label), np.count_nonzero(label), np.count_nonzero(called)
    n_right = np.count_nonzero(label & called)
    n_rightly_absent = n_records - n_positive - n_called + n_right
    return DiagnosticAccuracy(
        n_positive,
        n_called,
        sensitivity=proportion(n_right, n_positive),
        specificity=proportion(n_rightly_absent, n_records - n_positive),
        ppv=proportion(n_right, n_called),
        npv=proportion(n_rightly_absent, n_records - n_called),
    )
