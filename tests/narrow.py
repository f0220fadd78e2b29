"""The five methods with networks of few filters and layers, for tests that train or answer."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import tensorflow

from ecg.models.decisions import Decision
from ecg.models.devices import Devices
from ecg.models.method import Method
from ecg.models.model_files import TrainedModel, save_model
from ecg.models.registry import build_network, find_method
from ecg.models.training_options import PretrainingOptions
from ecg.records.leads import LEAD_SETS
from ecg.training.dataset import Dataset
from ecg.training.fit import Trainer, TrainingRun, fit

CPU = Devices(gpus=(), precision="float32", jit_compile=False)
_NETWORKS = {
    "multiscale_se": {
        "widths": (2, 2, 2, 2, 2),
        "steps": (2,),
        "squeeze_ratio": 1,
        "measured_width": 4,
    },
    "branched_se": {"shared_width": 2, "widths": (4, 4), "blocks": (2, 1), "squeeze_ratio": 1},
    "mtfnet": {"channels": 4, "n_blocks": 7, "bilstm_layers": 1, "hidden": 4},
    "se_ecgnet": {"stem_widths": (4, 4), "widths": (4, 4), "squeeze_ratio": 1, "hidden": 8},
    "antialiased_resnet18": {"widths": (2, 2, 4, 4)},
}


def narrow_method(name: str, n_simulated: int = 0, **training) -> Method:
    """The method with a network of next to no size, trained for one epoch unless told otherwise;
    before that for one on so many simulated records."""
    method = find_method(name, "demo")
    return replace(
        method,
        network=replace(method.network, **_NETWORKS[name]),
        training=replace(method.training, **({"epochs": 1} | training)),
        pretraining=PretrainingOptions(n_records=n_simulated, batch_size=16),
    )


def untrained_model(name: str, lead_set: int, temperature: float = 1.0) -> TrainedModel:
    """The narrow network as it is built, but for classes that differ in frequency; thresholds are
    one half where the method's rule takes any."""
    method = narrow_method(name)
    n_thresholds = 26 if method.decision.rule == "fitted" else 0
    decision = Decision(method.decision, np.full(n_thresholds, 0.5), temperature)
    keras.utils.set_random_seed(0)
    network = build_network(method, lead_set, 26)
    network.layers[-1].bias.assign(np.linspace(-2, 2, 26))
    return TrainedModel(network, method, lead_set, decision, np.full(26, 0.1), {})


def write_untrained(folder) -> Path:
    """Writes a model for each lead set, whose training log is made up; the folder."""
    history = {"loss": [0.7], "val_loss": [0.6], "learning_rate": [1e-3]}
    training_log = {
        "epochs": 1,
        "best_epoch": 1,
        "history": history,
        "cut_by_time_limit": False,
        "seconds": 1.0,
        "seed": 0,
        "precision": "float32",
        "gpus": [],
        "n_training": 15,
        "n_validation": 1,
        "validation_scores": {},
        "validated_on_training_records": False,
        "data_fingerprint": "0" * 64,
        "start": None,
    }
    for lead_set in LEAD_SETS:
        save_model(
            replace(untrained_model("multiscale_se", lead_set), training_log=training_log), folder
        )
    return Path(folder)


def made_up_inputs(network, n_records=3) -> dict[str, np.ndarray]:
    """Random numbers for each of the network's inputs."""
    random = np.random.default_rng(0)
    return {
        name: random.standard_normal((n_records, *tensor.shape[1:])).astype(np.float32)
        for name, tensor in network.input.items()
    }


def logits_of(network, inputs) -> np.ndarray:
    return np.asarray(network(inputs, training=False))


def weights_without_gradient(network) -> list[str]:
    """The trainable weights that a step of training would leave as they are."""
    with tensorflow.GradientTape() as tape:
        logits = network(made_up_inputs(network, n_records=8), training=True)
        loss = keras.losses.BinaryCrossentropy(from_logits=True)(np.eye(8, 26), logits)
    weights = network.trainable_variables
    gradients = tape.gradient(loss, [weight.value for weight in weights])
    return [
        weight.path
        for weight, gradient in zip(weights, gradients, strict=True)
        if gradient is None or not np.any(gradient)
    ]


def fitted(
    method: Method,
    dataset: Dataset,
    lead_set: int = 2,
    seed: int = 0,
    devices: Devices = CPU,
    **options,
) -> TrainedModel:
    """The method fitted to all of the dataset's records by a trainer of its own; options: of
    `fit`."""
    trainer = Trainer(TrainingRun(method, lead_set, seed), devices, len(dataset))
    return fit(trainer, dataset, np.arange(len(dataset)), **options)
