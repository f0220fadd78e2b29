import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecg.classes import SINUS_RHYTHM, read_weights
from ecg.decisions import DecisionOptions, best_metric, decide, fit_thresholds, pool_windows
from ecg.scoring import challenge_metric

FITTED = DecisionOptions()
RECORD_MAXIMUM = DecisionOptions(rule="record_maximum", divisor=5.0)


def test_windows_are_pooled_by_their_mean_or_their_largest():
    probabilities = np.array([[0.1, 0.8], [0.5, 0.2], [0.3, 0.2], [0.7, 0.9]])
    mean = pool_windows(probabilities, [3, 1], "mean")
    np.testing.assert_allclose(mean, [[0.3, 0.4], [0.7, 0.9]])
    np.testing.assert_array_equal(
        pool_windows(probabilities, [3, 1], "any"), [[0.5, 0.8], [0.7, 0.9]]
    )


@given(st.lists(st.integers(1, 5), min_size=1, max_size=8), st.integers(0, 2**32 - 1))
def test_windows_are_pooled_as_a_plain_loop_would(n_windows, seed):
    probabilities = np.random.default_rng(seed).random((sum(n_windows), 3))
    first, means, largest = 0, [], []
    for count in n_windows:
        means.append(probabilities[first : first + count].mean(axis=0))
        largest.append(probabilities[first : first + count].max(axis=0))
        first += count
    np.testing.assert_allclose(pool_windows(probabilities, n_windows, "mean"), means, rtol=1e-12)
    np.testing.assert_array_equal(pool_windows(probabilities, np.array(n_windows), "any"), largest)


def test_a_record_has_by_a_vote_of_any_what_any_of_its_windows_has():
    probabilities, thresholds = np.random.default_rng(0).random((7, 26)), np.full(26, 0.7)
    by_window = decide(probabilities, thresholds, FITTED)
    by_record = decide(pool_windows(probabilities, [3, 4], "any"), thresholds, FITTED)
    expected = [by_window[:3].any(axis=0), by_window[3:].any(axis=0)]
    np.testing.assert_array_equal(by_record, expected)


def test_no_answer_is_ever_empty():
    probabilities = np.array([[0.1] * 26, [0.1] * 25 + [0.6]])
    labels = decide(probabilities, np.full(26, 0.5), FITTED)
    assert np.flatnonzero(labels[0]) == [SINUS_RHYTHM]
    assert np.flatnonzero(labels[1]) == [25]


def test_thresholds_are_met_by_equality():
    assert decide(np.full((1, 26), 0.5), np.full(26, 0.5), FITTED).all()


def simulated(n_records, seed):
    """Labels and probabilities that rank well and are too low by a factor."""
    random = np.random.default_rng(seed)
    labels = random.random((n_records, 26)) < 0.1
    return labels, 0.3 / (1 + np.exp(-4 * labels + 2 + random.standard_normal(labels.shape)))


def test_fitted_thresholds_beat_one_half_on_other_records():
    weights = read_weights()
    thresholds = fit_thresholds(*simulated(500, seed=0), weights, FITTED)
    labels, probabilities = simulated(500, seed=1)
    at_half = challenge_metric(labels, decide(probabilities, np.full(26, 0.5), FITTED), weights)
    fitted = challenge_metric(labels, decide(probabilities, thresholds, FITTED), weights)
    assert fitted > at_half + 0.1
    assert ((thresholds > 0) & (thresholds < 1)).all()


def test_a_class_without_positives_gets_the_global_threshold():
    labels, probabilities = simulated(200, seed=2)
    labels[:, [3, 4]] = False
    weights = read_weights()
    thresholds = fit_thresholds(labels, probabilities, weights, FITTED)
    assert thresholds[3] == thresholds[4]
    # Without trust in any class's own threshold, all have the global one.
    shrunk = fit_thresholds(labels, probabilities, weights, DecisionOptions(shrinkage=1e12))
    np.testing.assert_allclose(shrunk, thresholds[3])


def test_a_rare_class_stays_nearer_the_global_threshold_than_a_common_one():
    labels, probabilities = simulated(400, seed=3)
    probabilities[:, 0] /= 10  # its own best threshold lies far below the others'
    weights = read_weights()
    common = fit_thresholds(labels, probabilities, weights, FITTED)[0]
    rare = labels.copy()
    rare[np.flatnonzero(labels[:, 0])[3:], 0] = False
    assert common < fit_thresholds(rare, probabilities, weights, FITTED)[0]


def test_a_share_of_the_records_largest_probability_can_be_the_threshold():
    probabilities = np.full((2, 26), 0.01)
    probabilities[0, [3, 4, 5]] = 0.9, 0.18, 0.17
    probabilities[1, [3, 4]] = 0.05, 0.009
    labels = decide(probabilities, np.empty(0), RECORD_MAXIMUM)
    assert np.flatnonzero(labels[0]).tolist() == [3, 4]
    assert np.flatnonzero(labels[1]).tolist() == [i for i in range(26) if i != 4]


def test_a_rule_that_needs_no_thresholds_gets_none():
    thresholds = fit_thresholds(*simulated(20, seed=4), read_weights(), RECORD_MAXIMUM)
    assert thresholds.shape == (0,)


def test_the_best_metric_is_that_of_the_best_of_the_shared_thresholds():
    labels, probabilities = simulated(100, seed=5)
    weights = read_weights()
    odds = np.linspace(np.log(0.01 / 0.99), np.log(0.99 / 0.01), 49)
    scores = [
        challenge_metric(labels, decide(probabilities, 1 / (1 + np.exp(-value)), FITTED), weights)
        for value in odds
    ]
    assert best_metric(labels, probabilities, weights, FITTED) == pytest.approx(max(scores))
    assert max(scores) > scores[24] + 0.1  # one half


def test_the_best_metric_of_a_rule_without_thresholds_is_that_of_its_labels():
    labels, probabilities = simulated(100, seed=5)
    weights = read_weights()
    outputs = probabilities >= probabilities.max(axis=1, keepdims=True) / 5
    assert best_metric(labels, probabilities, weights, RECORD_MAXIMUM) == pytest.approx(
        challenge_metric(labels, outputs, weights)
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"shrinkage": -1}, "expected shrinkage"),
        ({"n_candidates": 0}, "expected shrinkage"),
        ({"lowest": 0.5}, "expected shrinkage"),
        ({"divisor": 0.5}, "divisor: expected at least 1, found 0.5"),
        ({"vote": "most"}, "vote: expected mean or any, found most"),
        ({"rule": "best"}, "rule: expected fitted or record_maximum, found best"),
        ({"fitted_on": "test"}, "fitted_on: expected validation or training, found test"),
    ],
)
def test_impossible_options_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        DecisionOptions(**wrong)
