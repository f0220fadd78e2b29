import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from ecg.corpus import prepare_corpus
from ecg.devices import Devices, choose_precision
from ecg.losses import WeightedBinaryCrossentropy, inverse_frequency_weights
from ecg.methods import find_method
from ecg.settings import Settings
from ecg.splits import hold_out
from ecg.training import corpus_cache, fit, method_for, predict
from tests.conftest import ROOT

CPU = Devices(gpus=(), precision="float32", jit_compile=False)

ONE_STEP = """
import json, sys
from pathlib import Path
import keras, numpy as np
from ecg.corpus import prepare_corpus
from ecg.devices import find_devices
from ecg.losses import WeightedBinaryCrossentropy, inverse_frequency_weights
from ecg.methods import find_method
from ecg.settings import Settings
from ecg.training import fit, method_for
method = method_for(Settings(preset="demo", epochs=1))
corpus = prepare_corpus(sys.argv[1], method.preparation, Path(sys.argv[2]), 1)
model = fit(method, corpus, np.arange(len(corpus)), 2, 0, find_devices())
signals = np.zeros((1, 2, 1000), "float32")
print(json.dumps({
    "backend": keras.backend.backend(),
    "loss": model.evidence["history"]["loss"],
    "probabilities": np.asarray(model.network.predict_on_batch(signals)[0], float).tolist(),
}))
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_one_epoch_trains_on_each_backend(backend, training_folder, tmp_path):
    process = subprocess.run(
        [sys.executable, "-c", ONE_STEP, str(training_folder), str(tmp_path)],
        env=os.environ | {"KERAS_BACKEND": backend},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    result = json.loads(process.stdout.splitlines()[-1])
    assert result["backend"] == backend
    assert 0 < result["loss"][0] < 20
    assert all(0 < probability < 1 for probability in result["probabilities"])


def test_training_goes_on_from_given_weights(training_folder, tmp_path):
    method = method_for(Settings(preset="demo", epochs=1))
    still = dataclasses.replace(
        method, training=dataclasses.replace(method.training, learning_rate=1e-12)
    )
    corpus = prepare_corpus(training_folder, method.preparation, tmp_path, 1)
    everything = np.arange(len(corpus))
    first = fit(method, corpus, everything, 2, 0, CPU).network
    learned = [np.array(variable) for variable in first.trainable_variables]
    again = fit(still, corpus, everything, 2, 1, CPU, initial_weights=first.get_weights()).network
    for before, after in zip(learned, again.trainable_variables, strict=True):
        np.testing.assert_allclose(before, np.array(after), atol=1e-5)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_a_model_trained_in_mixed_precision_answers_in_float32(
    precision, training_folder, tmp_path
):
    method = method_for(Settings(preset="demo", epochs=1))
    corpus = prepare_corpus(training_folder, method.preparation, tmp_path, workers=1)
    devices = dataclasses.replace(CPU, precision=precision)
    model = fit(method, corpus, np.arange(len(corpus)), 2, seed=0, devices=devices)
    assert model.evidence["precision"] == precision
    assert np.isfinite(model.evidence["history"]["loss"]).all()
    assert {layer.compute_dtype for layer in model.network.layers} == {"float32"}
    assert all(np.isfinite(weights).all() for weights in model.network.get_weights())


def test_training_learns_and_keeps_its_best_epoch(training_folder, tmp_path, capsys):
    method = find_method("multiscale_se", "demo")
    training = dataclasses.replace(method.training, epochs=15, batch_size=4, learning_rate=0.01)
    method = dataclasses.replace(method, training=training)
    corpus = prepare_corpus(training_folder, method.preparation, tmp_path, workers=1)
    model = fit(method, corpus, np.arange(len(corpus)), 2, seed=0, devices=CPU)
    losses, validation = (model.evidence["history"][name] for name in ("loss", "val_loss"))
    assert losses[-1] < 0.5 * losses[0]
    assert validation[-1] < 0.5 * validation[0]
    assert model.evidence["best_epoch"] == 1 + int(np.argmin(validation))
    kept, held_out = hold_out(corpus.labels, method.training.validation_share, seed=0)
    loss = WeightedBinaryCrossentropy(inverse_frequency_weights(corpus.labels[kept], 0.01, 0.05))
    probabilities = predict(model.network, corpus, held_out, 2, CPU)
    of_the_model = loss(corpus.labels[held_out].astype("float32"), probabilities)
    assert float(of_the_model) == pytest.approx(min(validation), rel=1e-4)
    assert model.evidence["n_training"] + model.evidence["n_validation"] == 16
    assert model.evidence["data_fingerprint"] == corpus.fingerprint
    assert not model.evidence["cut_by_time_limit"]
    assert f"2 leads, epoch {len(losses)}/15" in capsys.readouterr().out


def test_the_time_limit_ends_training_after_an_epoch(training_folder, tmp_path, capsys):
    method = find_method("multiscale_se", "demo")
    corpus = prepare_corpus(training_folder, method.preparation, tmp_path, workers=1)
    few = np.arange(4)
    model = fit(method, corpus, few, 2, seed=0, devices=CPU, time_limit_s=0.0)
    assert model.evidence["epochs"] == 1
    assert model.evidence["cut_by_time_limit"]
    assert model.evidence["validated_on_training_records"]
    assert "stopped by the time limit after epoch 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [
        ([], "float32"),
        ([(6, 1)], "float32"),
        ([(7, 0)], "mixed_float16"),
        ([(7, 5), (8, 0)], "mixed_float16"),
        ([(8, 0)], "mixed_bfloat16"),
        ([(12, 0)], "mixed_bfloat16"),
    ],
)
def test_mixed_precision_where_the_gpu_has_units_for_it(capabilities, precision):
    assert choose_precision(capabilities) == precision


def test_settings_cap_the_epochs_and_never_raise_them():
    assert method_for(Settings(epochs=3)).training.epochs == 3
    full = find_method("multiscale_se").training.epochs
    assert method_for(Settings(epochs=10_000)).training.epochs == full
    assert method_for(Settings()).training.epochs == full


def test_a_temporary_cache_is_removed_and_a_kept_one_stays(tmp_path):
    with corpus_cache(None, tmp_path) as cache:
        assert cache.parent == tmp_path
        (cache / "file").touch()
    assert not list(tmp_path.iterdir())
    kept = tmp_path / "kept"
    with corpus_cache(kept, tmp_path) as cache:
        assert cache == kept
