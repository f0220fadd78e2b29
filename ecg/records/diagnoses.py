"""The 26 scored diagnoses: codes, names, the reward matrix, and `dx` codes <-> label vectors.

Order, codes and equivalent pairs are those of the Challenge's weights.csv.
"""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

_PACKAGE = Path(__file__).parents[1]
# An installed package contains a copy; in the repository the file is at the root.
_COPY = _PACKAGE / "weights.csv"
WEIGHTS_FILE = _COPY if _COPY.is_file() else _PACKAGE.parent / "weights.csv"


class Diagnosis(NamedTuple):
    """A scored class: SNOMED CT codes that are scored as equal, abbreviation, name."""

    codes: tuple[str, ...]
    abbreviation: str
    name: str

    @property
    def group(self) -> str:
        """The class as weights.csv writes it: its codes joined by a bar."""
        return "|".join(self.codes)


DIAGNOSES = (
    Diagnosis(("164889003",), "AF", "atrial fibrillation"),
    Diagnosis(("164890007",), "AFL", "atrial flutter"),
    Diagnosis(("6374002",), "BBB", "bundle branch block"),
    Diagnosis(("426627000",), "Brady", "bradycardia"),
    Diagnosis(("733534002", "164909002"), "LBBB", "left bundle branch block"),
    Diagnosis(("713427006", "59118001"), "RBBB", "right bundle branch block"),
    Diagnosis(("270492004",), "IAVB", "first-degree AV block"),
    Diagnosis(("713426002",), "IRBBB", "incomplete right bundle branch block"),
    Diagnosis(("39732003",), "LAD", "left axis deviation"),
    Diagnosis(("445118002",), "LAnFB", "left anterior fascicular block"),
    Diagnosis(("164947007",), "LPR", "prolonged PR interval"),
    Diagnosis(("251146004",), "LQRSV", "low QRS voltages"),
    Diagnosis(("111975006",), "LQT", "prolonged QT interval"),
    Diagnosis(("698252002",), "NSIVCB", "nonspecific intraventricular conduction disorder"),
    Diagnosis(("426783006",), "NSR", "sinus rhythm"),
    Diagnosis(("284470004", "63593006"), "PAC", "premature atrial contraction"),
    Diagnosis(("10370003",), "PR", "pacing rhythm"),
    Diagnosis(("365413008",), "PRWP", "poor R-wave progression"),
    Diagnosis(("427172004", "17338001"), "PVC", "premature ventricular contraction"),
    Diagnosis(("164917005",), "QAb", "abnormal Q wave"),
    Diagnosis(("47665007",), "RAD", "right axis deviation"),
    Diagnosis(("427393009",), "SA", "sinus arrhythmia"),
    Diagnosis(("426177001",), "SB", "sinus bradycardia"),
    Diagnosis(("427084000",), "STach", "sinus tachycardia"),
    Diagnosis(("164934002",), "TAb", "T-wave abnormality"),
    Diagnosis(("59931005",), "TInv", "T-wave inversion"),
)

N_CLASSES = len(DIAGNOSES)
GROUPS = tuple(diagnosis.group for diagnosis in DIAGNOSES)
CLASS_OF_CODE = {code: i for i, diagnosis in enumerate(DIAGNOSES) for code in diagnosis.codes}
# The codes that an output file lists: both codes of a pair, so 30 for the 26 classes.
OUTPUT_CODES = tuple(CLASS_OF_CODE)
SINUS_RHYTHM = CLASS_OF_CODE["426783006"]


def encode_dx(dx) -> np.ndarray:
    """Return the label vector (26,), bool, of diagnosis codes; codes that are not scored are
    ignored."""
    labels = np.zeros(N_CLASSES, bool)
    for code in dx:
        if code in CLASS_OF_CODE:
            labels[CLASS_OF_CODE[code]] = True
    return labels


def per_code(values) -> list:
    """Return the values of the 26 classes for each of the 30 output codes; a pair shares its
    class's."""
    return [values[i] for i in CLASS_OF_CODE.values()]


def read_weights(path: str | Path = WEIGHTS_FILE) -> np.ndarray:
    """Return the Challenge's reward matrix (26, 26), float64; rows are true classes, columns
    outputs.

    Raises ValueError if the file's rows or columns are not the 26 classes in order, or a number is
    not finite.
    """
    with open(path, newline="") as file:
        header, *rows = csv.reader(file)
    for axis, found in (("columns", header[1:]), ("rows", [row[0] for row in rows])):
        if tuple(found) != GROUPS:
            raise ValueError(
                f"{path}: expected the {axis} {','.join(GROUPS)}; found {','.join(found)}"
            )
    weights = np.array([row[1:] for row in rows], float)
    if not np.isfinite(weights).all():
        raise ValueError(f"{path}: expected finite numbers, found others")
    return weights
