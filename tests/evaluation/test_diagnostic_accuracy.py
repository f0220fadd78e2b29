import numpy as np
import pytest

from ecg.evaluation.diagnostic_accuracy import diagnostic_accuracy


def test_figures_of_a_two_by_two_table():
    # Altman and Bland, BMJ 308 (1994) 1552: liver scans of 344 patients, 258 with pathology.
    label = np.repeat([True, True, False, False], [231, 27, 32, 54])
    called = np.repeat([True, False, True, False], [231, 27, 32, 54])
    found = diagnostic_accuracy(label, called)
    assert (found.n_positive, found.n_called) == (258, 263)
    assert found.sensitivity.value == pytest.approx(0.90, abs=0.005)
    assert found.specificity.value == pytest.approx(0.63, abs=0.005)
    assert found.ppv.value == pytest.approx(0.88, abs=0.005)
    assert found.npv.value == pytest.approx(0.67, abs=0.005)
    # Wilson limits, by the formula: sensitivity 231/258.
    assert found.sensitivity.low == pytest.approx(0.852, abs=0.0005)
    assert found.sensitivity.high == pytest.approx(0.927, abs=0.0005)


def test_figures_without_a_case_are_not_defined():
    found = diagnostic_accuracy(np.zeros(4, bool), np.zeros(4, bool))
    assert np.isnan(found.sensitivity.value)
    assert np.isnan(found.ppv.value)
    assert found.specificity.value == found.npv.value == 1


@pytest.mark.parametrize(("n_positive", "rare"), [(9, True), (10, False)])
def test_a_finding_of_fewer_than_ten_records_is_rare(n_positive, rare):
    label = np.arange(20) < n_positive
    assert diagnostic_accuracy(label, label).is_rare == rare
