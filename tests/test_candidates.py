from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from benchmarks import candidates
from benchmarks.candidates import AS_IT_IS, CANDIDATES, ON_SIGNAL, Candidate
from ecg import epochs, training
from ecg.architectures import multiscale_se
from ecg.classes import read_weights
from ecg.corpus import Corpus
from ecg.epochs import PretrainingOptions
from ecg.leads import lead_rows
from ecg.losses import BinaryCrossentropy, LossOptions
from ecg.measurements import N_RHYTHM, N_WAVES
from ecg.methods import METHODS, as_published, build_network, find_method
from tests.narrow import narrow_method

N_RECORDS, N_SAMPLES, BATCH = 12, 200, 6
INPUTS = ("signal", "measurements")
# What a candidate changes beside its method, or in place of it.
OTHER_PARTS = {
    AS_IT_IS: set(),
    "weights averaged": {"optimizer"},
    "unlabelled classes masked": {"labels", "loss"},
    "mixup": {"signal", "measurements", "labels"},
    "age and sex": {"corpus", "input"},
    "soft metric at the end": {"fit"},
    "time stretch 10 %": {"signal"},
    "amplitudes 20 %": {"signal"},
    "lead dropout 15 %": {"signal"},
    "crops of 6 to 10 s": {"signal"},
}
CHANGES_SIGNAL = [name for name, parts in OTHER_PARTS.items() if parts == {"signal"}]


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    """Twelve records of two sources. Those of B never have the odd classes, those of A have class
    23 in record 0 alone, and nobody has the last pair."""
    random = np.random.default_rng(0)
    labels = random.random((N_RECORDS, 26)) < 0.5
    labels[0], labels[1:6, 23] = True, False
    labels[6, ::2], labels[6:, 1::2] = True, False
    labels[:, -2:] = False
    return Corpus(
        place=Path("made up"),
        parts=(random.normal(size=(N_RECORDS, 12, N_SAMPLES)).astype(np.float32),),
        part=np.zeros(N_RECORDS, int),
        first=np.arange(N_RECORDS),
        n_windows=np.ones(N_RECORDS, int),
        names=np.array([f"T{i}" for i in range(N_RECORDS)]),
        sources=np.repeat(["A", "B"], N_RECORDS // 2),
        labels=labels,
        demographics=random.random((N_RECORDS, 4)).astype(np.float32),
        lead_deviation_mv=np.ones((N_RECORDS, 12), np.float32),
        rhythm=random.normal(size=(N_RECORDS, N_RHYTHM)).astype(np.float32),
        waves=random.normal(size=(N_RECORDS, 12, N_WAVES)).astype(np.float32),
        bad={},
        momentary=False,
        fingerprint="0f",
    )


def with_signal(corpus, signal) -> Corpus:
    """The corpus with this signal (n_samples,) in every lead of every record."""
    windows = np.broadcast_to(signal, corpus.parts[0].shape).astype(np.float32)
    return replace(corpus, parts=(windows,))


def batch(name, corpus, indices=range(N_RECORDS), seed=0, i=0):
    """(inputs, labels, positions in the corpus) of a batch that the candidate trains on."""
    with CANDIDATES[name].while_fitting():
        bags = training.Bags(corpus, indices, 2, INPUTS, BATCH, seed=seed)
    inputs, labels = bags[i]
    return inputs, labels, bags.order[i * BATCH : (i + 1) * BATCH]


def loss_of(name, labels):
    with CANDIDATES[name].while_fitting():
        return training.make_loss(LossOptions(class_weights="equal"), labels)


def optimizer_config() -> dict:
    config = epochs.make_optimizer(find_method("multiscale_se").training, 1).get_config()
    return {name: value for name, value in config.items() if name != "name"}


def parts(name, corpus) -> dict:
    """All that makes a training beside the method, as it is with the candidate."""
    candidate = CANDIDATES[name]
    inputs, labels, _ = batch(name, corpus)
    with candidate.throughout():
        n_measured = multiscale_se.n_measurements(2)
    with candidate.while_fitting():
        optimizer = optimizer_config()
    return {
        "corpus": candidate.corpus(corpus).rhythm.tolist(),
        "input": n_measured,
        "signal": inputs["signal"].tolist(),
        "measurements": inputs["measurements"].tolist(),
        "labels": labels.tolist(),
        "loss": type(loss_of(name, corpus.labels)),
        "optimizer": optimizer,
        "fit": candidate.fit,
    }


# Methods ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CANDIDATES)
def test_a_candidate_changes_its_method_or_another_part_and_nothing_else(name, corpus):
    candidate, found = CANDIDATES[name], find_method("multiscale_se")
    usual, changed = parts(AS_IT_IS, corpus), parts(name, corpus)
    assert {part for part in usual if changed[part] != usual[part]} == OTHER_PARTS.get(name, set())
    assert (candidate.method(found) == found) == (name in OTHER_PARTS)
    assert candidate.is_a_method == (not OTHER_PARTS.get(name))


def test_no_two_candidates_are_the_same(corpus):
    found = find_method("multiscale_se")
    everything = [(own.method(found), parts(name, corpus)) for name, own in CANDIDATES.items()]
    for i, one in enumerate(everything):
        assert one not in everything[:i]


def test_candidates_without_a_signal_path_are_of_other_parts():
    assert set(ON_SIGNAL) < set(CANDIDATES)
    assert {AS_IT_IS, "mixup", "age and sex"}.isdisjoint(ON_SIGNAL)
    assert set(CHANGES_SIGNAL) < set(ON_SIGNAL)


@pytest.mark.parametrize(
    ("name", "part", "option", "expected"),
    [
        ("twice the epochs", "training", "epochs", 20),
        ("half the epochs", "training", "epochs", 5),
        ("half the width", "network", "widths", (8, 12, 16, 12, 8)),
        ("twice the width", "network", "widths", (32, 48, 64, 48, 32)),
        ("half the measured width", "network", "measured_width", 64),
        ("twice the measured width", "network", "measured_width", 256),
        ("twice the simulated records", "pretraining", "n_records", 12_000),
        ("without pre-training", "pretraining", "n_records", 0),
        ("measurements not first", "pretraining", "measured_epochs", 0),
        ("without measurements", "network", "measured_width", None),
        ("measurements alone", "network", "steps", ()),
        ("rate without warm-up", "training", "warmup_share", 0),
        ("classes weigh alike", "loss", "class_weights", "equal"),
    ],
)
def test_a_candidate_does_what_its_name_says(name, part, option, expected):
    method = CANDIDATES[name].method(find_method("multiscale_se"))
    assert getattr(getattr(method, part), option) == expected


def test_a_number_above_0_stays_above_0_and_0_stays_0():
    one_epoch = narrow_method("multiscale_se")
    assert CANDIDATES["half the epochs"].method(one_epoch).training.epochs == 1
    assert CANDIDATES["twice the simulated records"].method(one_epoch).pretraining.n_records == 0


@pytest.mark.parametrize("preset", ["full", "demo"])
def test_the_paper_is_compared_as_it_was_published(preset):
    found = find_method("multiscale_se", preset)
    for n_simulated in (None, 50):
        method = CANDIDATES["as published"].method(found, n_simulated)
        assert method == as_published(found)
        assert method.pretraining.n_records == 0


def test_narrow_networks_go_through_the_full_stages_on_so_many_simulated_records():
    found = find_method("multiscale_se", "demo")
    assert CANDIDATES[AS_IT_IS].method(found).pretraining == PretrainingOptions()
    full = METHODS["multiscale_se"]["full"].pretraining
    method = CANDIDATES[AS_IT_IS].method(found, 50)
    assert method == replace(found, pretraining=replace(full, n_records=50))

    def stages(name):
        return CANDIDATES[name].method(found, 50).pretraining

    assert stages("twice the simulated records") == replace(full, n_records=100)
    assert stages("measurements not first") == replace(full, n_records=50, measured_epochs=0)
    assert stages("without pre-training") == PretrainingOptions()


# Batches ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in CANDIDATES if OTHER_PARTS.get(name)])
def test_validation_batches_are_as_ever(name, corpus):
    for i in (0, 1):
        inputs, labels, _ = batch(name, corpus, seed=None, i=i)
        own = slice(i * BATCH, (i + 1) * BATCH)
        signal = corpus.parts[0][own][:, lead_rows(2)]
        np.testing.assert_array_equal(inputs["signal"][:, 0], signal)
        np.testing.assert_array_equal(labels, corpus.labels[own])


@pytest.mark.parametrize("name", [*CHANGES_SIGNAL, "mixup", "unlabelled classes masked"])
def test_a_changed_batch_keeps_its_form_and_comes_out_the_same_again(name, corpus):
    usual, labels, _ = batch(AS_IT_IS, corpus)
    inputs, changed, _ = batch(name, corpus)
    again, _, _ = batch(name, corpus)
    assert inputs.keys() == usual.keys()
    for part in inputs:
        assert inputs[part].shape == usual[part].shape
        assert inputs[part].dtype == np.float32
        np.testing.assert_array_equal(inputs[part], again[part])
    assert (changed.shape, changed.dtype) == (labels.shape, np.float32)


@pytest.mark.parametrize("name", CHANGES_SIGNAL)
def test_a_change_of_signals_leaves_nothing_as_nothing(name, corpus):
    inputs, _, _ = batch(name, with_signal(corpus, np.zeros(N_SAMPLES)))
    assert not inputs["signal"].any()


def test_amplitudes_change_by_lead_and_by_a_fifth_at_most(corpus):
    usual, changed = (batch(name, corpus)[0]["signal"] for name in (AS_IT_IS, "amplitudes 20 %"))
    factors = changed / usual
    np.testing.assert_allclose(factors, np.broadcast_to(factors[..., :1], factors.shape), rtol=1e-5)
    assert len(np.unique(factors[..., 0].round(4))) == BATCH * 2
    assert 0.8 <= factors.min() < 0.95
    assert 1.05 < factors.max() <= 1.2


def test_leads_are_dropped_whole_and_seldom(corpus):
    kept = []
    for seed in range(50):
        usual = batch(AS_IT_IS, corpus, seed=seed)[0]["signal"]
        changed = batch("lead dropout 15 %", corpus, seed=seed)[0]["signal"]
        whole = (changed == usual).all(axis=-1)
        assert (whole | ~changed.any(axis=-1)).all()
        kept.append(whole)
    assert np.mean(kept) == pytest.approx(0.85, abs=0.05)  # of 600 leads: 3 standard errors


def test_stretched_time_runs_faster_or_slower_and_ends_in_zeros(corpus):
    ramp = 1.0 + np.arange(N_SAMPLES)  # so that no sample is 0
    factors = []
    for seed in range(10):
        signal = batch("time stretch 10 %", with_signal(corpus, ramp), seed=seed)[0]["signal"]
        for record in signal[:, 0]:
            factor = record[0, 1] - record[0, 0]
            n_filled = np.count_nonzero(record[0])
            filled = 1.0 + factor * np.arange(n_filled)
            np.testing.assert_allclose(record[:, :n_filled], [filled] * 2, rtol=1e-3)
            assert not record[:, n_filled:].any()
            # As far as the record reaches, and no further.
            assert n_filled == N_SAMPLES or filled[-1] + factor > N_SAMPLES - 0.1
            factors.append(factor)
    assert 0.9 <= min(factors) < 0.93
    assert 1.07 < max(factors) <= 1.1


def test_crops_are_pieces_of_six_to_ten_seconds_in_front_of_zeros(corpus):
    ramp, lengths, firsts = 1.0 + np.arange(N_SAMPLES), [], []
    for seed in range(10):
        signal = batch("crops of 6 to 10 s", with_signal(corpus, ramp), seed=seed)[0]["signal"]
        for record in signal[:, 0]:
            length, first = np.count_nonzero(record[0]), int(record[0, 0]) - 1
            np.testing.assert_array_equal(record[:, :length], [ramp[first : first + length]] * 2)
            assert not record[:, length:].any()
            lengths.append(length)
            firsts.append(first)
    assert 0.6 * N_SAMPLES <= min(lengths) < 0.65 * N_SAMPLES
    assert 0.95 * N_SAMPLES < max(lengths) <= N_SAMPLES
    assert len(set(firsts)) > 20


def test_mixed_records_have_their_labels_mixed_alike(corpus):
    # A record's signal and measurements are its number, and so is what its labels add up to.
    numbers = np.arange(N_RECORDS)
    labels = np.arange(26) < numbers[:, None]
    own = replace(
        corpus,
        parts=(np.broadcast_to(numbers[:, None, None], corpus.parts[0].shape).astype(np.float32),),
        rhythm=np.broadcast_to(numbers[:, None], corpus.rhythm.shape).astype(np.float32),
        waves=np.broadcast_to(numbers[:, None, None], corpus.waves.shape).astype(np.float32),
        labels=labels,
    )
    inputs, mixed, chosen = batch("mixup", own)
    numbers = mixed.sum(axis=1)
    assert (np.abs(numbers - chosen) > 0.01).any()
    np.testing.assert_allclose(inputs["signal"].min(axis=(1, 2, 3)), numbers, rtol=1e-5)
    np.testing.assert_allclose(inputs["signal"].max(axis=(1, 2, 3)), numbers, rtol=1e-5)
    np.testing.assert_allclose(inputs["measurements"].mean(axis=1), numbers, rtol=1e-5)


# Masks -----------------------------------------------------------------------------------------


def test_labels_are_unknown_where_a_source_never_has_the_class(corpus):
    for i in (0, 1):
        _, labels, chosen = batch("unlabelled classes masked", corpus, i=i)
        from_b = corpus.sources[chosen] == "B"
        assert 0 < from_b.sum() < BATCH
        expected = corpus.labels[chosen].astype(float)
        expected[:, -2:] = -1
        expected[np.ix_(from_b, range(1, 26, 2))] = -1
        np.testing.assert_array_equal(labels, expected)


def test_records_that_are_not_trained_on_say_nothing_of_what_is_unknown(corpus):
    kept = np.arange(1, N_RECORDS)
    found, labels, chosen = batch("unlabelled classes masked", corpus, kept)
    assert (labels[corpus.sources[chosen] == "A", 23] == -1).all()
    others = replace(corpus, labels=corpus.labels.copy())
    others.labels[0] = ~others.labels[0]
    again, same, _ = batch("unlabelled classes masked", others, kept)
    np.testing.assert_array_equal(same, labels)
    np.testing.assert_array_equal(again["signal"], found["signal"])
    _, known, chosen = batch("unlabelled classes masked", corpus)
    assert (known[corpus.sources[chosen] == "A", 23] >= 0).all()


def step_on(loss, labels, logits):
    """Gradient by the logits (n_records, 1, n_classes) of one training step."""
    n_records, _, n_classes = logits.shape
    rows = keras.layers.Dense(n_classes, use_bias=False)
    model = keras.Sequential(
        [keras.Input((n_records,)), rows, keras.layers.Reshape((1, n_classes))]
    )
    rows.set_weights([logits[:, 0]])
    model.compile(keras.optimizers.SGD(1.0), loss)
    model.train_on_batch(np.eye(n_records, dtype=np.float32), labels)
    return logits[:, 0] - np.array(rows.kernel)


def random_logits(seed=0):
    return np.random.default_rng(seed).normal(0, 3, (BATCH, 1, 26)).astype(np.float32)


def test_unknown_labels_cost_nothing_and_teach_nothing(corpus):
    loss, logits = loss_of("unlabelled classes masked", corpus.labels), random_logits()
    _, labels, _ = batch("unlabelled classes masked", corpus)
    unknown = labels < 0
    gradient = step_on(loss, labels, logits)
    assert (gradient[unknown] == 0).all()
    assert (np.abs(gradient[~unknown]) > 0).all()
    # Weights of 0 for the unknown classes of a record: what is left of the plain loss.
    plain = BinaryCrossentropy(np.ones(26))
    for row in range(BATCH):
        known = BinaryCrossentropy((~unknown[row]).astype(float))
        own = slice(row, row + 1)
        truth = np.maximum(labels[own], 0)
        assert float(loss(labels[own], logits[own])) == pytest.approx(
            float(known(truth, logits[own])), rel=1e-5
        )
        assert float(loss(labels[own], logits[own])) < float(plain(truth, logits[own]))


def test_without_unknown_labels_the_loss_is_the_plain_one(corpus):
    masked, plain = (
        loss_of(name, corpus.labels) for name in ("unlabelled classes masked", "mixup")
    )
    labels, logits = corpus.labels[:BATCH].astype(np.float32), random_logits()
    assert float(masked(labels, logits)) == pytest.approx(float(plain(labels, logits)), rel=1e-6)
    np.testing.assert_allclose(
        step_on(masked, labels, logits), step_on(plain, labels, logits), atol=1e-7
    )


# Training --------------------------------------------------------------------------------------


def test_averaged_weights_are_trained_like_the_others():
    with CANDIDATES["weights averaged"].while_fitting():
        changed = optimizer_config()
    assert changed == optimizer_config() | {"use_ema": True, "ema_momentum": 0.98}


@pytest.fixture
def fits(monkeypatch):
    """(method, loss, start) of each training that a candidate asks for; none is done."""
    calls = []

    class Trained:
        prevalence = np.full(26, 0.2)

        @property
        def network(self):
            return self

        def get_weights(self):
            return [np.full(3, len(calls))]

    def fit(method, corpus, indices, lead_set, seed, devices, start=None):
        calls.append((method, training.make_loss(method.loss, corpus.labels[indices]), start))
        return Trained()

    monkeypatch.setattr(candidates, "fit", fit)
    return calls


@pytest.mark.parametrize(("epochs", "more"), [(10, 5), (1, 1)])
def test_the_soft_metric_comes_last_and_gently(epochs, more, corpus, fits):
    method = find_method("multiscale_se")
    method = replace(method, training=replace(method.training, epochs=epochs))
    CANDIDATES["soft metric at the end"].fit(method, corpus, np.arange(12), 2, 0, None, start="it")
    (first, plain, start), (last, soft, goes_on) = fits
    assert (first, start) == (method, "it")
    assert isinstance(plain, BinaryCrossentropy)
    assert last.training == replace(
        method.training,
        epochs=more,
        learning_rate=pytest.approx(method.training.learning_rate / 10),
    )
    assert type(soft) is not type(plain)
    np.testing.assert_array_equal(goes_on.weights, [[1, 1, 1]])
    np.testing.assert_array_equal(goes_on.prevalence, np.full(26, 0.2))
    # Sure answers: the Challenge's score of each record by its definition.
    weights, answers = read_weights(), random_logits()[:, 0] > 3
    answers[0] = corpus.labels[0]
    labels = corpus.labels[:BATCH]
    scores = [
        weights[np.ix_(truth, answer)].sum() / max((truth | answer).sum(), 1)
        for truth, answer in zip(labels, answers, strict=True)
    ]
    logits = np.where(answers, 40.0, -40.0).astype(np.float32)[:, None]
    value = float(soft(labels.astype(np.float32), logits))
    assert value == pytest.approx(1 - np.mean(scores), abs=1e-5)


def test_age_and_sex_are_two_more_measurements_wherever_the_network_is_built(corpus):
    candidate = CANDIDATES["age and sex"]
    wider = candidate.corpus(corpus)
    inputs, _, chosen = batch("age and sex", wider)
    usual, _, _ = batch(AS_IT_IS, corpus)
    measurements = inputs["measurements"]
    found = measurements[:, N_RHYTHM : N_RHYTHM + 4]
    np.testing.assert_array_equal(found, corpus.demographics[chosen])
    rest = np.delete(measurements, range(N_RHYTHM, N_RHYTHM + 4), axis=1)
    np.testing.assert_array_equal(rest, usual["measurements"])
    with candidate.throughout():
        network = build_network(narrow_method("multiscale_se"), 2, 26)
    assert network.input["measurements"].shape[1] == measurements.shape[1]


def test_a_candidate_by_itself_is_the_recipe_as_it_is():
    assert CANDIDATES[AS_IT_IS] == Candidate()
