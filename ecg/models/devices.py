"""The GPUs that Keras's backend finds, and the precision to train with."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

import keras

# Lowest compute capabilities of NVIDIA GPUs whose tensor cores support the type.
_BFLOAT16_FROM = (8, 0)
_FLOAT16_FROM = (7, 0)
_CACHE_FLAG = "--tf_xla_persistent_cache_directory"
# Instructions of x86 CPUs, as Linux names them, that multiply bfloat16 numbers.
_CPU_BFLOAT16 = {"avx512_bf16", "amx_bf16"}


@dataclass(frozen=True)
class Devices:
    """What to train on.

    gpus: a description of each. precision: Keras dtype policy for training. jit_compile: argument
    of `keras.Model.compile`.
    """

    gpus: tuple[str, ...]
    precision: str
    jit_compile: bool | str

    def __str__(self):
        gpus = ", ".join(self.gpus) or "no GPU, CPU only"
        backend = keras.backend.backend()
        return f"devices: {gpus}; backend: {backend}; training precision: {self.precision}"


def find_devices() -> Devices:
    """Find the GPUs and choose the precision, see `choose_precision`.

    Switches on TensorFlow's memory growth. Raises ValueError for an unsupported backend.
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
        # JAX compiles nothing without it; TensorFlow on a CPU only starts more slowly with XLA.
        jit_compile="auto" if gpus or backend == "jax" else False,
    )


def prepare_to_train(devices: Devices) -> None:
    """Configure the backend of a process that trains.

    On a CPU TensorFlow would optimise each graph before its first step, which takes half of the
    time of a short training and makes no step faster.
    """
    if keras.backend.backend() == "tensorflow" and not devices.gpus:
        import tensorflow as tf

        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def keep_compiled(folder: Path) -> None:
    """Make XLA cache compiled programs in the folder, for this process and those it starts.

    On a GPU a network can take minutes to compile; folds, resumed trainings and models of the same
    shapes reuse the compiled program.
    """
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    flags = os.environ.get("TF_XLA_FLAGS", "").split()
    if not any(flag.startswith(_CACHE_FLAG) for flag in flags):
        os.environ["TF_XLA_FLAGS"] = " ".join([*flags, f"{_CACHE_FLAG}={folder}"])
    if keras.backend.backend() == "jax":
        import jax  # read the environment when Keras imported it

        jax.config.update("jax_compilation_cache_dir", str(folder))
        # By default JAX keeps only what took a second; a network consists of many smaller programs.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def choose_precision(capabilities, cpu_flags=frozenset(), backend: str = "tensorflow") -> str:
    """Return the Keras dtype policy to train with.

    "mixed_bfloat16" where all GPUs have tensor cores for it, else "mixed_float16" where they have
    those. Without a GPU "mixed_bfloat16" where the CPU multiplies bfloat16 and the backend uses
    that, which JAX does not. Otherwise "float32".
    capabilities: compute capability (major, minor) of each GPU. cpu_flags: see `_cpu_flags`.
    """
    if not capabilities:
        supported = backend == "tensorflow" and _CPU_BFLOAT16 & set(cpu_flags)
        return "mixed_bfloat16" if supported else "float32"
    if min(capabilities) < _FLOAT16_FROM:
        return "float32"
    return "mixed_bfloat16" if min(capabilities) >= _BFLOAT16_FROM else "mixed_float16"


def _cpu_flags(file: Path = Path("/proc/cpuinfo")) -> set[str]:
    """Return the CPU's instruction set extensions as Linux names them; empty on other systems."""
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
        # TensorFlow refuses a change once it has used the GPU.
        with contextlib.suppress(RuntimeError):
            tf.config.experimental.set_memory_growth(gpu, True)
        details = tf.config.experimental.get_device_details(gpu)
        gpus.append(
            (details.get("device_name", gpu.name), details.get("compute_capability", (0, 0)))
        )
    return gpus


def _jax_gpus():
    # By default JAX would reserve most of the memory of a GPU, which other processes share.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    return [
        (device.device_kind, tuple(int(part) for part in device.compute_capability.split(".")))
        for device in jax.devices()
        if device.platform == "gpu"
    ]
