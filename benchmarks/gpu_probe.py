"""Measure in eight minutes how well this machine's GPU is used.

    KERAS_BACKEND=jax python -m benchmarks.gpu_probe [--minutes 8] [--leads 12 2] \\
        [--parts NAME …] [--csv FILE]

Prints each result as soon as it is known, with a comparison and a target, which is for an H100.
Signals are noise. No measurement starts after the time limit; the last line names the parts that
were skipped. Without a GPU, a small network only shows that all parts work.
"""

import argparse
import contextlib
import csv
import importlib.util
import itertools
import math
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from benchmarks.training_cost import N_RECORDS, multiply_adds
from ecg.models.architectures.multiscale_se import LEAD_KERNELS
from ecg.models.decisions import Decision
from ecg.models.devices import Devices, find_devices, keep_compiled
from ecg.models.forward import logits_of
from ecg.models.losses import make_targets
from ecg.models.method import Method, recipe_for
from ecg.models.model_files import TrainedModel, save_model
from ecg.models.predictor import load_predictor
from ecg.models.registry import find_method
from ecg.records.demographics import N_DEMOGRAPHICS
from ecg.records.diagnoses import N_CLASSES
from ecg.records.leads import LEAD_SETS, TWELVE_LEADS
from ecg.runtime.processes import jobs_at_once, run_jobs
from ecg.signals.measurements import N_RHYTHM, N_WAVES
from ecg.training.batches import BagOptions, Bags
from ecg.training.checkpoints import Checkpoint, TrainingState
from ecg.training.dataset import Dataset
from ecg.training.epochs import Stage, run_epochs
from ecg.training.fit import Trainer, TrainingRun

COLUMNS = ("part", "name", "value", "unit", "comparison", "target", "device", "backend", "commit")
FEW_RECORDS = 600  # training set with batches of 16 and one step per execution
N_TEST_RECORDS = 36_266
TARGETS = {12: "6,000, with leads folded 8,000; it was 690", 2: "25,000"}  # training, records/s
WAIT_S = 300  # for concurrent trainings to compile
N_PROFILED = 5  # steps
CONVOLUTION = "convolution or matrix product"
KERNEL_KINDS = {  # of GPU kernels, by the first pattern that matches the lower-case name
    "copy": r"memcpy|memset|copy|transpose|nchwtonhwc|nhwctonchw",
    CONVOLUTION: r"conv(?!ert)|cudnn|fprop|dgrad|wgrad|xmma|cutlass|gemm|nvjet|dot|sm\d\d",
    "reduction or normalisation": r"reduc|norm",
    "elementwise": r"fusion|loop|wrapped|elementwise",
    "other": "",
}


@dataclass(frozen=True)
class Row:
    """A result, a comparison with another, and a target."""

    name: str
    value: float | str
    unit: str = ""
    comparison: str = ""
    target: str = ""

    def __str__(self):
        value = self.value
        if not isinstance(value, str):
            value = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
        comparison = f"; {self.comparison}" if self.comparison else ""
        target = f" (target {self.target})" if self.target else ""
        return f"{self.name}: {value} {self.unit}".rstrip() + comparison + target


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    n_training: records in the training set, which determines the batch size. seconds: minimum
    duration of a measurement; four times that for concurrent trainings. n_on_disk: records.
    """

    method: Method
    n_training: int
    seconds: float
    n_on_disk: int


def _with_network_for(n_records: int) -> Method:
    """Return the default method with its network for that many records.

    It keeps this network for the measurements with fewer records, too.
    """
    method = find_method("multiscale_se")
    return replace(method, network=recipe_for(method, n_records).network, by_size=())


ON_GPU = Sizes(_with_network_for(N_RECORDS), N_RECORDS, 4.0, 4000)
ON_CPU = Sizes(find_method("multiscale_se", "demo"), 19_200, 0.3, 256)


class NoiseTraining:
    """Training as the product does it, on a batch of noise.

    build_s: seconds to build the trainer. compile_s: difference of its first and second execution.
    """

    def __init__(self, sizes: Sizes, lead_set: int, devices: Devices):
        started = time.perf_counter()
        self.trainer = Trainer(TrainingRun(sizes.method, lead_set, 0), devices, sizes.n_training)
        self.build_s = time.perf_counter() - started
        self.sizes, self.batch_size = sizes, self.trainer.run.method.training.batch_size
        self.n_steps = self.trainer.bags.steps_per_execution
        self.name = f"{lead_set} leads, batch {self.batch_size}, {self.n_steps} steps per execution"
        self.batch = noise_batch(self.trainer.bags, self.batch_size)
        execution = RepeatedBatch(self.batch, self.n_steps)
        first, self.execution_s = (self.epoch_s(execution) for _ in range(2))
        self.compile_s = first - self.execution_s

    def epoch_s(self, batches: keras.utils.PyDataset) -> float:
        """Return the seconds of an epoch by the product's training loop, with its callbacks."""
        options = replace(self.sizes.method.training, epochs=1, batch_size=self.batch_size)
        started = time.perf_counter()
        with contextlib.redirect_stdout(None):  # progress
            run_epochs(self.trainer.bags, batches, Stage("probe", options))
        return time.perf_counter() - started

    def rate_on(self, batches_of: Callable[[int], keras.utils.PyDataset]) -> float:
        """Return records/s; batches_of: number of steps -> batches of an epoch."""

        def run(n_executions: int) -> float:
            return self.epoch_s(batches_of(n_executions * self.n_steps))

        return times_per_second(run, self.sizes.seconds) * self.n_steps * self.batch_size

    @cached_property
    def rate(self) -> float:
        """Records/s on a batch in memory."""
        return self.rate_on(partial(RepeatedBatch, self.batch))

    def rows(self, other: "NoiseTraining | None" = None, target: str = "") -> Iterator[Row]:
        """Compilation time, and speed compared with another training."""
        yield Row(f"{self.name}, compilation", self.compile_s, "s")
        comparison = ""
        if other is not None:
            comparison = f"{self.rate / other.rate:.2f} times that of batch {other.batch_size}"
        yield Row(self.name, self.rate, "records/s", comparison, target)


class RepeatedBatch(keras.utils.PyDataset):
    """An epoch of `n_steps` steps on one batch in memory."""

    def __init__(self, batch, n_steps: int):
        super().__init__(workers=2)  # as in `ecg.training.batches.Bags`
        self.batch, self.n_steps = batch, n_steps

    def __len__(self):
        return self.n_steps

    def __getitem__(self, i):
        return self.batch


class Probe:
    """What the parts share. folder: for temporary files."""

    def __init__(self, sizes: Sizes, leads: list[int], minutes: float, folder: Path):
        self.sizes, self.leads, self.folder = sizes, leads, folder
        self.devices, self.end = find_devices(), time.monotonic() + 60 * minutes
        # Lead set -> training with the product's batch size; made once.
        self.training = cache(lambda lead_set: NoiseTraining(sizes, lead_set, self.devices))

    @property
    def left_s(self) -> float:
        """Seconds until the time limit."""
        return self.end - time.monotonic()


def device(probe: Probe) -> Iterator[Row]:
    """Describe the machine, the libraries and the network."""
    backend = importlib.import_module(keras.backend.backend())
    yield Row("machine", f"{probe.devices}; {os.cpu_count()} processor cores")
    yield Row("versions", f"{backend.__name__} {backend.__version__}, Keras {keras.__version__}")
    yield Row("network", f"{probe.sizes.method.name}, widths {probe.sizes.method.network.widths}")


def training(probe: Probe) -> Iterator[Row]:
    """Measure the product's training loop with three batch sizes, and bare training steps."""
    sizes, method = probe.sizes, probe.sizes.method
    method = recipe_for(method, sizes.n_training)
    doubled = 2 * method.training.batch_size
    options = replace(method.training, batch_size=doubled, largest_batch_size=None)
    large = replace(sizes, method=replace(method, training=options))
    for lead_set in probe.leads:
        small = NoiseTraining(replace(sizes, n_training=FEW_RECORDS), lead_set, probe.devices)
        yield Row(f"{lead_set} leads, building the trainer", small.build_s, "s")
        yield from small.rows()
        usual = probe.training(lead_set)
        yield from usual.rows(small, TARGETS.get(lead_set, ""))
        yield from NoiseTraining(large, lead_set, probe.devices).rows(usual)
        run = bare_steps(usual.trainer.bags, usual.batch)
        bare = usual.batch_size * times_per_second(run, sizes.seconds)
        name = f"{lead_set} leads, batch {usual.batch_size}, bare compiled steps"
        comparison = f"the product's loop reaches {usual.rate / bare:.2f} of it"
        yield Row(name, bare, "records/s", comparison)


def pytorch(probe: Probe) -> Iterator[Row]:
    """Measure the same network in PyTorch, in a new process."""
    if importlib.util.find_spec("torch") is None:
        yield Row("skipped", "PyTorch is not installed")
        return
    modes = ("eager", "compiled") if probe.devices.gpus else ("eager",)
    for mode, lead_set in itertools.product(modes, probe.leads):
        ours = probe.training(lead_set)
        work = partial(torch_rate, ours.sizes, lead_set, ours.batch, mode, probe.devices.precision)
        rate, first_s = in_new_process(work, probe.left_s)
        name = f"{lead_set} leads, batch {ours.batch_size}, PyTorch {mode}"
        yield Row(f"{name}, first step", first_s, "s")
        comparison = f"ours is {ours.rate / rate:.2f} times that"
        yield Row(name, rate, "records/s", comparison, "1.2 times" if mode == "compiled" else "")


def torch_rate(sizes: Sizes, lead_set: int, batch, mode: str, policy: str) -> tuple[float, float]:
    """Return records/s in PyTorch, and the seconds of the first step.

    batch: as for Keras. mode: "eager" or "compiled". policy: Keras's dtype policy.
    """
    from benchmarks import torch_network

    torch_network.METHOD = sizes.method  # only in this process; a smaller one without a GPU
    inputs, targets = batch
    batch = inputs, np.ascontiguousarray(targets[..., 0])
    precision = "bfloat16" if policy == "mixed_bfloat16" else "float32"
    step = torch_network.torch_training_step(lead_set, batch, precision, mode == "compiled")

    def run(n_steps: int) -> float:
        started = time.perf_counter()
        for _ in range(n_steps):
            step()
        torch_network.wait()
        return time.perf_counter() - started

    first_s = run(1)
    run(3)  # CUDA graphs are recorded in the second step
    return len(targets) * times_per_second(run, sizes.seconds), first_s


def feeding(probe: Probe) -> Iterator[Row]:
    """Measure reading of batches from a dataset on disk, and training on them."""
    dataset = noise_dataset(probe.sizes, probe.folder / "noise.f32")
    for lead_set in probe.leads:
        usual = probe.training(lead_set)
        batches_of = partial(bags_of_noise, dataset, lead_set, usual)
        read = times_per_second(partial(reading_s, batches_of), probe.sizes.seconds)
        read *= usual.batch_size
        comparison = f"{read / usual.rate:.1f} times the training speed"
        yield Row(f"{lead_set} leads, reading alone", read, "records/s", comparison)
        from_disk = usual.rate_on(batches_of)
        comparison = f"{from_disk / usual.rate:.2f} times that of a batch in memory"
        yield Row(f"{usual.name}, from disk", from_disk, "records/s", comparison, "0.95 times")


def noise_dataset(sizes: Sizes, file: Path) -> Dataset:
    """Return a dataset of records with one window of noise each, stored in `file`."""
    n, n_leads, n_samples = sizes.n_on_disk, len(TWELVE_LEADS), sizes.method.preparation.n_samples
    random = np.random.default_rng(0)
    with open(file, "wb") as windows:
        for _ in range(n):
            windows.write(random.standard_normal((n_leads, n_samples), np.float32))
    return Dataset(
        folder=file.parent,
        data=np.memmap(file, np.float32, "r", shape=(n, n_leads, n_samples)).view(np.ndarray),
        first_window=np.arange(n),
        n_windows=np.ones(n, int),
        names=np.arange(n).astype(str),
        sources=np.full(n, "noise"),
        labels=random.random((n, N_CLASSES)) < 0.1,
        demographics=random.random((n, N_DEMOGRAPHICS), np.float32),
        lead_deviation_mv=np.ones((n, n_leads), np.float32),
        rhythm=random.standard_normal((n, N_RHYTHM), np.float32),
        waves=random.standard_normal((n, n_leads, N_WAVES), np.float32),
        rejected={},
        transient=False,
        fingerprint="noise",
    )


def bags_of_noise(dataset: Dataset, lead_set: int, training: NoiseTraining, n_steps: int) -> Bags:
    """Return the batches of an epoch of `n_steps` steps, which repeats the dataset as needed."""
    records = np.resize(np.arange(len(dataset)), n_steps * training.batch_size)
    bag_size = training.sizes.method.training.bag_size
    inputs = tuple(training.trainer.network.input)
    options = BagOptions(lead_set, inputs, training.batch_size, bag_size)
    return Bags(dataset, records, np.ones(N_CLASSES, np.float32), options)


def reading_s(batches_of: Callable[[int], Bags], n_steps: int) -> float:
    """Return the seconds of reading `n_steps` batches, with as many threads as in training."""
    bags = batches_of(n_steps)
    started = time.perf_counter()
    with ThreadPoolExecutor(bags.workers) as threads:
        for _ in threads.map(bags.__getitem__, range(n_steps)):
            pass
    return time.perf_counter() - started


def answering(probe: Probe) -> Iterator[Row]:
    """Measure inference on batches by a saved and loaded model."""
    lead_set, method = max(probe.leads), probe.sizes.method
    network = probe.training(lead_set).trainer.float32_network()
    decision = Decision(method.decision, np.empty(0))
    model = TrainedModel(network, method, lead_set, decision, np.full(N_CLASSES, 0.1), {})
    save_model(model, probe.folder / "model")
    predictor = load_predictor(probe.folder / "model", lead_set)
    network, size = predictor.model.network, predictor.batch_size
    inputs = noise(network, size)

    def run(n: int) -> float:
        started = time.perf_counter()
        logits_of(network, itertools.repeat(inputs, n), size)
        return time.perf_counter() - started

    yield Row(f"{lead_set} leads, batch {size}, first batch", run(1), "s")
    rate = size * times_per_second(run, probe.sizes.seconds)
    yield Row(f"{lead_set} leads, batch {size}, float32", rate, "records/s")
    name = f"{lead_set} leads, {N_TEST_RECORDS:,} records at that speed"
    yield Row(name, N_TEST_RECORDS / rate, "s")


def side_by_side(probe: Probe) -> Iterator[Row]:
    """Measure concurrent trainings, as many as the product runs, but at least two."""
    n_jobs = max(jobs_at_once(), 2)
    for lead_set in probe.leads:
        alone = probe.training(lead_set).rate
        ready = probe.folder / f"ready-{lead_set}"
        ready.mkdir()
        work = partial(concurrent_rate, probe.sizes, lead_set, ready, n_jobs)
        rate = sum(rate for _, rate in run_jobs(work, range(n_jobs), n_jobs))
        comparison = f"{rate / alone:.2f} times that of one alone"
        yield Row(f"{lead_set} leads, {n_jobs} trainings together", rate, "records/s", comparison)


def concurrent_rate(sizes: Sizes, lead_set: int, ready: Path, n_jobs: int, job: int) -> float:
    """Return records/s of one of `n_jobs` concurrent trainings.

    It starts when all jobs have compiled and made a file in `ready`; they end within an eighth of
    the time of each other.
    """
    training = NoiseTraining(sizes, lead_set, find_devices())
    n_steps = training.n_steps * math.ceil(sizes.seconds / 2 / training.execution_s)
    (ready / str(job)).touch()
    give_up = time.monotonic() + WAIT_S
    while len(list(ready.iterdir())) < n_jobs:
        if time.monotonic() > give_up:
            raise TimeoutError(f"expected {n_jobs} trainings to start within {WAIT_S} s")
        time.sleep(0.02)
    n_epochs, elapsed = 0, 0.0
    while elapsed < 4 * sizes.seconds:
        elapsed += training.epoch_s(RepeatedBatch(training.batch, n_steps))
        n_epochs += 1
    return n_epochs * n_steps * training.batch_size / elapsed


def folding(probe: Probe) -> Iterator[Row]:
    """Measure convolutions of blocks 3 to 5 for 12 leads, plain and with leads as channels."""
    method = recipe_for(probe.sizes.method, probe.sizes.n_training)
    n_leads = len(TWELVE_LEADS)
    kernels = zip(method.network.time_kernels, LEAD_KERNELS[n_leads], strict=True)
    batch_size = method.training.batch_size
    n_samples = method.preparation.n_samples // 4  # after the strides of blocks 1 and 2
    for i, kernel in enumerate(kernels):
        widths = method.network.widths[i + 1 : i + 3]
        block = partial(block_network, (n_samples, n_leads), widths, kernel)
        check_folding(block)
        plain_s = None
        for name, n_folded in (("plain", 1), ("all leads folded", n_leads), ("pairs folded", 2)):
            network = block(n_folded, probe.devices.precision)
            network.compile("sgd", "mse", jit_compile=probe.devices.jit_compile)
            network.optimizer.build(network.trainable_variables)
            run = bare_steps(network, (noise(network, batch_size), np.zeros((batch_size, 1, 1, 1))))
            step_s = 1 / times_per_second(run, probe.sizes.seconds / 4)
            plain_s = plain_s or step_s
            row = Row(f"block {i + 3}, {name}", 1000 * step_s, "ms")
            if n_folded > 1:
                comparison = f"{plain_s / step_s:.2f} times as fast as plain"
                row = replace(row, comparison=comparison, target="1.3 times in the whole step")
            yield row


def block_network(
    shape: tuple[int, int], widths: tuple[int, int], kernel: tuple[int, int], n_folded: int, policy
) -> keras.Model:
    """Return the two convolutions of a block on maps (batch, samples, leads, channels).

    shape, kernel: samples and leads. widths: input and output channels. n_folded: leads that are
    folded into the channels. policy: dtype policy.
    """
    groups = shape[0], shape[1] // n_folded, n_folded * widths[0]
    first, second = (LeadConvolution(widths[1], kernel, n_folded, policy) for _ in range(2))
    inputs = x = keras.Input((*shape, widths[0]))
    # A layer with variables first, so that the gradients of all maps are computed.
    x = layers.PReLU(shared_axes=(1, 2), dtype=policy)(x)
    x = first(layers.Reshape(groups, dtype=policy)(x))
    x = second(layers.ReLU(dtype=policy)(x))
    return keras.Model(inputs, layers.Reshape((*shape, widths[1]), dtype=policy)(x))


class LeadConvolution(layers.Layer):
    """A convolution of maps (batch, samples, leads / n_folded, n_folded * channels).

    kernel: samples and leads. The variable does not depend on n_folded.
    """

    def __init__(self, width: int, kernel: tuple[int, int], n_folded: int, dtype):
        super().__init__(dtype=dtype)
        self.width, self.kernel_size, self.n_folded = width, kernel, n_folded

    def build(self, shape):
        """Create the variable."""
        channels = shape[3] // self.n_folded
        self.kernel = self.add_weight((*self.kernel_size, channels, self.width), name="kernel")
        self.band = lead_band(self.kernel_size[1], self.n_folded, shape[2])

    def call(self, maps):
        """Return the convolved maps."""
        kernel = ops.convert_to_tensor(self.kernel)
        if self.n_folded > 1:
            band = ops.cast(self.band, kernel.dtype)
            folded = ops.einsum("tkio,kjab->tjaibo", kernel, band)
            n_samples, n_groups, n, before, _, width = folded.shape
            kernel = ops.reshape(folded, (n_samples, n_groups, n * before, n * width))
        return ops.conv(maps, kernel, padding="same")


def lead_band(n_kernel: int, n_folded: int, n_groups: int) -> np.ndarray:
    """Return which lead of a kernel connects lead a of an input group to lead b of an output group.

    0 or 1, (n_kernel, neighbouring groups, a, b).
    """
    before = (n_kernel - 1) // 2
    reach = -(-(n_kernel - 1 - before) // n_folded) if n_groups > 1 else 0
    k, j, a, b = np.ogrid[:n_kernel, -reach : reach + 1, :n_folded, :n_folded]
    return (k == n_folded * j + a - b + before).astype(np.float32)


def check_folding(block: Callable[[int, str], keras.Model]) -> None:
    """Raise ArithmeticError if a block's folded convolutions differ from the plain ones.

    block: (n_folded, policy) -> network.
    """
    with keras.device("cpu:0"):  # a GPU may compute float32 products in TF32
        plain = block(1, "float32")
        maps = noise(plain, 1)
        expected = ops.convert_to_numpy(plain(maps))
        for n_folded in (2, maps.shape[2]):
            folded = block(n_folded, "float32")
            folded.set_weights(plain.get_weights())
            error = np.abs(ops.convert_to_numpy(folded(maps)) - expected).max()
            if not error < 1e-4 * np.abs(expected).max():
                raise ArithmeticError(f"{n_folded} leads folded: maps differ by {error:.1e}")


def start(probe: Probe) -> Iterator[Row]:
    """Measure compilation in new processes, first without a cache, and writing of a checkpoint."""
    lead_set = max(probe.leads)
    for state in ("cold", "cached"):
        work = partial(start_up, probe.sizes, lead_set, probe.folder / "compiled-at-start")
        build_s, compile_s = in_new_process(work, probe.left_s)
        yield Row(f"{lead_set} leads, {state}, building the trainer", build_s, "s")
        yield Row(f"{lead_set} leads, {state}, compilation", compile_s, "s")
    network = probe.training(lead_set).trainer.bags
    started = time.perf_counter()
    parts = network.variables, network.optimizer.variables
    arrays = ([ops.convert_to_numpy(variable) for variable in part] for part in parts)
    state = TrainingState({"loss": [0.0]}, 0.0, {}, *arrays)
    copied = time.perf_counter()
    Checkpoint(probe.folder / "state.npz", "probe").write(state)
    comparison = f"after {copied - started:.2f} s of copying it from the device"
    name = f"{lead_set} leads, writing a checkpoint"
    yield Row(name, time.perf_counter() - copied, "s", comparison)


def start_up(sizes: Sizes, lead_set: int, cache: Path) -> tuple[float, float]:
    """Return the seconds of building the trainer and of compiling its step, with this cache."""
    os.environ.pop("TF_XLA_FLAGS", None)  # refers to the parent's cache
    keep_compiled(cache)
    training = NoiseTraining(sizes, lead_set, find_devices())
    return training.build_s, training.compile_s


def profile(probe: Probe) -> Iterator[Row]:
    """Profile the GPU kernels of some bare training steps."""
    if keras.backend.backend() != "jax" or not probe.devices.gpus:
        yield Row("skipped", "profiling needs JAX and a GPU")
        return
    import jax

    for lead_set in probe.leads:
        usual = probe.training(lead_set)
        run = bare_steps(usual.trainer.bags, usual.batch)
        run(2)
        folder = probe.folder / f"profile-{lead_set}"
        with jax.profiler.trace(str(folder)):
            run(N_PROFILED)
        kernels = read_kernels(next(folder.rglob("*.xplane.pb")).read_bytes())
        forward = multiply_adds(usual.trainer.network) * usual.batch_size
        yield from kernel_rows(f"{lead_set} leads", kernels, 3 * N_PROFILED * forward)


def read_kernels(profile: bytes) -> list[tuple[str, float, float]]:
    """Return (name, start, end), ns, of all GPU kernels in a profile written by JAX."""
    from jax.profiler import ProfileData

    return [
        (event.name, event.start_ns, event.end_ns)
        for plane in ProfileData.from_serialized_xspace(profile).planes
        if plane.name.startswith("/device:GPU")
        for line in plane.lines
        if line.name.startswith("Stream")
        for event in line.events
    ]


def kernel_rows(name: str, kernels, n_multiply_adds: int) -> Iterator[Row]:
    """Summarise the kernels of all profiled steps, with `n_multiply_adds` in total."""
    if not kernels:
        yield Row(f"{name}, skipped", "the profile contains no kernels")
        return
    busy = last = first = min(start for _, start, _ in kernels)
    seconds, counts = dict.fromkeys(KERNEL_KINDS, 0.0), dict.fromkeys(KERNEL_KINDS, 0)
    for kernel, start, end in sorted(kernels, key=lambda kernel: kernel[1]):
        busy += max(end - max(start, last), 0)
        last = max(last, end)
        kind = next(kind for kind, p in KERNEL_KINDS.items() if re.search(p, kernel.lower()))
        seconds[kind] += (end - start) / 1e9
        counts[kind] += 1
    yield Row(f"{name}, busy share in bare steps", (busy - first) / (last - first))
    for kind in KERNEL_KINDS:
        n_kernels = f"{counts[kind] / N_PROFILED:.0f} kernels"
        yield Row(f"{name}, {kind}", 1000 * seconds[kind] / N_PROFILED, "ms per step", n_kernels)
    if seconds[CONVOLUTION]:
        rate = 2 * n_multiply_adds / seconds[CONVOLUTION] / 1e12
        yield Row(f"{name}, speed of {CONVOLUTION}", rate, "TFLOP/s")


_ALL_PARTS = device, training, pytorch, feeding, answering, side_by_side, folding, start, profile
PARTS = {part.__name__: part for part in _ALL_PARTS}


def times_per_second(run: Callable[[int], float], seconds: float) -> float:
    """Return repetitions per second.

    run: number of repetitions -> seconds; called once to warm up, then with increasing numbers
    until it takes at least `seconds`.
    """
    run(1)
    n = 1
    while (elapsed := run(n)) < seconds:
        n = math.ceil(n * min(max(1.2 * seconds / elapsed, 2), 30))
    return n / elapsed


def bare_steps(network: keras.Model, batch) -> Callable[[int], float]:
    """Return a function from a number of training steps to their seconds, without Keras's loop.

    The step is compiled as in training, and `batch` is on the device. With JAX, the variables of
    the network are not changed.
    """
    batch = keras.tree.map_structure(lambda array: ops.convert_to_tensor(array, "float32"), batch)
    train, state = (_jax_step if keras.backend.backend() == "jax" else _tensorflow_step)(network)

    def run(n_steps: int) -> float:
        nonlocal state
        started = time.perf_counter()
        for _ in range(n_steps):
            logs, state = train(state, batch)
        float(logs["loss"])
        return time.perf_counter() - started

    return run


def _jax_step(network):
    import jax

    variables = network.trainable_variables, network.non_trainable_variables
    variables += network.optimizer.variables, network.metrics_variables
    # Copies, since a step donates the memory of its state.
    state = tuple([variable.value.copy() for variable in part] for part in variables)
    return jax.jit(network.train_step, donate_argnums=0), state


def _tensorflow_step(network):
    import tensorflow as tf

    train = tf.function(network.train_step, jit_compile=bool(network.jit_compile))
    return lambda _, batch: (train(batch), None), None


def noise(network: keras.Model, size: int):
    """Return random inputs of a network for `size` records."""
    random = np.random.default_rng(0)
    return keras.tree.map_structure(
        lambda tensor: random.standard_normal((size, *tensor.shape[1:]), np.float32), network.input
    )


def noise_batch(network: keras.Model, size: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return random inputs and targets of `size` records."""
    labels = np.random.default_rng(0).random((size, N_CLASSES)) < 0.1
    return noise(network, size), make_targets(labels, np.ones(N_CLASSES))


def in_new_process(work: Callable, timeout_s: float):
    """Return work(), called in a new process. Raises multiprocessing.TimeoutError."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        result = pool.apply_async(work).get(max(timeout_s, 1))
        pool.close()
        pool.join()
    return result


def run_parts(probe: Probe, names: list[str], report: Callable[[str, Row], None]) -> list[str]:
    """Run parts until the time limit; return the names of those that failed.

    report: called with the name of a part and each of its rows.
    """
    left, failed = list(names), []
    while left and probe.left_s > 0:
        name = left.pop(0)
        try:
            for row in PARTS[name](probe):
                report(name, row)
                if probe.left_s <= 0:
                    left.insert(0, f"the rest of {name}")
                    break
        except Exception as error:  # noqa: BLE001 - the other parts do not depend on this one
            failed.append(name)
            report(name, Row("failed", f"{type(error).__name__}: {error}"))
    if left:
        report("time limit", Row("skipped", ", ".join(left)))
    return failed


def reporter(devices: Devices, table) -> Callable[[str, Row], None]:
    """Return a function that prints a row of a part and writes it to the CSV file `table`, if any.

    table: an open file or None.
    """
    command = ["git", "-C", Path(__file__).parent, "describe", "--always", "--dirty"]
    try:
        git = subprocess.run(command, capture_output=True, text=True, check=False)
        commit = git.stdout.strip()
    except OSError:
        commit = ""
    setting = ", ".join(devices.gpus) or "CPU", keras.backend.backend(), commit

    def write(values) -> None:
        if table is not None:
            csv.writer(table).writerow(values)
            table.flush()

    def report(part: str, row: Row) -> None:
        row = row if devices.gpus else replace(row, target="")
        print(f"{part}: {row}", flush=True)
        write((part, *astuple(row), *setting))

    write(COLUMNS)
    return report


def main() -> None:
    """Run the command line; the exit status is 1 if a part failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--leads", type=int, nargs="+", choices=LEAD_SETS, default=[12, 2])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--csv", type=Path, help="CSV file for the results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as files:
        table = options.csv and files.enter_context(open(options.csv, "w", newline=""))
        keep_compiled(Path(folder) / "compiled")  # for all processes
        sizes = ON_GPU if find_devices().gpus else ON_CPU
        probe = Probe(sizes, options.leads, options.minutes, Path(folder))
        failed = run_parts(probe, options.parts, reporter(probe.devices, table))
    sys.exit(f"failed: {', '.join(failed)}" if failed else None)


if __name__ == "__main__":
    main()
