import numpy as np
import pytest

from ecg.batches import Bags, Windows
from ecg.corpus import prepare_corpus
from ecg.leads import LEAD_SETS, lead_rows
from ecg.measurements import join_measurements, n_measurements
from ecg.signals import Preparation
from tests.synthetic import beats, write_record

N_WINDOWS = (1, 3, 2, 6, 1)
SIGNAL, BOTH = ("signal",), ("signal", "demographics")
MEASURED = ("signal", "measurements")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Five records of 1 to 6 windows of 100 samples, no two windows alike."""
    folder = tmp_path_factory.mktemp("batches")
    for i, n_windows in enumerate(N_WINDOWS):
        signal = beats(100 * n_windows, 100, seed=i)
        write_record(folder / "data", f"X{i}", signal, 100, age=str(40 + i))
    preparation = Preparation(band_hz=None, window_s=1, max_windows=6)
    made = prepare_corpus(folder / "data", preparation, folder / "cache", workers=1)
    assert made.n_windows.tolist() == list(N_WINDOWS)
    return made


def numbers(corpus, record, signals, lead_set=12) -> list[int]:
    """Which of the record's windows these are."""
    own = corpus.windows(record)[:, lead_rows(lead_set)]
    return [int(np.flatnonzero((own == signal).all(axis=(1, 2)))[0]) for signal in signals]


@pytest.mark.parametrize("lead_set", LEAD_SETS)
def test_bags_hold_the_leads_of_the_set_and_the_labels(corpus, lead_set):
    bags = Bags(corpus, [3, 0, 2], lead_set, SIGNAL, batch_size=2)
    assert len(bags) == 2
    inputs, labels = bags[0]
    assert list(inputs) == ["signal"]
    assert inputs["signal"].shape == (2, 1, lead_set, 100)
    assert inputs["signal"].dtype == labels.dtype == np.float32
    for signal, record in zip(inputs["signal"], (3, 0), strict=True):
        np.testing.assert_array_equal(signal[0], corpus.windows(record)[0, lead_rows(lead_set)])
    np.testing.assert_array_equal(labels, corpus.labels[[3, 0]])
    inputs, labels = bags[1]
    assert inputs["signal"].shape == (1, 1, lead_set, 100)
    np.testing.assert_array_equal(labels, corpus.labels[[2]])


def test_without_a_seed_windows_are_evenly_spread_and_few_are_repeated(corpus):
    inputs, _ = Bags(corpus, range(5), 12, SIGNAL, batch_size=5, bag_size=3)[0]
    found = [numbers(corpus, i, inputs["signal"][i]) for i in range(5)]
    assert found == [[0, 0, 0], [0, 1, 2], [0, 0, 1], [0, 2, 5], [0, 0, 0]]


def test_with_a_seed_the_windows_of_long_records_change_from_epoch_to_epoch(corpus):
    def epochs(seed):
        bags = Bags(corpus, [3, 1, 2], 12, SIGNAL, batch_size=3, bag_size=3, seed=seed)
        drawn = []
        for _ in range(6):
            inputs, _ = bags[0]
            drawn.append(
                {
                    int(record): numbers(corpus, record, signals)
                    for record, signals in zip(bags.order, inputs["signal"], strict=True)
                }
            )
            bags.on_epoch_end()
        return drawn

    drawn = epochs(1)
    assert epochs(1) == drawn != epochs(2)
    long = [epoch[3] for epoch in drawn]
    assert {i for epoch in long for i in epoch} == set(range(6))
    assert all(epoch == sorted(set(epoch)) for epoch in long)
    assert all((epoch[1], epoch[2]) == ([0, 1, 2], [0, 0, 1]) for epoch in drawn)


def test_a_batch_that_is_asked_for_twice_is_the_same(corpus):
    bags = Bags(corpus, [3, 3, 3, 3], 12, SIGNAL, 2, bag_size=2, n_alternatives=2, seed=0)
    (one, _, weights), (two, _, weights_again) = bags[0], bags[0]
    np.testing.assert_array_equal(one["signal"], two["signal"])
    np.testing.assert_array_equal(weights, weights_again)
    assert not np.array_equal(one["signal"], bags[1][0]["signal"])


def test_demographics_come_where_the_network_asks_for_them(corpus):
    inputs, _ = Bags(corpus, [4, 1], 12, BOTH, batch_size=2, bag_size=2)[0]
    np.testing.assert_array_equal(inputs["demographics"], corpus.demographics[[4, 1]])
    (inputs,) = Windows(corpus, [4, 1], 12, BOTH, batch_size=4)[0]
    np.testing.assert_array_equal(inputs["demographics"], corpus.demographics[[4, 1, 1, 1]])


@pytest.mark.parametrize("lead_set", LEAD_SETS)
def test_measurements_come_of_the_leads_of_the_set_alone(corpus, lead_set):
    waves = corpus.waves[:, lead_rows(lead_set)]
    expected = join_measurements(corpus.rhythm, waves)
    assert expected.shape == (5, n_measurements(lead_set))
    assert len(np.unique(expected, axis=0)) == 5
    inputs, _ = Bags(corpus, [4, 1], lead_set, MEASURED, batch_size=2, bag_size=2)[0]
    assert list(inputs) == ["signal", "measurements"]
    assert inputs["measurements"].dtype == np.float32
    np.testing.assert_array_equal(inputs["measurements"], expected[[4, 1]])
    # Every window goes with those of the whole record.
    (inputs,) = Windows(corpus, [4, 1], lead_set, MEASURED, batch_size=4)[0]
    np.testing.assert_array_equal(inputs["measurements"], expected[[4, 1, 1, 1]])


def test_a_network_without_a_signal_gets_none(corpus):
    alone = ("measurements",)
    inputs, labels = Bags(corpus, [3, 0, 2], 2, alone, batch_size=2, bag_size=3)[1]
    assert list(inputs) == ["measurements"]
    assert inputs["measurements"].shape == (1, n_measurements(2))
    np.testing.assert_array_equal(labels, corpus.labels[[2]])
    windows = Windows(corpus, [3, 0], 2, alone, batch_size=5)
    assert [len(windows[i][0]["measurements"]) for i in range(len(windows))] == [5, 2]


def test_a_step_of_training_draws_one_of_the_losses(corpus):
    bags = Bags(corpus, range(5), 12, SIGNAL, batch_size=2, n_alternatives=2, seed=0)
    drawn = []
    for _ in range(10):
        for i in range(len(bags)):
            inputs, _, weights = bags[i]
            assert weights.shape == (len(inputs["signal"]), 2)
            drawn += np.unique(weights, axis=0).tolist()
        bags.on_epoch_end()
    assert len(drawn) == 30
    assert {tuple(weights) for weights in drawn} == {(2.0, 0.0), (0.0, 2.0)}
    validation = Bags(corpus, range(5), 12, SIGNAL, batch_size=2, n_alternatives=2)
    assert len(validation[0]) == 2


def test_the_order_changes_by_epoch_and_follows_from_the_seed(corpus):
    def epochs(seed):  # of more records than there are, since none is read
        bags = Bags(corpus, range(16), 2, SIGNAL, batch_size=16, seed=seed)
        orders = []
        for _ in range(3):
            orders.append(bags.order.tolist())
            bags.on_epoch_end()
        return orders

    first, second, third = epochs(1)
    assert first != second != third
    assert all(sorted(order) == list(range(16)) for order in (first, second, third))
    assert epochs(1) == [first, second, third]
    assert epochs(2) != [first, second, third]


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_every_window_of_the_records_comes_once_and_in_order(corpus, batch_size):
    records = [3, 0, 2]
    windows = Windows(corpus, records, 6, SIGNAL, batch_size)
    batches = [windows[i][0]["signal"] for i in range(len(windows))]
    assert all(len(batch) == batch_size for batch in batches[:-1])
    expected = np.concatenate([corpus.windows(i)[:, lead_rows(6)] for i in records])
    np.testing.assert_array_equal(np.concatenate(batches), expected)
    assert batches[0].dtype == np.float32


@pytest.mark.parametrize("batches", [Bags, Windows])
def test_an_unknown_lead_set_is_refused(corpus, batches):
    with pytest.raises(ValueError, match="lead_set: expected one of 12, 6, 4, 3, 2; found 5"):
        batches(corpus, [0], 5, SIGNAL, batch_size=1)
