"""`python -m benchmarks.five_models [--records 2000]`: five models against their bare compute.

Prepares simulated records once and trains the default method's network on each lead set, decision
and saving included, as train_model.py does with real ones; without the first stage on simulated
records, which is more of the same. Bare compute is the training steps alone, as many as there were,
each at the rate that they have on one resident batch, measured right before each model; and the
preparation, counted once. What is left is tracing, reading, validation and fitting the decision,
whose share falls with the number of records. Prints one line with the ratio.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from benchmarks.training_step import METHOD, made_up_batch, rate, training_network
from ecg.models.devices import find_devices
from ecg.models.model_files import save_model
from ecg.records.leads import LEAD_SETS
from ecg.simulation.recordings import simulate_folder
from ecg.training.dataset import prepare_dataset
from ecg.training.fit import Trainer, TrainingRun, fit

EPOCHS = 2
STEP_SECONDS = 5.0  # of measuring steps, before each model
REACH = 1.05


def step_seconds(lead_set: int, batch: int) -> float:
    """Seconds of a training step on one resident batch of so many records."""
    network = training_network(lead_set)
    inputs, targets = made_up_batch(network, batch)
    for _ in range(3):
        network.train_on_batch(inputs, targets)
    return 1 / rate(lambda: network.train_on_batch(inputs, targets), STEP_SECONDS)


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2, help="processes that read records")
    options = parser.parse_args()
    method = replace(METHOD, training=replace(METHOD.training, epochs=EPOCHS))
    devices, batch = find_devices(), METHOD.training.scaled_to(options.records).batch_size
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        simulate_folder(place / "data", options.records, seed=1, workers=options.workers)
        started = time.perf_counter()
        dataset = prepare_dataset(
            place / "data", method.preparation, place / "cache", options.workers
        )
        wall = compute = time.perf_counter() - started
        for lead_set in LEAD_SETS:
            keras.backend.clear_session()
            a_step = step_seconds(lead_set, batch)
            started = time.perf_counter()
            trainer = Trainer(TrainingRun(method, lead_set, 0), devices, len(dataset))
            model = fit(trainer, dataset, np.arange(len(dataset)))
            save_model(model, place / "model")
            wall += time.perf_counter() - started
            compute += EPOCHS * -(-model.evidence["n_training"] // batch) * a_step
    print(
        f"five models, {options.records:,} records, {EPOCHS} epochs: {wall:.0f} s, "
        f"{wall / compute:.2f} times their bare compute of {compute:.0f} s (reach {REACH})"
    )


if __name__ == "__main__":
    main()
