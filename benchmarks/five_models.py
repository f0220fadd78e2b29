"""`python -m benchmarks.five_models [--records 2000]`: overhead of training five models.

Prepares simulated records once and trains the default method's network on each lead set, including
decision and saving, as train_model.py does, but without pretraining. The time is compared with that
of preparation and of the training steps alone, at their speed on a batch in memory, which is
measured before each model. The difference is tracing, reading, validation and fitting the decision,
whose share falls with the number of records. Prints one line with the ratio.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from benchmarks.training_step import METHOD, noise_batch, steps_per_second, training_network
from ecg.models.devices import find_devices
from ecg.models.method import recipe_for
from ecg.models.model_files import save_model
from ecg.records.leads import LEAD_SETS
from ecg.simulation.recordings import simulate_folder
from ecg.training.dataset import prepare_dataset
from ecg.training.fit import Trainer, TrainingRun, fit

EPOCHS = 2
STEP_SECONDS = 5.0  # for which the speed of steps is measured
TARGET = 1.05


def step_seconds(lead_set: int, batch: int) -> float:
    """Return the seconds of a training step on a batch of `batch` records in memory."""
    network = training_network(lead_set)
    inputs, targets = noise_batch(network, batch)
    for _ in range(3):
        network.train_on_batch(inputs, targets)
    return 1 / steps_per_second(lambda: network.train_on_batch(inputs, targets), STEP_SECONDS)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2, help="processes that read records")
    options = parser.parse_args()
    method = replace(METHOD, training=replace(METHOD.training, epochs=EPOCHS))
    devices = find_devices()
    batch = recipe_for(METHOD, options.records).training.batch_size
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        simulate_folder(folder / "data", options.records, seed=1, workers=options.workers)
        started = time.perf_counter()
        dataset = prepare_dataset(
            folder / "data", method.preparation, folder / "cache", options.workers
        )
        wall = compute = time.perf_counter() - started
        for lead_set in LEAD_SETS:
            keras.backend.clear_session()
            seconds = step_seconds(lead_set, batch)
            started = time.perf_counter()
            trainer = Trainer(TrainingRun(method, lead_set, 0), devices, len(dataset))
            model = fit(trainer, dataset, np.arange(len(dataset)))
            save_model(model, folder / "model")
            wall += time.perf_counter() - started
            compute += EPOCHS * -(-model.training_log["n_training"] // batch) * seconds
    print(
        f"five models, {options.records:,} records, {EPOCHS} epochs: {wall:.0f} s, "
        f"{wall / compute:.2f} times the {compute:.0f} s of preparation and steps "
        f"(target {TARGET})"
    )


if __name__ == "__main__":
    main()
