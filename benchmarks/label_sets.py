"""The expected Challenge scores of given label sets, which `decision_rules` compares with the best
of all sets; see `ecg.models.expected_score` for the formula."""

import numpy as np

from ecg.models.expected_score import MOST_NUMBERS, quadrature
from ecg.records.diagnoses import SINUS_RHYTHM


class ExpectedScore:
    """The expected scores of some label sets; what does not depend on the record is computed once.

    label_sets: (n_sets, n_classes), bool, at least one set, none of them empty; weights:
    (n_classes, n_classes), see there.
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
        """Expected scores (n_records, n_sets); probabilities: (n_records, n_classes).

        Needs n_classes / 2 times as much memory as it returns; `largest` does with little.
        """
        chances = np.asarray(probabilities, float)[:, None]
        factors = 1 - chances + chances * self._nodes  # (n_records, n_nodes, n_classes)
        # Products as sums of logs: one matrix product for all sets. No node is 0, so no factor is.
        scores = np.exp(np.log(factors) @ self._outside + self._log_lengths)
        scores *= chances @ self._rewards_inside + (
            chances * self._nodes / factors @ self._rewards_outside
        )
        return scores.sum(axis=1)

    def largest(self, probabilities) -> np.ndarray:
        """Positions (n_records,) of the sets whose score is largest, the first of equal ones.

        The same for a record alone and among others, in bounded memory.
        """
        n_records = len(probabilities)
        n_together = max(1, MOST_NUMBERS // self._log_lengths.size)
        positions = np.empty(n_records, int)
        for first in range(0, n_records, n_together):
            part = slice(first, first + n_together)
            positions[part] = self(probabilities[part]).argmax(axis=1)
        return positions


def seen_label_sets(labels) -> np.ndarray:
    """Sinus rhythm alone, then the other label sets of the records, each once; (n_sets, 26), bool.

    Sinus rhythm leads because the first of equally good sets is answered: where no class is to be
    expected at all, all are.
    """
    sinus_rhythm = np.arange(labels.shape[1])[None] == SINUS_RHYTHM
    others = labels[labels.any(axis=1) & (labels != sinus_rhythm).any(axis=1)]
    return np.concatenate([sinus_rhythm, np.unique(others.astype(bool), axis=0)])
