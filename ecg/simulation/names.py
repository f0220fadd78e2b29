"""The names of simulated records, by which they are recognised."""

import re

_NAME = re.compile(r"SIM[A-Z]\d+_\d+_\d{5,}")


def record_name(letter: str, seed: int, lead_set: int, index: int) -> str:
    """Return the name of a source's record; letter: of the source."""
    return f"SIM{letter}{seed}_{lead_set}_{index:05d}"


def is_simulated(name: str) -> bool:
    """Return whether a record has a name that `record_name` gives."""
    return _NAME.fullmatch(name) is not None
