"""95 % confidence intervals of proportions, of the AUROC, and of the Challenge's metrics."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit, ndtri

from ecg.records.diagnoses import SINUS_RHYTHM
from ecg.records.metrics import f_measure_of_counts, rewards_by_record

N_RESAMPLES = 200
_PERCENTILES = (2.5, 97.5)
_Z = float(ndtri(0.975))
_BLOCK = 2_000_000  # numbers of an array, records times resamples; larger ones gain no speed


@dataclass(frozen=True)
class Interval:
    """A figure and the limits of its 95 % interval; NaN where not defined."""

    value: float
    low: float
    high: float


def wilson_limits(n_hits, n_trials) -> tuple[np.ndarray, np.ndarray]:
    """Return the limits of the Wilson score interval of each proportion n_hits / n_trials.

    n_hits may be a fraction. NaN where n_trials is 0. Wilson, J. Am. Stat. Assoc. 22 (1927) 209.
    """
    n_hits, n_trials = np.asarray(n_hits, float), np.asarray(n_trials, float)
    with np.errstate(invalid="ignore", divide="ignore"):
        share, square = n_hits / n_trials, _Z**2 / n_trials
        middle = (share + square / 2) / (1 + square)
        half = np.sqrt(square * (share * (1 - share) + square / 4)) / (1 + square)
        # At 0 and at 1 the limits are exact, but for rounding.
        low = np.where(share == 0, 0.0, middle - half)
        high = np.where(share == 1, 1.0, middle + half)
    undefined = n_trials == 0
    return np.where(undefined, np.nan, low), np.where(undefined, np.nan, high)


def proportion(n_hits: int, n_trials: int) -> Interval:
    """Return n_hits / n_trials with its Wilson score interval; NaN for no trials."""
    low, high = wilson_limits(n_hits, n_trials)
    return Interval(n_hits / n_trials if n_trials else np.nan, float(low), float(high))


def auroc_interval(label, probability) -> Interval:
    """Return the AUROC of a class with an interval from DeLong's variance, on the log-odds scale.

    label (n_records,), bool; probability (n_records,). NaN without records of both kinds. DeLong et
    al., Biometrics 44 (1988) 837; on the log-odds scale the limits stay within (0, 1): Pepe, The
    Statistical Evaluation of Medical Tests (2003), 5.2.5.

    With one record of a kind, or an AUROC of 0 or 1, that variance is not defined or 0. Then it is
    the Wilson interval of min(n_positive, n_negative) trials, since the variance is at most that of
    so many independent pairs: Birnbaum and Klose, Ann. Math. Stat. 28 (1957) 933.
    """
    positive, negative = np.sort(probability[label]), np.sort(probability[~label])
    if not len(positive) or not len(negative):
        return Interval(np.nan, np.nan, np.nan)
    ranked_right = _share_below(negative, positive), 1 - _share_below(positive, negative)
    value = float(ranked_right[0].mean())
    n_pairs = min(len(positive), len(negative))
    variance = sum(np.var(shares, ddof=1) / len(shares) for shares in ranked_right if n_pairs > 1)
    if variance and 0 < value < 1:
        half = _Z * np.sqrt(variance) / (value * (1 - value))
        low, high = expit(logit(value) - half), expit(logit(value) + half)
    else:
        low, high = wilson_limits(value * n_pairs, n_pairs)
    return Interval(value, float(low), float(high))


def draw_resamples(n_records: int, seed: int = 0) -> np.ndarray:
    """Return how often each record is in each bootstrap resample, (n_records, N_RESAMPLES)."""
    rng = np.random.default_rng(seed)
    draws = (rng.integers(n_records, size=n_records) for _ in range(N_RESAMPLES))
    return np.stack([np.bincount(draw, minlength=n_records) for draw in draws], axis=1)


def resampled_summaries(
    labels, outputs, probabilities, weights, resamples
) -> dict[str, np.ndarray]:
    """Return the Challenge's five metrics of each resample, (n_resamples,) each, by name.

    As `ecg.records.metrics.score` on the records of the resample, except for rounding, but sorting
    the records once for all resamples. labels, outputs: (n_records, 26), bool. probabilities:
    (n_records, 26). weights: the reward matrix. resamples: see `draw_resamples`.
    """
    n_at_once = max(_BLOCK // len(labels), 1)
    blocks = (
        resamples[:, first : first + n_at_once].astype(float)
        for first in range(0, resamples.shape[1], n_at_once)
    )
    found = [_summaries(labels, outputs, probabilities, weights, block) for block in blocks]
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


def percentile_interval(value: float, resampled: np.ndarray) -> Interval:
    """Return the figure with the percentiles 2.5 and 97.5 of its resamples, those that are NaN left
    out."""
    defined = resampled[~np.isnan(resampled)]
    if np.isnan(value) or not len(defined):
        return Interval(value, np.nan, np.nan)
    low, high = np.percentile(defined, _PERCENTILES)
    return Interval(value, float(low), float(high))


def _share_below(others, values) -> np.ndarray:
    """Return the share of `others`, sorted, below each of `values`, counting equal ones by half."""
    below = np.searchsorted(others, values, "left") + np.searchsorted(others, values, "right")
    return below / (2 * len(others))


def _summaries(labels, outputs, probabilities, weights, counts) -> dict[str, np.ndarray]:
    """Return what `resampled_summaries` does; counts: (n_records, n_resamples), float."""
    areas = [_areas(*column, counts) for column in zip(labels.T, probabilities.T, strict=True)]
    auroc, auprc = (np.array(area) for area in zip(*areas, strict=True))
    f_measure = f_measure_of_counts((labels & outputs).T @ counts, (labels != outputs).T @ counts)
    sinus_rhythm = np.zeros_like(outputs)
    sinus_rhythm[:, SINUS_RHYTHM] = True
    observed, correct, floor = (
        rewards_by_record(labels, answers, weights) @ counts
        for answers in (outputs, labels, sinus_rhythm)
    )
    possible = correct - floor
    metric = np.divide(observed - floor, possible, np.zeros_like(possible), where=possible != 0)
    return {
        "AUROC": _macro_means(auroc),
        "AUPRC": _macro_means(auprc),
        "Accuracy": (labels == outputs).all(axis=1) @ counts / counts.sum(axis=0),
        "F-measure": _macro_means(f_measure),
        "Challenge metric": metric,
    }


def _areas(label, probability, counts) -> tuple[np.ndarray, np.ndarray]:
    """Return AUROC and AUPRC, (n_resamples,) each, of a class."""
    order = np.argsort(-probability, kind="stable")
    last = np.append(np.diff(probability[order]) != 0, True)  # of each distinct probability
    ordered, is_positive = counts[order], label[order]
    # At each threshold from the highest down, (n_thresholds, n_resamples).
    found = np.cumsum(ordered, axis=0)[last]
    true = _cumulated(ordered[is_positive], np.cumsum(is_positive)[last])
    false = found - true
    n_positive, n_negative = true[-1], false[-1]
    gained = np.diff(true, axis=0, prepend=0)
    precision = np.divide(true, found, np.zeros_like(true), where=found > 0)
    above = false - np.diff(false, axis=0, prepend=0) / 2  # negatives ranked higher, ties by half
    with np.errstate(invalid="ignore", divide="ignore"):
        auprc = np.einsum("tr,tr->r", gained, precision) / n_positive
        auroc = 1 - np.einsum("tr,tr->r", gained, above) / (n_positive * n_negative)
    return auroc, auprc


def _cumulated(rows, n_rows) -> np.ndarray:
    """Return the sum of the first n rows for each n of `n_rows`."""
    return np.vstack([np.zeros((1, rows.shape[1])), np.cumsum(rows, axis=0)])[n_rows]


def _macro_means(figures) -> np.ndarray:
    """Return the mean (n_resamples,) of the defined figures (n_classes, n_resamples)."""
    defined = ~np.isnan(figures)
    n_defined = defined.sum(axis=0)
    total = np.where(defined, figures, 0).sum(axis=0)
    return np.divide(total, n_defined, np.full(len(total), np.nan), where=n_defined > 0)
