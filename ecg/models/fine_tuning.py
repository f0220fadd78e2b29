"""How a finished model is trained further on a user's own records."""

from dataclasses import dataclass, replace

import numpy as np

from ecg.models.method import Method
from ecg.models.training_options import PretrainingOptions

_FEWEST_FOR_USUAL_RATE = 1000  # records


@dataclass(frozen=True)
class FineTuningOptions:
    """How training goes on from a finished model.

    rate_share: learning rate, as a share of the method's. epochs: at most. n_prior_records: so many
    records count as seen before the user's, with the prevalences that the start was trained on.
    fewest_to_refit: number of records from which a temperature, thresholds and operating points are
    fitted; with fewer, those of the start are kept.
    """

    rate_share: float = 0.5
    epochs: int = 10
    n_prior_records: int = 10
    fewest_to_refit: int = 50

    def __post_init__(self):
        counts = self.epochs, self.n_prior_records, self.fewest_to_refit
        if not 0 < self.rate_share <= 1 or min(counts) < 1:
            raise ValueError(
                "expected 0 < rate_share <= 1, epochs, n_prior_records and fewest_to_refit of at "
                f"least 1; found {self}"
            )


def fine_tuning_for(n_records: int) -> FineTuningOptions:
    """Return the options for that many records of the user.

    Below 1000 records, half of the method's learning rate: on 20 records of four sources never
    seen, it scores better on average than 0.3 or 1 (docs/results.md). Beyond that the usual rate,
    as after pretraining; that is not measured.
    """
    if n_records < _FEWEST_FOR_USUAL_RATE:
        return FineTuningOptions()
    return FineTuningOptions(rate_share=1.0)


def fine_tuned(method: Method, options: FineTuningOptions) -> Method:
    """Return the method as it goes on from a finished model: shorter, slower, not pretrained.

    The learning rate follows the schedule "cosine" and the last epoch is kept, since a few
    validation records could not tell which epoch is best.
    """
    training = replace(
        method.training,
        epochs=min(options.epochs, method.training.epochs),
        learning_rate=options.rate_share * method.training.learning_rate,
        schedule="cosine",
        warmup_share=0.1,
        best="last",
    )
    return replace(method, training=training, pretraining=PretrainingOptions(), by_size=())


def prevalence_after(labels, prevalence, options: FineTuningOptions) -> np.ndarray:
    """Return the share (n_classes,) of each class after the user's records.

    labels: (n_records, n_classes), bool. prevalence: (n_classes,), of the start. So a finding that
    none of 20 records has becomes a third as frequent, and one that none of 200 has a twentieth.
    """
    n_prior = options.n_prior_records
    return (labels.sum(axis=0) + n_prior * prevalence) / (len(labels) + n_prior)
