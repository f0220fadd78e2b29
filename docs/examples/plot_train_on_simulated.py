"""
Train on simulated records
==========================

From nothing to scores: simulate records, train a small model of two leads, answer other records
with it, and score the answers as the Challenge does. On your own records the steps are the same;
``train_model.py``, ``test_model.py`` and ``evaluate_model.py`` do them from the command line.
"""

import tempfile
from pathlib import Path

from ecg.evaluation.labelled_outputs import always_sinus, intervals, read_labelled_outputs
from ecg.models.settings import Settings
from ecg.pages.ecg_sheet import draw_sheet
from ecg.records.diagnoses import read_weights
from ecg.records.discovery import find_records
from ecg.records.record import read_record
from ecg.simulation.recordings import simulate_folder
from ecg.training.model_folders import train_model_folder
from test_model import test_model as answer_folder

# sphinx_gallery_thumbnail_path = "images/ecg.svg"

temporary = tempfile.TemporaryDirectory()  # removed at the end
folder = Path(temporary.name)

# %%
# Records
# -------
#
# Three sources take turns. They differ in people, recorder and habits of annotation. Another seed
# gives other people: these are the records that the model will be tested on.

sources = ("simulated-hospital", "simulated-heart-centre", "simulated-county")
simulate_folder(folder / "training", 300, seed=1, sources=sources, workers=2)
simulate_folder(folder / "test", 100, seed=2, sources=sources, lead_set=2, workers=2)

# %%
# This is the first of them, drawn as on paper. ``record.signal`` contains it in mV.


class Drawing(str):
    """SVG that this page shows."""

    _repr_html_ = str.__str__


record = read_record(find_records(folder / "training")[0])
print(record.name, record.signal.shape, f"{record.fs:g} Hz", record.dx)
Drawing(draw_sheet(record))

# %%
# Training
# --------
#
# The preset "demo" is narrow and short: it trains in minutes on two cores. Five epochs are too few
# for a good model, and enough to see it learn. If interrupted, the same call resumes.

settings = Settings(preset="demo", lead_sets=(2,), epochs=5, workers=2)
train_model_folder(folder / "training", folder / "model", settings)

# %%
# Scores
# ------
#
# Each record gets a CSV file, in the Challenge's format.

answer_folder(folder / "model", folder / "test", folder / "outputs", workers=2)
print(min((folder / "outputs").iterdir()).read_text())

# %%
# The metrics are those of the Challenge. Brackets contain 95 % of resamples of the records: with so
# few records, the range is wide.

answered = read_labelled_outputs(folder / "test", folder / "outputs")[2]
weights = read_weights()
(scores,) = intervals(answered, weights)
(without_model,) = intervals(always_sinus(answered), weights)
for name, score in scores.items():
    print(
        f"{name:17} {score.value:6.3f} ({score.low:.3f} to {score.high:.3f}); "
        f"always sinus rhythm {without_model[name].value:.3f}"
    )
