"""Whether this machine's GPU is used well, in eight minutes.

    KERAS_BACKEND=jax python -m benchmarks.gpu_probe [--minutes 8] [--leads 12 2] \\
        [--parts NAME …] [--csv FILE]

Prints a line for each figure as soon as it is known: the figure, what it is compared with and the
reach, which is meant for an H100. Signals are noise. No measurement starts once the minutes are
over; the last line says what was skipped. Without a GPU a small network shows that all parts work,
and nothing else.
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
from ecg.models.method import Method
from ecg.models.model_files import TrainedModel, save_model
from ecg.models.predictor import load_predictor
from ecg.models.registry import find_method
from ecg.records.demographics import N_DEMOGRAPHICS
from ecg.records.diagnoses import N_CLASSES
from ecg.records.leads import LEAD_SETS, TWELVE_LEADS
from ecg.runtime.processes import jobs_at_once, run_jobs
from ecg.signals.measurements import N_RHYTHM, N_WAVES
from ecg.training.batches import BagOptions, Bags
from ecg.training.checkpoints import Checkpoint, State
from ecg.training.dataset import Dataset
from ecg.training.epochs import Stage, run_epochs
from ecg.training.fit import Trainer, TrainingRun

COLUMNS = ("part", "what", "value", "unit", "compared with", "reach", "device", "backend", "commit")
FEW_RECORDS = 600  # of which the product trains on 16 a step, one step an execution
N_TO_ANSWER = 36_266  # records
REACH = {12: "6,000, with leads folded 8,000; it was 690", 2: "25,000"}  # records/s in training
WAIT_S = 300  # for trainings side by side to have compiled
PROFILED = 5  # steps
CONVOLUTION = "convolution or matrix product"
KINDS = {  # of GPU kernels: the first whose pattern is in the lower-case name counts
    "copy": r"memcpy|memset|copy|transpose|nchwtonhwc|nhwctonchw",
    CONVOLUTION: r"conv(?!ert)|cudnn|fprop|dgrad|wgrad|xmma|cutlass|gemm|nvjet|dot|sm\d\d",
    "reduction or normalisation": r"reduc|norm",
    "elementwise": r"fusion|loop|wrapped|elementwise",
    "other": "",
}


@dataclass(frozen=True)
class Row:
    """A figure, what it is compared with, and what it should reach."""

    what: str
    value: float | str
    unit: str = ""
    compared_with: str = ""
    reach: str = ""

    def __str__(self):
        value = self.value
        if not isinstance(value, str):
            value = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
        compared = f"; {self.compared_with}" if self.compared_with else ""
        reach = f" (reach {self.reach})" if self.reach else ""
        return f"{self.what}: {value} {self.unit}".rstrip() + compared + reach


@dataclass(frozen=True)
class Sizes:
    """How much is measured. n_training: records, for which the product chooses its batch. seconds:
    of a measurement, at least, and a quarter of those side by side. n_on_disk: records."""

    method: Method
    n_training: int
    seconds: float
    n_on_disk: int


ON_GPU = Sizes(find_method("multiscale_se"), N_RECORDS, 4.0, 4000)
ON_CPU = Sizes(find_method("multiscale_se", "demo"), 19_200, 0.3, 256)


class NoiseTraining:
    """The product's training of `sizes`, and a batch of noise for it.

    build_s: seconds of making the trainer; compile_s: by which its first execution took longer
    than the second.
    """

    def __init__(self, sizes: Sizes, lead_set: int, devices: Devices):
        started = time.perf_counter()
        self.trainer = Trainer(TrainingRun(sizes.method, lead_set, 0), devices, sizes.n_training)
        self.build_s = time.perf_counter() - started
        self.sizes, self.batch_size = sizes, self.trainer.batch_size
        self.at_once = self.trainer.bags.steps_per_execution
        self.name = f"{lead_set} leads, batch {self.batch_size}, steps an execution {self.at_once}"
        self.batch = noise_batch(self.trainer.bags, self.batch_size)
        execution = Resident(self.batch, self.at_once)
        first, self.execution_s = (self.epoch_s(execution) for _ in range(2))
        self.compile_s = first - self.execution_s

    def epoch_s(self, batches: keras.utils.PyDataset) -> float:
        """Seconds of an epoch by the product's own loop, with its callbacks."""
        options = replace(self.sizes.method.training, epochs=1, batch_size=self.batch_size)
        started = time.perf_counter()
        with contextlib.redirect_stdout(None):  # a line an epoch
            run_epochs(self.trainer.bags, batches, Stage("probe", options))
        return time.perf_counter() - started

    def rate_on(self, batches_of: Callable[[int], keras.utils.PyDataset]) -> float:
        """Records/s; batches_of: number of steps -> batches of an epoch."""

        def run(n_executions: int) -> float:
            return self.epoch_s(batches_of(n_executions * self.at_once))

        return times_per_second(run, self.sizes.seconds) * self.at_once * self.batch_size

    @cached_property
    def rate(self) -> float:
        """Records/s on the batch that stays in memory."""
        return self.rate_on(partial(Resident, self.batch))

    def rows(self, other: "NoiseTraining | None" = None, reach: str = "") -> Iterator[Row]:
        """Compilation and rate, this against that of another."""
        yield Row(f"{self.name}, compilation", self.compile_s, "s")
        compared = ""
        if other is not None:
            compared = f"{self.rate / other.rate:.2f} times that of batch {other.batch_size}"
        yield Row(self.name, self.rate, "records/s", compared, reach)


class Resident(keras.utils.PyDataset):
    """An epoch of so many steps on one batch, which stays in memory."""

    def __init__(self, batch, n_steps: int):
        super().__init__(workers=2)  # as `ecg.training.batches.Bags`
        self.batch, self.n_steps = batch, n_steps

    def __len__(self):
        return self.n_steps

    def __getitem__(self, i):
        return self.batch


class Probe:
    """What the parts share. folder: for their files."""

    def __init__(self, sizes: Sizes, leads: list[int], minutes: float, folder: Path):
        self.sizes, self.leads, self.folder = sizes, leads, folder
        self.devices, self.end = find_devices(), time.monotonic() + 60 * minutes
        # Of a lead set, with the batch that the product chooses; made once.
        self.training = cache(lambda lead_set: NoiseTraining(sizes, lead_set, self.devices))

    @property
    def left_s(self) -> float:
        """Seconds in which measurements may start."""
        return self.end - time.monotonic()


def device(probe: Probe) -> Iterator[Row]:
    """What computes."""
    backend = importlib.import_module(keras.backend.backend())
    yield Row("machine", f"{probe.devices}; {os.cpu_count()} processor cores")
    yield Row("versions", f"{backend.__name__} {backend.__version__}, Keras {keras.__version__}")
    yield Row("network", f"{probe.sizes.method.name}, widths {probe.sizes.method.network.widths}")


def training(probe: Probe) -> Iterator[Row]:
    """The product's training loop with three batches, and bare steps with its own choice."""
    sizes, method = probe.sizes, probe.sizes.method
    twice = 2 * method.training.scaled_to(sizes.n_training).batch_size
    options = replace(method.training, batch_size=twice, largest_batch_size=None)
    large = replace(sizes, method=replace(method, training=options))
    for lead_set in probe.leads:
        small = NoiseTraining(replace(sizes, n_training=FEW_RECORDS), lead_set, probe.devices)
        yield Row(f"{lead_set} leads, building the trainer", small.build_s, "s")
        yield from small.rows()
        chosen = probe.training(lead_set)
        yield from chosen.rows(small, REACH.get(lead_set, ""))
        yield from NoiseTraining(large, lead_set, probe.devices).rows(chosen)
        run = bare_steps(chosen.trainer.bags, chosen.batch)
        bare = chosen.batch_size * times_per_second(run, sizes.seconds)
        name = f"{lead_set} leads, batch {chosen.batch_size}, bare compiled steps"
        compared = f"the product's loop reaches {chosen.rate / bare:.2f} of it"
        yield Row(name, bare, "records/s", compared)


def pytorch(probe: Probe) -> Iterator[Row]:
    """The same network in PyTorch, by a process of its own."""
    if importlib.util.find_spec("torch") is None:
        yield Row("skipped", "PyTorch is not installed")
        return
    hows = ("eager", "compiled") if probe.devices.gpus else ("eager",)
    for how, lead_set in itertools.product(hows, probe.leads):
        ours = probe.training(lead_set)
        work = partial(torch_rate, ours.sizes, lead_set, ours.batch, how, probe.devices.precision)
        rate, first_s = in_new_process(work, probe.left_s)
        name = f"{lead_set} leads, batch {ours.batch_size}, PyTorch {how}"
        yield Row(f"{name}, first step", first_s, "s")
        compared = f"ours is {ours.rate / rate:.2f} times that"
        yield Row(name, rate, "records/s", compared, "1.2 times" if how == "compiled" else "")


def torch_rate(sizes: Sizes, lead_set: int, batch, how: str, policy: str) -> tuple[float, float]:
    """Records/s in PyTorch, and seconds of the first step.

    batch: as Keras takes it. how: "eager" or "compiled". policy: Keras's name of the precision.
    """
    from benchmarks import torch_network

    torch_network.METHOD = sizes.method  # in this process; without a GPU it is a smaller one
    inputs, targets = batch
    batch = inputs, np.ascontiguousarray(targets[..., 0])
    precision = "bfloat16" if policy == "mixed_bfloat16" else "float32"
    step = torch_network.torch_training_step(lead_set, batch, precision, how == "compiled")

    def run(n_steps: int) -> float:
        started = time.perf_counter()
        for _ in range(n_steps):
            step()
        torch_network.wait()
        return time.perf_counter() - started

    first_s = run(1)
    run(3)  # CUDA graphs are recorded in the second
    return len(targets) * times_per_second(run, sizes.seconds), first_s


def feeding(probe: Probe) -> Iterator[Row]:
    """Batches read from a dataset on disk, and training on them."""
    dataset = noise_dataset(probe.sizes, probe.folder / "noise.f32")
    for lead_set in probe.leads:
        chosen = probe.training(lead_set)
        batches_of = partial(bags_of_noise, dataset, lead_set, chosen)
        read = times_per_second(partial(reading_s, batches_of), probe.sizes.seconds)
        read *= chosen.batch_size
        compared = f"{read / chosen.rate:.1f} times what training takes"
        yield Row(f"{lead_set} leads, reading alone", read, "records/s", compared)
        fed = chosen.rate_on(batches_of)
        compared = f"{fed / chosen.rate:.2f} times that of a batch in memory"
        yield Row(f"{chosen.name}, from disk", fed, "records/s", compared, "0.95 times")


def noise_dataset(sizes: Sizes, file: Path) -> Dataset:
    """A dataset of records of one window of noise, the windows in the file."""
    n, n_leads, n_samples = sizes.n_on_disk, len(TWELVE_LEADS), sizes.method.preparation.n_samples
    random = np.random.default_rng(0)
    with open(file, "wb") as windows:
        for _ in range(n):
            windows.write(random.standard_normal((n_leads, n_samples), np.float32))
    return Dataset(
        folder=file.parent,
        data=np.memmap(file, np.float32, "r", shape=(n, n_leads, n_samples)).view(np.ndarray),
        first=np.arange(n),
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
    """The batches of an epoch of so many steps, over the dataset as often as that takes."""
    records = np.resize(np.arange(len(dataset)), n_steps * training.batch_size)
    bag_size = training.sizes.method.training.bag_size
    inputs = tuple(training.trainer.network.input)
    options = BagOptions(lead_set, inputs, training.batch_size, bag_size)
    return Bags(dataset, records, np.ones(N_CLASSES, np.float32), options)


def reading_s(batches_of: Callable[[int], Bags], n_steps: int) -> float:
    """Seconds of reading so many batches, with as many threads as training does."""
    bags = batches_of(n_steps)
    started = time.perf_counter()
    with ThreadPoolExecutor(bags.workers) as threads:
        for _ in threads.map(bags.__getitem__, range(n_steps)):
            pass
    return time.perf_counter() - started


def answering(probe: Probe) -> Iterator[Row]:
    """Batches of many records answered by a model, loaded as the product loads it."""
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
    yield Row(f"{lead_set} leads, {N_TO_ANSWER:,} records at that rate", N_TO_ANSWER / rate, "s")


def side_by_side(probe: Probe) -> Iterator[Row]:
    """As many trainings at once as the product runs, and two at least."""
    n_jobs = max(jobs_at_once(), 2)
    for lead_set in probe.leads:
        alone = probe.training(lead_set).rate
        ready = probe.folder / f"ready-{lead_set}"
        ready.mkdir()
        work = partial(rate_beside, probe.sizes, lead_set, ready, n_jobs)
        rate = sum(rate for _, rate in run_jobs(work, range(n_jobs), n_jobs))
        compared = f"{rate / alone:.2f} times that of one alone"
        yield Row(f"{lead_set} leads, {n_jobs} trainings together", rate, "records/s", compared)


def rate_beside(sizes: Sizes, lead_set: int, ready: Path, n_jobs: int, job: int) -> float:
    """Records/s of a training that begins once all jobs have compiled and left a file in `ready`,
    and ends when the others do, within an eighth of the time."""
    training = NoiseTraining(sizes, lead_set, find_devices())
    n_steps = training.at_once * math.ceil(sizes.seconds / 2 / training.execution_s)
    (ready / str(job)).touch()
    give_up = time.monotonic() + WAIT_S
    while len(list(ready.iterdir())) < n_jobs:
        if time.monotonic() > give_up:
            raise TimeoutError(f"expected {n_jobs} trainings to begin, found fewer")
        time.sleep(0.02)
    n_epochs, elapsed = 0, 0.0
    while elapsed < 4 * sizes.seconds:
        elapsed += training.epoch_s(Resident(training.batch, n_steps))
        n_epochs += 1
    return n_epochs * n_steps * training.batch_size / elapsed


def folding(probe: Probe) -> Iterator[Row]:
    """Convolutions of blocks 3 to 5 for 12 leads: plain, and with leads folded into channels."""
    method, n_leads = probe.sizes.method, len(TWELVE_LEADS)
    kernels = zip(method.network.time_kernels, LEAD_KERNELS[n_leads], strict=True)
    batch_size = method.training.scaled_to(probe.sizes.n_training).batch_size
    n_samples = method.preparation.n_samples // 4  # which blocks 1 and 2 leave
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
                compared = f"{plain_s / step_s:.2f} times as fast as plain"
                row = replace(row, compared_with=compared, reach="1.3 times in the whole step")
            yield row


def block_network(
    shape: tuple[int, int], widths: tuple[int, int], kernel: tuple[int, int], n_folded: int, policy
) -> keras.Model:
    """A block's two convolutions of maps (batch, samples, leads, channels).

    shape, kernel: samples and leads. widths: channels before and behind. n_folded: leads that share
    their channels. policy: the precision.
    """
    groups = shape[0], shape[1] // n_folded, n_folded * widths[0]
    first, second = (LeadConvolution(widths[1], kernel, n_folded, policy) for _ in range(2))
    inputs = x = keras.Input((*shape, widths[0]))
    # A variable first, so that the gradient of every convolution's maps is needed.
    x = layers.PReLU(shared_axes=(1, 2), dtype=policy)(x)
    x = first(layers.Reshape(groups, dtype=policy)(x))
    x = second(layers.ReLU(dtype=policy)(x))
    return keras.Model(inputs, layers.Reshape((*shape, widths[1]), dtype=policy)(x))


class LeadConvolution(layers.Layer):
    """A convolution of maps (batch, samples, leads / n_folded, n_folded * channels), whose variable
    is the same whatever n_folded. kernel: samples and leads."""

    def __init__(self, width: int, kernel: tuple[int, int], n_folded: int, dtype):
        super().__init__(dtype=dtype)
        self.width, self.kernel_size, self.n_folded = width, kernel, n_folded

    def build(self, shape):
        """Makes the variable; Keras calls it."""
        channels = shape[3] // self.n_folded
        self.kernel = self.add_weight((*self.kernel_size, channels, self.width), name="kernel")
        self.band = lead_band(self.kernel_size[1], self.n_folded, shape[2])

    def call(self, maps):
        """The convolved maps; Keras calls it."""
        kernel = ops.convert_to_tensor(self.kernel)
        if self.n_folded > 1:
            band = ops.cast(self.band, kernel.dtype)
            folded = ops.einsum("tkio,kjab->tjaibo", kernel, band)
            n_samples, n_groups, n, before, _, width = folded.shape
            kernel = ops.reshape(folded, (n_samples, n_groups, n * before, n * width))
        return ops.conv(maps, kernel, padding="same")


def lead_band(n_kernel: int, n_folded: int, n_groups: int) -> np.ndarray:
    """Which of a kernel's leads takes lead a of a group to lead b of another: 0 or 1, (n_kernel,
    groups in reach, a, b)."""
    before = (n_kernel - 1) // 2
    reach = -(-(n_kernel - 1 - before) // n_folded) if n_groups > 1 else 0
    k, j, a, b = np.ogrid[:n_kernel, -reach : reach + 1, :n_folded, :n_folded]
    return (k == n_folded * j + a - b + before).astype(np.float32)


def check_folding(block: Callable[[int, str], keras.Model]) -> None:
    """Raises ArithmeticError where a block's folded convolutions are not its plain ones.

    block: (n_folded, policy) -> network.
    """
    with keras.device("cpu:0"):  # a GPU rounds the factors of float32 products
        plain = block(1, "float32")
        maps = noise(plain, 1)
        expected = ops.convert_to_numpy(plain(maps))
        for n_folded in (2, maps.shape[2]):
            folded = block(n_folded, "float32")
            folded.set_weights(plain.get_weights())
            error = np.abs(ops.convert_to_numpy(folded(maps)) - expected).max()
            if not error < 1e-4 * np.abs(expected).max():
                raise ArithmeticError(f"{n_folded} leads folded: off the plain maps by {error:.1e}")


def start(probe: Probe) -> Iterator[Row]:
    """Compilation by new processes, the first without a cache; a checkpoint."""
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
    state = State({"loss": [0.0]}, 0.0, {}, *arrays)
    copied = time.perf_counter()
    Checkpoint(probe.folder / "state.npz", "probe").write(state)
    compared = f"after {copied - started:.2f} s of copying it from the device"
    yield Row(f"{lead_set} leads, writing a state", time.perf_counter() - copied, "s", compared)


def start_up(sizes: Sizes, lead_set: int, cache: Path) -> tuple[float, float]:
    """Seconds of making the product's trainer and of compiling its step, with that cache."""
    os.environ.pop("TF_XLA_FLAGS", None)  # the parent's cache
    keep_compiled(cache)
    training = NoiseTraining(sizes, lead_set, find_devices())
    return training.build_s, training.compile_s


def profile(probe: Probe) -> Iterator[Row]:
    """What a GPU does in some bare training steps."""
    if keras.backend.backend() != "jax" or not probe.devices.gpus:
        yield Row("skipped", "only JAX on a GPU is profiled")
        return
    import jax

    for lead_set in probe.leads:
        chosen = probe.training(lead_set)
        run = bare_steps(chosen.trainer.bags, chosen.batch)
        run(2)
        folder = probe.folder / f"profile-{lead_set}"
        with jax.profiler.trace(str(folder)):
            run(PROFILED)
        kernels = read_kernels(next(folder.rglob("*.xplane.pb")).read_bytes())
        forward = multiply_adds(chosen.trainer.network) * chosen.batch_size
        yield from kernel_rows(f"{lead_set} leads", kernels, 3 * PROFILED * forward)


def read_kernels(profiled: bytes) -> list[tuple[str, float, float]]:
    """(name, begin, end), ns, of all that GPUs did in a profile as JAX writes it."""
    from jax.profiler import ProfileData

    return [
        (event.name, event.start_ns, event.end_ns)
        for plane in ProfileData.from_serialized_xspace(profiled).planes
        if plane.name.startswith("/device:GPU")
        for line in plane.lines
        if line.name.startswith("Stream")
        for event in line.events
    ]


def kernel_rows(name: str, kernels, n_multiply_adds: int) -> Iterator[Row]:
    """Figures of the kernels of all profiled steps, which have done so many multiply-adds."""
    if not kernels:
        yield Row(f"{name}, skipped", "the profile shows no kernel")
        return
    busy = last = first = min(begin for _, begin, _ in kernels)
    seconds, counts = dict.fromkeys(KINDS, 0.0), dict.fromkeys(KINDS, 0)
    for kernel, begin, end in sorted(kernels, key=lambda kernel: kernel[1]):
        busy += max(end - max(begin, last), 0)
        last = max(last, end)
        kind = next(kind for kind, names in KINDS.items() if re.search(names, kernel.lower()))
        seconds[kind] += (end - begin) / 1e9
        counts[kind] += 1
    yield Row(f"{name}, busy share in bare steps", (busy - first) / (last - first))
    for kind in KINDS:
        a_step = f"{counts[kind] / PROFILED:.0f} kernels"
        yield Row(f"{name}, {kind}", 1000 * seconds[kind] / PROFILED, "ms a step", a_step)
    if seconds[CONVOLUTION]:
        rate = 2 * n_multiply_adds / seconds[CONVOLUTION] / 1e12
        yield Row(f"{name}, speed of {CONVOLUTION}", rate, "TFLOP/s")


_IN_ORDER = device, training, pytorch, feeding, answering, side_by_side, folding, start, profile
PARTS = {part.__name__: part for part in _IN_ORDER}


def times_per_second(run: Callable[[int], float], seconds: float) -> float:
    """How often a second something is done. run: how often -> seconds that took; called once to
    warm up, and then for more and more until it takes `seconds`."""
    run(1)
    n = 1
    while (elapsed := run(n)) < seconds:
        n = math.ceil(n * min(max(1.2 * seconds / elapsed, 2), 30))
    return n / elapsed


def bare_steps(network: keras.Model, batch) -> Callable[[int], float]:
    """Number of training steps -> seconds they take, compiled as the network is, with no loop of
    Keras's, on a batch that is on the device. On JAX the network's variables stay as they are."""
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
    # Copies, as a step takes the memory of its state.
    state = tuple([variable.value.copy() for variable in part] for part in variables)
    return jax.jit(network.train_step, donate_argnums=0), state


def _tensorflow_step(network):
    import tensorflow as tf

    train = tf.function(network.train_step, jit_compile=bool(network.jit_compile))
    return lambda _, batch: (train(batch), None), None


def noise(network: keras.Model, size: int):
    """What the network takes, for a batch of so many records."""
    random = np.random.default_rng(0)
    return keras.tree.map_structure(
        lambda taken: random.standard_normal((size, *taken.shape[1:]), np.float32), network.input
    )


def noise_batch(network: keras.Model, size: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Inputs and targets of so many records."""
    labels = np.random.default_rng(0).random((size, N_CLASSES)) < 0.1
    return noise(network, size), make_targets(labels, np.ones(N_CLASSES))


def in_new_process(work: Callable, timeout_s: float):
    """work() by a process of its own. Raises multiprocessing.TimeoutError."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        result = pool.apply_async(work).get(max(timeout_s, 1))
        pool.close()
        pool.join()
    return result


def run_parts(probe: Probe, names: list[str], report: Callable[[str, Row], None]) -> list[str]:
    """The parts that failed. report: called with a part's name and each of its rows."""
    left, failed = list(names), []
    while left and probe.left_s > 0:
        name = left.pop(0)
        try:
            for row in PARTS[name](probe):
                report(name, row)
                if probe.left_s <= 0:
                    left.insert(0, f"the rest of {name}")
                    break
        except Exception as error:  # noqa: BLE001 - the other parts are worth as much without it
            failed.append(name)
            report(name, Row("failed", f"{type(error).__name__}: {error}"))
    if left:
        report("time is over", Row("skipped", ", ".join(left)))
    return failed


def reporter(devices: Devices, table) -> Callable[[str, Row], None]:
    """What prints a part's row and adds it to the open CSV file `table`, if any, at once."""
    command = ["git", "-C", Path(__file__).parent, "describe", "--always", "--dirty"]
    try:
        git = subprocess.run(command, capture_output=True, text=True, check=False)
        commit = git.stdout.strip()
    except OSError:
        commit = ""
    where = ", ".join(devices.gpus) or "CPU", keras.backend.backend(), commit

    def write(values) -> None:
        if table is not None:
            csv.writer(table).writerow(values)
            table.flush()

    def report(part: str, row: Row) -> None:
        row = row if devices.gpus else replace(row, reach="")
        print(f"{part}: {row}", flush=True)
        write((part, *astuple(row), *where))

    write(COLUMNS)
    return report


def main() -> None:
    """Runs the command line; fails where a part did."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--leads", type=int, nargs="+", choices=LEAD_SETS, default=[12, 2])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--csv", type=Path, help="file for the rows as well")
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
