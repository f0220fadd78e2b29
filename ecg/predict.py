"""`python -m ecg.predict MODEL FILE…`: diagnoses and measurements for a user's own recordings.

FILE is a WFDB record (header, signal file, or the name of both without extension), a table (a line
of lead names and a line per sample, or a line per lead), or an export in DICOM, EDF, GE MUSE XML,
Philips Sierra XML, HL7 aECG, SCP-ECG, ISHNE, Apple Health or KardiaMobile format. The format is
recognised by the content. A folder stands for all ECG files below it.
"""

import argparse
import csv
import itertools
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from ecg.models.descriptions import ModelFolderError, find_model_folder, find_models
from ecg.models.operating_points import RULES
from ecg.pages import NOTICE
from ecg.records.formats import find_ecg_files, read_blocks
from ecg.records.formats.channel_labels import is_lead, parse_lead, units_per_mv
from ecg.records.headers import RecordError
from ecg.records.leads import TWELVE_LEADS, lead_set_for
from ecg.runtime.command_line import running
from ecg.runtime.files import check_place, printable
from ecg.signals.preprocessing import MAX_FS, MIN_FS, check_fs

_MAX_NAMED = 10  # files that are left out


def predict_files(
    model_directory,
    files,
    fs: float | None = None,
    unit: str | None = None,
    leads: tuple[str, ...] | None = None,
    rule: str = "clinical",
) -> list[tuple]:
    """Return a (prediction, predictor) pair for each file, in order; (failure, None) for a file
    that could not be predicted.

    fs, unit, leads: for tables, see `ecg.records.formats.tables.read_table`. Each file is predicted
    by the model with the most leads among those whose leads it has. Raises ModelFolderError if the
    folder holds no model.
    """
    # These load TensorFlow.
    from ecg.models.prediction import predict_recording
    from ecg.models.predictor import load_predictor
    from ecg.pages.predictions import Failure

    folder = find_model_folder(model_directory)
    trained = find_models(folder)
    predictors, predicted = {}, []
    for file in files:
        try:
            blocks = read_blocks(file, fs, unit, leads)
            first = next(blocks)
            lead_set = lead_set_for(first.leads, trained)
            if lead_set not in predictors:
                predictors[lead_set] = load_predictor(folder, lead_set)
            predictor = predictors[lead_set]
            recording = itertools.chain([first], blocks)
            prediction = predict_recording(str(file), recording, predictor, rule)
            predicted.append((prediction, predictor))
        except RecordError as error:
            predicted.append((Failure(str(file), str(error)), None))
        except ModelFolderError as error:
            predicted.append((Failure(str(file), f"{file}: no prediction: {error}"), None))
    return predicted


def main(arguments=None, prog="python -m ecg.predict") -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__, epilog=NOTICE)
    parser.add_argument("model", help='folder that train_model.py wrote, or "starter"')
    parser.add_argument("files", nargs="+", metavar="FILE", help="a recording, or a folder of them")
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
    parser.add_argument(
        "--rule",
        choices=RULES,
        default=RULES[0],
        help="clinical: findings by their operating points, without contradictions (default); "
        "challenge: the label set of the largest expected Challenge score",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON instead of a table")
    form.add_argument("--csv", action="store_true", help="print CSV instead of a table")
    form.add_argument(
        "--fhir", action="store_true", help="print a FHIR R4 Bundle instead of a table"
    )
    parser.add_argument(
        "--one-site",
        action="store_true",
        help="all recordings are of one hospital: estimate its share of sinus rhythm from the "
        "answers",
    )
    parser.add_argument(
        "--explain",
        metavar="PAGE.html",
        help="write a page of each tracing, its measurements and findings, and what they rest on",
    )
    options = parser.parse_args(arguments)
    if options.one_site and options.explain:
        parser.error("--explain: expected no --one-site, whose probabilities are not explained")
    with running("ecg.predict"):
        if options.unit is not None:
            units_per_mv(options.unit)
        if options.explain:
            check_place(options.explain)
        failures = _predict_and_print(options)
    for failure in failures:
        print(printable(f"ecg.predict: {failure.error}"), file=sys.stderr)
    if failures:
        sys.exit(1)


def _predict_and_print(options: argparse.Namespace) -> list:
    """Print the predictions, write the explanation page if requested; return the failures."""
    predicted = predict_files(
        options.model,
        _expand(options.files),
        options.fs,
        options.unit,
        options.leads,
        options.rule,
    )
    from ecg.pages.fhir import to_bundle
    from ecg.pages.predictions import COLUMNS, Failure, to_dict, to_rows, to_text

    if options.one_site:
        predicted = _decide_one_site(predicted)
    failures = [result for result, _ in predicted if isinstance(result, Failure)]
    predictions = [pair for pair in predicted if not isinstance(pair[0], Failure)]
    if options.json:
        json.dump([to_dict(result) for result, _ in predicted], sys.stdout, indent=1)
        print()
    elif options.fhir:
        bundle = to_bundle([result for result, _ in predicted], datetime.now(UTC))
        json.dump(bundle, sys.stdout, indent=1)
        print()
    elif options.csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(COLUMNS)
        writer.writerows(row for prediction, _ in predictions for row in to_rows(prediction))
    else:
        print("\n\n".join([*(to_text(prediction) for prediction, _ in predictions), NOTICE]))
    if options.explain:
        from ecg.pages.explanation_page import write_explanations

        write_explanations(options.explain, predicted)
    return failures


def _decide_one_site(predicted: list[tuple]) -> list[tuple]:
    """Return the pairs of `predict_files`, decided for one hospital; print each lead set's share of
    sinus rhythm on stderr."""
    from ecg.models.prediction import decide_one_site

    decided = list(predicted)
    predictors = {predictor for _, predictor in predicted if predictor is not None}
    for predictor in sorted(predictors, key=lambda each: -each.model.lead_set):
        places = [i for i, (_, other) in enumerate(predicted) if other is predictor]
        estimate, predictions = decide_one_site([predicted[i][0] for i in places], predictor.model)
        print(f"ecg.predict: {predictor.model.lead_set} leads: {estimate}", file=sys.stderr)
        for i, prediction in zip(places, predictions, strict=True):
            decided[i] = prediction, predictor
    return decided


def _expand(files: list[str]) -> list:
    """Return the files, with each folder replaced by the ECG files below it."""
    expanded = []
    for file in files:
        if not Path(file).is_dir():
            expanded.append(file)
            continue
        found, others = find_ecg_files(file)
        if others:
            names = ", ".join(str(other) for other in others[:_MAX_NAMED])
            more = f" and {len(others) - _MAX_NAMED} more" if len(others) > _MAX_NAMED else ""
            line = f"ecg.predict: {file}: not ECG files, left out: {names}{more}"
            print(printable(line), file=sys.stderr)
        expanded += found or [file]  # reading the folder itself says what is wrong
    return expanded


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
