"""
Add a sixth method
==================

A method of your own, tried in a script before it becomes a file of the package.
:doc:`Adding a sixth method </sixth_method>` says where that file goes.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from keras import Input, Model, layers

from ecg.models.devices import find_devices
from ecg.models.layers import classify
from ecg.models.method import Method, System, changed, narrow_copy
from ecg.models.registry import METHODS, find_method
from ecg.records.diagnoses import read_weights
from ecg.records.metrics import score
from ecg.simulation.recordings import simulate_folder
from ecg.training.dataset import prepare_dataset
from ecg.training.fit import Trainer, TrainingRun, answer_dataset, fit
from ecg.training.splits import k_folds

# %%
# The network
# -----------
#
# Its options are a frozen dataclass. ``build`` takes them and the size of the input, and returns a
# model from a dict of inputs to logits. This one widens its view by dilation.


@dataclass(frozen=True)
class DilatedCNNOptions:
    """width: filters of each convolution. dilations: of each, in samples."""

    width: int = 64
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16)


def build(options, n_leads, n_samples, n_classes):
    """Return the untrained network."""
    signal = Input((n_leads, n_samples), name="signal")
    x = layers.Permute((2, 1))(signal)
    for dilation in options.dilations:
        x = layers.Conv1D(options.width, 5, dilation_rate=dilation, padding="same")(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.GlobalMaxPooling1D()(x)
    return Model({"signal": signal}, classify(x, n_classes))


# %%
# The method
# ----------
#
# Options that are not given keep their defaults: 10 s at 100 Hz, weighted cross-entropy, Adam. An
# ablation is a row of the method's own table.

method = Method(
    name="dilated_cnn",
    source="an example",
    architecture="dilated_cnn",
    network=DilatedCNNOptions(),
)
system = System(
    build=build,
    published={"full": method, "demo": narrow_copy(method, {"width": 16}, epochs=30)},
    ablations={"no_dilation": changed("network", dilations=(1, 1, 1, 1, 1))},
)

# %%
# In the package, the above is ``ecg/models/architectures/dilated_cnn.py``, with ``SYSTEM`` for
# ``system``, and its name is listed in ``NAMES``. Here it is registered by hand.

METHODS["dilated_cnn"] = system

# %%
# Does it learn?
# --------------
#
# The method as it is and its ablation, trained on half of 300 simulated records and scored on the
# other half. Always answering sinus rhythm would have a Challenge metric of 0.

temporary = tempfile.TemporaryDirectory()  # removed at the end
folder = Path(temporary.name)
simulate_folder(folder / "data", 300, seed=1, workers=2)
dataset = prepare_dataset(folder / "data", method.preparation, folder / "cache", workers=2)
kept, held_out = k_folds(dataset.labels, n_folds=2, seed=0)[0]

for variant in ("published", "no_dilation"):
    run = TrainingRun(find_method("dilated_cnn", "demo", variant), lead_set=2, seed=0)
    trainer = Trainer(run, find_devices(), len(kept))
    model = fit(trainer, dataset, kept)
    outputs, probabilities = answer_dataset(model, dataset, held_out)
    scores = score(dataset.labels[held_out], outputs, probabilities, read_weights()).summary
    print(
        f"{variant}: {trainer.network.count_params()} parameters, AUROC {scores['AUROC']:.3f}, "
        f"Challenge metric {scores['Challenge metric']:.3f}"
    )
