"""`scripts/starter.sh`, whose models are those that ship."""

import json
import os
import subprocess

import pytest

from ecg.models.model_files import load_trained_model
from ecg.simulation.recordings import simulate_folder
from tests.conftest import ROOT


def starter_script(*arguments, **environ) -> subprocess.CompletedProcess:
    clean = {name: text for name, text in os.environ.items() if not name.startswith("ECG_")}
    return subprocess.run(
        ["bash", str(ROOT / "scripts" / "starter.sh"), *map(str, arguments)],
        env=clean | {name: str(text) for name, text in environ.items()},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.contract
@pytest.mark.parametrize(
    ("arguments", "environ", "expected"),
    [
        ((), {}, "expected one folder of records, found 0 arguments"),
        (("nowhere",), {}, "expected a folder of records, found nowhere"),
        ((ROOT,), {"PARTS": "models fold"}, "PARTS: expected some of models folds sources"),
        ((ROOT,), {"LEADS": "12,2"}, "LEADS: expected some of 12 6 4 3 2, found 12,2"),
    ],
)
def test_mistakes_are_refused_before_anything_is_made(arguments, environ, expected, tmp_path):
    process = starter_script(
        *arguments, STARTER=tmp_path / "starter", WORK=tmp_path / "work", **environ
    )
    assert process.returncode == 2
    assert expected in process.stderr
    assert not any(tmp_path.iterdir())


@pytest.mark.nightly
def test_one_command_trains_scores_and_describes_a_model(tmp_path):
    records, starter, work = tmp_path / "records", tmp_path / "starter", tmp_path / "work"
    sources = ("simulated-hospital", "simulated-heart-centre")
    simulate_folder(records, 48, 5, sources)
    environ = {
        "STARTER": starter,
        "WORK": work,
        "LEADS": "2",
        "PARTS": "models folds sources pack card",
        "ECG_PRESET": "demo",
        "ECG_EPOCHS": "1",
        "ECG_WORKERS": "1",
    }
    process = starter_script(records, **environ)
    assert process.returncode == 0, process.stderr
    made = {path.name: path.read_bytes() for path in starter.iterdir()}
    assert made.keys() == {"2_leads.json", "2_leads.weights.h5", "MODEL_CARD.md"}
    model = load_trained_model(starter, 2)
    assert model.decision.points.n_records == 48  # the answers of all folds
    release = json.loads(made["2_leads.json"])["release"]
    assert release["command"] == (
        "ECG_EPOCHS=1 ECG_PRESET=demo python train_model.py RECORDS MODEL"
    )
    card = made["MODEL_CARD.md"].decode()
    assert "5 folds" in card
    assert "Each of the 2 sources" in card
    assert release["commit"] in card

    again = starter_script(records, **environ)
    assert again.returncode == 0, again.stderr
    assert "2 leads: already trained, kept" in again.stdout
    assert "5 folds, 5 already trained" in again.stdout
    assert "2 folds, 2 already trained" in again.stdout
    assert {path.name: path.read_bytes() for path in starter.iterdir()} == made
