"""`python -m ecg.report MODEL LABELS OUTPUTS REPORT.html`: a report on a folder of outputs.

What was tested on what; for each lead set in LABELS: scores with confidence intervals, also by
finding, source, sex, age and sampling rate, curves, confusion, calibration, the costliest records,
and the model card. The page is self-contained and needs no network.
"""

import argparse
from pathlib import Path

from ecg.models.descriptions import find_model_folder
from ecg.runtime.command_line import running, whole_number


def main(arguments=None, prog="python -m ecg.report") -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("model", help='folder that train_model.py wrote, or "starter"')
    parser.add_argument("labels", type=Path, help="folder of records with their diagnoses")
    parser.add_argument("outputs", type=Path, help="folder that test_model.py wrote")
    parser.add_argument("page", type=Path, metavar="REPORT.html")
    parser.add_argument(
        "--compare", type=Path, metavar="OUTPUTS", help="other outputs for the same records"
    )
    parser.add_argument(
        "--worst",
        type=whole_number(0),
        default=3,
        metavar="N",
        help="costliest records drawn per lead set; default: 3",
    )
    options = parser.parse_args(arguments)
    with running("ecg.report"):
        from ecg.pages.report import write_report  # loads matplotlib

        write_report(
            find_model_folder(options.model),
            options.labels,
            options.outputs,
            options.page,
            options.compare,
            options.worst,
        )
    print(f"{options.page}: {options.page.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
