from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from benchmarks import candidates
from benchmarks.candidates import CANDIDATES, DEFAULT, NEEDS_SIGNAL, Candidate
from ecg.models.losses import BinaryCrossentropy, make_targets
from ecg.models.registry import find_method
from ecg.models.training_options import PretrainingOptions, TrainingOptions
from ecg.records.diagnoses import read_weights
from ecg.signals.measurements import N_RHYTHM, N_WAVES
from ecg.training.batches import BagOptions
from ecg.training.dataset import Dataset
from ecg.training.epochs import Stage, run_epochs
from ecg.training.fit import Trainer, TrainingRun
from tests.narrow import narrow_method

N_RECORDS, N_SAMPLES, BATCH = 12, 200, 6
INPUTS = ("signal", "measurements")
WEIGHTS = np.linspace(1, 2, 26, dtype=np.float32)  # of the classes
# What a candidate changes beside its method, or in place of it.
OTHER_PARTS = {
    DEFAULT: set(),
    "weight averaging": {"optimizer"},
    "unlabelled classes masked": {"weights"},
    "mixup": {"signal", "measurements", "labels"},
    "soft metric at the end": {"fit"},
    "time stretch 10 %": {"signal"},
    "amplitudes 20 %": {"signal"},
    "lead dropout 15 %": {"signal"},
    "crops of 6 to 10 s": {"signal"},
}
CHANGES_SIGNAL = [name for name, parts in OTHER_PARTS.items() if parts == {"signal"}]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Twelve records of two sources. Those of B never have the odd classes, those of A have class
    23 in record 0 alone, and nobody has the last pair."""
    random = np.random.default_rng(0)
    labels = random.random((N_RECORDS, 26)) < 0.5
    labels[0], labels[1:6, 23] = True, False
    labels[6, ::2], labels[6:, 1::2] = True, False
    labels[:, -2:] = False
    return Dataset(
        folder=Path("made up"),
        data=random.normal(size=(N_RECORDS, 12, N_SAMPLES)).astype(np.float32),
        first_window=np.arange(N_RECORDS),
        n_windows=np.ones(N_RECORDS, int),
        names=np.array([f"T{i}" for i in range(N_RECORDS)]),
        sources=np.repeat(["A", "B"], N_RECORDS // 2),
        labels=labels,
        demographics=random.random((N_RECORDS, 4)).astype(np.float32),
        lead_deviation_mv=np.ones((N_RECORDS, 12), np.float32),
        rhythm=random.normal(size=(N_RECORDS, N_RHYTHM)).astype(np.float32),
        waves=random.normal(size=(N_RECORDS, 12, N_WAVES)).astype(np.float32),
        rejected={},
        transient=False,
        fingerprint="0f",
    )


def with_signal(dataset, signal) -> Dataset:
    """The dataset with this signal (n_samples,) in every lead of every record."""
    return replace(dataset, data=np.broadcast_to(signal, dataset.data.shape).astype(np.float32))


def batch(name, dataset, indices=range(N_RECORDS), seed=0, i=0):
    """(inputs, targets, positions in the dataset) of a batch that the candidate trains on."""
    options = BagOptions(2, INPUTS, BATCH, seed=seed)
    bags = trainer_of(name).make_batches(dataset, indices, WEIGHTS, options)
    inputs, targets = bags[i]
    return inputs, targets, bags.order[i * BATCH : (i + 1) * BATCH]


def trainer_of(name, method=None, cls=None) -> Trainer:
    """The candidate's trainer, without the network."""
    cls = cls or CANDIDATES[name].trainer
    trainer = cls.__new__(cls)
    trainer.run = TrainingRun(method or find_method("multiscale_se"), 2, 0)
    trainer.devices = None
    return trainer


def optimizer_of(name, options=None):
    return trainer_of(name).make_optimizer(options or find_method("multiscale_se").training, 1)


def parts(name, dataset) -> dict:
    """All that makes a training beside the method, as it is with the candidate."""
    candidate = CANDIDATES[name]
    inputs, targets, _ = batch(name, dataset)
    return {
        "signal": inputs["signal"].tolist(),
        "measurements": inputs["measurements"].tolist(),
        "labels": targets[..., 0].tolist(),
        "weights": targets[..., 1].tolist(),
        "loss": type(trainer_of(name).make_loss()),
        "optimizer": type(optimizer_of(name)),
        "fit": candidate.fit,
    }


# Methods ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CANDIDATES)
def test_a_candidate_changes_its_method_or_another_part_and_nothing_else(name, dataset):
    candidate, method = CANDIDATES[name], CANDIDATES[name].method("multiscale_se", "full")
    usual, changed = parts(DEFAULT, dataset), parts(name, dataset)
    assert {part for part in usual if changed[part] != usual[part]} == OTHER_PARTS.get(name, set())
    assert (method == find_method("multiscale_se")) == (name in OTHER_PARTS)
    assert candidate.changes_method_only == (not OTHER_PARTS.get(name))


def test_no_two_candidates_are_the_same(dataset):
    everything = [
        (candidate.method("multiscale_se", "full"), parts(name, dataset))
        for name, candidate in CANDIDATES.items()
    ]
    for i, one in enumerate(everything):
        assert one not in everything[:i]


def test_candidates_without_a_signal_path_are_of_other_parts():
    assert set(NEEDS_SIGNAL) < set(CANDIDATES)
    assert {DEFAULT, "mixup", "age and sex"}.isdisjoint(NEEDS_SIGNAL)
    assert set(CHANGES_SIGNAL) < set(NEEDS_SIGNAL)


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
        ("without measurements-only stage", "pretraining", "measured_epochs", 0),
        ("without measurements", "network", "measured_width", None),
        ("measurements alone", "network", "steps", ()),
        ("without warm-up", "training", "warmup_share", 0),
        ("equal class weights", "loss", "class_weights", "equal"),
        ("age and sex", "network", "demographics", True),
    ],
)
def test_a_candidate_does_what_its_name_says(name, part, option, expected):
    method = CANDIDATES[name].method("multiscale_se", "full")
    assert getattr(getattr(method, part), option) == expected


def test_a_number_above_0_stays_above_0_and_0_stays_0():
    one_epoch = narrow_method("multiscale_se")
    assert CANDIDATES["half the epochs"].change(one_epoch).training.epochs == 1
    assert CANDIDATES["twice the simulated records"].change(one_epoch).pretraining.n_records == 0


@pytest.mark.parametrize("preset", ["full", "demo"])
def test_the_paper_is_compared_as_it_was_published(preset):
    for n_simulated in (None, 50):
        method = CANDIDATES["as published"].method("multiscale_se", preset, n_simulated)
        assert method == find_method("multiscale_se", preset, "published")
        assert method.pretraining.n_records == 0


def test_narrow_networks_go_through_the_full_stages_on_so_many_simulated_records():
    found = find_method("multiscale_se", "demo")
    method = CANDIDATES[DEFAULT].method("multiscale_se", "demo")
    assert method.pretraining == PretrainingOptions()
    full = find_method("multiscale_se").pretraining
    method = CANDIDATES[DEFAULT].method("multiscale_se", "demo", 50)
    assert method == replace(found, pretraining=replace(full, n_records=50))

    def stages(name):
        return CANDIDATES[name].method("multiscale_se", "demo", 50).pretraining

    assert stages("twice the simulated records") == replace(full, n_records=100)
    assert stages("without measurements-only stage") == replace(
        full, n_records=50, measured_epochs=0
    )
    assert stages("without pre-training") == PretrainingOptions()


# Batches ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*CHANGES_SIGNAL, "mixup", "unlabelled classes masked"])
def test_a_changed_batch_keeps_its_form_and_comes_out_the_same_again(name, dataset):
    usual, targets, _ = batch(DEFAULT, dataset)
    inputs, changed, _ = batch(name, dataset)
    again, same, _ = batch(name, dataset)
    assert inputs.keys() == usual.keys()
    for part in inputs:
        assert inputs[part].shape == usual[part].shape
        assert inputs[part].dtype == np.float32
        np.testing.assert_array_equal(inputs[part], again[part])
    assert (changed.shape, changed.dtype) == (targets.shape, np.float32)
    np.testing.assert_array_equal(changed, same)


@pytest.mark.parametrize("name", CHANGES_SIGNAL)
def test_a_change_of_signals_leaves_nothing_as_nothing(name, dataset):
    inputs, _, _ = batch(name, with_signal(dataset, np.zeros(N_SAMPLES)))
    assert not inputs["signal"].any()


def test_amplitudes_change_by_lead_and_by_a_fifth_at_most(dataset):
    usual, changed = (batch(name, dataset)[0]["signal"] for name in (DEFAULT, "amplitudes 20 %"))
    factors = changed / usual
    np.testing.assert_allclose(factors, np.broadcast_to(factors[..., :1], factors.shape), rtol=1e-5)
    assert len(np.unique(factors[..., 0].round(4))) == BATCH * 2
    assert 0.8 <= factors.min() < 0.95
    assert 1.05 < factors.max() <= 1.2


def test_leads_are_dropped_whole_and_seldom(dataset):
    kept = []
    for seed in range(50):
        usual = batch(DEFAULT, dataset, seed=seed)[0]["signal"]
        changed = batch("lead dropout 15 %", dataset, seed=seed)[0]["signal"]
        whole = (changed == usual).all(axis=-1)
        assert (whole | ~changed.any(axis=-1)).all()
        kept.append(whole)
    assert np.mean(kept) == pytest.approx(0.85, abs=0.05)  # of 600 leads: 3 standard errors


def test_stretched_time_runs_faster_or_slower_and_ends_in_zeros(dataset):
    ramp = 1.0 + np.arange(N_SAMPLES)  # so that no sample is 0
    factors = []
    for seed in range(10):
        signal = batch("time stretch 10 %", with_signal(dataset, ramp), seed=seed)[0]["signal"]
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


def test_crops_are_pieces_of_six_to_ten_seconds_in_front_of_zeros(dataset):
    ramp, lengths, firsts = 1.0 + np.arange(N_SAMPLES), [], []
    for seed in range(10):
        signal = batch("crops of 6 to 10 s", with_signal(dataset, ramp), seed=seed)[0]["signal"]
        for record in signal[:, 0]:
            length, first = np.count_nonzero(record[0]), int(record[0, 0]) - 1
            np.testing.assert_array_equal(record[:, :length], [ramp[first : first + length]] * 2)
            assert not record[:, length:].any()
            lengths.append(length)
            firsts.append(first)
    assert 0.6 * N_SAMPLES <= min(lengths) < 0.65 * N_SAMPLES
    assert 0.95 * N_SAMPLES < max(lengths) <= N_SAMPLES
    assert len(set(firsts)) > 20


def test_mixed_records_have_their_labels_mixed_alike(dataset):
    # A record's signal and measurements are its number, and so is what its labels add up to.
    numbers = np.arange(N_RECORDS)
    labels = np.arange(26) < numbers[:, None]
    own = replace(
        dataset,
        data=np.broadcast_to(numbers[:, None, None], dataset.data.shape).astype(np.float32),
        rhythm=np.broadcast_to(numbers[:, None], dataset.rhythm.shape).astype(np.float32),
        waves=np.broadcast_to(numbers[:, None, None], dataset.waves.shape).astype(np.float32),
        labels=labels,
    )
    inputs, targets, chosen = batch("mixup", own)
    np.testing.assert_array_equal(targets[..., 1], np.broadcast_to(WEIGHTS, (BATCH, 26)))
    numbers = targets[..., 0].sum(axis=1)
    assert (np.abs(numbers - chosen) > 0.01).any()
    np.testing.assert_allclose(inputs["signal"].min(axis=(1, 2, 3)), numbers, rtol=1e-5)
    np.testing.assert_allclose(inputs["signal"].max(axis=(1, 2, 3)), numbers, rtol=1e-5)
    np.testing.assert_allclose(inputs["measurements"].mean(axis=1), numbers, rtol=1e-5)


# Masks -----------------------------------------------------------------------------------------


def test_a_class_has_no_weight_where_a_source_never_has_it(dataset):
    for i in (0, 1):
        _, targets, chosen = batch("unlabelled classes masked", dataset, i=i)
        from_b = dataset.sources[chosen] == "B"
        assert 0 < from_b.sum() < BATCH
        expected = make_targets(dataset.labels[chosen], WEIGHTS)
        expected[:, -2:, 1] = 0
        expected[..., 1][np.ix_(from_b, range(1, 26, 2))] = 0
        np.testing.assert_array_equal(targets, expected)


def test_records_that_are_not_trained_on_say_nothing_of_what_has_no_weight(dataset):
    kept = np.arange(1, N_RECORDS)
    found, targets, chosen = batch("unlabelled classes masked", dataset, kept)
    assert (targets[dataset.sources[chosen] == "A", 23, 1] == 0).all()
    others = replace(dataset, labels=dataset.labels.copy())
    others.labels[0] = ~others.labels[0]
    again, same, _ = batch("unlabelled classes masked", others, kept)
    np.testing.assert_array_equal(same, targets)
    np.testing.assert_array_equal(again["signal"], found["signal"])
    _, known, chosen = batch("unlabelled classes masked", dataset)
    assert (known[dataset.sources[chosen] == "A", 23, 1] > 0).all()


def step_on(loss, targets, logits):
    """Gradient by the logits (n_records, 1, n_classes) of one training step."""
    n_records, _, n_classes = logits.shape
    rows = keras.layers.Dense(n_classes, use_bias=False)
    model = keras.Sequential(
        [keras.Input((n_records,)), rows, keras.layers.Reshape((1, n_classes))]
    )
    rows.set_weights([logits[:, 0]])
    model.compile(keras.optimizers.SGD(1.0), loss)
    model.train_on_batch(np.eye(n_records, dtype=np.float32), targets)
    return logits[:, 0] - np.array(rows.kernel)


def random_logits(seed=0):
    return np.random.default_rng(seed).normal(0, 3, (BATCH, 1, 26)).astype(np.float32)


def test_labels_without_weight_teach_nothing(dataset):
    _, targets, _ = batch("unlabelled classes masked", dataset)
    _, usual, _ = batch(DEFAULT, dataset)
    loss, logits = trainer_of("unlabelled classes masked").make_loss(), random_logits()
    gradient = step_on(loss, targets, logits)
    unknown = targets[..., 1] == 0
    assert (gradient[unknown] == 0).all()
    np.testing.assert_allclose(
        gradient[~unknown], step_on(loss, usual, logits)[~unknown], atol=1e-6
    )
    assert float(loss(targets, logits)) < float(loss(usual, logits))


# Training --------------------------------------------------------------------------------------


class OneStep(keras.utils.PyDataset):
    """An epoch of one step, whose gradient is clipped at first."""

    def __len__(self):
        return 1

    def __getitem__(self, i):
        return np.array([[1.0], [2.0]], np.float32), np.array([[3.0], [5.0]], np.float32)


def weights_of(name) -> tuple[list[float], float]:
    """The weight y / x that the candidate's optimiser comes to after each step, and at the end."""
    options = TrainingOptions(
        epochs=8,
        optimizer="adamw",
        learning_rate=0.5,
        clip_norm=1.0,
        schedule="step",
        lr_patience=8,
        best="last",
    )
    dense, seen = keras.layers.Dense(1, use_bias=False), []
    network = keras.Sequential([keras.Input((1,)), dense])
    dense.kernel.assign([[0.5]])
    network.compile(optimizer_of(name, options), "mean_squared_error", jit_compile=False)
    network.optimizer.build(network.trainable_variables)

    def weight() -> float:
        return float(np.array(dense.kernel)[0, 0])

    def validate():
        seen.append(weight())
        return {"val_loss": 0.0}

    run_epochs(network, OneStep(), Stage("one weight", options), validate)
    return seen, weight()


@pytest.mark.usefixtures("without_graphs")
def test_averaged_weights_are_trained_like_the_others():
    usual, last = weights_of(DEFAULT)
    assert last == usual[-1]
    average = usual[0]
    for weight in usual[1:]:
        average = 0.98 * average + 0.02 * weight
    trained, kept = weights_of("weight averaging")
    assert trained == pytest.approx(usual, rel=1e-5)
    assert kept == pytest.approx(average, rel=1e-5)


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

    def fit(trainer, dataset, indices, start=None):
        calls.append((trainer.run.method, trainer.make_loss(), start))
        return Trained()

    def init(self, run, devices, n_training):
        assert (run.lead_set, run.seed, devices, n_training) == (2, 0, None, 12)
        self.run, self.devices = run, devices

    monkeypatch.setattr(Trainer, "__init__", init)
    monkeypatch.setattr(candidates, "fit", fit)
    return calls


@pytest.mark.parametrize(("epochs", "more"), [(10, 5), (1, 1)])
def test_the_soft_metric_comes_last_and_gently(epochs, more, dataset, fits):
    method = find_method("multiscale_se")
    method = replace(method, training=replace(method.training, epochs=epochs))
    candidate = CANDIDATES["soft metric at the end"]
    candidate.fit(trainer_of(DEFAULT, method), dataset, np.arange(12), start="it")
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
    answers[0] = dataset.labels[0]
    labels = dataset.labels[:BATCH]
    scores = [
        weights[np.ix_(truth, answer)].sum() / max((truth | answer).sum(), 1)
        for truth, answer in zip(labels, answers, strict=True)
    ]
    logits = np.where(answers, 40.0, -40.0).astype(np.float32)[:, None]
    value = float(soft(make_targets(labels, WEIGHTS), logits))
    assert value == pytest.approx(1 - np.mean(scores), abs=1e-5)


def test_a_candidate_by_itself_is_the_recipe_as_it_is():
    assert CANDIDATES[DEFAULT] == Candidate()
