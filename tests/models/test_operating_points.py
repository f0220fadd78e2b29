import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecg.models.operating_points import (
    call_findings,
    contradicts,
    default_points,
    excluding,
    fit_points,
    points_from_dict,
    points_to_dict,
)
from ecg.records.diagnoses import DIAGNOSES

NUMBER = {diagnosis.abbreviation: i for i, diagnosis in enumerate(DIAGNOSES)}


def answer(**probabilities) -> np.ndarray:
    """Probabilities (1, 26), .01 where none is given."""
    row = np.full((1, 26), 0.01)
    for abbreviation, probability in probabilities.items():
        row[0, NUMBER[abbreviation]] = probability
    return row


def names(flags) -> set[str]:
    return {DIAGNOSES[i].abbreviation for i in np.flatnonzero(flags)}


def simulated(n_records, seed=0) -> tuple[np.ndarray, np.ndarray]:
    """Labels and calibrated probabilities of findings of very different frequency."""
    random = np.random.default_rng(seed)
    odds = np.linspace(-5, 1, 26) + random.normal(0, 2.5, (n_records, 26))
    probabilities = 1 / (1 + np.exp(-odds))
    return random.random(probabilities.shape) < probabilities, probabilities


def test_what_excludes_each_other_is_symmetric_and_never_a_finding_itself():
    table = excluding()
    assert (table == table.T).all()
    assert not table.diagonal().any()
    assert table.sum() == 2 * 10
    assert names(table[NUMBER["NSR"]]) == {"AF", "AFL", "SB", "STach"}
    assert names(table[NUMBER["AF"]]) == {"NSR", "AFL", "SA", "IAVB"}


def test_a_finding_is_present_from_its_point_on():
    points = default_points()
    found = call_findings(answer(AF=1 / 3 + 1e-9, PVC=0.3333), points)
    assert names(found.present[0]) == {"AF"}
    assert names(found.uncertain[0]) == {"AF", "PVC"}


def test_a_finding_is_uncertain_between_half_and_twice_the_odds_of_its_point():
    low, high = default_points().bounds
    np.testing.assert_allclose(low, 1 / 5)
    np.testing.assert_allclose(high, 1 / 2)
    found = call_findings(answer(AF=0.51, PVC=0.49, TAb=0.21, TInv=0.19), default_points())
    assert names(found.present[0]) == {"AF", "PVC"}
    assert names(found.uncertain[0]) == {"PVC", "TAb"}


def test_of_two_that_exclude_each_other_the_less_likely_is_uncertain_instead():
    found = call_findings(answer(NSR=0.6, AF=0.7, SA=0.55, PVC=0.9), default_points())
    assert names(found.present[0]) == {"AF", "PVC"}
    assert names(found.uncertain[0]) == {"NSR", "SA"}


def test_likelier_means_further_above_the_findings_own_point():
    thresholds = np.full(26, 1 / 3)
    thresholds[NUMBER["NSR"]] = 0.7
    points = replace(default_points(), thresholds=thresholds)
    assert names(call_findings(answer(NSR=0.75, SB=0.6), points).present[0]) == {"SB"}
    assert names(call_findings(answer(NSR=0.95, SB=0.6), points).present[0]) == {"NSR"}


def test_a_finding_that_is_dropped_drops_no_other():
    # AF drops NSR, so sinus tachycardia has nothing against it but AF's silence.
    found = call_findings(answer(AF=0.9, NSR=0.8, STach=0.7), default_points())
    assert names(found.present[0]) == {"AF", "STach"}


@given(st.integers(0, 2**32 - 1))
def test_answers_never_contradict_themselves(seed):
    probabilities = np.random.default_rng(seed).random((50, 26))
    present = call_findings(probabilities, default_points()).present
    assert not contradicts(present).any()
    assert contradicts(probabilities >= 1 / 3).any()
    # What is dropped reached its point, and something that excludes it is present.
    dropped = (probabilities >= 1 / 3) & ~present
    assert ((present.astype(int) @ excluding()) > 0)[dropped].all()


def test_rare_findings_share_a_point_and_frequent_ones_have_their_own():
    labels, probabilities = simulated(150)
    points = fit_points(labels, probabilities)
    n_positive = labels.sum(axis=0)
    np.testing.assert_array_equal(points.n_positive, n_positive)
    np.testing.assert_array_equal(points.is_common, n_positive < 30)
    assert 0 < points.is_common.sum() < 26
    assert len(set(points.thresholds[points.is_common])) == 1
    assert len(set(points.thresholds[~points.is_common])) > 1


def test_points_are_about_as_sensitive_as_they_are_right():
    labels, probabilities = simulated(4000)
    points = fit_points(labels, probabilities)
    present = probabilities >= points.thresholds
    n_right = (labels & present).sum()
    assert n_right / labels.sum() == pytest.approx(n_right / present.sum(), abs=0.1)


def test_sensitivity_and_ppv_are_those_on_other_records():
    labels, probabilities = simulated(2000)
    points = fit_points(labels, probabilities)
    fresh, of_fresh = simulated(20_000, seed=1)
    present = call_findings(of_fresh, points).present
    n_right = (fresh & present).sum(axis=0)
    frequent = labels.sum(axis=0) > 300
    assert frequent.sum() > 5
    expected = n_right / fresh.sum(axis=0), n_right / present.sum(axis=0)
    np.testing.assert_allclose(points.sensitivity[frequent], expected[0][frequent], atol=0.08)
    np.testing.assert_allclose(points.ppv[frequent], expected[1][frequent], atol=0.08)


def test_few_records_leave_the_points_near_a_third():
    labels, probabilities = simulated(1)
    points = fit_points(labels, probabilities)
    assert np.abs(points.thresholds - 1 / 3).max() < 0.05
    assert np.isnan(points.sensitivity[~labels[0]]).all()


def test_points_survive_json():
    points = fit_points(*simulated(200), temperature=1.7)
    again = points_from_dict(json.loads(json.dumps(points_to_dict(points))))
    assert (again.temperature, again.n_records) == (1.7, 200)
    for name in ("thresholds", "n_positive", "sensitivity", "ppv", "is_common"):
        np.testing.assert_array_equal(getattr(again, name), getattr(points, name))


@pytest.mark.parametrize(
    ("name", "value"),
    [("threshold", 0.0), ("threshold", None), ("n_positive", "many"), ("finding", "AF")],
)
def test_points_that_cannot_be_are_refused(name, value):
    values = points_to_dict(default_points())
    values["findings"][3][name] = value
    with pytest.raises((TypeError, ValueError)):
        points_from_dict(values)
