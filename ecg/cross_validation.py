"""`python -m ecg.cross_validation DATA OUT`: out-of-fold scores of the published systems.

Trains each method, variant and lead set that is asked for, fold by fold. Writes scores.csv and
tables.txt (the papers' tables, printed too) into OUT, and the answers of each fold into OUT/folds.
If interrupted, rerun the same command to resume: a fold whose file is there is not trained again.
"""

import argparse
from pathlib import Path

from ecg.models.settings import METHOD_NAMES, read_settings
from ecg.records.leads import LEAD_SETS
from ecg.runtime.command_line import running, whole_number

_ALL = "all"


def main(arguments=None, prog="python -m ecg.cross_validation") -> None:
    """Runs the command line; the `ECG_…` variables say how to train, but for ECG_TIME_LIMIT_H."""
    options = _parser(prog).parse_args(arguments)
    with running("cross_validation"):
        settings = read_settings()
        from ecg.evaluation.comparison import compare  # loads TensorFlow

        compare(options, settings)


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("data", type=Path, help="folder of records, nested or flat")
    parser.add_argument("out", type=Path, help="folder for what comes out; kept, it can go on")
    parser.add_argument(
        "--method", nargs="+", choices=[*METHOD_NAMES, _ALL], help="default: ECG_METHOD"
    )
    parser.add_argument(
        "--variant",
        nargs="+",
        default=["default"],
        help="default, or rows of the papers' tables, or all",
    )
    parser.add_argument(
        "--leads", type=int, nargs="+", choices=LEAD_SETS, help="default: ECG_LEADS"
    )
    split = parser.add_mutually_exclusive_group()
    split.add_argument("--folds", type=int, default=5, help="default: 5, keeping label proportions")
    split.add_argument("--by-source", action="store_true", help="leave out one source at a time")
    parser.add_argument(
        "--seeds", type=int, nargs="+", help="a training of each fold per seed; default: ECG_SEED"
    )
    parser.add_argument(
        "--jobs",
        type=whole_number(1),
        help="folds at a time; default: the number of GPUs, or of ECG_DASK's workers, or 1",
    )
    return parser


if __name__ == "__main__":
    main()
