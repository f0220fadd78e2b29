import pytest

from ecg.models import devices
from ecg.models.devices import choose_precision


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [
        ([], "float32"),
        ([(6, 1)], "float32"),
        ([(7, 0)], "mixed_float16"),
        ([(7, 5), (8, 0)], "mixed_float16"),
        ([(8, 0)], "mixed_bfloat16"),
        ([(12, 0)], "mixed_bfloat16"),
    ],
)
def test_mixed_precision_where_the_gpu_has_units_for_it(capabilities, precision):
    assert choose_precision(capabilities) == precision


@pytest.mark.parametrize(
    ("flags", "backend", "precision"),
    [
        (set(), "tensorflow", "float32"),
        ({"avx2", "avx512f"}, "tensorflow", "float32"),
        ({"avx2", "avx512_bf16"}, "tensorflow", "mixed_bfloat16"),
        ({"amx_bf16"}, "tensorflow", "mixed_bfloat16"),
        ({"avx512_bf16", "amx_bf16"}, "jax", "float32"),
    ],
)
def test_a_cpu_trains_in_bfloat16_where_it_multiplies_such_numbers(flags, backend, precision):
    assert choose_precision([], flags, backend) == precision


def test_where_there_is_a_gpu_the_cpu_does_not_count():
    assert choose_precision([(6, 1)], {"avx512_bf16"}) == "float32"


def test_a_cpus_flags_are_those_of_its_first_processor(tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text("model name: flags\nflags\t\t: fpu avx2\nvmx flags: x\nflags\t: other\n")
    assert devices._cpu_flags(file) == {"fpu", "avx2"}
    file.write_text("Features\t: neon\n")
    assert devices._cpu_flags(file) == set()
    assert devices._cpu_flags(tmp_path / "none") == set()
