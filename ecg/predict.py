"""`python -m ecg.predict MODEL FILE…`: readable diagnoses for a user's own recordings.

A file is a WFDB record (its header, its signal file, or the name of both without ending), a table
(a line of lead names, then a line a sample; or a row a lead), or what a cardiograph, an archive or
a watch exports: DICOM, EDF, GE MUSE XML, Philips Sierra XML, HL7 aECG, SCP-ECG, ISHNE, Apple
Health, KardiaMobile. Its content tells which.
"""

import argparse
import csv
import json
import sys

from ecg.models.descriptions import ModelFolderError, find_models
from ecg.pages.predictions import COLUMNS, NOTICE, predict, table_of, to_dict, to_rows
from ecg.records.formats import read_ecg
from ecg.records.formats.labels import is_lead, lead_in, units_per_mv
from ecg.records.headers import RecordError
from ecg.records.leads import TWELVE_LEADS, lead_set_for
from ecg.runtime.command_line import running
from ecg.runtime.files import check_place, printable
from ecg.signals.preprocessing import MAX_FS, MIN_FS, check_fs


def predict_files(
    model_directory,
    files,
    fs: float | None = None,
    unit: str | None = None,
    leads: tuple[str, ...] | None = None,
) -> tuple[list, list[str]]:
    """(prediction, its predictor) for each file that can be answered; messages about the others.

    fs, unit, leads: of tables, see `ecg.records.formats.tables.read_table`. Each file is answered
    by the largest model of the folder whose leads it has. Raises ModelFolderError where the folder
    holds no model at all.
    """
    from ecg.models.predictor import load_predictor  # loads TensorFlow

    trained = find_models(model_directory)
    predictors, answered, failed = {}, [], []
    for file in files:
        try:
            record = read_ecg(file, fs, unit, leads)
            lead_set = lead_set_for(record.leads, trained)
            if lead_set not in predictors:
                predictors[lead_set] = load_predictor(model_directory, lead_set)
            predictor = predictors[lead_set]
            answered.append((predict(file, record, predictor), predictor))
        except RecordError as error:
            failed.append(str(error))
        except ModelFolderError as error:
            failed.append(f"{file}: not answered: {error}")
    return answered, failed


def main(arguments=None, prog="python -m ecg.predict") -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__, epilog=NOTICE)
    parser.add_argument("model", help="folder that train_model.py wrote")
    parser.add_argument("files", nargs="+", metavar="FILE", help="a recording, of any length")
    parser.add_argument(
        "--fs", type=_rate, metavar="HZ", help="sampling rate of tables without a column of times"
    )
    parser.add_argument(
        "--unit",
        help="of tables: mV, uV, V, or adu/GAIN, GAIN per mV; default: the header's, else mV",
    )
    parser.add_argument(
        "--leads",
        type=_leads,
        metavar="I,II,…",
        help="of tables: the columns' leads in order, where no line names them; else which to read",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON instead of a table")
    form.add_argument("--csv", action="store_true", help="print CSV instead of a table")
    parser.add_argument(
        "--explain", metavar="PAGE.html", help="write what spoke for each diagnosis"
    )
    options = parser.parse_args(arguments)
    with running("ecg.predict"):
        if options.unit is not None:
            units_per_mv(options.unit)
        if options.explain:
            check_place(options.explain)
        failed = _answer(options)
    for why in failed:
        print(printable(f"ecg.predict: {why}"), file=sys.stderr)
    if failed:
        sys.exit(1)


def _answer(options: argparse.Namespace) -> list[str]:
    """Prints the answers, and writes the page where it is asked for; messages about what failed."""
    answered, failed = predict_files(
        options.model, options.files, options.fs, options.unit, options.leads
    )
    predictions = [prediction for prediction, _ in answered]
    if options.json:
        json.dump([to_dict(one) for one in predictions], sys.stdout, indent=1)
        print()
    elif options.csv:
        lines = csv.writer(sys.stdout)
        lines.writerow(COLUMNS)
        lines.writerows(row for one in predictions for row in to_rows(one))
    else:
        print("\n\n".join([*map(table_of, predictions), NOTICE]))
    if options.explain and answered:
        from ecg.pages.explanation_page import write_explanations

        write_explanations(options.explain, answered)
    return failed


def _rate(text: str) -> float:
    try:
        rate = float(text)
        check_fs(rate)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"expected a sampling rate of {MIN_FS:g} to {MAX_FS:g} Hz, found '{text}'"
        ) from error
    return rate


def _leads(text: str) -> tuple[str, ...]:
    names = [name for name in text.split(",") if name.strip()]
    leads = tuple(map(lead_in, names))
    if not leads or not all(map(is_lead, names)) or len(set(leads)) < len(leads):
        raise argparse.ArgumentTypeError(
            f"expected some of {','.join(TWELVE_LEADS)}, each once, found '{text}'"
        )
    return leads


if __name__ == "__main__":
    main()
