"""The five methods with networks of few filters and layers, for tests that train or answer."""

from dataclasses import replace

import keras
import numpy as np

from ecg.models.decisions import Decision
from ecg.models.devices import Devices
from ecg.models.method import Method
from ecg.models.model_files import TrainedModel
from ecg.models.registry import build_network, find_method
from ecg.models.training_options import PretrainingOptions
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
