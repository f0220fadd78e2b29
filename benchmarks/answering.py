"""`python -m benchmarks.answering [--leads 12 …] [--bulk 5000]`: what answering costs, and where.

For each lead set, on simulated records and the default method's networks at full width, untrained:

- one by one, as the Challenge's own test_model.py does (read the files, `run_model`, write the
  output), against the network's bare compiled forward way for a batch of one, and against
  `model.predict` in its place;
- a folder by our test_model.py against that loop, and how far apart the probabilities are;
- the start: loading the models and a first answer, after imports; and the folder's size.
"""

import argparse
import tempfile
import time
from pathlib import Path

import keras
import numpy as np

import test_model
from ecg.models.decisions import Decision
from ecg.models.devices import find_devices
from ecg.models.inputs import record_inputs
from ecg.models.model_files import TrainedModel, save_model
from ecg.models.predictor import Predictor
from ecg.models.registry import build_network, find_method
from ecg.records.diagnoses import N_CLASSES, SINUS_RHYTHM
from ecg.records.discovery import find_records, read_header_text
from ecg.records.leads import LEAD_SETS
from ecg.records.outputs import read_output, write_output
from ecg.records.record import read_record, read_recording
from ecg.simulation.recordings import simulate_folder
from team_code import load_model, run_model

METHOD = find_method("multiscale_se")
REACH = {"forward": 1.25, "predict": 5, "bulk": 3, "start": 3, "size": 60}
N_ONE_BY_ONE, N_BY_PREDICT, ROUNDS = 100, 20, 5


def write_models(folder: Path) -> None:
    """Return the five models, untrained, that answer about as many classes as trained ones: a
    probability of some 3 % for each, of one half for sinus rhythm."""
    bias = np.full(N_CLASSES, np.log(0.03 / 0.97), np.float32)
    bias[SINUS_RHYTHM] = 0.0
    for lead_set in LEAD_SETS:
        keras.utils.set_random_seed(lead_set)
        network = build_network(METHOD, lead_set, N_CLASSES)
        network.layers[-1].bias.assign(bias)
        decision = Decision(METHOD.decision, np.empty(0))
        save_model(
            TrainedModel(network, METHOD, lead_set, decision, np.full(N_CLASSES, 0.1), {}), folder
        )


def answer_one_by_one(model: Predictor, records, outputs: Path) -> None:
    """Return what the Challenge's test_model.py does for each record."""
    outputs.mkdir(parents=True, exist_ok=True)
    for files in records:
        header, recording = read_header_text(files.header), read_recording(files.recording)
        write_output(
            outputs / f"{files.name}.csv", files.name, *run_model(model, header, recording)
        )


def bare_forward(network, inputs):
    """Return a call of the compiled network on one window, already where the backend wants it."""
    resident = {name: keras.ops.convert_to_tensor(one) for name, one in inputs.items()}
    if keras.backend.backend() == "jax":
        import jax

        compiled = jax.jit(lambda given: network(given, training=False))
    else:
        import tensorflow as tf

        compiled = tf.function(lambda given: network(given, training=False))
    return lambda: keras.ops.convert_to_numpy(compiled(resident))


def seconds(call, n_calls: int = 1) -> float:
    """Seconds that one of so many calls takes."""
    started = time.perf_counter()
    for _ in range(n_calls):
        call()
    return (time.perf_counter() - started) / n_calls


def one_by_one(model: Predictor, records, outputs: Path) -> tuple[float, float, float]:
    """Seconds a record: the loop, the bare forward way, the loop with `model.predict`."""
    network = model.model.network
    record = read_record(records[0], METHOD.preparation.duration_s)
    inputs = record_inputs(record, model.input_options)
    window = {name: values[:1] for name, values in inputs.items()}
    forward, compiled = bare_forward(network, window), network.predict_on_batch
    answer_one_by_one(model, records[:5], outputs)
    rounds = []
    for _ in range(ROUNDS):
        loop = seconds(lambda: answer_one_by_one(model, records[:N_ONE_BY_ONE], outputs))
        bare = seconds(forward, N_ONE_BY_ONE)
        network.predict_on_batch = lambda inputs: network.predict(inputs, verbose=0)
        predict = seconds(lambda: answer_one_by_one(model, records[:N_BY_PREDICT], outputs))
        network.predict_on_batch = compiled
        rounds.append((loop / N_ONE_BY_ONE, bare, predict / N_BY_PREDICT))
    return tuple(np.median(rounds, axis=0))


def distance(records, outputs: Path, others: Path) -> tuple[float, int]:
    """Return the largest difference of two output folders' probabilities, and records whose labels
    differ."""
    largest, n_other_labels = 0.0, 0
    for files in records:
        one, other = (read_output(folder / f"{files.name}.csv") for folder in (outputs, others))
        largest = max(largest, np.abs(np.subtract(one[3], other[3])).max())
        n_other_labels += one[2] != other[2]
    return largest, n_other_labels


def print_lead_set(lead_set: int, models: Path, place: Path, n_bulk: int, workers: int) -> None:
    """Both rows of one lead set."""
    data = place / "data"
    simulate_folder(data, n_bulk, seed=1, lead_set=lead_set, workers=workers)
    records = find_records(data)
    model = load_model(models, LEAD_SETS[lead_set])
    loop, bare, predict = one_by_one(model, records, place / "few")
    print(
        f"answering, {lead_set} leads: {loop * 1e3:.1f} ms a record one by one, "
        f"{loop / bare:.2f} times the bare forward way of {bare * 1e3:.1f} ms "
        f"(reach {REACH['forward']}), {predict / loop:.1f} times as fast as by model.predict "
        f"(reach {REACH['predict']})",
        flush=True,
    )
    all_loop = seconds(lambda: answer_one_by_one(model, records, place / "one"))
    many = place / "many"
    bulk = seconds(lambda: test_model.test_model(models, data, many, workers, one_site=False))
    largest, n_other_labels = distance(records, place / "one", many)
    print(
        f"in bulk, {lead_set} leads, {len(records):,} records: "
        f"{len(records) / bulk:.0f} records/s, {all_loop / bulk:.2f} times "
        f"the {len(records) / all_loop:.0f} one by one (reach {REACH['bulk']}); "
        f"probabilities within {largest:.0e}, other labels in {n_other_labels}",
        flush=True,
    )


def print_start(models: Path, place: Path) -> None:
    """Seconds from model folder to first answer, of each model, and the folder's size."""
    record = find_records(place)[0]
    header, recording = read_header_text(record.header), read_recording(record.recording)
    starts = [
        seconds(lambda leads=leads: run_model(load_model(models, leads), header, recording))
        for leads in LEAD_SETS.values()
    ]
    size = sum(path.stat().st_size for path in models.iterdir()) / 1e6
    print(
        f"start: {max(starts):.1f} s to the first answer of the slowest of five models "
        f"(reach {REACH['start']} s), model folder {size:.1f} MB (reach {REACH['size']} MB)",
        flush=True,
    )


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--leads", type=int, nargs="+", choices=LEAD_SETS, default=[12, 2])
    parser.add_argument("--bulk", type=int, default=5000, help="records of each lead set")
    parser.add_argument("--workers", type=int, default=2, help="processes that read ahead")
    options = parser.parse_args()
    print(find_devices())
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        write_models(models)
        for lead_set in options.leads:
            place = Path(folder) / str(lead_set)
            print_lead_set(lead_set, models, place, options.bulk, options.workers)
        print_start(models, Path(folder) / str(max(options.leads)))


if __name__ == "__main__":
    main()
