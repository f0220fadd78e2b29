"""Select the 643 public records that the results were measured on from the Challenge's download.

    python -m benchmarks.select_records DOWNLOAD OUT

DOWNLOAD is the folder of the training data of the PhysioNet/Computing in Cardiology Challenge 2021,
nested or flat. OUT gets links to the header and the signal file of each record that
benchmarks/public_records.txt names: records of six sources, which their names tell (A: CPSC, Q:
CPSC extra, S: PTB, HR: PTB-XL, E: Georgia, JS: Chapman-Shaoxing).
"""

import argparse
from pathlib import Path

from ecg.records.discovery import find_records
from ecg.runtime.command_line import running
from ecg.runtime.files import make_folder

NAMES_FILE = Path(__file__).with_name("public_records.txt")


def select(download: Path, out: Path) -> list[str]:
    """Link the named records into `out`; return the names of those that `download` lacks."""
    found = {files.name: files for files in find_records(download)}
    names = NAMES_FILE.read_text().split()
    make_folder(out)
    for name in names:
        if name in found:
            for file in (found[name].header, found[name].recording):
                link = out / file.name
                link.unlink(missing_ok=True)
                link.symlink_to(file.resolve())
    return [name for name in names if name not in found]


def main(arguments=None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.select_records",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("download", type=Path, help="folder of the Challenge's training data")
    parser.add_argument("out", type=Path, help="folder for the links")
    options = parser.parse_args(arguments)
    with running("benchmarks.select_records"):
        missing = select(options.download, options.out)
        n_names = len(NAMES_FILE.read_text().split())
        print(f"{options.out}: {n_names - len(missing)} of {n_names} records")
        if missing:
            raise ValueError(
                f"{options.download}: expected all records of {NAMES_FILE.name}; {len(missing)} "
                f"are missing, the first {missing[0]}"
            )


if __name__ == "__main__":
    main()
