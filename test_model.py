#!/usr/bin/env python
"""`python test_model.py MODEL DATA OUTPUTS`: an output file for every record in DATA."""

import argparse
import sys
from pathlib import Path

from ecg.headers import RecordError
from ecg.leads import LEAD_SETS, lead_set_for
from ecg.model_files import ModelFolderError
from ecg.progress import track
from ecg.settings import SettingsError, read_settings
from helper_code import (
    find_challenge_files,
    get_leads,
    get_recording_id,
    load_header,
    load_recording,
    save_outputs,
)
from team_code import load_model, run_model


def test_model(model_directory, data_directory, output_directory) -> int:
    """Answers every record below `data_directory`; how many of them could not be read.

    Each record is answered by the model of its lead set. One that cannot be read is answered as
    sinus rhythm, by any of the models where not even its leads are known, and named on stderr.
    """
    files = list(zip(*find_challenge_files(data_directory), strict=True))
    if not files:
        raise RecordError(f"{data_directory}: expected records (NAME.hea), found none")
    # All models first: a missing one should show before hours of answers, not after.
    lead_sets = [_lead_set_of(header_file) for header_file, _ in files]
    needed = {size for size in lead_sets if size is not None} or {max(LEAD_SETS)}
    models = {
        size: load_model(model_directory, LEAD_SETS[size]) for size in sorted(needed, reverse=True)
    }
    output_directory = Path(output_directory)
    output_directory.mkdir(parents=True, exist_ok=True)
    for i, (header_file, recording_file) in enumerate(track(files, len(files), "answering")):
        name = Path(header_file).stem
        model = models[lead_sets[i] or max(models)]
        try:
            header = load_header(header_file)
            name_in_header = get_recording_id(header)
            recording = load_recording(recording_file)
        except (RecordError, OSError) as error:
            answer = model.answer_unusable(name, error)
            name_in_header = name
        else:
            answer = run_model(model, header, recording)
        save_outputs(output_directory / f"{name}.csv", name_in_header, *answer)
    return sum(model.n_unusable for model in models.values())


def _lead_set_of(header_file) -> int | None:
    """Size of the lead set whose model answers the record; None where its leads are unreadable."""
    try:
        return lead_set_for(get_leads(load_header(header_file)))
    except (RecordError, OSError):
        return None


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
    try:
        read_settings()  # a misspelt setting should not pass here either
        n_unusable = test_model(
            options.model_directory, options.data_directory, options.output_directory
        )
    except (ModelFolderError, RecordError, SettingsError, OSError) as error:
        sys.exit(f"test_model.py: {error}")
    print(f"{n_unusable} records could not be read and were answered as sinus rhythm")
    if options.strict and n_unusable:
        sys.exit(1)


if __name__ == "__main__":
    main()
