import numpy as np
import pytest

from ecg.training.splits import hold_out, k_folds, leave_one_source_out


@pytest.fixture
def labels():
    return np.random.default_rng(0).random((300, 26)) < np.linspace(0.01, 0.15, 26)


def test_the_held_out_part_keeps_the_share_of_every_label(labels):
    kept, held_out = hold_out(labels, 0.1, seed=0)
    assert sorted([*kept, *held_out]) == list(range(300))
    assert len(held_out) == pytest.approx(30, abs=6)
    expected = labels.sum(axis=0) * 0.1
    np.testing.assert_allclose(labels[held_out].sum(axis=0), expected, atol=5)


def test_the_held_out_part_keeps_the_share_of_every_source(labels):
    # Sources follow one another in a folder, and label differently.
    sources = np.repeat(["ptb", "ningbo", "georgia"], [20, 80, 200])
    labels[:20, 5:] = False
    for seed in range(3):
        kept, held_out = hold_out(labels, 0.2, seed, sources)
        assert sorted([*kept, *held_out]) == list(range(300))
        for source, expected in (("ptb", 4), ("ningbo", 16), ("georgia", 40)):
            assert np.count_nonzero(sources[held_out] == source) == pytest.approx(expected, abs=2)
        np.testing.assert_allclose(labels[held_out].sum(axis=0), labels.sum(axis=0) * 0.2, atol=5)


def test_a_source_without_labels_is_held_out_by_its_share_too():
    labels = np.zeros((100, 26), bool)
    labels[:50, 0] = True
    sources = np.array(["a"] * 50 + ["b"] * 30 + ["c"] * 20)
    _, held_out = hold_out(labels, 0.1, 0, sources)
    counts = [np.count_nonzero(sources[held_out] == name) for name in "abc"]
    np.testing.assert_allclose(counts, [5, 3, 2], atol=1)


def test_a_split_follows_from_its_seed(labels):
    for one, two in zip(hold_out(labels, 0.1, 3), hold_out(labels, 0.1, 3), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(hold_out(labels, 0.1, 3)[1], hold_out(labels, 0.1, 4)[1])


def test_very_few_records_are_all_kept_and_all_held_out(labels):
    kept, held_out = hold_out(labels[:9], 0.1, seed=0)
    np.testing.assert_array_equal(kept, held_out)
    assert len(kept) == 9
    for seed in range(30):
        for n_records in (10, 11, 12):
            assert all(len(part) for part in hold_out(labels[:n_records], 0.1, seed))


def test_folds_hold_out_every_record_once(labels):
    folds = k_folds(labels, 5, seed=0)
    assert sorted(np.concatenate([held_out for _, held_out in folds])) == list(range(300))
    assert all(not set(kept) & set(held_out) for kept, held_out in folds)
    with pytest.raises(ValueError, match="expected 2 to 3 folds"):
        k_folds(labels[:3], 4, seed=0)


def test_every_source_is_left_out_once():
    sources = np.array(["ptb", "JS", "ptb", "HR", "JS"])
    parts = [
        (name, kept.tolist(), held_out.tolist())
        for name, kept, held_out in leave_one_source_out(sources)
    ]
    assert parts == [
        ("HR", [0, 1, 2, 4], [3]),
        ("JS", [0, 2, 3], [1, 4]),
        ("ptb", [1, 3, 4], [0, 2]),
    ]


def test_a_single_source_cannot_be_left_out():
    with pytest.raises(
        ValueError, match="expected records of at least 2 sources, found 'JS' alone"
    ):
        leave_one_source_out(np.array(["JS", "JS"]))
