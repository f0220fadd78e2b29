import csv
from functools import partial

import keras
import numpy as np
import pytest

from benchmarks.gpu_probe import (
    COLUMNS,
    KERNEL_KINDS,
    N_PROFILED,
    PARTS,
    Probe,
    Row,
    Sizes,
    block_network,
    check_folding,
    kernel_rows,
    reporter,
    run_parts,
)
from tests.narrow import narrow_method

SIZES = Sizes(narrow_method("multiscale_se"), n_training=640, seconds=0.01, n_on_disk=20)


@pytest.fixture
def probe(tmp_path) -> Probe:
    return Probe(SIZES, [2], minutes=10, folder=tmp_path)


@pytest.mark.usefixtures("without_graphs")
def test_every_result_is_printed_and_written(probe, tmp_path, capsys):
    file = tmp_path / "rows.csv"
    with open(file, "w", newline="") as table:
        assert run_parts(probe, ["device", "feeding"], reporter(probe.devices, table)) == []
    with open(file, newline="") as table:
        rows = list(csv.DictReader(table))
    lines = capsys.readouterr().out.splitlines()
    assert [row["part"] for row in rows] == ["device"] * 3 + ["feeding"] * 2
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        assert tuple(row) == COLUMNS
        assert line.startswith(f"{row['part']}: {row['name']}: ")
        assert row["backend"] == "tensorflow"
    assert all(float(row["value"]) > 0 for row in rows[3:])


def test_parts_after_the_time_limit_are_reported_as_skipped(tmp_path):
    rows = []
    late = Probe(SIZES, [2], minutes=0, folder=tmp_path)
    run_parts(late, ["device", "start"], lambda part, row: rows.append(row))
    assert rows == [Row("skipped", "device, start")]


def test_the_other_parts_run_after_a_failure(probe, monkeypatch):
    def broken(probe):
        yield Row("before", 1.0)
        raise ValueError("out of order")

    monkeypatch.setitem(PARTS, "training", broken)
    rows = []
    failed = run_parts(probe, ["training", "device"], lambda *row: rows.append(row))
    assert failed == ["training"]
    assert rows[1] == ("training", Row("failed", "ValueError: out of order"))
    assert [part for part, _ in rows[2:]] == ["device"] * 3


@pytest.mark.parametrize("kernel", [(3, 5), (4, 4), (5, 2)])
def test_folded_convolutions_equal_plain_ones(kernel):
    keras.utils.set_random_seed(0)
    check_folding(partial(block_network, (9, 12), (2, 3), kernel))


def test_wrong_folding_is_detected(monkeypatch):
    monkeypatch.setattr("benchmarks.gpu_probe.lead_band", lambda *shape: np.ones((5, 1, 2, 2)))
    with pytest.raises(ArithmeticError, match="2 leads folded"):
        check_folding(partial(block_network, (9, 2), (2, 3), (3, 5)))


def test_kernels_are_classified_and_overlaps_count_once():
    names = {
        "sm90_xmma_fprop_implicit_gemm_bf16": "convolution or matrix product",
        "input_multiply_reduce_fusion_3": "reduction or normalisation",
        "loop_convert_fusion": "elementwise",
        "MemcpyD2D": "copy",
        "RngBitGenerator": "other",
    }
    starts = [0, 100, 150, 600, 900]  # of 100 ns each; the third overlaps the second
    kernels = [(name, at, at + 100) for name, at in zip(names, starts, strict=True)]
    busy, *kinds, speed = kernel_rows("2 leads", kernels, 10**6)
    assert busy.value == pytest.approx(0.45)
    assert {row.name for row in kinds} == {f"2 leads, {kind}" for kind in KERNEL_KINDS}
    for row in kinds:
        assert row.value == pytest.approx(1e-4 / N_PROFILED)  # ms
    assert speed.value == pytest.approx(20)
