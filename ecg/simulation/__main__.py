"""`python -m ecg.simulation OUT --records N`: write simulated, labelled records."""

import argparse
from pathlib import Path

from ecg.models.settings import read_settings
from ecg.records.leads import LEAD_SETS
from ecg.runtime.command_line import running, whole_number
from ecg.signals.preprocessing import MAX_FS, MIN_FS
from ecg.simulation.recordings import simulate_folder
from ecg.simulation.sources import SOURCES


def main(arguments=None, prog="python -m ecg.simulation") -> None:
    """Run the command line; ECG_WORKERS sets the number of processes."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("out", type=Path, help="folder for NAME.hea + NAME.mat, made if missing")
    parser.add_argument("--records", type=whole_number(1), required=True, help="number of records")
    parser.add_argument("--seed", type=whole_number(0), default=0, help="default: 0")
    parser.add_argument("--fs", type=_rate, help="Hz; default: that of each source")
    parser.add_argument("--leads", type=int, choices=LEAD_SETS, default=12, help="default: 12")
    parser.add_argument(
        "--source",
        nargs="+",
        choices=SOURCES,
        default=list(SOURCES),
        metavar="NAME",
        help=f"one or more of {', '.join(SOURCES)}, which take turns; default: all",
    )
    parser.add_argument(
        "--label-errors",
        type=_share,
        metavar="SHARE",
        help="share of findings that annotators get wrong, such as 0.1; default: none",
    )
    options = parser.parse_args(arguments)
    with running("ecg.simulation"):
        workers = read_settings().workers
        simulate_folder(
            options.out,
            options.records,
            options.seed,
            options.source,
            options.leads,
            options.fs,
            workers,
            options.label_errors,
        )


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not MIN_FS <= rate <= MAX_FS:
        raise argparse.ArgumentTypeError(f"expected {MIN_FS:g} to {MAX_FS:g} Hz, found '{text}'")
    return rate


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to 1, found '{text}'")
    return share


if __name__ == "__main__":
    main()
