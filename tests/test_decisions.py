import numpy as np
import pytest

from ecg.classes import SINUS_RHYTHM, read_weights
from ecg.decisions import DecisionOptions, decide, fit_thresholds
from ecg.scoring import challenge_metric


def test_no_answer_is_ever_empty():
    probabilities = np.array([[0.1] * 26, [0.1] * 25 + [0.6]])
    labels = decide(probabilities, np.full(26, 0.5))
    assert np.flatnonzero(labels[0]) == [SINUS_RHYTHM]
    assert np.flatnonzero(labels[1]) == [25]


def test_thresholds_are_met_by_equality():
    assert decide(np.full((1, 26), 0.5), np.full(26, 0.5)).all()


def simulated(n_records, seed):
    """Labels and probabilities that rank well and are too low by a factor."""
    random = np.random.default_rng(seed)
    labels = random.random((n_records, 26)) < 0.1
    return labels, 0.3 / (1 + np.exp(-4 * labels + 2 + random.standard_normal(labels.shape)))


def test_fitted_thresholds_beat_one_half_on_other_records():
    weights = read_weights()
    thresholds = fit_thresholds(*simulated(500, seed=0), weights, DecisionOptions())
    labels, probabilities = simulated(500, seed=1)
    at_half = challenge_metric(labels, decide(probabilities, np.full(26, 0.5)), weights)
    fitted = challenge_metric(labels, decide(probabilities, thresholds), weights)
    assert fitted > at_half + 0.1
    assert ((thresholds > 0) & (thresholds < 1)).all()


def test_a_class_without_positives_gets_the_global_threshold():
    labels, probabilities = simulated(200, seed=2)
    labels[:, [3, 4]] = False
    weights = read_weights()
    thresholds = fit_thresholds(labels, probabilities, weights, DecisionOptions())
    assert thresholds[3] == thresholds[4]
    # Without trust in any class's own threshold, all have the global one.
    shrunk = fit_thresholds(labels, probabilities, weights, DecisionOptions(shrinkage=1e12))
    np.testing.assert_allclose(shrunk, thresholds[3])


def test_a_rare_class_stays_nearer_the_global_threshold_than_a_common_one():
    labels, probabilities = simulated(400, seed=3)
    probabilities[:, 0] /= 10  # its own best threshold lies far below the others'
    weights = read_weights()
    common = fit_thresholds(labels, probabilities, weights, DecisionOptions())[0]
    rare = labels.copy()
    rare[np.flatnonzero(labels[:, 0])[3:], 0] = False
    assert common < fit_thresholds(rare, probabilities, weights, DecisionOptions())[0]


@pytest.mark.parametrize("wrong", [{"shrinkage": -1}, {"n_candidates": 0}, {"lowest": 0.5}])
def test_impossible_options_are_refused(wrong):
    with pytest.raises(ValueError, match="expected shrinkage"):
        DecisionOptions(**wrong)
