import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from ecg.evaluation.confidence_intervals import (
    N_RESAMPLES,
    auroc_interval,
    draw_resamples,
    percentile_interval,
    proportion,
    resampled_summaries,
    wilson_limits,
)
from ecg.records.diagnoses import read_weights
from ecg.records.metrics import areas_under_curves, score

WEIGHTS = read_weights()
Z = 1.959963984540054


@pytest.mark.parametrize(("n_hits", "n_trials"), [(0, 1), (1, 1), (0, 12), (9, 12), (263, 20_000)])
def test_wilson_limits_are_those_of_scipy(n_hits, n_trials):
    expected = binomtest(n_hits, n_trials).proportion_ci(0.95, method="wilson")
    found = proportion(n_hits, n_trials)
    assert found.value == n_hits / n_trials
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_a_proportion_of_nothing_is_not_defined():
    assert np.isnan([*vars(proportion(0, 0)).values()]).all()
    low, _ = wilson_limits([0, 3], [0, 4])
    assert np.isnan(low).tolist() == [True, False]


def ranking(n_positive, n_negative, seed, n_values=1000) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and probabilities with ties that are higher for positive records."""
    rng = np.random.default_rng(seed)
    label = np.arange(n_positive + n_negative) < n_positive
    scores = norm.cdf(rng.normal(1.0 * label))
    return label, np.round(scores * n_values) / n_values


@pytest.mark.parametrize("seed", range(3))
def test_the_variance_of_an_auroc_is_that_of_its_definition(seed):
    label, probability = ranking(23, 41, seed, n_values=20)
    wins = np.array(
        [[(p > q) + (p == q) / 2 for q in probability[~label]] for p in probability[label]]
    )
    rows, columns = wins.mean(axis=1), wins.mean(axis=0)
    sd = np.sqrt(np.var(rows, ddof=1) / len(rows) + np.var(columns, ddof=1) / len(columns))
    found = auroc_interval(label, probability)
    assert found.value == pytest.approx(areas_under_curves(label, probability)[0])
    on_log_odds = np.log([x / (1 - x) for x in (found.low, found.value, found.high)])
    half = Z * sd / (found.value * (1 - found.value))
    assert np.diff(on_log_odds) == pytest.approx([half, half])


def test_of_two_values_the_variance_is_that_of_sensitivity_and_specificity():
    # The AUROC is then the mean of the two, 0.75 and 0.9.
    label = np.repeat([True, False], [40, 60])
    called = np.concatenate([np.arange(40) < 30, np.arange(60) < 6])
    found = auroc_interval(label, called.astype(float))
    sd = np.sqrt(0.75 * 0.25 / 39 + 0.9 * 0.1 / 59) / 2
    assert found.value == pytest.approx(0.825)
    assert np.log(found.high / (1 - found.high)) == pytest.approx(
        np.log(0.825 / 0.175) + Z * sd / (0.825 * 0.175)
    )


@pytest.mark.parametrize(("n_positive", "n_negative"), [(12, 88), (30, 30), (100, 40)])
def test_95_of_100_intervals_contain_the_true_auroc(n_positive, n_negative):
    true = norm.cdf(1 / np.sqrt(2))
    found = [auroc_interval(*ranking(n_positive, n_negative, seed)) for seed in range(1000)]
    share = np.mean([interval.low <= true <= interval.high for interval in found])
    assert 0.92 < share < 0.98


def test_a_perfect_ranking_of_few_records_is_uncertain():
    found = auroc_interval(np.arange(50) < 4, -np.arange(50.0))
    assert found.value == found.high == 1
    assert found.low == pytest.approx(binomtest(4, 4).proportion_ci(0.95, "wilson").low)
    one = auroc_interval(np.arange(50) == 3, -np.arange(50.0))
    assert one.low < 0.2
    assert one.high > one.value


def test_the_auroc_of_records_of_one_kind_is_not_defined():
    for label in (np.ones(5, bool), np.zeros(5, bool)):
        assert np.isnan([*vars(auroc_interval(label, np.arange(5.0))).values()]).all()


def drawn(n_records, seed):
    """Labels, outputs and probabilities with ties; some classes do not occur."""
    rng = np.random.default_rng(seed)
    labels = rng.random((n_records, 26)) < rng.choice([0, 0.02, 0.3], 26)
    probabilities = np.round(np.clip(0.4 * labels + 0.6 * rng.random(labels.shape), 0, 1), 2)
    return labels, probabilities > 0.5, probabilities


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 60), st.integers(0, 2**31))
def test_resampled_metrics_are_the_scores_of_the_resampled_records(n_records, seed):
    labels, outputs, probabilities = drawn(n_records, seed)
    resamples = draw_resamples(n_records, seed)[:, :4]
    found = resampled_summaries(labels, outputs, probabilities, WEIGHTS, resamples)
    for i, counts in enumerate(resamples.T):
        chosen = np.repeat(np.arange(n_records), counts)
        arrays = (labels[chosen], outputs[chosen], probabilities[chosen])
        for name, value in score(*arrays, WEIGHTS).summary.items():
            assert found[name][i] == pytest.approx(value, abs=1e-9, nan_ok=True), name


def test_many_records_are_resampled_in_blocks(monkeypatch):
    labels, outputs, probabilities = drawn(50, 0)
    resamples = draw_resamples(50)
    whole = resampled_summaries(labels, outputs, probabilities, WEIGHTS, resamples)
    monkeypatch.setattr("ecg.evaluation.confidence_intervals._BLOCK", 350)
    in_blocks = resampled_summaries(labels, outputs, probabilities, WEIGHTS, resamples)
    for name, values in whole.items():
        assert values.shape == (N_RESAMPLES,)
        np.testing.assert_allclose(in_blocks[name], values)


def test_every_resample_has_as_many_records():
    resamples = draw_resamples(30)
    assert resamples.shape == (30, N_RESAMPLES)
    assert set(resamples.sum(axis=0)) == {30}


def test_undefined_resamples_are_left_out_of_an_interval():
    found = percentile_interval(0.5, np.array([*np.linspace(0, 1, 101), np.nan]))
    assert (found.low, found.high) == pytest.approx((0.025, 0.975))
    assert np.isnan(percentile_interval(np.nan, np.ones(3)).low)
    assert np.isnan(percentile_interval(0.5, np.full(3, np.nan)).high)
