"""
Compare two methods
===================

Two of the five systems on the same folds of simulated records, and on the same resamples: is one
of them better, or is the difference chance? ``python -m ecg.cross_validation`` does this for all
methods, variants and lead sets.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from ecg.evaluation.comparison import choose_variants, plan_folds
from ecg.evaluation.fold_scores import score_rows
from ecg.evaluation.folds import read_answers, run_fold
from ecg.models.registry import find_method, with_epochs
from ecg.models.settings import Settings
from ecg.records.diagnoses import read_weights
from ecg.records.metrics import score
from ecg.simulation.recordings import simulate_folder

# %%
# Folds
# -----
#
# Both methods, narrow and short, get the same two folds of 200 records.

temporary = tempfile.TemporaryDirectory()  # removed at the end
folder = Path(temporary.name)
simulate_folder(folder / "data", 200, seed=1, workers=2)
names = ("multiscale_se", "se_ecgnet")
settings = Settings(preset="demo", workers=2)
methods = (find_method(name, settings.preset) for name in names)
chosen = choose_variants(methods, ["default"])
folds = plan_folds(
    {with_epochs(method, 8): variants for method, variants in chosen.items()},
    folder / "data",
    folder / "out",
    folder / "cache",
    lead_sets=[2],
    n_folds=2,
    seeds=[0],
    settings=settings,
)
(folder / "out" / "folds").mkdir(parents=True)
for fold in folds:
    run_fold(fold)

# %%
# Scores
# ------
#
# Every record was answered by the network that had not seen it. These are the rows of
# ``scores.csv``: each fold, the mean over folds, all answers together. After eight epochs on a
# hundred records they say little about the systems themselves.

for row in score_rows(folds, [read_answers(fold.file) for fold in folds]):
    if row["seed"] == settings.seed:  # further rows are over several seeds
        print(
            f"{row['method']:14} {row['fold']:9} AUROC {row['AUROC']:.3f}, "
            f"Challenge metric {row['Challenge metric']:.3f}"
        )

# %%
# On the same resamples
# ---------------------
#
# 200 times we draw records with replacement and score both methods on them. Where the differences
# lie on both sides of 0, neither method is known to be better.

weights = read_weights()
answers = {
    name: [read_answers(fold.file) for fold in folds if fold.method.name == name] for name in names
}


def metrics_of(name, draws):
    """Return the Challenge metric of the method's answers on each draw of records."""
    labels, outputs, probabilities = (
        np.concatenate([getattr(fold, part) for fold in answers[name]])
        for part in ("labels", "outputs", "probabilities")
    )
    return np.array(
        [
            score(labels[draw], outputs[draw], probabilities[draw], weights).summary[
                "Challenge metric"
            ]
            for draw in draws
        ]
    )


rng = np.random.default_rng(0)
draws = rng.integers(200, size=(200, 200))
first, second = (metrics_of(name, draws) for name in names)
low, high = np.percentile(second - first, (2.5, 97.5))
print(f"{names[1]} against {names[0]}: {low:+.3f} to {high:+.3f}")

figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
axes.hist(second - first, bins=20, color="0.7")
axes.axvline(0, color="black")
axes.set(xlabel=f"Challenge metric of {names[1]} less that of {names[0]}", ylabel="resamples")
plt.show()
