"""What scoring costs: the scorer and its metrics beside plain loops, its growth and its memory.

    python -m benchmarks.scoring_speed [--records 20000] [--full 88253] [--rounds 3]

Makes headers and output files of made-up records in a temporary folder. The scorer is
`python evaluate_model.py LABELS OUTPUTS SCORES` as a user calls it, a process from its start to its
end; so are the plain loops, a transcription of the Challenge's definition, file by file, record by
record, class by class and threshold by threshold. All take turns, and of each the shortest time
counts; the files stand in the system's cache. The metrics are both ways' on the same arrays in this
process. Compare the ratios alone. Stops where the two ways' figures differ.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ecg.records.diagnoses import (
    CLASS_OF_CODE,
    N_CLASSES,
    OUTPUT_CODES,
    WEIGHTS_FILE,
    encode_dx,
    per_code,
    read_weights,
)
from ecg.records.leads import TWELVE_LEADS
from ecg.records.metrics import score
from ecg.records.outputs import write_output

ROOT = Path(__file__).parents[1]
REACH_SCORER, REACH_METRICS, REACH_MIB = 8.0, 100.0, 1024.0
TOLERANCE = 1e-9
MODULE = "benchmarks.scoring_speed"
_ALL_DIGITS = """
import json, sys
from pathlib import Path
from evaluate_model import evaluate_model
Path(sys.argv[3]).write_text(json.dumps(evaluate_model(*sys.argv[1:3]).summary))
"""
_NOT_SCORED = ("164930006", "428750005", "55827005", "164873001", "429622005", "164861001")
_GROUP = 1000  # records of a folder, as PhysioNet stores them


# The plain loops: nothing from here to `main` but the definition, told step by step.


def plain_evaluate(label_folder, output_folder, weights_file) -> list[float]:
    """Return the five figures of two folders."""
    groups, weights = plain_weights(weights_file)
    header_files = []
    for folder, _, names in os.walk(label_folder):
        for name in names:
            if name.endswith(".hea"):
                header_files.append(os.path.join(folder, name))  # noqa: PTH118
    header_files.sort()
    shape = (len(header_files), len(groups))
    labels, outputs, probabilities = np.zeros(shape, bool), np.zeros(shape, bool), np.zeros(shape)
    for i, header_file in enumerate(header_files):
        name = os.path.basename(header_file)[: -len(".hea")]  # noqa: PTH119
        dx = plain_header(header_file)
        output_file = os.path.join(output_folder, name + ".csv")  # noqa: PTH118
        codes, given, stated = plain_output(output_file)
        for j, group in enumerate(groups):
            labels[i, j] = any(code in dx for code in group)
            outputs[i, j] = any(
                label == 1 for code, label in zip(codes, given, strict=True) if code in group
            )
            present = [p for code, p in zip(codes, stated, strict=True) if code in group]
            if present:
                probabilities[i, j] = sum(present) / len(present)
    return plain_scores(labels, outputs, probabilities, weights)


def plain_weights(weights_file) -> tuple[list[list[str]], np.ndarray]:
    """Return the codes of each class, and the reward matrix."""
    with open(weights_file) as file:
        lines = file.read().splitlines()
    groups = [group.split("|") for group in lines[0].split(",")[1:]]
    rows = [[float(field) for field in line.split(",")[1:]] for line in lines[1:]]
    return groups, np.array(rows)


def plain_header(header_file) -> list[str]:
    """Return the codes of a header's `#Dx` line."""
    with open(header_file) as file:
        for line in file:
            if line.startswith(("#Dx", "# Dx")):
                return [code.strip() for code in line.split(":")[1].split(",")]
    return []


def plain_output(output_file) -> tuple[list[str], list[float], list[float]]:
    """Codes, labels and probabilities of an output file."""
    with open(output_file) as file:
        lines = file.read().splitlines()
    codes = [code.strip() for code in lines[1].split(",")]
    labels = [plain_number(field) for field in lines[2].split(",")]
    probabilities = [plain_number(field) for field in lines[3].split(",")]
    return codes, labels, probabilities


def plain_number(text) -> float:
    """Return the number, or 0 where it is none."""
    try:
        number = float(text)
    except ValueError:
        return 0.0
    return number if np.isfinite(number) else 0.0


def plain_scores(labels, outputs, probabilities, weights) -> list[float]:
    """Return the five figures of three arrays."""
    n_records, n_classes = labels.shape
    auroc, auprc, f_measures = [], [], []
    for j in range(n_classes):
        areas = plain_areas(labels[:, j], probabilities[:, j])
        auroc.append(areas[0])
        auprc.append(areas[1])
        f_measures.append(plain_f_measure(labels[:, j], outputs[:, j]))
    n_right = 0
    for i in range(n_records):
        if all(labels[i, j] == outputs[i, j] for j in range(n_classes)):
            n_right += 1
    return [
        plain_mean(auroc),
        plain_mean(auprc),
        n_right / n_records,
        plain_mean(f_measures),
        plain_challenge_metric(labels, outputs, weights),
    ]


def plain_mean(figures) -> float:
    """Mean of those that are defined."""
    defined = [figure for figure in figures if not np.isnan(figure)]
    return sum(defined) / len(defined) if defined else np.nan


def plain_areas(label, probability) -> tuple[float, float]:
    """AUROC and AUPRC of one class: points of the curves, then the areas under them."""
    n_records = len(label)
    descending = np.argsort(probability)[::-1]
    n_positive = np.count_nonzero(label)
    n_negative = n_records - n_positive
    if n_positive == 0:
        return np.nan, np.nan
    tp = fp = i = 0
    recall, specificity, precision = [0.0], [1.0], [np.nan]
    for threshold in np.unique(probability)[::-1]:
        while i < n_records and probability[descending[i]] >= threshold:
            if label[descending[i]]:
                tp += 1
            else:
                fp += 1
            i += 1
        recall.append(tp / n_positive)
        specificity.append((n_negative - fp) / n_negative if n_negative else np.nan)
        precision.append(tp / (tp + fp))
    auroc = auprc = 0.0
    for k in range(len(recall) - 1):
        auroc += 0.5 * (recall[k + 1] - recall[k]) * (specificity[k + 1] + specificity[k])
        auprc += (recall[k + 1] - recall[k]) * precision[k + 1]
    return auroc, auprc


def plain_f_measure(label, output) -> float:
    """2TP / (2TP + FP + FN) of one class."""
    tp = fp = fn = 0
    for i in range(len(label)):
        if label[i] and output[i]:
            tp += 1
        elif output[i]:
            fp += 1
        elif label[i]:
            fn += 1
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else np.nan


def plain_challenge_metric(labels, outputs, weights) -> float:
    """Return the weighted accuracy, scaled."""
    inactive = np.zeros(labels.shape, bool)
    inactive[:, CLASS_OF_CODE["426783006"]] = True
    observed = np.sum(weights * plain_confusion(labels, outputs))
    correct = np.sum(weights * plain_confusion(labels, labels))
    floor = np.sum(weights * plain_confusion(labels, inactive))
    return (observed - floor) / (correct - floor) if correct != floor else 0.0


def plain_confusion(labels, outputs) -> np.ndarray:
    """A[j, k]: records with j true and k answered, each as 1 / (its classes true or answered)."""
    n_records, n_classes = labels.shape
    confusion = np.zeros((n_classes, n_classes))
    for i in range(n_records):
        n = 0
        for j in range(n_classes):
            if labels[i, j] or outputs[i, j]:
                n += 1
        for j in range(n_classes):
            if labels[i, j]:
                for k in range(n_classes):
                    if outputs[i, k]:
                        confusion[j, k] += 1 / max(1, n)
    return confusion


# Records and answers to score.


def random_dx(random, n_records: int) -> list[list[str]]:
    """One to three different codes of each record, common and rare ones, some not scored."""
    codes = random.permutation([*OUTPUT_CODES, *_NOT_SCORED])
    share = 1.0 / np.arange(1, len(codes) + 1)
    share /= share.sum()
    return [
        random.choice(codes, random.integers(1, 4), replace=False, p=share).tolist()
        for _ in range(n_records)
    ]


def random_answers(random, labels) -> tuple[np.ndarray, np.ndarray]:
    """Return outputs and probabilities of a mediocre network; of the labels' shape, float32's
    values."""
    probabilities = random.random(labels.shape) * (0.4 + 0.5 * labels)
    return probabilities > 0.35, probabilities.astype(np.float32).astype(float)


def write_case(folder: Path, n_records: int, seed: int = 0) -> tuple[Path, Path]:
    """Folders of so many headers, nested, and of their outputs."""
    random = np.random.default_rng(seed)
    label_folder, output_folder = folder / "labels", folder / "outputs"
    output_folder.mkdir(parents=True)
    for i, dx in enumerate(random_dx(random, n_records)):
        source, name = ("first", f"A{i:05d}") if i % 3 else ("second", f"HR{i:05d}")
        place = label_folder / source / f"g{i // (3 * _GROUP) + 1}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{name}.hea").write_text(
            f"{name} 12 500 5000\n"
            + "".join(
                f"{name}.mat 16x1+24 1000.0(0)/mV 16 0 -35 2917 0 {x}\n" for x in TWELVE_LEADS
            )
            + f"# Age: 57\n# Sex: Female\n# Dx: {','.join(dx)}\n"
            + "# Rx: Unknown\n# Hx: Unknown\n# Sx: Unknown\n"
        )
        answers = (per_code(part) for part in random_answers(random, encode_dx(dx)))
        write_output(output_folder / f"{name}.csv", name, OUTPUT_CODES, *answers)
    return label_folder, output_folder


# Measuring.


class Run(NamedTuple):
    """A process from its start to its end: seconds, and the most memory that it held, in MiB."""

    seconds: float
    mib: float


def run_process(*arguments) -> Run:
    """Run Python with these arguments; raises CalledProcessError where that fails.

    The system counts this process's own memory as a new one's at its start, so that a figure is
    no less than that.
    """
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *map(str, arguments)], cwd=ROOT)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return Run(seconds, usage.ru_maxrss / 1024)


def run_scorer(label_folder: Path, output_folder: Path) -> Run:
    """Return a run of ours."""
    file = output_folder.parent / "scores.csv"
    return run_process("evaluate_model.py", label_folder, output_folder, file)


def run_plain(label_folder: Path, output_folder: Path) -> tuple[Run, list[float]]:
    """Return a run of the plain loops, and their five figures."""
    file = output_folder.parent / "plain.json"
    run = run_process("-m", MODULE, "--plain", label_folder, output_folder, file)
    return run, json.loads(file.read_text())


def our_figures(label_folder: Path, output_folder: Path) -> dict[str, float]:
    """Our five figures with all their digits, made once more by a process that is not timed."""
    file = output_folder.parent / "ours.json"
    run_process("-c", _ALL_DIGITS, label_folder, output_folder, file)
    return json.loads(file.read_text())


def check_figures(ours: dict[str, float], plain: list[float]) -> None:
    """Raise ValueError where a figure of ours is not that of the plain loops."""
    for (name, own), expected in zip(ours.items(), plain, strict=True):
        if not np.isclose(own, expected, rtol=0, atol=TOLERANCE, equal_nan=True):
            raise ValueError(f"{name}: plain loops give {expected!r}, ours {own!r}")


def compare_scorers(case, n_rounds: int) -> tuple[Run, Run]:
    """Our shortest run and that of the plain loops on the same files."""
    ours, plain = [], []
    for _ in range(n_rounds):
        ours.append(run_scorer(*case))
        run, figures = run_plain(*case)
        plain.append(run)
    check_figures(our_figures(*case), figures)
    return min(ours), min(plain)


def compare_metrics(n_records: int, n_rounds: int) -> tuple[float, float]:
    """Seconds for the figures of random arrays, ours and those of the plain loops."""
    random = np.random.default_rng(1)
    labels = np.array([encode_dx(dx) for dx in random_dx(random, n_records)])
    outputs, probabilities = random_answers(random, labels)
    arguments = labels, outputs, probabilities, read_weights()
    ours, plain = [], []
    for _ in range(n_rounds):
        seconds, scores = timed(score, *arguments)
        ours.append(seconds)
        seconds, figures = timed(plain_scores, *arguments)
        plain.append(seconds)
        check_figures(scores.summary, figures)
    return min(ours), min(plain)


def timed(function, *arguments) -> tuple[float, object]:
    """How long it takes, and what it returns."""
    started = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - started, result


def main(arguments=None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=20_000, help="beside the plain loops")
    parser.add_argument("--full", type=int, default=88_253, help="as many as the Challenge has")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--plain",
        nargs=3,
        metavar=("LABELS", "OUTPUTS", "FIGURES"),
        help="run the plain loops alone, and write their figures to a file",
    )
    options = parser.parse_args(arguments)
    if options.plain:
        label_folder, output_folder, file = options.plain
        figures = plain_evaluate(label_folder, output_folder, WEIGHTS_FILE)
        Path(file).write_text(json.dumps([float(figure) for figure in figures]))
        return
    n_records, n_full = options.records, options.full
    with tempfile.TemporaryDirectory() as folder:
        case = write_case(Path(folder) / "part", n_records)
        ours, plain = compare_scorers(case, options.rounds)
        print(
            f"scorer, {n_records:,} records: {ours.seconds:.2f} s against {plain.seconds:.2f} s of "
            f"plain loops, {plain.seconds / ours.seconds:.1f}x (reach {REACH_SCORER:g}x)",
            flush=True,
        )
        case = write_case(Path(folder) / "full", n_full)
        full = min(run_scorer(*case) for _ in range(options.rounds))
    rate = n_full / full.seconds
    print(
        f"scorer, {n_full:,} records: {full.seconds:.2f} s, {rate:,.0f} records/s, "
        f"{rate / (n_records / ours.seconds):.2f} of the rate on {n_records:,} (linear: 1)\n"
        f"scorer, {n_full:,} records: {full.mib:.0f} MiB at most (reach {REACH_MIB:g} MiB)",
        flush=True,
    )
    ours, plain = compare_metrics(n_full, options.rounds)
    print(
        f"metrics, {n_full:,} x {N_CLASSES}: {ours * 1e3:.0f} ms against {plain:.2f} s of plain "
        f"loops, {plain / ours:.0f}x (reach {REACH_METRICS:g}x)\n"
        f"all figures agree to {TOLERANCE:g}"
    )


if __name__ == "__main__":
    main()
