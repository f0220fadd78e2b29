"""The label set with the largest expected Challenge score, given a record's probabilities.

A record with the true classes Y scores for the answer S

    sum over j in Y, k in S of W[j, k]  /  number of classes in Y or S,

and the Challenge metric is the sum of that over records, shifted and scaled by numbers that no
answer changes. So the best answer for each record gives the best metric. The expectation is derived
here: let class c be true with probability p_c, independently of the others, n be the number of
classes in S, m that of true classes outside it, and a_j = sum over k in S of W[j, k]. Then

    1 / (n + m) = integral over t from 0 to 1 of t^(n - 1) t^m,

and t^m is a product over the classes outside S, whose factors have the expectations
f_c = 1 - p_c + p_c t, or p_c t for a class that must be true to be rewarded. Therefore

    expected score = integral of  t^(n - 1)  product over c outside S of f_c
                     (sum over j in S of p_j a_j  +  sum over j outside S of p_j t a_j / f_j).

This is a polynomial in t, of degree n_classes - 1 at most, so Gauss-Legendre quadrature with half
as many nodes as classes is exact (q nodes are exact up to degree 2q - 1). Changing one class at a
time nearly always leads to the best of all sets.
"""

from functools import cache

import numpy as np

MOST_NUMBERS = 2_000_000  # in an array, 16 MB
_LEAST_RISE = 1e-12


def climb(probabilities, answers, weights) -> np.ndarray:
    """Return label sets (n_records, n_classes), bool, that no change of a single class improves.

    Starts from the given answers, none of them empty, and adds or removes the class that raises the
    expected score most, until none does. probabilities: (n_records, n_classes); weights: as above.
    """
    answers = np.array(answers, bool)
    n_together = max(1, MOST_NUMBERS // answers.shape[1] ** 2)
    for first in range(0, len(answers), n_together):
        rising = np.arange(first, min(first + n_together, len(answers)))
        while len(rising):
            now, after = _after_changes(probabilities[rising], answers[rising], weights)
            best = after.argmax(axis=1)
            # By a margin, or rounding could add and remove the same class forever.
            rises = after.max(axis=1) > now + _LEAST_RISE
            rising, best = rising[rises], best[rises]
            answers[rising, best] ^= True
    return answers


def _after_changes(probabilities, answers, weights) -> tuple[np.ndarray, np.ndarray]:
    """Return expected scores (n_records,) of the answers, and (n_records, n_classes) after each
    change.

    A change adds a class or, where the answer has it, removes it; -inf where none would be left.
    """
    nodes, lengths = quadrature(answers.shape[1])
    chances, inside = np.asarray(probabilities, float)[:, None], answers[:, None]
    n_answered = np.count_nonzero(answers, axis=1)
    factors = 1 - chances + chances * nodes  # (n_records, n_nodes, n_classes)
    products = np.where(inside, 1, factors).prod(axis=2, keepdims=True)
    products *= lengths * nodes ** (n_answered[:, None, None] - 1)
    # Probability that the class is true, times t / f_j where it is outside.
    shares = np.where(inside, chances, chances * nodes / factors)
    other_shares = np.where(inside, chances * nodes / factors, chances)
    rewards = (answers @ weights.T)[:, None]
    total = (shares * rewards).sum(axis=2, keepdims=True)
    now = (products * total).sum(axis=(1, 2))
    # A change adds or subtracts a column of the weights and moves the class to the other side.
    sign = np.where(inside, -1, 1)
    total = total + sign * (shares @ weights)
    total += (other_shares - shares) * (rewards + sign * np.diag(weights))
    after = (products * np.where(inside, factors / nodes, nodes / factors) * total).sum(axis=1)
    after[answers & (n_answered == 1)[:, None]] = -np.inf
    return now, after


@cache
def quadrature(n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes in (0, 1) and their lengths, each (n_nodes, 1), for the integral above."""
    nodes, lengths = np.polynomial.legendre.leggauss((n_classes + 1) // 2)
    return (nodes[:, None] + 1) / 2, lengths[:, None] / 2  # from [-1, 1]
