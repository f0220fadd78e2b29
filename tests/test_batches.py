import numpy as np
import pytest

from ecg.batches import Batches
from ecg.corpus import prepare_corpus
from ecg.leads import LEAD_SETS, lead_rows
from ecg.signals import Preparation


@pytest.fixture(scope="module")
def corpus(training_folder, tmp_path_factory):
    return prepare_corpus(training_folder, Preparation(), tmp_path_factory.mktemp("c"), workers=1)


@pytest.mark.parametrize("lead_set", LEAD_SETS)
def test_batches_hold_the_leads_of_the_set_and_the_labels(corpus, lead_set):
    batches = Batches(corpus, [5, 2, 9], lead_set, batch_size=2)
    assert len(batches) == 2
    signals, labels = batches[0]
    assert signals.shape == (2, lead_set, 1000)
    assert signals.dtype == labels.dtype == np.float32
    np.testing.assert_array_equal(signals, corpus.signals[[5, 2]][:, lead_rows(lead_set)])
    np.testing.assert_array_equal(labels, corpus.labels[[5, 2]])
    assert batches[1][0].shape == (1, lead_set, 1000)


def test_the_order_changes_by_epoch_and_follows_from_the_seed(corpus):
    def epochs(seed):
        batches = Batches(corpus, range(16), 2, batch_size=16, seed=seed)
        orders = []
        for _ in range(3):
            orders.append(batches.order.tolist())
            batches.on_epoch_end()
        return orders

    first, second, third = epochs(1)
    assert first != second != third
    assert all(sorted(order) == list(range(16)) for order in (first, second, third))
    assert epochs(1) == [first, second, third]
    assert epochs(2) != [first, second, third]


def test_an_unknown_lead_set_is_refused(corpus):
    with pytest.raises(ValueError, match="lead_set: expected one of 12, 6, 4, 3, 2; found 5"):
        Batches(corpus, [0], 5, batch_size=1)
