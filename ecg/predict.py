"""`python -m ecg.predict MODEL FILE…`: diagnoses for a user's own recordings.

FILE is a WFDB record (header, signal file, or the name of both without extension), a table (a line
of lead names and a line per sample, or a line per lead), or an export in DICOM, EDF, GE MUSE XML,
Philips Sierra XML, HL7 aECG, SCP-ECG, ISHNE, Apple Health or KardiaMobile format. The format is
recognised by the content.
"""

import argparse
import csv
import json
import sys

from ecg.models.descriptions import ModelFolderError, find_models
from ecg.pages.predictions import COLUMNS, NOTICE, predict_record, to_dict, to_rows, to_text
from ecg.records.formats import read_ecg
from ecg.records.formats.channel_labels import is_lead, parse_lead, units_per_mv
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
    """Return a (prediction, predictor) pair per usable file, and an error message per other file.

    fs, unit, leads: for tables, see `ecg.records.formats.tables.read_table`. Each file is predicted
    by the model with the most leads among those whose leads it has. Raises ModelFolderError if the
    folder holds no model.
    """
    from ecg.models.predictor import load_predictor  # loads TensorFlow

    trained = find_models(model_directory)
    predictors, predicted, errors = {}, [], []
    for file in files:
        try:
            record = read_ecg(file, fs, unit, leads)
            lead_set = lead_set_for(record.leads, trained)
            if lead_set not in predictors:
                predictors[lead_set] = load_predictor(model_directory, lead_set)
            predictor = predictors[lead_set]
            predicted.append((predict_record(file, record, predictor), predictor))
        except RecordError as error:
            errors.append(str(error))
        except ModelFolderError as error:
            errors.append(f"{file}: no prediction: {error}")
    return predicted, errors


def main(arguments=None, prog="python -m ecg.predict") -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__, epilog=NOTICE)
    parser.add_argument("model", help="folder that train_model.py wrote")
    parser.add_argument("files", nargs="+", metavar="FILE", help="a recording, of any length")
    parser.add_argument(
        "--fs", type=_rate, metavar="HZ", help="sampling rate of tables without a time column"
    )
    parser.add_argument(
        "--unit",
        help="unit of tables: mV, uV, V, or adu/GAIN with GAIN per mV; default: as stated in the "
        "file, else mV",
    )
    parser.add_argument(
        "--leads",
        type=_leads,
        metavar="I,II,…",
        help="for tables: the leads of the columns, or, where the file names them, those to read",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON instead of a table")
    form.add_argument("--csv", action="store_true", help="print CSV instead of a table")
    parser.add_argument(
        "--explain", metavar="PAGE.html", help="write a page that explains each diagnosis"
    )
    options = parser.parse_args(arguments)
    with running("ecg.predict"):
        if options.unit is not None:
            units_per_mv(options.unit)
        if options.explain:
            check_place(options.explain)
        errors = _predict_and_print(options)
    for error in errors:
        print(printable(f"ecg.predict: {error}"), file=sys.stderr)
    if errors:
        sys.exit(1)


def _predict_and_print(options: argparse.Namespace) -> list[str]:
    """Print the predictions, write the explanation page if requested; return error messages."""
    predicted, errors = predict_files(
        options.model, options.files, options.fs, options.unit, options.leads
    )
    predictions = [prediction for prediction, _ in predicted]
    if options.json:
        json.dump([to_dict(prediction) for prediction in predictions], sys.stdout, indent=1)
        print()
    elif options.csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(COLUMNS)
        writer.writerows(row for prediction in predictions for row in to_rows(prediction))
    else:
        print("\n\n".join([*map(to_text, predictions), NOTICE]))
    if options.explain and predicted:
        from ecg.pages.explanation_page import write_explanations

        write_explanations(options.explain, predicted)
    return errors


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
    leads = tuple(map(parse_lead, names))
    if not leads or not all(map(is_lead, names)) or len(set(leads)) < len(leads):
        raise argparse.ArgumentTypeError(
            f"expected some of {','.join(TWELVE_LEADS)}, each once, found '{text}'"
        )
    return leads


if __name__ == "__main__":
    main()
