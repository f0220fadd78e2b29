"""Cost of training: parameters, multiply-adds, speed on this machine, and an estimate for a GPU.

    python -m benchmarks.training_cost [--method M …] [--leads 12 …] [--seconds 20]

Prints a line per method and lead set, at full width. Speed is that of training steps on noise in
float32, to be compared only within one run. The last line of a method is an estimate: five models,
88,253 records of one training bag each, all epochs including pretraining, six floating-point
operations per multiply-add (forward, and twice that backward), on a GPU with 20 TFLOP/s, at its
peak and at a fifth of it.
"""

import argparse
import time
from dataclasses import replace

import keras
import numpy as np

from ecg.models.devices import find_devices
from ecg.models.losses import class_weights, make_targets
from ecg.models.method import recipe_for
from ecg.models.registry import METHODS, build_network, find_method
from ecg.records.diagnoses import N_CLASSES
from ecg.records.leads import LEAD_SETS
from ecg.training.fit import Trainer, TrainingRun

N_RECORDS = 88_253
GPU_FLOPS = 20e12
ASSUMED_UTILISATION = 0.2  # of the GPU's peak; not measured


def multiply_adds(network: keras.Model) -> int:
    """Return the multiply-adds of a forward pass: convolutions, dense layers and LSTMs."""
    total = 0
    for layer in network.layers:
        if isinstance(layer, keras.layers.Conv1D | keras.layers.Conv2D):
            n_positions = np.prod(layer.output.shape[1:-1])
            total += n_positions * np.prod(layer.kernel.shape)
        elif isinstance(layer, keras.layers.Dense):
            total += np.prod(layer.output.shape[1:-1], dtype=int) * np.prod(layer.kernel.shape)
        elif isinstance(layer, keras.layers.Bidirectional):
            n_steps = layer.output.shape[1]
            cells = (layer.forward_layer.cell, layer.backward_layer.cell)
            weights = [weight for cell in cells for weight in (cell.kernel, cell.recurrent_kernel)]
            total += n_steps * sum(np.prod(weight.shape) for weight in weights)
    return int(total)


def records_per_second(method, lead_set: int, batch_size: int, seconds: float) -> float:
    """Return the training speed, records/s, over at least `seconds`, after a first step."""
    random = np.random.default_rng(0)
    devices = replace(find_devices(), precision="float32")
    # With so few training records, one step is run per execution on a GPU, too.
    bags = Trainer(TrainingRun(method, lead_set, 0), devices, n_records=1).bags
    labels = random.random((batch_size, N_CLASSES)) < 0.1
    targets = make_targets(labels, class_weights(method.loss, labels))
    inputs = {
        name: random.standard_normal((batch_size, *tensor.shape[1:]), np.float32)
        for name, tensor in bags.input.items()
    }
    bags.train_on_batch(inputs, targets)
    n_steps, started = 0, time.monotonic()
    while time.monotonic() - started < seconds:
        bags.train_on_batch(inputs, targets)
        n_steps += 1
    return n_steps * batch_size / (time.monotonic() - started)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--method", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--leads", type=int, nargs="+", choices=LEAD_SETS, default=list(LEAD_SETS))
    parser.add_argument("--seconds", type=float, default=20.0, help="per measurement, at least")
    parser.add_argument("--batch", type=int, default=16, help="records per step")
    options = parser.parse_args()
    print(find_devices())
    for name in options.method:
        method = recipe_for(find_method(name), N_RECORDS)
        operations = 0.0
        for lead_set in LEAD_SETS:
            keras.backend.clear_session()
            network = build_network(method, lead_set, N_CLASSES)
            per_record = multiply_adds(network) * method.training.bag_size
            simulated = method.pretraining.n_records * method.pretraining.epochs
            n_steps = N_RECORDS * method.training.epochs + simulated
            operations += 6.0 * per_record * n_steps
            if lead_set in options.leads:
                speed = records_per_second(method, lead_set, options.batch, options.seconds)
                print(
                    f"{name}, {lead_set} leads: {network.count_params() / 1e6:.2f} M parameters, "
                    f"{per_record / 1e9:.3f} G multiply-adds per record, {speed:.1f} records/s",
                    flush=True,
                )
        hours = operations / GPU_FLOPS / 3600
        print(
            f"{name}, five models, {N_RECORDS} records, {method.training.epochs} epochs: "
            f"{hours:.1f} h at 20 TFLOP/s, {hours / ASSUMED_UTILISATION:.1f} h at a fifth of it",
            flush=True,
        )


if __name__ == "__main__":
    main()
