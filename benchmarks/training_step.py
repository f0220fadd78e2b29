"""`python -m benchmarks.training_step [--leads 12 …]`: the training step against what bounds it.

Prints, for the default method's network, multiply-adds a second (three times those of the forward
way, for the gradients of maps and of weights) over the machine's own float32 matrix-product rate;
the same in this machine's reduced precision, where it has one; and, where PyTorch is installed
(`pip install torch==2.13.0`), the same network written in PyTorch, channels last, on the GPU where
PyTorch sees one. All in turns within one run, medians over rounds. Steps are on noise of a batch's
shape.
"""

import argparse
import time
from dataclasses import replace

import keras
import numpy as np
from keras import ops

from benchmarks.training_cost import multiply_adds
from ecg.models.devices import find_devices
from ecg.models.losses import class_weights, make_targets
from ecg.models.registry import build_network, find_method
from ecg.records.diagnoses import N_CLASSES
from ecg.records.leads import LEAD_SETS
from ecg.training.fit import Trainer, TrainingRun

METHOD = find_method("multiscale_se")
BATCH = METHOD.training.batch_size
ROUNDS, SECONDS = 5, 4.0  # of each contender in each round
MATRIX, MATRIX_ON_GPU = 2048, 8192  # rows and columns
REACH = {"of the matrix rate": 0.5, "of PyTorch": 1.2, "of float32": 1.5}


def training_network(lead_set: int, precision: str | None = None) -> keras.Model:
    """The network that trains, as training compiles it, to take one step at a time; precision: in
    place of the devices' own."""
    devices = find_devices()
    if precision is not None:
        devices = replace(devices, precision=precision)
    return Trainer(TrainingRun(METHOD, lead_set, 0), devices, n_training=BATCH).bags


def made_up_batch(network, batch: int = BATCH) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Inputs and targets of noise."""
    random = np.random.default_rng(0)
    inputs = {
        name: random.standard_normal((batch, *one.shape[1:]), np.float32)
        for name, one in network.input.items()
    }
    labels = random.random((batch, N_CLASSES)) < 0.1
    return inputs, make_targets(labels, class_weights(METHOD.loss, labels))


def rate(step, seconds: float = SECONDS) -> float:
    """Calls of `step` a second, over at least so many seconds."""
    n_steps, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        step()
        n_steps += 1
    return n_steps / elapsed


def matrix_step(size: int):
    """A call that multiplies two float32 matrices of so many rows and columns on the backend."""
    random = np.random.default_rng(0)
    one, other = (random.standard_normal((size, size), np.float32) for _ in range(2))
    one, other = ops.convert_to_tensor(one), ops.convert_to_tensor(other)
    return lambda: ops.convert_to_numpy(ops.matmul(one, other)[0, 0])


def keras_step(lead_set: int, precision: str):
    """A call that trains one batch."""
    network = training_network(lead_set, precision)
    inputs, targets = made_up_batch(network)
    return lambda: network.train_on_batch(inputs, targets)


def torch_step(lead_set: int):
    """The same of the network in PyTorch; None where that is not installed."""
    try:
        from benchmarks.torch_network import torch_training_step
    except ImportError:
        return None
    inputs, targets = made_up_batch(training_network(lead_set, "float32"))
    step = torch_training_step(lead_set, (inputs, targets[..., 0]))
    return lambda: step().item()  # which waits for a GPU


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--leads", type=int, nargs="+", choices=LEAD_SETS, default=[12])
    options = parser.parse_args()
    devices = find_devices()
    print(devices, flush=True)
    reduced = devices.precision
    size = MATRIX_ON_GPU if devices.gpus else MATRIX
    for lead_set in options.leads:
        n_multiply_adds = 3 * BATCH * multiply_adds(build_network(METHOD, lead_set, N_CLASSES))
        steps = {"matrix": matrix_step(size), "float32": keras_step(lead_set, "float32")}
        if reduced != "float32":
            steps[reduced] = keras_step(lead_set, reduced)
        steps["PyTorch"] = torch_step(lead_set)
        steps = {name: step for name, step in steps.items() if step is not None}
        for step in steps.values():
            for _ in range(2):
                step()
        rounds = [{name: rate(step) for name, step in steps.items()} for _ in range(ROUNDS)]
        rates = {name: np.array([one[name] for one in rounds]) for name in steps}
        products = rates["matrix"] * size**3
        print(
            f"training step, {lead_set} leads, float32: "
            f"{np.median(rates['float32']) * n_multiply_adds / 1e9:.0f} G multiply-adds/s, "
            f"{np.median(rates['float32'] * n_multiply_adds / products):.2f} of the matrix rate "
            f"{np.median(products) / 1e9:.0f} G/s (reach {REACH['of the matrix rate']})",
            flush=True,
        )
        for name, what in ((reduced, "of float32"), ("PyTorch", "of PyTorch")):
            if name not in rates or name == "float32":
                continue
            over, under = (name, "float32") if name == reduced else ("float32", name)
            print(
                f"training step, {lead_set} leads, {over}: {np.median(rates[over]) * BATCH:.1f} "
                f"records/s, {np.median(rates[over] / rates[under]):.2f} times the "
                f"{np.median(rates[under]) * BATCH:.1f} {what} (reach {REACH[what]})",
                flush=True,
            )


if __name__ == "__main__":
    main()
