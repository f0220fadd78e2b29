"""Selection of the training records that a method trains on."""

import numpy as np

from ecg.models.training_options import SelectionOptions
from ecg.records.diagnoses import SINUS_RHYTHM


def select_records(labels, lead_deviation_mv, options: SelectionOptions, seed) -> np.ndarray:
    """Positions, ascending, of the records that are not left out by the options.

    labels: (n_records, 26) bool. lead_deviation_mv: (n_records, n_leads), standard deviation of
    the leads in use. seed: of the draw among records with sinus rhythm alone.
    """
    kept = np.ones(len(labels), bool)
    if options.scored_only:
        kept &= labels.any(axis=1)
    if options.deviation_mv is not None:
        low, high = options.deviation_mv
        kept &= ((lead_deviation_mv >= low) & (lead_deviation_mv <= high)).all(axis=1)
    sinus_only = kept & labels[:, SINUS_RHYTHM] & (np.count_nonzero(labels, axis=1) == 1)
    n_left_out = round(options.sinus_left_out * np.count_nonzero(sinus_only))
    left_out = np.random.default_rng(seed).choice(
        np.flatnonzero(sinus_only), n_left_out, replace=False
    )
    kept[left_out] = False
    return np.flatnonzero(kept)
