"""Which of the records set aside for training a method trains on."""

from dataclasses import dataclass

import numpy as np

from ecg.classes import SINUS_RHYTHM


@dataclass(frozen=True)
class SelectionOptions:
    """What is left out of training; the defaults leave out nothing.

    scored_only: records with none of the 26 classes. sinus_left_out: this share, drawn at random,
    of the records with no class but sinus rhythm. deviation_mv: records with a lead whose
    standard deviation is not between these two (a dead lead, a loose electrode).
    """

    scored_only: bool = False
    sinus_left_out: float = 0.0
    deviation_mv: tuple[float, float] | None = None

    def __post_init__(self):
        if not 0 <= self.sinus_left_out < 1:
            raise ValueError(
                f"sinus_left_out: expected a share from 0 to below 1, found {self.sinus_left_out}"
            )
        if self.deviation_mv is not None and not 0 <= self.deviation_mv[0] < self.deviation_mv[1]:
            raise ValueError(f"deviation_mv: expected 0 <= low < high, found {self.deviation_mv}")


def select_records(labels, lead_deviation_mv, options: SelectionOptions, seed) -> np.ndarray:
    """Positions, ascending, of the records that the options leave in.

    labels: (n_records, 26) bool. lead_deviation_mv: (n_records, n_leads), of the leads in use.
    """
    left_in = np.ones(len(labels), bool)
    if options.scored_only:
        left_in &= labels.any(axis=1)
    if options.deviation_mv is not None:
        low, high = options.deviation_mv
        left_in &= ((lead_deviation_mv >= low) & (lead_deviation_mv <= high)).all(axis=1)
    normal = left_in & labels[:, SINUS_RHYTHM] & (np.count_nonzero(labels, axis=1) == 1)
    n_out = round(options.sinus_left_out * np.count_nonzero(normal))
    out = np.random.default_rng(seed).choice(np.flatnonzero(normal), n_out, replace=False)
    left_in[out] = False
    return np.flatnonzero(left_in)
