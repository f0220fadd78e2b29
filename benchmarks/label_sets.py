"""Expected Challenge scores of given label sets, for `benchmarks.decision_rules`.

See `ecg.models.expected_score` for the formula, and for the search among all label sets.
"""

import numpy as np

from ecg.models.expected_score import MOST_NUMBERS, quadrature
from ecg.records.diagnoses import SINUS_RHYTHM


class ExpectedScore:
    """Expected scores of some label sets; terms that do not depend on the record are precomputed.

    label_sets: (n_sets, n_classes), bool, none of them empty. weights: (n_classes, n_classes), the
    Challenge's rewards.
    """

    def __init__(self, label_sets, weights):
        inside = np.asarray(label_sets, float).T
        n_classes = len(inside)
        nodes, lengths = quadrature(n_classes)
        rewards = weights @ inside
        self._nodes = nodes
        self._outside = 1 - inside
        self._rewards_inside = rewards * inside
        self._rewards_outside = rewards * self._outside
        self._log_lengths = np.log(lengths) + (inside.sum(axis=0) - 1) * np.log(nodes)

    def __call__(self, probabilities) -> np.ndarray:
        """Return expected scores (n_records, n_sets); probabilities: (n_records, n_classes).

        Needs n_classes / 2 times the memory of the result; `largest` needs little.
        """
        chances = np.asarray(probabilities, float)[:, None]
        factors = 1 - chances + chances * self._nodes  # (n_records, n_nodes, n_classes)
        # Products as sums of logs: one matrix product for all sets. Nodes, and so factors, are > 0.
        scores = np.exp(np.log(factors) @ self._outside + self._log_lengths)
        scores *= chances @ self._rewards_inside + (
            chances * self._nodes / factors @ self._rewards_outside
        )
        return scores.sum(axis=1)

    def largest(self, probabilities) -> np.ndarray:
        """Return the indices (n_records,) of the sets with the largest score, the first of ties.

        Computed in chunks of records, so that memory is bounded.
        """
        n_records = len(probabilities)
        chunk_size = max(1, MOST_NUMBERS // self._log_lengths.size)
        indices = np.empty(n_records, int)
        for first in range(0, n_records, chunk_size):
            chunk = slice(first, first + chunk_size)
            indices[chunk] = self(probabilities[chunk]).argmax(axis=1)
        return indices


def seen_label_sets(labels) -> np.ndarray:
    """Return sinus rhythm alone, then the other label sets of the records; (n_sets, 26), bool.

    Sinus rhythm is the first because `largest` returns the first of ties, as when all probabilities
    are 0.
    """
    sinus_rhythm = np.arange(labels.shape[1])[None] == SINUS_RHYTHM
    others = labels[labels.any(axis=1) & (labels != sinus_rhythm).any(axis=1)]
    return np.concatenate([sinus_rhythm, np.unique(others.astype(bool), axis=0)])
