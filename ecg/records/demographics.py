"""Age and sex as numbers for a network, with flags for unknown ones."""

import math

import numpy as np

N_DEMOGRAPHICS = 4
_AGE_UNIT = 100.0  # years, so that the number has the same magnitude as the flags
_OLDEST = 100.0  # years; PTB-XL writes 300 for everyone over 89


def encode_demographics(age: float, sex: str) -> np.ndarray:
    """Age and sex as an array (4,), float32.

    Age in centuries (at most 1, or 0 if unknown), then 1 or 0 for: age known, female, male.
    age: years or NaN. sex: "Male" or "Female"; anything else is unknown.
    """
    known = math.isfinite(age)
    return np.array(
        [min(age, _OLDEST) / _AGE_UNIT if known else 0.0, known, sex == "Female", sex == "Male"],
        np.float32,
    )
