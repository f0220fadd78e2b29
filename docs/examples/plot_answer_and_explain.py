"""
Answer and explain one ECG
==========================

A model's prediction for one recording, and, drawn on the ECG, which beats and waves support it.
``python -m ecg.predict MODEL FILE --explain PAGE`` does the same for a file of any format.
"""

import tempfile
from pathlib import Path

import numpy as np

from ecg.models.prediction import predict_recording
from ecg.models.predictor import load_predictor
from ecg.models.settings import Settings
from ecg.pages.ecg_sheet import draw_sheet
from ecg.pages.evidence import marks_for, weigh_parts
from ecg.pages.explanation import explain
from ecg.pages.predictions import diagnosis_name, listed, presence
from ecg.records.diagnoses import DIAGNOSES
from ecg.records.discovery import find_records
from ecg.records.leads import LEAD_SETS
from ecg.records.record import read_record
from ecg.simulation.recordings import simulate_folder
from ecg.training.model_folders import train_model_folder

# %%
# A model to ask
# --------------
#
# A narrow one, trained for a few epochs on simulated records.

# sphinx_gallery_thumbnail_path = "images/ecg.svg"

temporary = tempfile.TemporaryDirectory()  # removed at the end
folder = Path(temporary.name)
simulate_folder(folder / "training", 300, seed=1, workers=2)
settings = Settings(preset="demo", lead_sets=(2,), epochs=10, workers=2)
train_model_folder(folder / "training", folder / "model", settings)
predictor = load_predictor(folder / "model", lead_set=2)

# %%
# The recording
# -------------
#
# Of 40 new simulated patients, the one for whom the model is most certain of something other than
# sinus rhythm.


class Drawing(str):
    """SVG that this page shows."""

    _repr_html_ = str.__str__


simulate_folder(folder / "new", 40, seed=3, lead_set=2, workers=2)
records = [read_record(files) for files in find_records(folder / "new")]
probabilities = np.stack(list(predictor.probabilities_of(records)))
others = [i for i, diagnosis in enumerate(DIAGNOSES) if diagnosis.abbreviation != "NSR"]
record = records[probabilities[:, others].max(axis=1).argmax()]
Drawing(draw_sheet(record))

# %%
# The answer
# ----------
#
# All 26 diagnoses have a probability, calibrated on records that training set aside. A diagnosis is
# present if its probability reaches its operating point.

prediction = predict_recording(record.name, [record], predictor)
for i in listed(prediction):
    print(f"{diagnosis_name(i):45} {prediction.probabilities[i]:.2f} {presence(prediction, i)}")
true = [i for i, diagnosis in enumerate(DIAGNOSES) if set(diagnosis.codes) & set(record.dx)]
print("The record's own labels:", ", ".join(map(diagnosis_name, true)))

# %%
# The explanation
# ---------------
#
# Each beat and each wave is replaced by a straight line in turn, and the prediction made again.
# Green parts, with a bar above, support the diagnosis; violet ones, with a bar below, speak against
# it; deeper colour means more. `weigh_parts` says the same in words, as on the page of
# `python -m ecg.predict --explain`.

explanation = explain(predictor.probabilities_of, record, LEAD_SETS[2], predictor.model.prevalence)
diagnosis = prediction.order[0]
print(diagnosis_name(diagnosis))
print(weigh_parts(explanation, diagnosis).headline)
Drawing(draw_sheet(record, marks_for(explanation, diagnosis)))

# %%
# The contributions, in log-odds, add up to the change from the diagnosis's frequency in training to
# its probability here.

contributions = explanation.contributions[:, diagnosis]
for i in np.argsort(-np.abs(contributions))[:5]:
    print(f"{explanation.parts[i].name:25} {contributions[i]:+.2f}")
print(f"{'all parts':25} {contributions.sum():+.2f}")
