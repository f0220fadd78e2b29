"""`python -m benchmarks.training_step [--leads 12 …]`: speed of the training step.

For the default method's network, compares multiply-adds per second (three times those of a forward
pass) with the machine's float32 matrix product; the reduced precision, if the machine has one, with
float32; and, if PyTorch is installed (`pip install torch==2.13.0`), our network with the same one
in PyTorch. All alternate within one run, on noise; the results are medians over rounds.
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
ROUNDS, SECONDS = 5, 4.0  # per step function and round
MATRIX, MATRIX_ON_GPU = 2048, 8192  # rows and columns
TARGETS = {"matrix product": 0.5, "PyTorch": 1.2, "float32": 1.5}


def training_network(lead_set: int, precision: str | None = None) -> keras.Model:
    """Return the network as compiled for training, with one step per execution.

    precision: None for that of the machine.
    """
    devices = find_devices()
    if precision is not None:
        devices = replace(devices, precision=precision)
    return Trainer(TrainingRun(METHOD, lead_set, 0), devices, n_records=BATCH).bags


def noise_batch(network, batch: int = BATCH) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return random inputs and targets of `batch` records."""
    random = np.random.default_rng(0)
    inputs = {
        name: random.standard_normal((batch, *tensor.shape[1:]), np.float32)
        for name, tensor in network.input.items()
    }
    labels = random.random((batch, N_CLASSES)) < 0.1
    return inputs, make_targets(labels, class_weights(METHOD.loss, labels))


def steps_per_second(step, seconds: float = SECONDS) -> float:
    """Return the calls of `step` per second, over at least `seconds`."""
    n_steps, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        step()
        n_steps += 1
    return n_steps / elapsed


def matrix_step(size: int):
    """Return a function that multiplies two square float32 matrices on the backend."""
    random = np.random.default_rng(0)
    a, b = (ops.convert_to_tensor(random.standard_normal((size, size), np.float32)) for _ in "ab")
    return lambda: ops.convert_to_numpy(ops.matmul(a, b)[0, 0])


def keras_step(lead_set: int, precision: str):
    """Return a function that trains one batch."""
    network = training_network(lead_set, precision)
    inputs, targets = noise_batch(network)
    return lambda: network.train_on_batch(inputs, targets)


def torch_step(lead_set: int):
    """Return a function that trains one batch in PyTorch; None if PyTorch is not installed."""
    try:
        from benchmarks.torch_network import torch_training_step
    except ImportError:
        return None
    inputs, targets = noise_batch(training_network(lead_set, "float32"))
    step = torch_training_step(lead_set, (inputs, targets[..., 0]))
    return lambda: step().item()  # waits for the GPU


def main() -> None:
    """Run the command line."""
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
        rounds = [[steps_per_second(step) for step in steps.values()] for _ in range(ROUNDS)]
        rates = dict(zip(steps, np.array(rounds).T, strict=True))
        products = rates["matrix"] * size**3
        print(
            f"training step, {lead_set} leads, float32: "
            f"{np.median(rates['float32']) * n_multiply_adds / 1e9:.0f} G multiply-adds/s, "
            f"{np.median(rates['float32'] * n_multiply_adds / products):.2f} of the "
            f"{np.median(products) / 1e9:.0f} G/s of a matrix product "
            f"(target {TARGETS['matrix product']})",
            flush=True,
        )
        for name, reference in ((reduced, "float32"), ("float32", "PyTorch")):
            if reference not in rates or name == reference:
                continue
            print(
                f"training step, {lead_set} leads, {name}: {np.median(rates[name]) * BATCH:.1f} "
                f"records/s, {np.median(rates[name] / rates[reference]):.2f} times the "
                f"{np.median(rates[reference]) * BATCH:.1f} of {reference} "
                f"(target {TARGETS[reference]})",
                flush=True,
            )


if __name__ == "__main__":
    main()
