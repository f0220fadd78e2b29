"""`python -m ecg.predict MODEL FILE…`: readable diagnoses for a user's own recordings.

A file is a WFDB record (its header, its signal file, or the name of both without ending), a table
(.csv, .tsv, .txt: a line of lead names, then a line a sample), a DICOM ECG (.dcm) or an EDF file.
"""

import argparse
import csv
import json
import sys

from ecg.command_line import one_line_errors
from ecg.explanation_pages import write_explanations
from ecg.headers import RecordError
from ecg.inference import Predictor, load_predictor
from ecg.leads import lead_set_for
from ecg.other_formats import read_file, units_per_mv
from ecg.predictions import COLUMNS, NOTICE, Prediction, predict, table_of, to_dict, to_rows


def predict_files(
    model_directory, files, fs: float | None, unit: str
) -> tuple[list[tuple[Prediction, Predictor]], list[tuple[str, str]]]:
    """The answers for the files, with the predictor of each, and (file, why not) of the others.

    Each is answered by the model of its lead set. Raises ModelFolderError.
    """
    predictors, answered, failed = {}, [], []
    for file in files:
        try:
            record = read_file(file, fs, unit)
            lead_set = lead_set_for(record.leads)
            if lead_set not in predictors:
                predictors[lead_set] = load_predictor(model_directory, lead_set)
            predictor = predictors[lead_set]
            answered.append((predict(file, record, predictor), predictor))
        except RecordError as error:
            failed.append((file, str(error)))
    return answered, failed


def main(arguments=None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m ecg.predict", description=__doc__, epilog=NOTICE
    )
    parser.add_argument("model", help="folder that train_model.py wrote")
    parser.add_argument("files", nargs="+", metavar="FILE", help="a recording, of any length")
    parser.add_argument("--fs", type=float, metavar="HZ", help="sampling rate of tables")
    parser.add_argument(
        "--unit", default="mV", help="of tables: mV, uV, V, or adu/GAIN, GAIN per mV; default: mV"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON instead of a table")
    form.add_argument("--csv", action="store_true", help="print CSV instead of a table")
    parser.add_argument(
        "--explain", metavar="PAGE.html", help="write what spoke for each diagnosis"
    )
    options = parser.parse_args(arguments)
    with one_line_errors("ecg.predict"):
        units_per_mv(options.unit)
        answered, failed = predict_files(options.model, options.files, options.fs, options.unit)
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
            write_explanations(options.explain, answered)
    for _, why in failed:
        print(f"ecg.predict: {why}", file=sys.stderr)
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
