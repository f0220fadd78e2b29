import numpy as np
import pytest

from ecg.records.demographics import N_DEMOGRAPHICS, encode_demographics


@pytest.mark.parametrize(
    ("age", "sex", "expected"),
    [
        (50.0, "Female", [0.5, 1, 1, 0]),
        (0.0, "Male", [0.0, 1, 0, 1]),
        (float("nan"), "Male", [0.0, 0, 0, 1]),
        (300.0, "Male", [1.0, 1, 0, 1]),
        (80.0, "Unknown", [0.8, 1, 0, 0]),
        (float("nan"), "Unknown", [0.0, 0, 0, 0]),
    ],
)
def test_what_is_missing_is_flagged_and_never_nan(age, sex, expected):
    encoded = encode_demographics(age, sex)
    assert encoded.shape == (N_DEMOGRAPHICS,)
    assert encoded.dtype == np.float32
    np.testing.assert_allclose(encoded, expected, rtol=1e-6)
