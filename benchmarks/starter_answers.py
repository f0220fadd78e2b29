"""Answers of the models in `starter/` to six simulated records, held by a test.

    python -m benchmarks.starter_answers [MODEL] [--write]

Prints the largest difference between the probabilities now and those stored in
tests/starter/starter_answers.csv; --write stores them anew. A difference means that code which
prepares or measures signals, builds networks or pools answers has changed what the shipped models
say: users should read that in the changelog, and the models may have to be trained again. Where the
simulation has changed instead, the records differ too, which is told apart.

MODEL: a model folder; default: starter.
"""

import argparse
import csv
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecg.models.descriptions import STARTER, find_model_folder, find_models
from ecg.records.diagnoses import DIAGNOSES
from ecg.records.discovery import find_records
from ecg.records.record import Record, read_record
from ecg.runtime.command_line import running
from ecg.runtime.files import write_rows
from ecg.simulation.recordings import simulate_folder

STORED = Path(__file__).parents[1] / "tests" / "starter" / "starter_answers.csv"
TOLERANCE = 1e-3  # of probabilities, between machines
TOLERANCE_MV = 2e-4  # of a record's standard deviation, between machines
_N_RECORDS, _SEED = 6, 2021
_FINDINGS = [diagnosis.abbreviation for diagnosis in DIAGNOSES]
_COLUMNS = ("record", "deviation_mv", "leads", *_FINDINGS)


@dataclass(frozen=True)
class Answers:
    """The answers of models to records.

    deviation_mv: record -> standard deviation of its signal over all leads, which tells whether it
    is the same record. probabilities: (record, lead set) -> (26,).
    """

    deviation_mv: dict[str, float]
    probabilities: dict[tuple[str, int], np.ndarray]


def simulated_records() -> list[Record]:
    """Return six simulated records of twelve leads, each from another source, always the same."""
    with tempfile.TemporaryDirectory() as folder:
        simulate_folder(folder, _N_RECORDS, _SEED)
        return [read_record(files) for files in find_records(folder)]


def answer_records(model: str | Path, records: list[Record]) -> Answers:
    """Return the probabilities of the folder's models for the records."""
    from ecg.models.predictor import load_predictor  # loads TensorFlow

    probabilities = {}
    for lead_set in find_models(find_model_folder(model)):
        predictor = load_predictor(model, lead_set)
        for record in records:
            probabilities[record.name, lead_set] = predictor.probabilities(record)
    return Answers({record.name: float(record.signal.std()) for record in records}, probabilities)


def read_answers(path: Path = STORED) -> Answers:
    """Return the stored answers."""
    deviation_mv, probabilities = {}, {}
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            deviation_mv[row["record"]] = float(row["deviation_mv"])
            found = np.array([float(row[name]) for name in _FINDINGS])
            probabilities[row["record"], int(row["leads"])] = found
    return Answers(deviation_mv, probabilities)


def write_answers(answers: Answers, path: Path = STORED) -> None:
    """Store the answers with five decimals."""
    rows = (
        {
            "record": record,
            "deviation_mv": f"{answers.deviation_mv[record]:.5f}",
            "leads": lead_set,
            **{name: f"{value:.5f}" for name, value in zip(_FINDINGS, probabilities, strict=True)},
        }
        for (record, lead_set), probabilities in answers.probabilities.items()
    )
    write_rows(path, rows, _COLUMNS)


def changed_records(now: Answers, stored: Answers) -> list[str]:
    """Return the names of the records that are missing in one of both, or differ."""
    names = sorted(now.deviation_mv.keys() | stored.deviation_mv.keys())
    nowhere = float("inf")
    return [
        name
        for name in names
        if not abs(now.deviation_mv.get(name, nowhere) - stored.deviation_mv.get(name, nowhere))
        <= TOLERANCE_MV
    ]


def largest_difference(now: Answers, stored: Answers) -> tuple[float, str]:
    """Return the largest difference between two probabilities, and which answer has it.

    Raises ValueError where the answers are of other records or lead sets.
    """
    if now.probabilities.keys() != stored.probabilities.keys():
        raise ValueError(
            f"{STORED}: expected answers to {_pairs(now)}, found answers to {_pairs(stored)}"
        )
    differences = [
        (float(difference), f"record {record}, {lead_set} leads, {name}")
        for (record, lead_set), probabilities in now.probabilities.items()
        for name, difference in zip(
            _FINDINGS, np.abs(probabilities - stored.probabilities[record, lead_set]), strict=True
        )
    ]
    return max(differences)


def _pairs(answers: Answers) -> str:
    return ", ".join(f"{record} ({lead_set} leads)" for record, lead_set in answers.probabilities)


def main(arguments=None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.starter_answers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", nargs="?", default=STARTER, help="default: starter")
    parser.add_argument("--write", action="store_true", help="store the answers")
    options = parser.parse_args(arguments)
    with running("benchmarks.starter_answers"):
        now = answer_records(options.model, simulated_records())
        if STORED.exists():
            stored = read_answers()
            changed = changed_records(now, stored)
            if changed:
                print(f"other simulated records than stored: {', '.join(changed)}")
            elif now.probabilities.keys() == stored.probabilities.keys():
                difference, where = largest_difference(now, stored)
                print(f"largest difference from the stored answers: {difference:.5f} ({where})")
        if options.write:
            write_answers(now)
            print(f"{STORED}: written")


if __name__ == "__main__":
    main()
