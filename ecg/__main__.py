"""`ecg COMMAND …`, also `python -m ecg COMMAND …`: the package's commands under one name."""

import argparse
import importlib
import sys

# Of each command: the module whose `main` runs it, and what it does.
COMMANDS = {
    "predict": ("ecg.predict", "Print diagnoses and measurements for your own recordings."),
    "report": (
        "ecg.report",
        "Write a page of scores, curves and examples for a folder of outputs.",
    ),
    "simulate": ("ecg.simulation.__main__", "Write simulated, labelled records."),
    "cross-validate": ("ecg.cross_validation", "Score methods on records held out from training."),
}


def main(arguments=None, prog: str = "ecg") -> None:
    """Run the command that the first argument names, with the arguments after it."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    command = _parser(prog).parse_args(arguments[:1]).command
    # Imported only now: some commands need seconds to load what they compute with.
    module = importlib.import_module(COMMANDS[command][0])
    module.main(arguments[1:], prog=f"{prog} {command}")


def _parser(prog: str) -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:{width}}  {what}" for name, (_, what) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog=prog,
        usage=f"{prog} [-h] COMMAND …",
        description="ECG diagnoses from 12, 6, 4, 3 or 2 leads; not a medical device.",
        epilog=f"{prog} COMMAND --help lists the options of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_argument_group("commands", listed)
    commands.add_argument("command", type=_command, metavar="COMMAND", help=argparse.SUPPRESS)
    return parser


def _command(name: str) -> str:
    if name not in COMMANDS:
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(COMMANDS)}; found '{name}'")
    return name


if __name__ == "__main__":
    main(prog="python -m ecg")
