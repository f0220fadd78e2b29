#!/usr/bin/env python
"""`python test_model.py MODEL DATA OUTPUTS`: an output file for every record in DATA."""

import argparse
import sys
from collections import defaultdict

from ecg.models.settings import read_settings
from ecg.records.discovery import RecordFiles, find_records, read_header_text
from ecg.records.headers import RecordError, parse_header
from ecg.records.leads import LEAD_SETS, lead_set_for
from ecg.records.outputs import write_output
from ecg.runtime.command_line import running
from ecg.runtime.files import make_folder
from ecg.runtime.progress import track


def test_model(model_directory, data_directory, output_directory, workers: int) -> int:
    """Answers every record below `data_directory`; how many of them could not be read.

    Each record is answered by the model of its lead set, as `team_code.run_model` would, but many
    together: `workers` processes read ahead. One that cannot be read is answered as sinus rhythm,
    by any of the models where not even its leads are known, and named on stderr.
    """
    from ecg.models.predictor import load_predictor, print_warnings  # loads TensorFlow

    records = find_records(data_directory)
    if not records:
        raise RecordError(f"{data_directory}: expected records (NAME.hea), found none")
    ids, of_lead_set = {}, defaultdict(list)
    for files in records:
        ids[files.name], lead_set, warnings = _look(files)
        of_lead_set[lead_set].append(files)
        print_warnings(files.name, warnings)
    unknown = of_lead_set.pop(None, [])
    of_lead_set[max(of_lead_set, default=max(LEAD_SETS))] += unknown
    # What is missing or forbidden should show before hours of answers, not after.
    output_directory = make_folder(output_directory)
    models = {
        size: load_predictor(model_directory, size) for size in sorted(of_lead_set, reverse=True)
    }
    answers = (
        answer
        for size, model in models.items()
        for answer in model.answer_files(of_lead_set[size], workers)
    )
    for files, answer in track(answers, len(records), "answering"):
        write_output(output_directory / f"{files.name}.csv", ids[files.name], *answer)
    return sum(model.n_unusable for model in models.values())


def _look(files: RecordFiles) -> tuple[str, int | None, tuple[str, ...]]:
    """The id that the header gives the record, the lead set whose model answers it, and warnings;
    the files' name, None and no warnings where the header is unreadable."""
    try:
        header = parse_header(read_header_text(files.header))
    except (RecordError, OSError):
        return files.name, None, ()
    return header.name, lead_set_for(header.leads), header.warnings


def main(arguments=None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model_directory", help="folder that train_model.py wrote")
    parser.add_argument("data_directory", help="folder of NAME.hea + NAME.mat, nested or flat")
    parser.add_argument("output_directory", help="folder for the NAME.csv files, made if missing")
    parser.add_argument(
        "--strict", action="store_true", help="exit with 1 if a record was unreadable"
    )
    options = parser.parse_args(arguments)
    with running("test_model.py"):
        settings = read_settings()
        n_unusable = test_model(
            options.model_directory,
            options.data_directory,
            options.output_directory,
            settings.workers,
        )
    print(f"{n_unusable} records could not be read and were answered as sinus rhythm")
    if options.strict and n_unusable:
        sys.exit(1)


if __name__ == "__main__":
    main()
