#!/usr/bin/env python
"""`python evaluate_model.py LABELS OUTPUTS [SCORES [CLASS_SCORES]]`: compute the scores.

LABELS: folder of header files with `#Dx` lines, nested or flat. OUTPUTS: folder of NAME.csv.
SCORES, CLASS_SCORES: CSV files to write; without SCORES the scores are printed.
"""

import argparse
from pathlib import Path

import numpy as np

from ecg.records.diagnoses import DIAGNOSES, encode_dx, read_weights
from ecg.records.discovery import find_headers, read_header_text
from ecg.records.headers import RecordError, read_dx
from ecg.records.metrics import Scores, score
from ecg.records.outputs import read_outputs
from ecg.runtime.command_line import running
from ecg.runtime.files import write_text
from ecg.runtime.progress import track

_QUIET_S = 2.0  # no progress bar before; most folders are read within this time


def evaluate_model(label_directory, output_directory) -> Scores:
    """Return the scores of the outputs for all records with a header below `label_directory`.

    Raises FileNotFoundError naming the first missing output file, and RecordError if there are no
    headers.
    """
    headers = find_headers(label_directory)
    if not headers:
        raise RecordError(f"{label_directory}: expected header files (NAME.hea), found none")
    paths = track(headers.values(), len(headers), "reading labels", quiet_s=_QUIET_S)
    labels = np.array([encode_dx(read_dx(read_header_text(path))) for path in paths])
    folder = Path(output_directory)
    files = (f"{folder}/{name}.csv" for name in headers)
    outputs, probabilities = read_outputs(
        track(files, len(headers), "reading outputs", quiet_s=_QUIET_S)
    )
    return score(labels, outputs, probabilities, read_weights())


def format_scores(scores: Scores) -> str:
    """Return a line of names and a line of values with three decimals."""
    names, values = zip(*scores.summary.items(), strict=True)
    return f"{','.join(names)}\n{_decimals(values)}\n"


def format_class_scores(scores: Scores) -> str:
    """Return the lines Classes, AUROC, AUPRC and F-measure, with one column per class.

    The codes of a class are sorted as text.
    """
    classes = ("|".join(sorted(diagnosis.codes)) for diagnosis in DIAGNOSES)
    return (
        f"Classes,{','.join(classes)}\n"
        f"AUROC,{_decimals(scores.auroc)}\n"
        f"AUPRC,{_decimals(scores.auprc)}\n"
        f"F-measure,{_decimals(scores.f_measure)}\n"
    )


def _decimals(values) -> str:
    return ",".join(f"{value:.3f}" for value in values)


def main(arguments=None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("label_directory")
    parser.add_argument("output_directory")
    parser.add_argument("score_file", nargs="?", type=Path)
    parser.add_argument("class_score_file", nargs="?", type=Path)
    options = parser.parse_args(arguments)
    with running("evaluate_model.py"):
        scores = evaluate_model(options.label_directory, options.output_directory)
        if options.score_file is None:
            print(format_scores(scores), end="")
        else:
            write_text(options.score_file, format_scores(scores))
        if options.class_score_file is not None:
            write_text(options.class_score_file, format_class_scores(scores))


if __name__ == "__main__":
    main()
