"""Made-up answers of folds."""

from pathlib import Path

import numpy as np

from ecg.records.diagnoses import SINUS_RHYTHM


def made_up_fold(names, seed) -> dict[str, np.ndarray]:
    """The arrays of a fold: two records of three have sinus rhythm, and some of them class 0 or 1;
    the probabilities of these tell more or less, the others are small."""
    random = np.random.default_rng(seed)
    labels = np.zeros((len(names), 26), bool)
    labels[:, SINUS_RHYTHM] = np.arange(len(names)) % 3 > 0
    labels[::3, 0], labels[1::4, 1] = True, True
    probabilities = np.full((len(names), 26), 0.01)
    for i in (0, 1, SINUS_RHYTHM):
        noise = random.uniform(-0.3, 0.3, len(names))
        probabilities[:, i] = np.where(labels[:, i], 0.7, 0.3) + noise
    return {
        "names": np.array(names),
        "labels": labels,
        "outputs": probabilities > 0.5,
        "probabilities": probabilities,
        "training": np.array('{"epochs": 1, "temperature": 1.0}'),
    }


def write_folds(out: Path, lead_set: int, folds=None, seed: int = 0) -> Path:
    """Writes the folds of a cross-validation; folds: name -> names of records, four of 30 by
    default."""
    (out / "folds").mkdir(parents=True, exist_ok=True)
    if folds is None:
        folds = {str(i): [f"A{i}{j:03d}" for j in range(30)] for i in range(1, 5)}
    for number, (fold, names) in enumerate(folds.items()):
        name = f"multiscale_se.default.{lead_set}_leads.seed{seed}.fold_{fold}.0f.npz"
        np.savez(out / "folds" / name, **made_up_fold(names, [number, lead_set]))
    return out
