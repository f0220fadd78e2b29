import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ecg.records.diagnoses import SINUS_RHYTHM, read_weights
from ecg.records.metrics import (
    areas_under_curves,
    beta_measures,
    brier_score,
    challenge_metric,
    f_measure,
    macro_mean,
    score,
)


def plain_areas(label, probability):
    """AUROC and AUPRC straight from the definition, threshold by threshold."""
    thresholds = [np.inf, *sorted(set(probability), reverse=True)]
    points = []
    for threshold in thresholds:
        tp = sum(1 for y, p in zip(label, probability, strict=True) if y and p >= threshold)
        fp = sum(1 for y, p in zip(label, probability, strict=True) if not y and p >= threshold)
        fn, tn = sum(label) - tp, sum(~label) - fp
        points.append(
            (
                tp / (tp + fn) if tp + fn else np.nan,
                tn / (fp + tn) if fp + tn else np.nan,
                tp / (tp + fp) if tp + fp else np.nan,
            )
        )
    auroc = auprc = 0.0
    for (tpr, tnr, _), (next_tpr, next_tnr, ppv) in itertools.pairwise(points):
        auroc += 0.5 * (next_tpr - tpr) * (next_tnr + tnr)
        auprc += (next_tpr - tpr) * ppv
    return auroc, auprc


def plain_challenge_metric(labels, outputs, weights, sinus):
    def total(answers):
        summed = 0.0
        for truth, answer in zip(labels, answers, strict=True):
            n = max(1, sum(truth | answer))
            for j in np.flatnonzero(truth):
                for k in np.flatnonzero(answer):
                    summed += weights[j, k] / n
        return summed

    inactive = np.zeros_like(outputs)
    inactive[:, sinus] = True
    correct, floor = total(labels), total(inactive)
    return (total(outputs) - floor) / (correct - floor) if correct != floor else 0.0


def plain_beta_measures(labels, outputs, beta):
    """F-beta and G-beta straight from the definition, record by record."""
    f_beta, g_beta = [], []
    for k in range(labels.shape[1]):
        tp = fp = fn = 0.0
        for truth, answer in zip(labels, outputs, strict=True):
            n = max(1, sum(truth))
            tp += (truth[k] and answer[k]) / n
            fp += (not truth[k] and answer[k]) / n
            fn += (truth[k] and not answer[k]) / n
        if tp + fp + fn:
            f_beta.append((1 + beta**2) * tp / ((1 + beta**2) * tp + fp + beta**2 * fn))
            g_beta.append(tp / (tp + fp + beta * fn))
    return (np.mean(f_beta), np.mean(g_beta)) if f_beta else (np.nan, np.nan)


def test_areas_of_a_case_worked_by_hand():
    label = np.array([1, 0, 1, 0], bool)
    probability = np.array([0.9, 0.8, 0.8, 0.1])
    # (TPR, TNR): (0, 1), (1/2, 1) at 0.9, (1, 1/2) at 0.8, (1, 0) at 0.1.
    assert areas_under_curves(label, probability) == (0.5 + 0.5 * 0.75, 0.5 * 1 + 0.5 * 2 / 3)


def test_areas_without_positives_or_without_negatives_are_not_defined():
    none = areas_under_curves(np.zeros(3, bool), np.array([0.1, 0.2, 0.3]))
    assert np.isnan(none).all()
    auroc, auprc = areas_under_curves(np.ones(3, bool), np.array([0.1, 0.2, 0.3]))
    assert np.isnan(auroc)
    assert auprc == pytest.approx(1)


def test_equal_outputs_rank_nothing():
    auroc, auprc = areas_under_curves(np.array([1, 0, 0, 1], bool), np.full(4, 0.3))
    assert (auroc, auprc) == (0.5, 0.5)


# Far apart, next to each other, below zero, and all that a float can hold.
_any_values = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 5e-324, 0.5, np.nextafter(0.5, 1), 1.0, -1.0, 1.7e308, -1.7e308]),
    st.floats(0, 1),
)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.booleans(), _any_values), min_size=1, max_size=30))
def test_areas_of_any_numbers_are_those_of_the_plain_definition(records):
    label, probability = (np.array(part) for part in zip(*records, strict=True))
    expected = plain_areas(label, probability)
    np.testing.assert_array_equal(areas_under_curves(label, probability), expected)


def test_areas_take_infinite_probabilities_for_the_largest_and_smallest():
    label = np.array([1, 0, 1, 0], bool)
    infinite = np.array([np.inf, 0.8, 0.8, -np.inf])
    finite = np.array([0.9, 0.8, 0.8, 0.1])
    assert areas_under_curves(label, infinite) == areas_under_curves(label, finite)


def test_more_records_add_up_to_the_same_metric():
    random = np.random.default_rng(0)
    labels, outputs = random.random((2, 30, 26)) < 0.1
    once = challenge_metric(labels, outputs, read_weights())
    # 3,000 records, more than are taken in one go.
    often = (np.repeat(part, 100, axis=0) for part in (labels, outputs))
    assert challenge_metric(*often, read_weights()) == pytest.approx(once)


def test_f_measure_worked_by_hand():
    labels = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0]], bool)
    outputs = np.array([[1, 1, 0], [0, 1, 0], [0, 1, 0]], bool)
    np.testing.assert_array_equal(f_measure(labels, outputs), [2 / 3, 0.5, np.nan])
    assert macro_mean(f_measure(labels, outputs)) == pytest.approx((2 / 3 + 0.5) / 2)


def test_beta_measures_worked_by_hand():
    labels = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]], bool)
    outputs = np.array([[1, 0, 1, 0], [0, 0, 1, 0], [0, 1, 1, 0]], bool)
    # Records 1 to 3 count as 1/2, 1 and 1, having 2, 1 and no true classes.
    # Class 0: TP 1/2, FN 1.            F = 2.5 / (2.5 + 4), G = .5 / (.5 + 2).
    # Class 1: FN 1/2, FP 1.            F = 0, G = 0.
    # Class 2: FP 2.5.                  F = 0, G = 0.
    # Class 3: neither true nor answered, left out.
    assert beta_measures(labels, outputs) == pytest.approx((2.5 / 6.5 / 3, 0.2 / 3))
    # With beta 1, F = 2 TP / (2 TP + FP + FN) = 1 / 2 and G = 1/2 / 1.5 for class 0.
    assert beta_measures(labels, outputs, beta=1) == pytest.approx((1 / 6, 1 / 9))


def test_a_missed_class_costs_more_than_a_wrong_one_by_beta():
    truth, nothing = np.ones((1, 1), bool), np.zeros((1, 1), bool)
    labels = np.concatenate([truth, truth])
    # One right answer and one miss; one right answer and one false alarm.
    missed = beta_measures(labels, np.concatenate([truth, nothing]))
    alarmed = beta_measures(np.concatenate([truth, nothing]), labels)
    assert missed == pytest.approx((5 / 9, 1 / 3))
    assert alarmed == pytest.approx((5 / 6, 1 / 2))


def test_beta_measures_of_nothing_true_and_nothing_answered_are_not_defined():
    nothing = np.zeros((4, 26), bool)
    assert np.isnan(beta_measures(nothing, nothing)).all()


def test_challenge_metric_worked_by_hand():
    weights = np.array([[1.0, 0.5, 0.25], [0.5, 1.0, 0.0], [0.25, 0.0, 1.0]])
    labels = np.array([[1, 0, 0], [0, 1, 1]], bool)
    outputs = np.array([[1, 1, 0], [0, 0, 1]], bool)
    # Record 1: n = 2, (1 + .5) / 2. Record 2: n = 2, (0 + 1) / 2.       Observed 1.25.
    # Correct: 1 + (1 + 0 + 0 + 1) / 2 = 2.
    # Always class 0: record 1: n = 1, 1; record 2: n = 3, (.5 + .25) / 3. Inactive 1.25.
    assert challenge_metric(labels, outputs, weights, sinus_rhythm=0) == 0
    outputs[1, 1] = True
    # Record 2 is now right: 1; observed 1.75.
    assert challenge_metric(labels, outputs, weights, sinus_rhythm=0) == pytest.approx(0.5 / 0.75)


def test_true_labels_score_one_and_always_sinus_zero():
    weights = read_weights()
    labels = np.random.default_rng(0).random((50, 26)) < 0.1
    sinus = np.zeros_like(labels)
    sinus[:, SINUS_RHYTHM] = True
    assert challenge_metric(labels, labels, weights) == 1
    assert challenge_metric(labels, sinus, weights) == 0
    assert challenge_metric(sinus, sinus, weights) == 0


def test_summary_names_the_challenges_figures_in_its_order():
    labels = np.eye(26, dtype=bool)
    scores = score(labels, labels, labels.astype(float), read_weights())
    assert scores.summary == {
        "AUROC": 1.0,
        "AUPRC": 1.0,
        "Accuracy": 1.0,
        "F-measure": 1.0,
        "Challenge metric": 1.0,
    }


_records = st.integers(1, 12)


@settings(deadline=None, max_examples=150)
@given(st.data(), _records)
def test_arrays_give_what_the_plain_definition_gives(data, n_records):
    shape = (n_records, 26)
    sparse = st.floats(0, 1).map(lambda x: x < 0.15)
    labels = data.draw(arrays(bool, shape, elements=sparse, fill=st.nothing()))
    outputs = data.draw(arrays(bool, shape, elements=sparse, fill=st.nothing()))
    # Few distinct values, so that ties are common.
    levels = st.sampled_from([0.0, 0.1, 0.25, 1 / 3, 0.5, 1.0])
    probabilities = data.draw(arrays(float, shape, elements=levels, fill=st.nothing()))
    weights = read_weights()
    scores = score(labels, outputs, probabilities, weights)
    for i in range(26):
        expected = plain_areas(labels[:, i], probabilities[:, i])
        np.testing.assert_array_equal((scores.auroc[i], scores.auprc[i]), expected)
    assert scores.accuracy == np.mean([all(a == b) for a, b in zip(labels, outputs, strict=True)])
    for beta in (1.0, 2.0):
        expected = plain_beta_measures(labels, outputs, beta)
        assert beta_measures(labels, outputs, beta) == pytest.approx(expected, nan_ok=True)
    expected = plain_challenge_metric(labels, outputs, weights, SINUS_RHYTHM)
    assert f"{scores.challenge_metric:.3f}" == f"{expected:.3f}"


def test_the_brier_score_is_the_mean_squared_error():
    label, probability = np.array([True, False, False]), np.array([0.8, 0.5, 0.0])
    assert brier_score(label, probability) == pytest.approx((0.04 + 0.25) / 3)
