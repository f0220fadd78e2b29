import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.label_sets import ExpectedScore
from ecg.models.decisions import (
    Decision,
    DecisionOptions,
    best_metric,
    calibrate,
    decide,
    decision_from_dict,
    decision_to_dict,
    fit_decision,
    fit_temperature,
    pool_windows,
)
from ecg.records.diagnoses import SINUS_RHYTHM, read_weights
from ecg.records.metrics import challenge_metric

FITTED = DecisionOptions()
RECORD_MAXIMUM = DecisionOptions(rule="record_maximum", divisor=5.0)
EXPECTED_SCORE = DecisionOptions(rule="expected_score")
CALIBRATED = DecisionOptions(rule="expected_score", calibrated=True)
PROBABILITIES = st.integers(0, 2**32 - 1).map(
    lambda seed: np.clip(np.random.default_rng(seed).uniform(-0.2, 1.2, (5, 26)), 0, 1)
)


def at(thresholds) -> Decision:
    return Decision(FITTED, np.broadcast_to(thresholds, 26))


def fit(labels, probabilities, options=FITTED) -> Decision:
    return fit_decision(labels, probabilities, read_weights(), options)


def sets(*positions) -> np.ndarray:
    """Label sets (n_sets, 26) of the classes at these positions."""
    return np.array([np.isin(np.arange(26), list(one)) for one in positions])


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
    probabilities = np.random.default_rng(0).random((7, 26))
    by_window = decide(probabilities, at(0.7))
    by_record = decide(pool_windows(probabilities, [3, 4], "any"), at(0.7))
    expected = [by_window[:3].any(axis=0), by_window[3:].any(axis=0)]
    np.testing.assert_array_equal(by_record, expected)


def test_no_answer_is_ever_empty():
    probabilities = np.array([[0.1] * 26, [0.1] * 25 + [0.6]])
    labels = decide(probabilities, at(0.5))
    assert np.flatnonzero(labels[0]) == [SINUS_RHYTHM]
    assert np.flatnonzero(labels[1]) == [25]


def test_thresholds_are_met_by_equality():
    assert decide(np.full((1, 26), 0.5), at(0.5)).all()


def simulated(n_records, seed):
    """Labels and probabilities that rank well and are too low by a factor."""
    random = np.random.default_rng(seed)
    labels = random.random((n_records, 26)) < 0.1
    return labels, 0.3 / (1 + np.exp(-4 * labels + 2 + random.standard_normal(labels.shape)))


def test_fitted_thresholds_beat_one_half_on_other_records():
    weights = read_weights()
    decision = fit(*simulated(500, seed=0))
    labels, probabilities = simulated(500, seed=1)
    at_half = challenge_metric(labels, decide(probabilities, at(0.5)), weights)
    fitted = challenge_metric(labels, decide(probabilities, decision), weights)
    assert fitted > at_half + 0.1
    assert ((decision.thresholds > 0) & (decision.thresholds < 1)).all()


def test_a_class_without_positives_gets_the_global_threshold():
    labels, probabilities = simulated(200, seed=2)
    labels[:, [3, 4]] = False
    thresholds = fit(labels, probabilities).thresholds
    assert thresholds[3] == thresholds[4]
    # Without trust in any class's own threshold, all have the global one.
    shrunk = fit(labels, probabilities, DecisionOptions(shrinkage=1e12)).thresholds
    np.testing.assert_allclose(shrunk, thresholds[3])


def test_a_rare_class_stays_nearer_the_global_threshold_than_a_common_one():
    labels, probabilities = simulated(400, seed=3)
    probabilities[:, 0] /= 10  # its own best threshold lies far below the others'
    common = fit(labels, probabilities).thresholds[0]
    rare = labels.copy()
    rare[np.flatnonzero(labels[:, 0])[3:], 0] = False
    assert common < fit(rare, probabilities).thresholds[0]


def test_a_share_of_the_records_largest_probability_can_be_the_threshold():
    probabilities = np.full((2, 26), 0.01)
    probabilities[0, [3, 4, 5]] = 0.9, 0.18, 0.17
    probabilities[1, [3, 4]] = 0.05, 0.009
    labels = decide(probabilities, Decision(RECORD_MAXIMUM, np.empty(0)))
    assert np.flatnonzero(labels[0]).tolist() == [3, 4]
    assert np.flatnonzero(labels[1]).tolist() == [i for i in range(26) if i != 4]


@pytest.mark.parametrize("options", [RECORD_MAXIMUM, EXPECTED_SCORE])
def test_a_rule_that_needs_no_thresholds_gets_none(options):
    assert fit(*simulated(20, seed=4), options).thresholds.shape == (0,)


def test_the_best_metric_is_that_of_the_best_of_the_shared_thresholds():
    labels, probabilities = simulated(100, seed=5)
    weights = read_weights()
    odds = np.linspace(np.log(0.01 / 0.99), np.log(0.99 / 0.01), 49)
    scores = [
        challenge_metric(labels, decide(probabilities, at(1 / (1 + np.exp(-value)))), weights)
        for value in odds
    ]
    assert best_metric(labels, probabilities, weights, FITTED) == pytest.approx(max(scores))
    # It stands for the expected score too.
    assert best_metric(labels, probabilities, weights, EXPECTED_SCORE) == pytest.approx(max(scores))
    assert max(scores) > scores[24] + 0.1  # one half


def test_the_best_metric_of_a_rule_without_thresholds_is_that_of_its_labels():
    labels, probabilities = simulated(100, seed=5)
    weights = read_weights()
    outputs = probabilities >= probabilities.max(axis=1, keepdims=True) / 5
    assert best_metric(labels, probabilities, weights, RECORD_MAXIMUM) == pytest.approx(
        challenge_metric(labels, outputs, weights)
    )


@given(PROBABILITIES)
def test_no_answer_of_a_class_more_or_less_is_expected_to_score_more(probabilities):
    labels = decide(probabilities, Decision(EXPECTED_SCORE, np.empty(0)))
    for one, answer in zip(probabilities, labels, strict=True):
        changed = answer ^ np.eye(26, dtype=bool)
        candidates = np.concatenate([answer[None], changed[changed.any(axis=1)]])
        scores = ExpectedScore(candidates, read_weights())(one[None])[0]
        assert scores[0] >= scores.max() - 1e-9


def test_a_record_is_answered_alone_as_among_others():
    labels, probabilities = simulated(40, seed=7)
    decision = fit(labels, probabilities, EXPECTED_SCORE)
    alone = [decide(one[None], decision)[0] for one in probabilities]
    np.testing.assert_array_equal(decide(probabilities, decision), alone)


def test_a_certain_record_gets_its_own_labels_and_one_without_any_sinus_rhythm():
    truth = sets([SINUS_RHYTHM], [4], [4, 8], [0, 5, 23], [])
    labels = decide(truth.astype(float), fit(truth, truth.astype(float), EXPECTED_SCORE))
    np.testing.assert_array_equal(labels[:4], truth[:4])
    assert np.flatnonzero(labels[4]).tolist() == [SINUS_RHYTHM]


def test_the_expected_score_beats_one_half_on_calibrated_probabilities():
    random, weights = np.random.default_rng(8), read_weights()
    probabilities = random.random((500, 26)) ** 4
    labels = random.random(probabilities.shape) < probabilities
    by_expectation = decide(probabilities, fit(labels, probabilities, EXPECTED_SCORE))
    at_half = challenge_metric(labels, decide(probabilities, at(0.5)), weights)
    assert challenge_metric(labels, by_expectation, weights) > at_half + 0.05


@given(PROBABILITIES)
def test_a_temperature_of_1_changes_nothing(probabilities):
    np.testing.assert_array_equal(calibrate(probabilities, 1.0), probabilities)


@given(PROBABILITIES, st.floats(0.5, 3))
def test_a_temperature_divides_the_log_odds_and_keeps_the_ranking(probabilities, temperature):
    calibrated = calibrate(probabilities, temperature)
    assert ((calibrated >= 0) & (calibrated <= 1)).all()
    np.testing.assert_array_equal(calibrated[probabilities == 0], 0)
    np.testing.assert_array_equal(calibrated[probabilities == 1], 1)
    between = (probabilities > 0) & (probabilities < 1)
    odds, before = (values[between] for values in (calibrated, probabilities))
    np.testing.assert_allclose(
        np.log(odds / (1 - odds)), np.log(before / (1 - before)) / temperature, atol=1e-9
    )
    order = np.argsort(probabilities, axis=None)
    assert (np.diff(calibrated.ravel()[order]) >= 0).all()


@pytest.mark.parametrize("true", [0.7, 1.0, 1.3, 2.0])
def test_the_fitted_temperature_is_the_one_that_probabilities_were_sharpened_by(true):
    random = np.random.default_rng(9)
    probabilities = random.random((3000, 26))
    labels = random.random(probabilities.shape) < probabilities
    found = fit_temperature(labels, calibrate(probabilities, 1 / true))
    assert found == pytest.approx(true, rel=0.05)


def test_the_temperature_stays_within_its_bounds_even_where_probabilities_are_certain():
    labels = np.random.default_rng(10).random((50, 26)) < 0.2
    assert fit_temperature(labels, labels.astype(float)) == pytest.approx(0.5, rel=0.01)
    assert fit_temperature(~labels, labels.astype(np.float32)) == pytest.approx(3, rel=0.01)


@pytest.mark.parametrize("n_records", [0, 1, 19])
def test_few_records_fit_no_temperature(n_records):
    labels = np.zeros((n_records, 26), bool)
    assert fit_temperature(labels, np.full((n_records, 26), 0.4)) == 1
    decision = fit(labels, np.full((n_records, 26), 0.4), CALIBRATED)
    assert decision.temperature == 1


def test_a_temperature_is_fitted_where_the_options_ask_for_it():
    labels, probabilities = simulated(200, seed=11)
    expected = fit_temperature(labels, probabilities)
    assert fit(labels, probabilities, CALIBRATED).temperature == expected != 1
    assert fit(labels, probabilities, EXPECTED_SCORE).temperature == 1


def test_thresholds_are_fitted_to_calibrated_probabilities():
    labels, probabilities = simulated(200, seed=11)
    decision = fit(labels, probabilities, DecisionOptions(calibrated=True))
    probabilities = calibrate(probabilities, decision.temperature)
    np.testing.assert_array_equal(decision.thresholds, fit(labels, probabilities).thresholds)


@pytest.mark.parametrize("options", [FITTED, RECORD_MAXIMUM, EXPECTED_SCORE, CALIBRATED])
def test_a_decision_comes_back_from_json_and_decides_the_same(options):
    labels, probabilities = simulated(60, seed=12)
    decision = fit(labels, probabilities, options)
    read = decision_from_dict(json.loads(json.dumps(decision_to_dict(decision))), options)
    np.testing.assert_array_equal(read.thresholds, decision.thresholds)
    assert (read.temperature, read.options) == (decision.temperature, options)
    np.testing.assert_array_equal(decide(probabilities, read), decide(probabilities, decision))


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (FITTED, {"thresholds": [0.5] * 25}),
        (FITTED, {"thresholds": [[0.5] * 26]}),
        (FITTED, {"thresholds": [np.nan] * 26}),
        (FITTED, {"thresholds": [np.inf] * 26}),
        (FITTED, {"thresholds": None}),
        (FITTED, {"thresholds": ["half"] * 26}),
        (EXPECTED_SCORE, {"thresholds": [0.5] * 26}),
        (EXPECTED_SCORE, {"temperature": 0}),
        (EXPECTED_SCORE, {"temperature": -1}),
        (EXPECTED_SCORE, {"temperature": np.nan}),
        (EXPECTED_SCORE, {"temperature": np.inf}),
        (EXPECTED_SCORE, {"temperature": None}),
        (EXPECTED_SCORE, {"temperature": "warm"}),
    ],
)
def test_a_malformed_decision_is_refused(options, wrong):
    values = decision_to_dict(fit(*simulated(20, seed=4), options))
    assert decision_from_dict(values, options).options == options
    with pytest.raises((TypeError, ValueError)):
        decision_from_dict(values | wrong, options)


@pytest.mark.parametrize("name", ["thresholds", "temperature"])
def test_an_incomplete_decision_is_refused(name):
    values = decision_to_dict(Decision(EXPECTED_SCORE, np.empty(0)))
    del values[name]
    with pytest.raises(KeyError, match=name):
        decision_from_dict(values, EXPECTED_SCORE)
    with pytest.raises(TypeError):
        decision_from_dict(None, EXPECTED_SCORE)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"shrinkage": -1}, "expected shrinkage"),
        ({"n_candidates": 0}, "expected shrinkage"),
        ({"lowest": 0.5}, "expected shrinkage"),
        ({"divisor": 0.5}, "divisor: expected at least 1, found 0.5"),
        ({"vote": "most"}, "vote: expected mean or any, found most"),
        ({"rule": "best"}, "rule: expected fitted or record_maximum or expected_score, found best"),
        ({"fitted_on": "test"}, "fitted_on: expected validation or training, found test"),
    ],
)
def test_impossible_options_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        DecisionOptions(**wrong)
