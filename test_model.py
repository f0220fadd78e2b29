#!/usr/bin/env python
"""`python test_model.py MODEL DATA OUTPUTS`: write an output file for every record in DATA."""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator

from ecg.models.settings import read_settings
from ecg.records.discovery import RecordFiles, find_records, read_header_text
from ecg.records.headers import RecordError, parse_header
from ecg.records.leads import LEAD_SETS, lead_set_for
from ecg.records.outputs import write_output
from ecg.runtime.command_line import running
from ecg.runtime.files import make_folder
from ecg.runtime.progress import track


def test_model(
    model_directory, data_directory, output_directory, workers: int, one_site: bool
) -> int:
    """Classify every record below `data_directory`; return the number of unreadable records.

    The outputs equal those of `team_code.run_model`, but records are processed in batches, which
    `workers` processes read ahead. An unreadable record is answered as sinus rhythm and named on
    stderr.
    one_site: take the folder for the records of one hospital; an answer then depends on the other
    records of its lead set, see `_answer_one_site`.
    """
    from ecg.models.predictor import Predictor, load_predictor, print_warnings  # loads TensorFlow

    records = find_records(data_directory)
    if not records:
        raise RecordError(f"{data_directory}: expected records (NAME.hea), found none")
    ids, by_lead_set = {}, defaultdict(list)
    for files in records:
        ids[files.name], lead_set, warnings = _read_header(files)
        by_lead_set[lead_set].append(files)
        print_warnings(files.name, warnings)
    # Records with unreadable headers go to any model that is loaded anyway.
    unreadable = by_lead_set.pop(None, [])
    by_lead_set[max(by_lead_set, default=max(LEAD_SETS))] += unreadable
    # Made first, so that missing files and permissions are noticed before hours of work.
    output_directory = make_folder(output_directory)
    models = {
        size: load_predictor(model_directory, size) for size in sorted(by_lead_set, reverse=True)
    }
    answer_set = _answer_one_site if one_site else Predictor.answer_files
    answers = (
        answer
        for size, model in models.items()
        for answer in answer_set(model, by_lead_set[size], workers)
    )
    if not one_site:  # which has a bar for each lead set
        answers = track(answers, len(records), "answering")
    for files, answer in answers:
        write_output(output_directory / f"{files.name}.csv", ids[files.name], *answer)
    return sum(model.n_unusable for model in models.values())


def _answer_one_site(model, files: list[RecordFiles], workers: int) -> Iterator:
    """Yield the files and the answer of each record of a lead set, all from one hospital.

    The share of sinus rhythm is estimated from all of their probabilities, and printed, before the
    first answer. The probabilities stay in memory, so the network answers each record once.
    """
    label = f"{model.model.lead_set} leads"
    results = model.probabilities_of_files(files, workers)
    estimate, answers = model.answer_one_site(track(results, len(files), f"answering, {label}"))
    print(f"{label}: {estimate}", flush=True)
    yield from answers


def _read_header(files: RecordFiles) -> tuple[str, int | None, tuple[str, ...]]:
    """Return a record's id, its lead set and warnings, as its header states them.

    If the header is unreadable: the file name, None and no warnings.
    """
    try:
        header = parse_header(read_header_text(files.header))
    except (RecordError, OSError):
        return files.name, None, ()
    return header.name, lead_set_for(header.leads), header.warnings


def main(arguments=None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model_directory", help='folder that train_model.py wrote, or "starter"')
    parser.add_argument("data_directory", help="folder of NAME.hea + NAME.mat, nested or flat")
    parser.add_argument("output_directory", help="folder for the NAME.csv files, made if missing")
    parser.add_argument(
        "--strict", action="store_true", help="exit with status 1 if a record could not be read"
    )
    parser.add_argument(
        "--one-site",
        action="store_true",
        help="all records are of one hospital: estimate its share of sinus rhythm from the answers",
    )
    options = parser.parse_args(arguments)
    with running("test_model.py"):
        settings = read_settings()
        n_unusable = test_model(
            options.model_directory,
            options.data_directory,
            options.output_directory,
            settings.workers,
            options.one_site,
        )
    print(f"{n_unusable} records could not be read and were answered as sinus rhythm")
    if options.strict and n_unusable:
        sys.exit(1)


if __name__ == "__main__":
    main()
