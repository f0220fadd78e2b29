"""Which of the records set aside for training a method trains on."""

import numpy as np

from ecg.models.training_options import SelectionOptions
from ecg.records.diagnoses import SINUS_RHYTHM


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
