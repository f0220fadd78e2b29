import dataclasses
import json

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ecg.models.losses import (
    BinaryCrossentropy,
    LossOptions,
    SoftmaxOrLovasz,
    class_weights,
    draw_alternative,
    inverse_frequency_weights,
    inverse_log_count_weights,
    lovasz_softmax,
    make_loss,
    make_targets,
)

LOVASZ = LossOptions(kind="softmax_or_lovasz")


def log_odds(probabilities):
    probabilities = np.asarray(probabilities, float)
    return np.log(probabilities / (1 - probabilities)).astype(np.float32)


def sigmoid(logits):
    return 1 / (1 + np.exp(-np.asarray(logits, float)))


def softmax(logits):
    powers = np.exp(np.asarray(logits, float))
    return powers / powers.sum(axis=-1, keepdims=True)


def weighted(labels, weights=1.0):
    """Targets of labels (batch, n_classes), each class with its weight in the loss."""
    return make_targets(labels, np.broadcast_to(weights, np.shape(labels)[1:]))


def random_bags(seed=0, n_records=7, n_windows=3, n_classes=5):
    """(labels, logits) of bags; each record has a label, as most real ones do."""
    random = np.random.default_rng(seed)
    labels = random.random((n_records, n_classes)) < 0.3
    labels[np.arange(n_records), np.arange(n_records) % n_classes] = True
    logits = random.normal(0, 2, (n_records, n_windows, n_classes))
    return labels.astype(np.float32), logits.astype(np.float32)


def loss_by_definition(labels, logits, weights):
    """Weighted binary cross-entropy per record (batch,), as the papers write it, in float64."""
    probabilities = sigmoid(logits).mean(axis=1)
    entropy = labels * np.log(probabilities) + (1 - labels) * np.log(1 - probabilities)
    return -(weights * entropy).mean(axis=1)


def lovasz_by_sets(labels, probabilities):
    """The definition: sorted errors x the growth of the Jaccard loss of sets of wrong records."""
    by_class = []
    for truth, answers in zip(labels.T, probabilities.T, strict=True):
        present = {i for i, label in enumerate(truth) if label}
        if not present:
            continue
        errors = [abs(float(label) - float(p)) for label, p in zip(truth, answers, strict=True)]
        worst_first = sorted(range(len(errors)), key=lambda i: -errors[i])

        def jaccard_loss(wrong, present=present):
            return len(wrong) / len(present | wrong)

        by_class.append(
            sum(
                errors[i]
                * (jaccard_loss(set(worst_first[: n + 1])) - jaccard_loss(set(worst_first[:n])))
                for n, i in enumerate(worst_first)
            )
        )
    return np.mean(by_class) if by_class else 0.0


def step_on(loss, targets, logits, sample_weight=None):
    """(loss, gradient by the logits) of one compiled training step."""
    n_records, *bag = logits.shape
    table = keras.layers.Dense(int(np.prod(bag)), use_bias=False)
    model = keras.Sequential([keras.Input((n_records,)), table, keras.layers.Reshape(bag)])
    table.set_weights([logits.reshape(n_records, -1)])
    model.compile(keras.optimizers.SGD(1.0), loss)
    value = model.train_on_batch(np.eye(n_records, dtype=np.float32), targets, sample_weight)
    return float(value), logits - np.array(table.kernel).reshape(logits.shape)


def slopes(function, logits, step=1e-5):
    """Gradient of a function of float64 logits by central differences."""
    logits = np.asarray(logits, float)
    gradient = np.empty_like(logits)
    for i in np.ndindex(*logits.shape):
        up, down = logits.copy(), logits.copy()
        up[i] += step
        down[i] -= step
        gradient[i] = (function(up) - function(down)) / (2 * step)
    return gradient


def test_weights_are_those_of_the_paper_and_stay_positive():
    labels = np.zeros((100, 4), bool)
    labels[:24, 0] = labels[:, 1] = labels[:99, 2] = True
    weights = inverse_frequency_weights(labels, epsilon=0.01, floor=0.05)
    np.testing.assert_allclose(
        weights, [np.log2(1 / 0.25), 0.05, 0.05, np.log2(1 / 0.01)], rtol=1e-6
    )


def test_weights_by_log_count_are_those_of_the_paper_and_at_most_1():
    labels = np.arange(1000)[:, None] < [1000, 20, 3, 2, 1, 0]
    weights = inverse_log_count_weights(labels)
    expected = [1 / np.log(1000), 1 / np.log(20), 1 / np.log(3), 1, 1, 1]
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


def test_the_options_choose_the_class_weights():
    labels = np.arange(40)[:, None] < [30, 10]
    for options, expected in [
        (LossOptions(), inverse_frequency_weights(labels, 0.01, 0.05)),
        (LossOptions(epsilon=0.2, weight_floor=1.0), inverse_frequency_weights(labels, 0.2, 1.0)),
        (LossOptions(class_weights="inverse_log_count"), inverse_log_count_weights(labels)),
        (LossOptions(class_weights="equal"), np.ones(2)),
    ]:
        weights = class_weights(options, labels)
        np.testing.assert_array_equal(weights, expected)
        assert weights.dtype == np.float32


def test_the_options_choose_the_loss():
    options = LossOptions(hardest_share=0.7)
    loss = make_loss(options)
    assert isinstance(loss, BinaryCrossentropy)
    assert loss.hardest_share == 0.7
    assert make_loss(LossOptions()).hardest_share == 1
    assert options.n_alternatives == 1
    assert isinstance(make_loss(LOVASZ), SoftmaxOrLovasz)
    assert LOVASZ.n_alternatives == 2


def test_targets_are_the_labels_beside_the_weights_of_their_classes():
    labels = np.array([[True, False, True], [False, False, True]])
    targets = make_targets(labels, [0.5, 2.0, 3.0])
    assert targets.shape == (2, 3, 2)
    assert targets.dtype == np.float32
    np.testing.assert_array_equal(targets[..., 0], labels)
    np.testing.assert_array_equal(targets[..., 1], [[0.5, 2.0, 3.0]] * 2)


@pytest.mark.parametrize("options", [LossOptions(hardest_share=0.7), LOVASZ], ids=lambda o: o.kind)
def test_one_loss_takes_the_weights_of_each_batch(options):
    labels, logits = random_bags()
    loss = make_loss(options)
    low, high, again = (float(loss(weighted(labels, w), logits)) for w in (1.0, 3.0, 1.0))
    assert low == again < high


def test_options_survive_json():
    options = LossOptions(class_weights="inverse_log_count", hardest_share=0.7)
    assert LossOptions(**json.loads(json.dumps(dataclasses.asdict(options)))) == options


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "hinge"},
        {"class_weights": "inverse"},
        {"epsilon": 0.0},
        {"weight_floor": float("nan")},
        {"hardest_share": 0.0},
        {"hardest_share": 1.1},
        {"kind": "softmax_or_lovasz", "hardest_share": 0.7},
    ],
)
def test_impossible_losses_are_refused(wrong):
    with pytest.raises(ValueError, match=f"{list(wrong)[-1]}: expected .*[,;] found"):
        LossOptions(**wrong)


def test_loss_worked_by_hand():
    loss = BinaryCrossentropy()
    targets = weighted([[1, 0], [0, 0]], [1.0, 3.0])
    logits = log_odds([[[0.5, 0.75]], [[0.5, 0.5]]])
    by_record = [(np.log(2) + 3 * np.log(4)) / 2, (np.log(2) + 3 * np.log(2)) / 2]
    np.testing.assert_allclose(loss.call(targets, logits), by_record, rtol=1e-6)
    assert float(loss(targets, logits)) == pytest.approx(np.mean(by_record), rel=1e-6)


def test_a_record_has_the_mean_probability_of_its_windows():
    bag = log_odds([[[0.9, 0.1], [0.5, 0.2], [0.1, 0.6]]])
    whole = log_odds([[[0.5, 0.3]]])
    targets = weighted([[1.0, 0.0]], [1.0, 2.0])
    loss = BinaryCrossentropy()
    assert float(loss(targets, bag)) == pytest.approx(float(loss(targets, whole)), rel=1e-6)


@pytest.mark.training
@pytest.mark.parametrize("n_windows", [1, 4])
def test_loss_and_gradient_are_those_of_the_definition(n_windows):
    labels, logits = random_bags(n_windows=n_windows)
    weights = np.array([0.1, 0.5, 1.0, 2.0, 6.0])

    def mean_loss(logits):
        return loss_by_definition(labels, logits, weights).mean()

    value, gradient = step_on(BinaryCrossentropy(), weighted(labels, weights), logits)
    assert value == pytest.approx(mean_loss(logits), rel=1e-5)
    np.testing.assert_allclose(gradient, slopes(mean_loss, logits), atol=1e-6)


def test_equal_weights_give_plain_binary_crossentropy():
    labels, logits = random_bags(n_windows=1)
    plain = keras.losses.BinaryCrossentropy(from_logits=True)(labels, logits[:, 0])
    ours = BinaryCrossentropy()(weighted(labels), logits)
    assert float(ours) == pytest.approx(float(plain), rel=1e-5)


def test_large_logits_lose_no_accuracy():
    loss = BinaryCrossentropy()
    for logit, label, expected in [(60, 1, np.exp(-60)), (60, 0, 60), (-1e4, 1, 1e4)]:
        value = float(loss(weighted([[label]]), np.array([[[logit]]], np.float32)))
        assert value == pytest.approx(expected, rel=1e-5)


@pytest.mark.training
@pytest.mark.parametrize("n_windows", [1, 2])
@pytest.mark.parametrize("loss", [BinaryCrossentropy(0.5), SoftmaxOrLovasz()])
def test_certain_and_wrong_is_finite(loss, n_windows):
    labels = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]], np.float32)
    logits = np.full((4, n_windows, 2), 1e4, np.float32)
    logits[:2, :, 0] = logits[3, 0] = -1e4
    value, gradient = step_on(loss, weighted(labels), logits)
    assert 0 < value < 1e5
    assert np.isfinite(gradient).all()


@pytest.mark.training
def test_only_the_hardest_records_count():
    labels, logits = random_bags(n_records=10)
    by_record = loss_by_definition(labels, logits, np.ones(5))
    hardest = np.argsort(by_record)[-7:]
    loss = BinaryCrossentropy(hardest_share=0.7)
    expected = np.zeros(10)
    expected[hardest] = by_record[hardest] * 10 / 7
    np.testing.assert_allclose(loss.call(weighted(labels), logits), expected, rtol=1e-5)
    value, gradient = step_on(loss, weighted(labels), logits)
    assert value == pytest.approx(by_record[hardest].mean(), rel=1e-5)
    assert set(np.flatnonzero(np.abs(gradient).max(axis=(1, 2)))) == set(hardest)


@pytest.mark.parametrize(
    ("share", "n_records", "n_kept"),
    [(0.7, 10, 7), (0.7, 64, 45), (0.7, 1, 1), (0.01, 5, 1), (0.55, 100, 55), (0.99, 10, 10)],
)
def test_the_hardest_share_is_rounded_up_and_ties_do_not_add_to_it(share, n_records, n_kept):
    targets, logits = weighted(np.ones((n_records, 1))), np.zeros((n_records, 1, 1), np.float32)
    losses = np.array(BinaryCrossentropy(share).call(targets, logits))
    assert np.count_nonzero(losses) == n_kept
    assert losses.mean() == pytest.approx(np.log(2), rel=1e-5)


def test_lovasz_worked_by_hand():
    # Errors .8 (a record without the class), .7 and .1 (the two with it), .1: the Jaccard loss
    # of the worst one, two, three and four is 1/3, 2/3, 1 and 1.
    labels = np.array([[1, 0, 1, 0]], np.float32).T
    probabilities = np.array([[0.9, 0.8, 0.3, 0.1]], np.float32).T
    value = float(lovasz_softmax(labels, probabilities))
    assert value == pytest.approx((0.8 + 0.7 + 0.1) / 3, rel=1e-6)


def batches(elements):
    """Strategy: (labels, probabilities) of the same shape, (1 to 9, 1 to 4), float32."""
    shapes = st.tuples(st.integers(1, 9), st.integers(1, 4))
    return shapes.flatmap(
        lambda shape: st.tuples(
            arrays(np.float32, shape, elements=st.sampled_from([0.0, 1.0])),
            arrays(np.float32, shape, elements=elements),
        )
    )


@settings(deadline=None, max_examples=100)
@given(batches(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]) | st.floats(0, 1, width=32)))
def test_lovasz_is_the_definition_through_sets(batch):
    assert float(lovasz_softmax(*batch)) == pytest.approx(lovasz_by_sets(*batch), abs=1e-5)


@settings(deadline=None, max_examples=50)
@given(batches(st.sampled_from([0.0, 1.0])))
def test_lovasz_of_certain_answers_is_one_minus_the_jaccard_index(batch):
    labels, answers = (part.astype(bool) for part in batch)
    shared = np.sum(labels & answers, axis=0)[labels.any(axis=0)]
    either = np.sum(labels | answers, axis=0)[labels.any(axis=0)]
    expected = np.mean(1 - shared / either) if len(either) else 0
    assert float(lovasz_softmax(*batch)) == pytest.approx(expected, abs=1e-5)


def test_lovasz_leaves_out_the_classes_that_the_batch_lacks():
    labels, logits = random_bags()
    probabilities = sigmoid(logits[:, 0]).astype(np.float32)
    labels[:, [1, 4]] = 0
    only = [0, 2, 3]
    assert float(lovasz_softmax(labels, probabilities)) == pytest.approx(
        float(lovasz_softmax(labels[:, only], probabilities[:, only])), rel=1e-6
    )
    assert float(lovasz_softmax(np.zeros_like(labels), probabilities)) == 0


def test_softmax_and_lovasz_are_those_of_the_definitions():
    labels, logits = random_bags()
    labels[0] = 0
    weights = np.array([0.1, 0.5, 1.0, 2.0, 6.0])
    both = np.array(SoftmaxOrLovasz().call(weighted(labels, weights), logits))
    probabilities = softmax(logits).mean(axis=1)
    terms = -weights * labels * np.log(probabilities)
    expected = [
        row[label > 0].mean() if label.any() else 0
        for row, label in zip(terms, labels, strict=True)
    ]
    np.testing.assert_allclose(both[:, 0], expected, rtol=1e-5)
    lovasz = lovasz_by_sets(labels, sigmoid(logits).mean(axis=1))
    np.testing.assert_allclose(both[:, 1], np.full(7, lovasz), rtol=1e-5)


@pytest.mark.training
def test_sample_weights_pick_one_loss_and_its_gradient():
    labels, logits = random_bags()
    loss, targets = SoftmaxOrLovasz(), weighted(labels)

    def entropy(logits):
        log_probabilities = np.log(softmax(logits).mean(axis=1))
        return -np.mean(np.sum(labels * log_probabilities, axis=1) / labels.sum(axis=1))

    def lovasz(logits):
        return lovasz_by_sets(labels, sigmoid(logits).mean(axis=1))

    for column, alternative in enumerate((entropy, lovasz)):
        picked = np.zeros((7, 2), np.float32)
        picked[:, column] = 2
        assert float(loss(targets, logits, picked)) == pytest.approx(alternative(logits), rel=1e-5)
        value, gradient = step_on(loss, targets, logits, picked)
        assert value == pytest.approx(alternative(logits), rel=1e-5)
        np.testing.assert_allclose(gradient, slopes(alternative, logits), atol=1e-6)
    mean_of_both = (entropy(logits) + lovasz(logits)) / 2
    assert float(loss(targets, logits)) == pytest.approx(mean_of_both, rel=1e-5)


def test_the_draw_picks_each_alternative_for_whole_batches():
    random = np.random.default_rng(0)
    draws = [draw_alternative(random, 3, 2) for _ in range(400)]
    assert {tuple(map(tuple, draw)) for draw in draws} == {((2, 0),) * 3, ((0, 2),) * 3}
    assert 150 < sum(draw[0, 1] == 2 for draw in draws) < 250
    assert draws[0].dtype == np.float32
    again = np.random.default_rng(0)
    np.testing.assert_array_equal(draws[0], draw_alternative(again, 3, 2))


def test_a_single_alternative_is_always_drawn_and_changes_nothing():
    labels, logits = random_bags()
    ones = draw_alternative(np.random.default_rng(0), 7, 1)
    np.testing.assert_array_equal(ones, np.ones((7, 1)))
    loss, targets = BinaryCrossentropy(), weighted(labels)
    assert float(loss(targets, logits, ones)) == pytest.approx(float(loss(targets, logits)))


@pytest.mark.training
@pytest.mark.parametrize(
    "options", [LossOptions(), LossOptions(hardest_share=0.7), LOVASZ], ids=lambda o: o.kind
)
def test_training_takes_batches_of_any_size(options):
    labels, logits = random_bags(n_records=10)
    targets = make_targets(labels, class_weights(options, labels))
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3, 5)), keras.layers.Dense(5)])
    model.compile(keras.optimizers.Adam(0.05), make_loss(options))
    weights = draw_alternative(np.random.default_rng(0), 10, options.n_alternatives)
    history = model.fit(
        logits,
        targets,
        batch_size=4,
        epochs=15,
        verbose=0,
        sample_weight=weights,
        validation_data=(logits, targets),
    ).history
    assert 0 < history["loss"][-1] < 0.8 * history["loss"][0]
    assert np.isfinite(history["val_loss"]).all()


@pytest.mark.parametrize("options", [LossOptions(hardest_share=0.7), LOVASZ], ids=lambda o: o.kind)
def test_losses_are_float32_whatever_the_policy(options):
    labels, logits = random_bags()
    targets = make_targets(labels, class_weights(options, labels))
    expected = float(make_loss(options)(targets, logits))
    keras.config.set_dtype_policy("mixed_float16")
    keras.config.set_floatx("float16")
    try:
        loss = make_loss(options)(targets, logits)
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    assert float(loss) == pytest.approx(expected, rel=1e-6)
