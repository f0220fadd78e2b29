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

from ecg.evaluation.comparison import Comparison, choose_variants, plan_folds
from ecg.evaluation.fold_scores import score_rows
from ecg.evaluation.folds import read_fold_outputs, run_fold
from ecg.models.method import with_epochs
from ecg.models.settings import Settings
from ecg.records.diagnoses import read_weights
from ecg.records.metrics import score
from ecg.simulation.recordings import simulate_folder

temporary = tempfile.TemporaryDirectory()  # removed at the end
folder = Path(temporary.name)

# %%
# Folds
# -----
#
# Both methods, narrow and short, get the same two folds of 200 records.

simulate_folder(folder / "data", 200, seed=1, workers=2)
comparison = Comparison(
    data=folder / "data",
    out=folder / "out",
    methods=("multiscale_se", "se_ecgnet"),
    variants=("default",),
    lead_sets=(2,),
    seeds=(0,),
    n_folds=2,
)
settings = Settings(preset="demo", epochs=8, workers=2)
chosen = choose_variants(comparison.methods, comparison.variants, settings.preset)
chosen = {with_epochs(method, settings.epochs): names for method, names in chosen.items()}
folds = plan_folds(chosen, comparison, folder / "cache", settings)
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

for row in score_rows(folds, [read_fold_outputs(fold.file) for fold in folds]):
    if row["seed"] in comparison.seeds:  # further rows are over all seeds
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


def challenge_metrics(method, draws):
    """Return the Challenge metric of the method's answers on each draw of records."""
    answers = [read_fold_outputs(fold.file) for fold in folds if fold.run.method.name == method]
    labels = np.concatenate([fold.labels for fold in answers])
    outputs = np.concatenate([fold.outputs for fold in answers])
    probabilities = np.concatenate([fold.probabilities for fold in answers])
    scores = [score(labels[i], outputs[i], probabilities[i], weights) for i in draws]
    return np.array([drawn.summary["Challenge metric"] for drawn in scores])


first, second = comparison.methods
draws = np.random.default_rng(0).integers(200, size=(200, 200))
differences = challenge_metrics(second, draws) - challenge_metrics(first, draws)
low, high = np.percentile(differences, (2.5, 97.5))
print(f"{second} against {first}: {low:+.3f} to {high:+.3f} in 95 % of resamples")

figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
axes.hist(differences, bins=20, color="0.7")
axes.axvline(0, color="black")
axes.set(xlabel=f"Challenge metric of {second} less that of {first}", ylabel="resamples")
plt.show()
