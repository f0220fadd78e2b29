import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecg.models.prior_shift import adapt, estimate_share
from ecg.records.diagnoses import SINUS_RHYTHM

OTHERS = np.arange(26) != SINUS_RHYTHM
IN_TRAINING = 0.2


def sinus_rhythm(n_records, share, seed=0, known=IN_TRAINING):
    """Probabilities (n_records,), calibrated for the known share, of records with another share;
    and whether each has sinus rhythm."""
    random = np.random.default_rng(seed)
    present = random.random(n_records) < share
    # A score that is normal around 1 or -1 has the log-likelihood ratio 2 * score.
    score = np.where(present, 1.0, -1.0) + random.standard_normal(n_records)
    return 1 / (1 + (1 - known) / known * np.exp(-2 * score)), present


def by_the_formula(chances, known):
    """The estimate and its gain, written with likelihood ratios."""
    ratio = chances / (1 - chances) * (1 - known) / known
    share = known
    for _ in range(300):
        posterior = share * ratio / (share * ratio + 1 - share)
        share = (posterior.sum() + 10 * known) / (len(chances) + 10)
        share = min(max(share, 0.001), 0.999)
    return share, 2 * np.log((share * ratio + 1 - share) / (known * ratio + 1 - known)).sum()


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_a_known_shift_is_found_and_makes_the_probabilities_calibrated(share):
    chances, present = sinus_rhythm(4000, share)
    estimate = estimate_share(chances, IN_TRAINING)
    assert estimate.applied
    assert estimate.n_records == 4000
    assert estimate.share == pytest.approx(share, abs=0.03)
    probabilities = np.random.default_rng(1).random((4000, 26))
    probabilities[:, SINUS_RHYTHM] = chances
    adapted = adapt(probabilities, estimate)
    np.testing.assert_array_equal(adapted[:, OTHERS], probabilities[:, OTHERS])
    ranks = np.argsort(adapted[:, SINUS_RHYTHM])
    for quarter in np.split(ranks, 4):
        expected = adapted[quarter, SINUS_RHYTHM].mean()
        assert present[quarter].mean() == pytest.approx(expected, abs=0.05)
    np.testing.assert_array_equal(probabilities[:, SINUS_RHYTHM], chances)  # its argument is kept


def test_without_a_shift_the_answers_stay_as_they_are():
    estimates = [
        estimate_share(sinus_rhythm(300, IN_TRAINING, seed)[0], IN_TRAINING) for seed in range(200)
    ]
    applied = [estimate for estimate in estimates if estimate.applied]
    assert len(applied) <= 2
    probabilities = np.random.default_rng(0).random((3, 26))
    unchanged = adapt(probabilities, next(one for one in estimates if not one.applied))
    np.testing.assert_array_equal(unchanged, probabilities)


@pytest.mark.parametrize(("share", "known"), [(0.7, 0.3), (0.02, 0.4), (0.5, 0.45)])
def test_the_estimate_is_that_of_likelihood_ratios(share, known):
    chances, _ = sinus_rhythm(150, share, known=known)
    estimate = estimate_share(chances, known)
    np.testing.assert_allclose((estimate.share, estimate.gain), by_the_formula(chances, known))


@given(
    st.lists(st.floats(0, 1), max_size=60),
    st.floats(0, 1),
    st.sampled_from([np.float32, np.float64]),
)
def test_any_probabilities_give_an_estimate_that_the_order_does_not_change(
    chances, known, precision
):
    estimate = estimate_share(chances, known)
    assert 0.001 <= estimate.share <= 0.999
    assert estimate.gain >= 0
    backwards = estimate_share(chances[::-1], known)
    assert backwards.share == pytest.approx(estimate.share, rel=1e-9)
    assert backwards.gain == pytest.approx(estimate.gain, rel=1e-6, abs=1e-9)
    probabilities = np.full((len(chances), 26), 0.5, precision)
    probabilities[:, SINUS_RHYTHM] = chances
    adapted = adapt(probabilities, estimate)[:, SINUS_RHYTHM]
    assert ((adapted >= 0) & (adapted <= 1)).all()
    assert adapted.dtype == precision
    # A larger share makes sinus rhythm more probable, a smaller one less.
    change = np.sign(estimate.share - estimate.share_in_training)
    assert (change * (adapted - probabilities[:, SINUS_RHYTHM]) >= -1e-6).all()


def test_certain_answers_stay_certain():
    chances = np.repeat([0.0, 1.0], [10, 90])
    estimate = estimate_share(chances, IN_TRAINING)
    assert estimate.applied
    assert estimate.share == pytest.approx((90 + 10 * IN_TRAINING) / 110)
    probabilities = np.full((100, 26), 0.5)
    probabilities[:, SINUS_RHYTHM] = chances
    np.testing.assert_array_equal(adapt(probabilities, estimate), probabilities)


@pytest.mark.parametrize("known", [0.0, 1.0])
def test_a_model_without_any_or_with_nothing_but_sinus_rhythm_in_training_can_still_adapt(known):
    estimate = estimate_share(np.full(400, 0.5), known)
    assert 0.001 <= estimate.share_in_training <= 0.999
    assert estimate.applied
    assert abs(estimate.share - known) > 0.5


@pytest.mark.parametrize("chance", [0.0, 0.3, 1.0])
def test_a_single_record_is_not_enough(chance):
    estimate = estimate_share([chance], IN_TRAINING)
    assert not estimate.applied
    assert estimate.share == pytest.approx(IN_TRAINING, abs=0.1)


def test_without_records_the_share_is_that_in_training():
    estimate = estimate_share([], IN_TRAINING)
    assert (estimate.share, estimate.gain, estimate.n_records) == (IN_TRAINING, 0, 0)
    assert not estimate.applied
