import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from ecg.models.augmentation import AugmentationOptions, RandomErasing, RandomShift, augment
from tests.conftest import ROOT

FS = 100.0
ALL = AugmentationOptions(shift_s=0.5, noise=0.1, erase_s=0.3)
RANDOM = np.random.default_rng(0)
# Away from 0, so that a zero in the outcome was put there.
SIGNALS = RANDOM.uniform(1, 2, (64, 3, 200)).astype(np.float32)

# One training step on the same batch three times, without learning: losses differ by the draws.
STEPS = """
import json
import keras
import numpy as np
from ecg.models.augmentation import AugmentationOptions, augment

def losses(**options):
    keras.utils.set_random_seed(3)
    signal = keras.Input((2, 100))
    changed = augment(signal, AugmentationOptions(**options), 100.0)
    model = keras.Model(signal, keras.layers.Dense(1)(keras.layers.Flatten()(changed)))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    signals = np.random.default_rng(0).normal(0, 1, (8, 2, 100))
    return [float(model.train_on_batch(signals, np.zeros((8, 1)))) for _ in range(3)]

print(json.dumps({
    "backend": keras.backend.backend(),
    "none": losses(),
    "shift": losses(shift_s=0.5),
    "noise": losses(noise=0.5),
    "erase": losses(erase_s=0.5),
    "all": losses(shift_s=0.5, noise=0.5, erase_s=0.5),
    "all_again": losses(shift_s=0.5, noise=0.5, erase_s=0.5),
}))
"""


def changed(options, signals=SIGNALS, training=True, seed=0):
    """The signals behind the layers, which are built after that seed."""
    keras.utils.set_random_seed(seed)
    signal = keras.Input(signals.shape[1:])
    model = keras.Model(signal, augment(signal, options, FS))
    return np.array(model(signals, training=training))


def shifted(signal, later):
    """Signal (n_leads, n_samples) moved by whole samples, zeros coming in."""
    moved = np.zeros_like(signal)
    if later >= 0:
        moved[:, later:] = signal[:, : signal.shape[1] - later]
    else:
        moved[:, :later] = signal[:, -later:]
    return moved


def test_no_options_are_no_layers():
    signal = keras.Input((3, 200))
    assert augment(signal, AugmentationOptions(), FS) is signal


def test_nothing_happens_outside_training():
    np.testing.assert_array_equal(changed(ALL, training=False), SIGNALS)


def test_each_record_is_shifted_by_its_own_time_and_zeros_come_in():
    out = changed(AugmentationOptions(shift_s=0.05))
    assert out.shape == SIGNALS.shape
    seen = set()
    for before, after in zip(SIGNALS, out, strict=True):
        gaps = np.flatnonzero(after[0] == 0)
        later = -len(gaps) if gaps.size and gaps[-1] == 199 else len(gaps)
        np.testing.assert_array_equal(after, shifted(before, later))
        seen.add(later)
    assert seen == set(range(-5, 6))


def test_the_longest_shift_leaves_one_sample():
    keras.utils.set_random_seed(0)
    out = np.array(RandomShift(1)(SIGNALS[:, :, :2], training=True))
    assert {tuple(row[0] != 0) for row in out} == {(True, True), (True, False), (False, True)}


def test_erasing_takes_one_stretch_of_every_lead():
    out = changed(AugmentationOptions(erase_s=0.1))
    lengths, starts = set(), set()
    for before, after in zip(SIGNALS, out, strict=True):
        gaps = np.flatnonzero((after == 0).all(axis=0))
        np.testing.assert_array_equal(np.diff(gaps), 1)
        kept = np.setdiff1d(np.arange(200), gaps)
        np.testing.assert_array_equal(after[:, kept], before[:, kept])
        lengths.add(len(gaps))
        starts.update(gaps[:1])
    assert {0, 10} <= lengths <= set(range(11))
    assert len(starts) > 30


def test_erased_stretches_reach_both_ends():
    keras.utils.set_random_seed(0)
    out = np.array(RandomErasing(1)(np.ones((300, 1, 3), np.float32), training=True))
    erased = (out == 0).mean(axis=(0, 1))
    np.testing.assert_allclose(erased, 1 / 6, atol=0.06)


def test_noise_has_the_standard_deviation_that_was_asked_for():
    difference = changed(AugmentationOptions(noise=0.25)) - SIGNALS
    assert np.mean(difference) == pytest.approx(0, abs=0.01)
    assert np.std(difference) == pytest.approx(0.25, abs=0.01)
    assert np.std(difference.mean(axis=1)) < 0.2  # every lead has its own


def test_the_same_seed_draws_the_same_changes():
    np.testing.assert_array_equal(changed(ALL, seed=4), changed(ALL, seed=4))
    assert (changed(ALL, seed=4) != changed(ALL, seed=5)).any()


def test_the_layers_compute_in_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        out = changed(AugmentationOptions(shift_s=0.05, erase_s=0.05))
        signal = keras.Input((3, 200))
        model = keras.Model(signal, augment(signal, ALL, FS))
    finally:
        keras.config.set_dtype_policy("float32")
    assert out.dtype == np.float32
    assert set(out.ravel()) <= {0.0, *SIGNALS.ravel()}
    assert [layer.name for layer in model.layers[1:]] == ["shift", "noise", "erase"]
    assert {layer.compute_dtype for layer in model.layers[1:]} == {"float32"}


def test_the_layers_have_no_weights_to_store():
    signal = keras.Input((3, 200))
    assert keras.Model(signal, augment(signal, ALL, FS)).get_weights() == []


@pytest.mark.contract
@pytest.mark.parametrize("backend", ["tensorflow", pytest.param("jax", marks=pytest.mark.nightly)])
def test_every_training_step_draws_anew_by_the_seed(backend):
    process = subprocess.run(
        [sys.executable, "-c", STEPS],
        env=os.environ | {"KERAS_BACKEND": backend},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    losses = json.loads(process.stdout.splitlines()[-1])
    assert losses.pop("backend") == backend
    assert len(set(losses.pop("none"))) == 1
    assert losses["all"] == losses["all_again"]
    for name, values in losses.items():
        assert len(set(values)) == 3, f"{name}: {values}"


@pytest.mark.training
def test_fitting_takes_batches_of_any_size():
    signal = keras.Input((3, 200))
    features = keras.layers.Flatten()(augment(signal, ALL, FS))
    model = keras.Model(signal, keras.layers.Dense(1)(features))
    model.compile("adam", "mse")
    losses = model.fit(SIGNALS, np.ones(64), batch_size=24, epochs=3, verbose=0).history["loss"]
    assert np.isfinite(losses).all()


@pytest.mark.parametrize(
    "wrong", [{"shift_s": -1}, {"erase_s": float("inf")}, {"noise": 1.5}, {"noise": float("nan")}]
)
def test_impossible_options_are_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected .*, found"):
        AugmentationOptions(**wrong)


@pytest.mark.parametrize("too_long", [{"shift_s": 2.0}, {"erase_s": 3.0}])
def test_changes_as_long_as_the_window_are_refused(too_long):
    with pytest.raises(ValueError, match="below the window's 2 s, found"):
        augment(keras.Input((3, 200)), AugmentationOptions(**too_long), FS)
