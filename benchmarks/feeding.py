"""`python -m benchmarks.feeding [--leads 12 2]`: training from disk against a resident batch.

Both train the default method's network in this machine's precision, in turn: epochs over simulated
records by `fit`, batches read from the memory-mapped dataset, and as many steps by `train_on_batch`
on one batch that is in memory. Prints a line per lead set with the ratio of their records a second.
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

ROUNDS = 4  # after one that is not counted
REACH = 0.95


def share_of_resident(dataset, lead_set: int) -> tuple[float, float, float]:
    """Records a second from the dataset and on a resident batch, and the median round's ratio."""
    network = training_network(lead_set)
    weights = class_weights(METHOD.loss, dataset.labels)
    options = BagOptions(lead_set, tuple(network.input), BATCH)
    bags = Bags(dataset, np.arange(len(dataset)), weights, options)
    inputs, targets = bags[0]
    rates = []
    for _ in range(1 + ROUNDS):
        started = time.perf_counter()
        network.fit(bags, epochs=1, shuffle=False, verbose=0)
        fed = time.perf_counter()
        for _ in range(len(bags)):
            network.train_on_batch(inputs, targets)
        ended = time.perf_counter()
        n_records = BATCH * len(bags)
        rates.append((n_records / (fed - started), n_records / (ended - fed)))
    from_dataset, resident = np.array(rates[1:]).T
    return from_dataset.mean(), resident.mean(), float(np.median(from_dataset / resident))


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--leads", type=int, nargs="+", choices=LEAD_SETS, default=[12, 2])
    parser.add_argument("--records", type=int, default=320, help="an epoch's")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        dataset = simulated_dataset(options.records, METHOD.preparation, Path(folder), workers=-1)
        for lead_set in options.leads:
            fed, resident, share = share_of_resident(dataset, lead_set)
            print(
                f"feeding, {lead_set} leads: {fed:.1f} records/s from the dataset, {resident:.1f} "
                f"on one resident batch, {share:.2f} of it (reach {REACH})",
                flush=True,
            )


if __name__ == "__main__":
    main()
