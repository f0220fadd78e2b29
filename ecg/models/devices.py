"""The devices that Keras's backend finds, and the precision to train with on them."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

import keras

# Compute capabilities of NVIDIA GPUs from which on tensor units take the type.
_BFLOAT16_FROM = (8, 0)
_FLOAT16_FROM = (7, 0)
_CACHE_FLAG = "--tf_xla_persistent_cache_directory"
# Instructions of x86 CPUs, as Linux names them, that multiply bfloat16 numbers.
_CPU_BFLOAT16 = {"avx512_bf16", "amx_bf16"}


@dataclass(frozen=True)
class Devices:
    """gpus: a description each. precision: a Keras dtype policy for training. jit_compile: for
    `keras.Model.compile`."""

    gpus: tuple[str, ...]
    precision: str
    jit_compile: bool | str

    def __str__(self):
        place = ", ".join(self.gpus) or "no GPU, CPU only"
        backend = keras.backend.backend()
        return f"devices: {place}; backend: {backend}; training precision: {self.precision}"


def find_devices() -> Devices:
    """The machine's GPUs, with TensorFlow's memory growth switched on.

    See `choose_precision`.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        gpus = _tensorflow_gpus()
    elif backend == "jax":
        gpus = _jax_gpus()
    else:
        raise ValueError(f"KERAS_BACKEND: expected tensorflow or jax, found {backend}")
    if not gpus and Path("/dev/nvidiactl").exists():
        print(
            "warning: this machine has an NVIDIA GPU, but the backend does not see it", flush=True
        )
    return Devices(
        gpus=tuple(f"{name} (compute capability {major}.{minor})" for name, (major, minor) in gpus),
        precision=choose_precision([capability for _, capability in gpus], _cpu_flags(), backend),
        # Without it jax would not compile at all; on the CPU, XLA only adds to the start.
        jit_compile="auto" if gpus or backend == "jax" else False,
    )


def prepare_to_train(devices: Devices) -> None:
    """Settings of the backend for processes that train.

    On a CPU TensorFlow would rewrite each graph before its first step, for half of the time that a
    short training takes, without making the steps faster.
    """
    if keras.backend.backend() == "tensorflow" and not devices.gpus:
        import tensorflow as tf

        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def keep_compiled(folder: Path) -> None:
    """Lets XLA keep what it compiles in the folder, for this process and those it starts.

    On a GPU a network can take minutes to compile; later models of the same shapes, folds and
    resumed trainings find it there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    flags = os.environ.get("TF_XLA_FLAGS", "").split()
    if not any(flag.startswith(_CACHE_FLAG) for flag in flags):
        os.environ["TF_XLA_FLAGS"] = " ".join([*flags, f"{_CACHE_FLAG}={folder}"])
    if keras.backend.backend() == "jax":
        import jax  # has read its variables already

        jax.config.update("jax_compilation_cache_dir", str(folder))
        # By default it keeps what took a second; a network's start is many that take less.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def choose_precision(capabilities, cpu_flags=frozenset(), backend: str = "tensorflow") -> str:
    """Keras dtype policy for GPUs of these compute capabilities, (major, minor) each; without any,
    for a CPU with these flags.

    Mixed where every GPU has tensor units for bfloat16, or else float16, or the CPU multiplies
    bfloat16 and the backend makes use of that: jax does not on a CPU. Otherwise float32.
    """
    if not capabilities:
        used = backend == "tensorflow" and _CPU_BFLOAT16 & set(cpu_flags)
        return "mixed_bfloat16" if used else "float32"
    if min(capabilities) < _FLOAT16_FROM:
        return "float32"
    return "mixed_bfloat16" if min(capabilities) >= _BFLOAT16_FROM else "mixed_float16"


def _cpu_flags(file: Path = Path("/proc/cpuinfo")) -> set[str]:
    """The CPU's extensions by Linux's names; empty on other systems."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return set()
    flags = (line.partition(":")[2] for line in lines if line.startswith("flags"))
    return set(next(flags, "").split())


def _tensorflow_gpus():
    import tensorflow as tf

    gpus = []
    for gpu in tf.config.list_physical_devices("GPU"):
        # TensorFlow settles this when it first uses the GPU and refuses a change afterwards.
        with contextlib.suppress(RuntimeError):
            tf.config.experimental.set_memory_growth(gpu, True)
        details = tf.config.experimental.get_device_details(gpu)
        gpus.append(
            (details.get("device_name", gpu.name), details.get("compute_capability", (0, 0)))
        )
    return gpus


def _jax_gpus():
    # Otherwise JAX takes most of a GPU's memory when it first looks at it; others share the GPU.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    return [
        (device.device_kind, tuple(int(part) for part in device.compute_capability.split(".")))
        for device in jax.devices()
        if device.platform == "gpu"
    ]
