"""`ecg COMMAND …`, also `python -m ecg COMMAND …`: the package's commands under one name."""

import argparse
import importlib
import sys

# Command -> the module whose `main` runs it, and a description.
COMMANDS = {
    "predict": ("ecg.predict", "Print diagnoses for your own recordings."),
    "export": ("ecg.export", "Write a model as a file for ONNX Runtime."),
    "report": ("ecg.report", "Write an HTML report on a folder of outputs."),
    "simulate": ("ecg.simulation.__main__", "Write simulated, labelled records."),
    "cross-validate": ("ecg.cross_validation", "Score methods on records held out from training."),
}


def main(arguments=None, prog: str = "ecg") -> None:
    """Run the command named by the first argument, with the remaining arguments."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    command = _parser(prog).parse_args(arguments[:1]).command
    # Imported only now, since some commands take seconds to import.
    module = importlib.import_module(COMMANDS[command][0])
    module.main(arguments[1:], prog=f"{prog} {command}")


def _parser(prog: str) -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    listing = "\n".join(f"  {name:{width}}  {text}" for name, (_, text) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog=prog,
        usage=f"{prog} [-h] COMMAND …",
        description="ECG classification from 12, 6, 4, 3 or 2 leads; not a medical device.",
        epilog=f"{prog} COMMAND --help lists the options of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_argument_group("commands", listing)
    commands.add_argument("command", type=_command, metavar="COMMAND", help=argparse.SUPPRESS)
    return parser


def _command(name: str) -> str:
    if name not in COMMANDS:
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(COMMANDS)}; found '{name}'")
    return name


if __name__ == "__main__":
    main(prog="python -m ecg")
