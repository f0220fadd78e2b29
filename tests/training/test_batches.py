import numpy as np
import pytest

from ecg.models.inputs import InputOptions, record_inputs
from ecg.models.losses import make_targets
from ecg.records.discovery import find_records
from ecg.records.leads import LEAD_SETS, lead_rows
from ecg.records.record import read_record
from ecg.signals.measurements import join_measurements, n_measurements
from ecg.signals.preprocessing import Preparation
from ecg.training.batches import BagOptions, Bags, draw_windows, spread_windows, window_batches
from ecg.training.dataset import prepare_dataset
from tests.synthetic import beats, write_record

PREPARATION = Preparation(band_hz=None, window_s=1, max_windows=6)
N_WINDOWS = (1, 3, 2, 6, 1)
SIGNAL, BOTH = ("signal",), ("signal", "demographics")
MEASURED = ("signal", "measurements")
ALL = ("signal", "measurements", "demographics")
WEIGHTS = np.linspace(0.5, 3, 26)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five records of 1 to 6 seconds."""
    folder = tmp_path_factory.mktemp("batches")
    for i, n_windows in enumerate(N_WINDOWS):
        signal = beats(100 * n_windows, 100, seed=i)
        write_record(folder / "data", f"X{i}", signal, 100, age=str(40 + i))
    return folder


@pytest.fixture(scope="module")
def dataset(folder):
    """Five records of 1 to 6 windows of 100 samples, no two windows alike."""
    made = prepare_dataset(folder / "data", PREPARATION, folder / "cache", workers=1)
    assert made.n_windows.tolist() == list(N_WINDOWS)
    return made


def bags_of(dataset, indices, batch_size, lead_set=12, inputs=SIGNAL, seed=0, **options) -> Bags:
    options = BagOptions(lead_set, inputs, batch_size, seed=seed, **options)
    return Bags(dataset, indices, WEIGHTS, options)


def numbers(dataset, record, signals, lead_set=12) -> list[int]:
    """Which of the record's windows these are."""
    own = dataset.windows(record)[:, lead_rows(lead_set)]
    return [int(np.flatnonzero((own == signal).all(axis=(1, 2)))[0]) for signal in signals]


@pytest.mark.parametrize("lead_set", LEAD_SETS)
def test_bags_hold_the_leads_of_the_set_and_the_targets(dataset, lead_set):
    bags = bags_of(dataset, [3, 0, 2, 4], 2, lead_set)
    assert len(bags) == 2
    assert sorted(bags.order) == [0, 2, 3, 4]
    for i, records in enumerate(np.split(bags.order, 2)):
        inputs, targets = bags[i]
        assert list(inputs) == ["signal"]
        assert inputs["signal"].shape == (2, 1, lead_set, 100)
        assert inputs["signal"].dtype == targets.dtype == np.float32
        for signals, record in zip(inputs["signal"], records, strict=True):
            assert numbers(dataset, record, signals, lead_set)
        np.testing.assert_array_equal(targets, make_targets(dataset.labels[records], WEIGHTS))


@pytest.mark.parametrize(("n_records", "batch_size"), [(5, 2), (5, 3), (5, 5), (3, 8), (1, 4)])
def test_every_batch_is_full_the_last_one_by_the_first_records_of_the_epoch(
    dataset, n_records, batch_size
):
    bags = bags_of(dataset, np.arange(n_records), batch_size, n_alternatives=2)
    assert len(bags) == -(-n_records // batch_size)
    for _ in range(4):
        drawn = []
        for i in range(len(bags)):
            inputs, targets, weights = bags[i]
            assert len(inputs["signal"]) == len(targets) == len(weights) == batch_size
            records = bags.order[i * batch_size : (i + 1) * batch_size]
            drawn += records.tolist()
            for signals, record in zip(inputs["signal"], records, strict=True):
                assert numbers(dataset, record, signals)
            np.testing.assert_array_equal(targets[..., 0], dataset.labels[records])
        first = drawn[:n_records]
        assert sorted(first) == list(range(n_records))
        # Where there are fewer records than a batch takes, all come again and again.
        assert drawn == (first * batch_size)[: len(drawn)]
        bags.on_epoch_end()


def test_the_windows_of_long_records_change_from_epoch_to_epoch(dataset):
    def epochs(seed):
        bags = bags_of(dataset, [3, 1, 2], 3, seed=seed, bag_size=3)
        drawn = []
        for _ in range(6):
            inputs, _ = bags[0]
            drawn.append(
                {
                    int(record): numbers(dataset, record, signals)
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


def test_a_batch_that_is_asked_for_twice_is_the_same(dataset):
    bags = bags_of(dataset, [3, 3, 3, 3], 2, bag_size=2, n_alternatives=2)
    (one, _, weights), (two, _, weights_again) = bags[0], bags[0]
    np.testing.assert_array_equal(one["signal"], two["signal"])
    np.testing.assert_array_equal(weights, weights_again)
    assert not np.array_equal(one["signal"], bags[1][0]["signal"])


def test_a_training_that_was_stopped_goes_on_with_the_batches_of_its_next_epoch(dataset):
    whole, resumed = (bags_of(dataset, range(5), 2, bag_size=2, n_alternatives=2) for _ in range(2))
    for _ in range(3):
        whole.on_epoch_end()
    resumed.skip_epochs(3)
    for i in range(3):
        for one, other in zip(whole[i][1:], resumed[i][1:], strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(whole[i][0]["signal"], resumed[i][0]["signal"])


def test_demographics_come_where_the_network_asks_for_them(dataset):
    bags = bags_of(dataset, [4, 1], 2, inputs=BOTH, bag_size=2)
    np.testing.assert_array_equal(bags[0][0]["demographics"], dataset.demographics[bags.order])
    (inputs,) = window_batches(dataset, [4, 1], 12, BOTH, 4)
    np.testing.assert_array_equal(inputs["demographics"], dataset.demographics[[4, 1, 1, 1]])


@pytest.mark.parametrize("lead_set", LEAD_SETS)
def test_measurements_come_of_the_leads_of_the_set_alone(dataset, lead_set):
    waves = dataset.waves[:, lead_rows(lead_set)]
    expected = join_measurements(dataset.rhythm, waves)
    assert expected.shape == (5, n_measurements(lead_set))
    assert len(np.unique(expected, axis=0)) == 5
    bags = bags_of(dataset, [4, 1], 2, lead_set, MEASURED, bag_size=2)
    inputs, _ = bags[0]
    assert list(inputs) == ["signal", "measurements"]
    assert inputs["measurements"].dtype == np.float32
    np.testing.assert_array_equal(inputs["measurements"], expected[bags.order])
    # Every window goes with those of the whole record.
    (inputs,) = window_batches(dataset, [4, 1], lead_set, MEASURED, 4)
    np.testing.assert_array_equal(inputs["measurements"], expected[[4, 1, 1, 1]])


def test_a_network_without_a_signal_gets_none(dataset):
    alone = ("measurements",)
    bags = bags_of(dataset, [3, 0, 2], 2, 2, alone, bag_size=3)
    inputs, targets = bags[1]
    assert list(inputs) == ["measurements"]
    assert inputs["measurements"].shape == (2, n_measurements(2))
    np.testing.assert_array_equal(targets[..., 0], dataset.labels[bags.order[2:]])
    batches = window_batches(dataset, [3, 0], 2, alone, 5)
    assert [len(batch["measurements"]) for batch in batches] == [5, 2]


@pytest.mark.parametrize("lead_set", LEAD_SETS)
def test_training_and_answering_take_the_same_of_a_record(dataset, folder, lead_set):
    for i, files in enumerate(find_records(folder / "data")):
        record = read_record(files, PREPARATION.duration_s)
        answering = record_inputs(record, InputOptions(lead_set, PREPARATION, ALL))
        assert tuple(answering) == ALL
        training, _ = bags_of(dataset, [i], 1, lead_set, ALL, bag_size=N_WINDOWS[i])[0]
        (windows,) = window_batches(dataset, [i], lead_set, ALL, 99)
        for name in ALL:
            # In a bag what is the record's own comes once, elsewhere in a row for each window.
            rows = training[name][0] if name == "signal" else training[name]
            for given in (rows, windows[name], answering[name]):
                assert given.dtype == np.float32
                whole = np.broadcast_to(given, answering[name].shape)
                np.testing.assert_allclose(whole, answering[name], atol=1e-6, err_msg=name)
            np.testing.assert_array_equal(np.broadcast_to(rows, windows[name].shape), windows[name])


def test_a_step_of_training_draws_one_of_the_losses(dataset):
    bags = bags_of(dataset, range(5), 2, n_alternatives=2)
    drawn = []
    for _ in range(10):
        for i in range(len(bags)):
            _, _, weights = bags[i]
            assert weights.shape == (2, 2)
            drawn += np.unique(weights, axis=0).tolist()
        bags.on_epoch_end()
    assert len(drawn) == 30
    assert {tuple(weights) for weights in drawn} == {(2.0, 0.0), (0.0, 2.0)}


def test_the_order_changes_by_epoch_and_follows_from_the_seed(dataset):
    def epochs(seed):  # of more records than there are, since none is read
        bags = bags_of(dataset, range(16), 16, seed=seed)
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


@pytest.mark.parametrize("size", [1, 4, 100])
def test_every_window_of_the_records_comes_once_and_in_order(dataset, size):
    records = [3, 0, 2]
    batches = [batch["signal"] for batch in window_batches(dataset, records, 6, SIGNAL, size)]
    assert all(len(batch) == size for batch in batches[:-1])
    expected = np.concatenate([dataset.windows(i)[:, lead_rows(6)] for i in records])
    np.testing.assert_array_equal(np.concatenate(batches), expected)
    assert batches[0].dtype == np.float32


def test_an_unknown_lead_set_is_refused(dataset):
    with pytest.raises(ValueError, match="lead_set: expected one of 12, 6, 4, 3, 2; found 5"):
        bags_of(dataset, [0], 1, lead_set=5)
    with pytest.raises(ValueError, match="lead_set: expected one of 12, 6, 4, 3, 2; found 5"):
        list(window_batches(dataset, [0], 5, SIGNAL, 1))


def test_windows_are_evenly_spread_and_few_are_repeated():
    spread = spread_windows(N_WINDOWS, 3)
    assert spread.tolist() == [[0, 0, 0], [0, 1, 2], [0, 0, 1], [0, 2, 5], [0, 0, 0]]
    assert spread_windows(N_WINDOWS, 1).tolist() == [[0]] * 5
    assert spread_windows([8, 1], 2).tolist() == [[0, 7], [0, 0]]


def test_a_draw_has_each_window_once_and_in_order():
    n_windows = np.tile(np.arange(1, 9), 50)
    drawn = draw_windows(n_windows, 3, np.random.default_rng(0))
    assert drawn.shape == (400, 3)
    few = n_windows <= 3
    np.testing.assert_array_equal(drawn[few], spread_windows(n_windows[few], 3))
    assert (np.diff(drawn[~few]) > 0).all()
    assert (drawn[:, 0] >= 0).all()
    assert (drawn[:, -1] < n_windows).all()


@pytest.mark.parametrize(("n_windows", "bag_size"), [(6, 1), (6, 2), (6, 5), (40, 1)])
def test_each_window_and_each_pair_of_them_is_as_likely_to_be_drawn_as_another(n_windows, bag_size):
    n_drawn = 20000
    others = np.full(n_drawn, 9)  # whatever the records beside it have
    counts = np.column_stack([np.full(n_drawn, n_windows), others]).ravel()
    drawn = draw_windows(counts, bag_size, np.random.default_rng(0))[::2]
    has = (drawn[:, :, None] == np.arange(n_windows)).any(axis=1)
    together = has.T.astype(int) @ has
    single, pairs = np.diag(together), together[~np.eye(n_windows, dtype=bool)]
    for found, share in (
        (single, bag_size / n_windows),
        (pairs, bag_size * (bag_size - 1) / (n_windows * (n_windows - 1))),
    ):
        deviation = np.sqrt(n_drawn * share * (1 - share))
        np.testing.assert_allclose(found, n_drawn * share, atol=5 * deviation)
