#!/usr/bin/env python
"""`python train_model.py DATA MODEL`: train models on the records in DATA, save them in MODEL."""

import argparse

from ecg.runtime.command_line import running


def main(arguments=None) -> None:
    """Run the command line; further options are the `ECG_…` environment variables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_directory", help="folder of NAME.hea + NAME.mat, nested or flat")
    parser.add_argument("model_directory", help="folder for the models, made if missing")
    options = parser.parse_args(arguments)
    with running("train_model.py"):
        from team_code import training_code  # loads TensorFlow

        training_code(options.data_directory, options.model_directory)


if __name__ == "__main__":
    main()
