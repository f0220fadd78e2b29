"""What does `--one-site` gain on hospitals that the network has not seen?

    python -m benchmarks.one_site OUT … [--out FILE.csv]

Each OUT is the folder of a `python -m ecg.cross_validation DATA OUT [--by-source]` of a method that
decides by the expected score. The out-of-fold predictions of each source (or fold) are decided as
they are, and with the share of sinus rhythm that is estimated from them, see
`ecg.models.prior_shift`. The share in training is that of the records of the other sources (or
folds).
"""

import numpy as np

from benchmarks.decision_rules import print_run_rows
from ecg.evaluation.folds import FoldOutputs
from ecg.models.decisions import Decision, DecisionOptions, decide
from ecg.models.prior_shift import adapt, estimate_share
from ecg.records.diagnoses import SINUS_RHYTHM, read_weights
from ecg.records.metrics import challenge_metric

COLUMNS = (
    "run",
    "held_out",
    "n_records",
    "share_in_training",
    "share",
    "share_estimated",
    "gain",
    "metric",
    "metric_one_site",
)


def rows_of(run: str, folds: dict[str, FoldOutputs]) -> list[dict]:
    """Return a row for each source or fold held out, and one for all; see `COLUMNS`.

    folds: at least two. share: of sinus rhythm among the records held out, by their labels.
    """
    decision = Decision(DecisionOptions(rule="expected_score"), np.zeros(0))
    rows, all_labels, all_outputs, all_adapted = [], [], [], []
    for name, fold in folds.items():
        others = [other.labels for key, other in folds.items() if key != name]
        known = np.concatenate(others)[:, SINUS_RHYTHM].mean()
        estimate = estimate_share(fold.probabilities[:, SINUS_RHYTHM], known)
        outputs = decide(fold.probabilities, decision)
        adapted = decide(adapt(fold.probabilities, estimate), decision)
        rows.append(
            {
                "run": run,
                "held_out": name,
                "n_records": len(fold.labels),
                "share_in_training": f"{known:.3f}",
                "share": f"{fold.labels[:, SINUS_RHYTHM].mean():.3f}",
                "share_estimated": f"{estimate.share:.3f}" if estimate.applied else "not applied",
                "gain": f"{estimate.gain:.1f}",
            }
            | _metrics(fold.labels, outputs, adapted)
        )
        all_labels.append(fold.labels)
        all_outputs.append(outputs)
        all_adapted.append(adapted)
    labels = np.concatenate(all_labels)
    together = {"run": run, "held_out": "all", "n_records": len(labels)}
    return [
        *rows,
        together | _metrics(labels, np.concatenate(all_outputs), np.concatenate(all_adapted)),
    ]


def main(arguments=None) -> None:
    """Run the command line."""
    print_run_rows("python -m benchmarks.one_site", __doc__, COLUMNS, rows_of, arguments)


def _metrics(labels, outputs, adapted) -> dict[str, str]:
    weights = read_weights()
    return {
        "metric": f"{challenge_metric(labels, outputs, weights):.4f}",
        "metric_one_site": f"{challenge_metric(labels, adapted, weights):.4f}",
    }


if __name__ == "__main__":
    main()
