"""`python -m ecg.cross_validation DATA OUT`: out-of-fold scores of the published systems.

Trains the given methods, variants and lead sets fold by fold. Writes scores.csv and tables.txt
(the papers' tables, printed too) into OUT, and the answers of each fold into OUT/folds. If
interrupted, rerun the same command to resume: finished folds are not trained again.
"""

import argparse
from pathlib import Path

from ecg.models.architectures import NAMES
from ecg.models.settings import read_settings
from ecg.records.leads import LEAD_SETS
from ecg.runtime.command_line import running, whole_number

_ALL = "all"


def main(arguments=None, prog="python -m ecg.cross_validation") -> None:
    """Run the command line; the `ECG_…` variables but ECG_TIME_LIMIT_H apply to the training."""
    options = _parser(prog).parse_args(arguments)
    with running("ecg.cross_validation"):
        settings = read_settings()
        from ecg.evaluation.comparison import Comparison, compare  # loads TensorFlow

        comparison = Comparison(
            options.data,
            options.out,
            tuple(options.method or [settings.method]),
            tuple(options.variant),
            tuple(dict.fromkeys(options.leads or settings.lead_sets)),
            tuple(dict.fromkeys(options.seeds or [settings.seed])),
            None if options.by_source else options.folds,
            options.jobs,
        )
        compare(comparison, settings)


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("data", type=Path, help="folder of records, nested or flat")
    parser.add_argument("out", type=Path, help="output folder; keep it to resume")
    parser.add_argument("--method", nargs="+", choices=[*NAMES, _ALL], help="default: ECG_METHOD")
    parser.add_argument(
        "--variant",
        nargs="+",
        default=["default"],
        help='"default", "published", rows of the papers\' tables, or "all"',
    )
    parser.add_argument(
        "--leads", type=int, nargs="+", choices=LEAD_SETS, help="default: ECG_LEADS"
    )
    split = parser.add_mutually_exclusive_group()
    split.add_argument("--folds", type=int, default=5, help="default: 5, stratified by label")
    split.add_argument("--by-source", action="store_true", help="leave out one source at a time")
    parser.add_argument(
        "--seeds", type=int, nargs="+", help="each fold is trained once a seed; default: ECG_SEED"
    )
    parser.add_argument(
        "--jobs",
        type=whole_number(1),
        help="folds trained side by side; default: ECG_DASK's workers, or what the GPUs hold, or 1",
    )
    return parser


if __name__ == "__main__":
    main()
