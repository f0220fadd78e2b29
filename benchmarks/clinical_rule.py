"""Compare the clinical rule with the Challenge's label sets, finding by finding, out of fold.

    python -m benchmarks.clinical_rule OUT … [--out FILE.csv]

Each OUT is the folder of a `python -m ecg.cross_validation DATA OUT`. The operating points that are
applied to a fold are fitted to the out-of-fold predictions of the other folds. Prints, for each run
(method, variant, lead set, seed), a row for all findings together and one for each finding that a
record has: how many records have it, how many are called, the sensitivity and the positive
predictive value (PPV), by the clinical rule and by the Challenge's; the row "all" also has the
share of records whose findings contradict each other.
"""

import numpy as np

from benchmarks.decision_rules import print_run_rows
from ecg.models.operating_points import call_findings, contradicts, fit_points
from ecg.records.diagnoses import DIAGNOSES

COLUMNS = (
    "run",
    "finding",
    "n_positive",
    "clinical_called",
    "clinical_sensitivity",
    "clinical_ppv",
    "clinical_contradictions",
    "challenge_called",
    "challenge_sensitivity",
    "challenge_ppv",
    "challenge_contradictions",
)


def rows_of(name: str, folds: list) -> list[dict]:
    """Return the rows of one run; folds: its out-of-fold predictions, at least two."""
    labels = np.concatenate([fold.labels for fold in folds])
    clinical = clinical_findings(folds)
    challenge = np.concatenate([fold.outputs for fold in folds])
    rows = [
        {"run": name, "finding": "all", "n_positive": int(labels.sum())}
        | _figures("clinical", labels, clinical)
        | _figures("challenge", labels, challenge)
        | {
            "clinical_contradictions": _share(contradicts(clinical).mean()),
            "challenge_contradictions": _share(contradicts(challenge).mean()),
        }
    ]
    for i in np.argsort(-labels.sum(axis=0), kind="stable"):
        if labels[:, i].any():
            rows.append(
                {
                    "run": name,
                    "finding": DIAGNOSES[i].abbreviation,
                    "n_positive": int(labels[:, i].sum()),
                }
                | _figures("clinical", labels[:, i], clinical[:, i])
                | _figures("challenge", labels[:, i], challenge[:, i])
            )
    return rows


def clinical_findings(folds: list) -> np.ndarray:
    """Return the findings (n_records, 26), bool, of all folds by the clinical rule, fold by fold.

    The points that are applied to a fold are fitted to the other folds; at least two folds.
    """
    return np.concatenate([_clinical(folds, i) for i in range(len(folds))])


def main(arguments=None) -> None:
    """Run the command line."""

    def rows(run, folds):
        return rows_of(run, list(folds.values()))

    print_run_rows("python -m benchmarks.clinical_rule", __doc__, COLUMNS, rows, arguments)


def _clinical(folds, i: int) -> np.ndarray:
    """Return the findings (n_records, 26) of fold i, by points fitted to the other folds."""
    others = [fold for j, fold in enumerate(folds) if j != i]
    points = fit_points(
        np.concatenate([fold.labels for fold in others]),
        np.concatenate([fold.probabilities for fold in others]),
    )
    return call_findings(folds[i].probabilities, points).present


def _figures(rule: str, labels, called) -> dict:
    n_right, n_called, n_positive = ((labels & called).sum(), called.sum(), labels.sum())
    return {
        f"{rule}_called": int(n_called),
        f"{rule}_sensitivity": _share(n_right / n_positive),
        f"{rule}_ppv": _share(n_right / n_called) if n_called else "",
    }


def _share(value) -> str:
    return f"{value:.3f}".removeprefix("0")


if __name__ == "__main__":
    main()
