import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import label_sets
from benchmarks.label_sets import ExpectedScore, seen_label_sets
from ecg.models import expected_score
from ecg.models.expected_score import climb
from ecg.records.diagnoses import N_CLASSES, SINUS_RHYTHM, read_weights

SEEDS = st.integers(0, 2**32 - 1)
FIVE = np.array(list(itertools.product([False, True], repeat=5)))  # all label sets of five classes
ANSWERS = FIVE[1:]


def scores_of(truths, answers, weights) -> np.ndarray:
    """What records of these true classes score by these answers, (n_truths, n_answers)."""
    rewards = truths.astype(float) @ weights @ answers.T
    return rewards / np.count_nonzero(truths[:, None] | answers, axis=2)


def by_enumeration(probabilities, answers, weights) -> np.ndarray:
    """Expected scores (n_answers,) of one record, over all that could be true of five classes."""
    chances = np.where(FIVE, probabilities, 1 - probabilities).prod(axis=1)
    return chances @ scores_of(FIVE, answers, weights)


def random_case(seed) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (5,), some of them certain, and weights (5, 5)."""
    random = np.random.default_rng(seed)
    probabilities = np.clip(random.uniform(-0.3, 1.3, 5), 0, 1)
    return probabilities, random.uniform(-0.5, 1, (5, 5))


@given(SEEDS)
def test_the_expected_score_is_that_of_an_enumeration(seed):
    probabilities, weights = random_case(seed)
    found = ExpectedScore(ANSWERS, weights)(probabilities[None])
    expected = by_enumeration(probabilities, ANSWERS, weights)
    np.testing.assert_allclose(found, expected[None], rtol=0, atol=1e-12)


@given(SEEDS)
def test_no_answer_has_a_larger_expected_score_than_the_one_chosen(seed):
    probabilities, weights = random_case(seed)
    (chosen,) = ExpectedScore(ANSWERS, weights).largest(probabilities[None])
    expected = by_enumeration(probabilities, ANSWERS, weights)
    assert expected[chosen] >= expected.max() - 1e-12


@given(SEEDS, st.permutations(range(N_CLASSES)))
def test_it_holds_for_any_five_of_the_scored_classes(seed, order):
    five = list(order[:5])
    probabilities, answers = np.zeros(N_CLASSES), np.zeros((len(ANSWERS), N_CLASSES), bool)
    probabilities[five] = random_case(seed)[0]
    answers[:, five] = ANSWERS
    weights = read_weights()
    found = ExpectedScore(answers, weights)(probabilities[None])
    expected = by_enumeration(probabilities[five], ANSWERS, weights[np.ix_(five, five)])
    np.testing.assert_allclose(found, expected[None], rtol=0, atol=1e-12)


def test_it_is_the_mean_score_of_many_records_with_all_classes():
    random = np.random.default_rng(0)
    probabilities, weights = random.random(N_CLASSES) ** 3, read_weights()
    answers = random.random((4, N_CLASSES)) < 0.2
    truth = random.random((200_000, N_CLASSES)) < probabilities
    expected = scores_of(truth, answers, weights).mean(axis=0)
    found = ExpectedScore(answers, weights)(probabilities[None])[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.002)


@given(SEEDS)
def test_a_certain_record_scores_what_its_classes_do(seed):
    random = np.random.default_rng(seed)
    weights = read_weights()
    truth, answers = random.random(N_CLASSES) < 0.1, random.random((20, N_CLASSES)) < 0.15
    answers = answers[answers.any(axis=1)]
    found = ExpectedScore(answers, weights)(truth[None].astype(float))[0]
    expected = scores_of(truth[None], answers, weights)[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


# One or two classes: the Challenge can pay for a class too many where a record has several.
@given(SEEDS, st.integers(1, 2), st.sampled_from([0.0, 1e-9]))
def test_a_certain_record_gets_its_own_label_set(seed, n_true, doubt):
    random = np.random.default_rng(seed)
    truth = np.isin(np.arange(N_CLASSES), random.choice(N_CLASSES, n_true, replace=False))
    answers = random.random((50, N_CLASSES)) < 0.1
    answers = np.concatenate([answers[answers.any(axis=1)], truth[None]])
    (chosen,) = ExpectedScore(answers, read_weights()).largest(abs(truth - doubt)[None])
    np.testing.assert_array_equal(answers[chosen], truth)


def test_the_first_of_equally_good_sets_is_chosen():
    answers = np.eye(N_CLASSES, dtype=bool)[[SINUS_RHYTHM, 0, 3]]
    assert ExpectedScore(answers, read_weights()).largest(np.zeros((2, N_CLASSES))).tolist() == [
        0,
        0,
    ]


@pytest.mark.parametrize("n_together", [1, 3, 20])
def test_many_records_are_answered_in_parts_as_each_alone(n_together, monkeypatch):
    random = np.random.default_rng(2)
    answers = random.random((40, N_CLASSES)) < 0.3
    expected = ExpectedScore(answers, read_weights())
    probabilities = random.random((20, N_CLASSES)) ** 2
    alone = [expected(one[None])[0] for one in probabilities]
    np.testing.assert_array_equal(expected(probabilities), alone)
    sizes = []

    def counted(self, part):
        sizes.append(len(part))
        return call(self, part)

    call = ExpectedScore.__call__
    monkeypatch.setattr(ExpectedScore, "__call__", counted)
    n_numbers = N_CLASSES // 2 * len(answers) * n_together
    monkeypatch.setattr(label_sets, "MOST_NUMBERS", n_numbers)
    np.testing.assert_array_equal(expected.largest(probabilities), np.argmax(alone, axis=1))
    assert max(sizes) == n_together
    assert sum(sizes) == 20


def test_no_records_get_no_answers():
    expected = ExpectedScore(np.eye(N_CLASSES, dtype=bool), read_weights())
    assert expected.largest(np.empty((0, N_CLASSES))).shape == (0,)
    answers = climb(np.empty((0, N_CLASSES)), np.empty((0, N_CLASSES), bool), read_weights())
    assert answers.shape == (0, N_CLASSES)


@given(SEEDS, st.integers(1, 31))
def test_climbing_raises_the_expected_score_until_no_single_class_does(seed, start):
    probabilities, weights = random_case(seed)
    (found,) = climb(probabilities[None], FIVE[start][None], weights)
    scores = {tuple(one): by_enumeration(probabilities, one[None], weights)[0] for one in ANSWERS}
    assert scores[tuple(found)] >= scores[tuple(FIVE[start])] - 1e-12
    for changed in found ^ np.eye(5, dtype=bool):
        assert scores.get(tuple(changed), -np.inf) <= scores[tuple(found)] + 1e-9


def test_climbing_finds_nearly_always_the_best_of_all_sets():
    random = np.random.default_rng(3)
    n_best = 0
    for _ in range(100):
        five = random.choice(N_CLASSES, 5, replace=False)
        weights, probabilities = read_weights()[np.ix_(five, five)], random.random((1, 5)) ** 2
        (found,) = climb(probabilities, ANSWERS[:1], weights)
        scores = ExpectedScore(ANSWERS, weights)(probabilities)[0]
        n_best += scores[(found == ANSWERS).all(axis=1)][0] > scores.max() - 1e-9
    assert n_best >= 98


@pytest.mark.parametrize("n_together", [1, 3, 20])
def test_many_records_climb_in_parts_as_each_alone(n_together, monkeypatch):
    random = np.random.default_rng(4)
    probabilities = random.random((20, N_CLASSES)) ** 3
    starts = np.eye(N_CLASSES, dtype=bool)[:20]
    alone = [
        climb(one[None], start[None], read_weights())[0]
        for one, start in zip(probabilities, starts, strict=True)
    ]
    monkeypatch.setattr(expected_score, "MOST_NUMBERS", N_CLASSES**2 * n_together)
    np.testing.assert_array_equal(climb(probabilities, starts, read_weights()), alone)
    np.testing.assert_array_equal(starts, np.eye(N_CLASSES, dtype=bool)[:20])


def test_seen_label_sets_are_sinus_rhythm_and_those_of_the_records_each_once():
    sinus, one, two = (
        np.isin(np.arange(N_CLASSES), classes) for classes in ([SINUS_RHYTHM], [7], [3, 25])
    )
    none = np.zeros(N_CLASSES, bool)
    found = seen_label_sets(np.array([two, one, none, two, sinus, one]))
    np.testing.assert_array_equal(found, [sinus, one, two])
    np.testing.assert_array_equal(seen_label_sets(none[None]), sinus[None])
