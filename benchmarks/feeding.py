"""`python -m benchmarks.feeding [--leads 12 2]`: training speed from disk and from memory.

Trains the default method's network in this machine's precision, alternating between epochs over
simulated records by `fit`, with batches read from the memory-mapped dataset, and as many steps by
`train_on_batch` on one batch in memory. Prints a line per lead set with the ratio of their speeds.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.training_step import BATCH, METHOD, training_network
from ecg.models.losses import class_weights
from ecg.records.leads import LEAD_SETS
from ecg.training.batches import BagOptions, Bags
from ecg.training.pretraining import simulated_dataset

ROUNDS = 4  # after a warm-up round
TARGET = 0.95


def measure(dataset, lead_set: int) -> tuple[float, float, float]:
    """Return records/s from the dataset and on a batch in memory, and the median of their ratio."""
    network = training_network(lead_set)
    weights = class_weights(METHOD.loss, dataset.labels)
    options = BagOptions(lead_set, tuple(network.input), BATCH)
    bags = Bags(dataset, np.arange(len(dataset)), weights, options)
    inputs, targets = bags[0]
    rates = []
    for _ in range(1 + ROUNDS):
        started = time.perf_counter()
        network.fit(bags, epochs=1, shuffle=False, verbose=0)
        middle = time.perf_counter()
        for _ in range(len(bags)):
            network.train_on_batch(inputs, targets)
        ended = time.perf_counter()
        n_records = BATCH * len(bags)
        rates.append((n_records / (middle - started), n_records / (ended - middle)))
    from_disk, in_memory = np.array(rates[1:]).T
    return from_disk.mean(), in_memory.mean(), float(np.median(from_disk / in_memory))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--leads", type=int, nargs="+", choices=LEAD_SETS, default=[12, 2])
    parser.add_argument("--records", type=int, default=320, help="per epoch; default: 320")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        dataset = simulated_dataset(options.records, METHOD.preparation, Path(folder), workers=-1)
        for lead_set in options.leads:
            from_disk, in_memory, ratio = measure(dataset, lead_set)
            print(
                f"feeding, {lead_set} leads: {from_disk:.1f} records/s from disk, "
                f"{in_memory:.1f} on one batch in memory, ratio {ratio:.2f} (target {TARGET})",
                flush=True,
            )


if __name__ == "__main__":
    main()
