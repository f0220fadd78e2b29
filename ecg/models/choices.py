"""What the default method has beyond its paper, and the cross-validated figures that speak for it.

The README has the tables, their spread and their commands.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FIGURES = (
    "AUROC / Challenge metric, out of fold on 643 public records of six sources: on random folds, "
    "and by source, where each source is left out in turn"
)


@dataclass(frozen=True)
class Choice:
    """options: by "part.option" of a method's description. evidence: what was measured and what
    was not, in `FIGURES`."""

    choice: str
    options: Mapping[str, Any]
    evidence: str


CHOICES = {
    "multiscale_se": (
        Choice(
            "measurements of the record as a second input",
            {"network.measured_width": 128, "network.feature_dropout": 0.2},
            "Whole networks, one seed, all choices together: 12 leads .895 / .419 on folds, AUROC "
            ".882 by source, the published method .737 / .189 and .698; 2 leads .877 / .408 and "
            ".866, published .765 / .185 and .703. 2 leads, 8 filters, two seeds: the measurements "
            "alone .855 / .381 on folds and .861 / .116 by source, with the signal .861 / .408 and "
            ".861 / .119. Width and dropout were not compared.",
        ),
        Choice(
            "simulated records first",
            {
                "pretraining.n_records": 6000,
                "pretraining.measured_epochs": 10,
                "pretraining.epochs": 2,
            },
            "12 leads, measurements alone, three seeds: folds .889 / .411, without simulated "
            "records .805 / .339; by source .881 / .144, without .786 / -.020. Numbers of records "
            "and epochs were not compared.",
        ),
        Choice(
            "few epochs, warm-up and half a cosine, the last epoch kept",
            {
                "training.epochs": 10,
                "training.batch_size": 16,
                "training.optimizer": "adamw",
                "training.learning_rate": 2e-3,
                "training.clip_norm": 1.0,
                "training.schedule": "cosine",
                "training.warmup_share": 0.1,
                "training.best": "last",
            },
            "12 leads, measurements alone, three seeds, difference to ten epochs: half of them "
            "-.006 / -.007 on folds, -.002 / -.001 by source; twice -.003 / +.010, -.008 / -.002; "
            "rate halved on plateau and the best of up to 60 epochs .000 / +.005, -.007 / -.001; "
            "without warm-up -.003 / .000, -.001 / -.002. Batch size, optimiser, rate and clipping "
            "were not compared.",
        ),
        Choice(
            "one temperature, then the label set of the largest expected Challenge score",
            {"decision.rule": "expected_score", "decision.calibrated": True},
            "12 leads, whole networks, one seed, Challenge metric on folds and by source: as "
            "answered .419 and .123. On the same probabilities, fitted on the other folds or "
            "sources: this .425 and .169, without the temperature .421 and .059, the best label "
            "set of those seen in training .396 and .022, one threshold .379 and .110, thresholds "
            "per class .368 and -.043, one half .205 and .013.",
        ),
        Choice(
            "filters of the five blocks, which the paper does not give",
            {"network.widths": (16, 24, 32, 24, 16)},
            "2 leads, three folds, one seed: .873 / .418, with 32 filters in the last three blocks "
            ".880 / .401, no difference beyond the folds' spread, for half the multiply-adds. "
            "Not compared on more records.",
        ),
    ),
}


def choices_of(description: Mapping) -> list[dict]:
    """The choices that a method has taken, for a model's JSON; `description` as `method_to_dict`
    gives it. One of which an option was changed since is left out: its figures say nothing then."""
    return [
        {
            "choice": one.choice,
            "options": dict(one.options),
            "figures": FIGURES,
            "evidence": one.evidence,
        }
        for one in CHOICES.get(description["name"], ())
        if all(option_of(description, name) == value for name, value in one.options.items())
    ]


def option_of(description: Mapping, name: str):
    """The value of "part.option" in a method's description."""
    part, option = name.split(".")
    return description[part][option]
