"""The models in starter/: complete, described by their card, and answering as they did."""

import json
import subprocess
import sys

import pytest

from benchmarks.model_card import CARD
from benchmarks.pack_models import LARGEST_BYTES
from benchmarks.select_records import NAMES_FILE
from benchmarks.starter_answers import (
    STORED,
    TOLERANCE,
    Answers,
    answer_records,
    changed_records,
    largest_difference,
    read_answers,
    simulated_records,
    write_answers,
)
from ecg.models.descriptions import STARTER, find_models, model_paths, read_description
from ecg.records.leads import LEAD_SETS
from ecg.simulation.recordings import simulate_folder
from tests.conftest import ROOT, run_script

FOLDER = ROOT / STARTER
STORE = "python -m benchmarks.starter_answers --write"


@pytest.fixture(scope="module")
def records():
    return simulated_records()


def test_there_is_a_whole_training_for_each_lead_set():
    assert find_models(FOLDER) == list(LEAD_SETS)
    for lead_set in LEAD_SETS:
        description = read_description(FOLDER, lead_set)
        assert "narrow copy" not in description["method"]["source"]
        assert description["training_log"]["n_simulated"] == 0
        assert description["decision"]["operating_points"] is not None
        assert "dirty" not in description["release"]["commit"]
        assert description["release"]["commit"] != "unknown"


def test_the_folder_holds_the_models_and_their_card_alone():
    expected = {path.name for size in LEAD_SETS for path in model_paths(FOLDER, size)}
    assert {path.name for path in FOLDER.iterdir()} == expected | {CARD}
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < LARGEST_BYTES


def test_the_card_is_that_of_the_models():
    card = (FOLDER / CARD).read_text()
    for lead_set in LEAD_SETS:
        assert read_description(FOLDER, lead_set)["weights"]["sha256"] in card
    assert f"| Version | {read_description(FOLDER, 12)['release']['version']} |" in card


def test_the_models_answer_as_they_did(records):
    now, stored = answer_records(FOLDER, records), read_answers()
    changed = changed_records(now, stored)
    assert not changed, (
        f"the simulation makes other records than {STORED.name} has answers for: "
        f"{', '.join(changed)}. This says nothing about the models: store their answers anew with "
        f"{STORE}, from a commit without other changes."
    )
    difference, where = largest_difference(now, stored)
    assert difference < TOLERANCE, (
        f"the shipped models answer otherwise than before: {where} differs by {difference:.4f}. "
        "Code that prepares or measures signals, builds networks or pools answers has changed "
        "under them. If that is intended, say so in CHANGELOG.md, train new models with "
        f"scripts/starter.sh and store their answers with {STORE}."
    )


@pytest.mark.contract
def test_the_commands_answer_with_the_shipped_models(tmp_path):
    for lead_set in LEAD_SETS:
        simulate_folder(tmp_path / "test", 1, 1, ("simulated-hospital",), lead_set)
    process = run_script(
        "test_model.py", STARTER, tmp_path / "test", tmp_path / "out", "--strict", ECG_WORKERS="1"
    )
    assert process.returncode == 0, process.stderr
    assert len(list((tmp_path / "out").glob("*.csv"))) == len(LEAD_SETS)
    (record,) = (tmp_path / "test").glob("*_12_*.hea")
    process = subprocess.run(
        [sys.executable, "-m", "ecg.predict", STARTER, record, "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    (answer,) = json.loads(process.stdout)
    assert answer["lead_set"] == 12
    assert answer["model"]["trained_on"].startswith(
        f"{len(NAMES_FILE.read_text().split())} records"
    )


def test_stored_answers_are_read_as_they_were_written(records, untrained, tmp_path):
    answers = answer_records(untrained, records[:2])
    write_answers(answers, tmp_path / "answers.csv")
    stored = read_answers(tmp_path / "answers.csv")
    assert len(stored.probabilities) == 2 * len(LEAD_SETS)
    assert not changed_records(answers, stored)
    assert largest_difference(answers, stored)[0] < 1e-5


def test_a_changed_answer_is_found_and_named(records, untrained):
    now = answer_records(untrained, records[:1])
    name = records[0].name
    changed = {key: values.copy() for key, values in now.probabilities.items()}
    changed[name, 4][0] += 0.01
    difference, where = largest_difference(now, Answers(now.deviation_mv, changed))
    assert difference == pytest.approx(0.01)
    assert where == f"record {name}, 4 leads, AF"


def test_a_changed_record_is_told_from_a_changed_answer(records, untrained):
    now = answer_records(untrained, records[:2])
    first, second = (record.name for record in records[:2])
    other = {first: now.deviation_mv[first] + 0.001, "more": 0.1}
    assert changed_records(now, Answers(other, {})) == sorted([first, second, "more"])


def test_simulated_records_are_always_the_same(records):
    for before, after in zip(records, simulated_records(), strict=True):
        assert before.name == after.name
        assert (before.signal == after.signal).all()


def test_answers_to_other_lead_sets_are_refused(records, untrained):
    now = answer_records(untrained, records[:1])
    some = {key: values for key, values in now.probabilities.items() if key[1] != 3}
    with pytest.raises(ValueError, match="expected answers to"):
        largest_difference(now, Answers(now.deviation_mv, some))
