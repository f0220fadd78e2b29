"""Age and sex -> numbers for a network, with flags for what a header leaves out."""

import math

import numpy as np

N_DEMOGRAPHICS = 4
_AGE_UNIT = 100.0  # years, so that the number is of the order of the flags
_OLDEST = 100.0  # years; PTB-XL writes 300 for everybody over 89


def encode_demographics(age: float, sex: str) -> np.ndarray:
    """(4,), float32: age in centuries (at most 1) or 0, age known, female, male; flags are 0 or 1.

    age: years or NaN. sex: "Male", "Female"; anything else is unknown, so both flags are 0.
    """
    known = math.isfinite(age)
    return np.array(
        [min(age, _OLDEST) / _AGE_UNIT if known else 0.0, known, sex == "Female", sex == "Male"],
        np.float32,
    )
