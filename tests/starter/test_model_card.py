"""The card of untrained models, from made-up answers to made-up records."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks import model_card
from benchmarks.model_card import (
    Patient,
    card_values,
    evaluate,
    fold_means,
    groups_of,
    limits_of,
    main,
    number,
    read_patients,
    recipe_of,
    render,
    table,
)
from benchmarks.pack_models import Release, pack
from ecg.evaluation.folds import FoldOutputs
from ecg.evaluation.labelled_outputs import intervals
from ecg.records.diagnoses import DIAGNOSES, SINUS_RHYTHM, read_weights
from ecg.records.discovery import RecordFiles
from tests.starter.made_up import made_up_fold, write_folds
from tests.synthetic import write_folder

LEAD_SETS = (12, 2)
NAMES = {"A": [f"A{i:04d}" for i in range(30)], "HR": [f"HR{i:05d}" for i in range(24)]}


def patient(name, i) -> Patient:
    return Patient(
        RecordFiles(Path(f"{name}.hea"), Path(f"{name}.mat")),
        re.match("[A-Z]+", name)[0],
        ("Female", "Male")[i % 2],
        (float("nan"), 10.0, 45.0, 85.0)[i % 4],
        500.0,
        (float("nan"), 50.0, 70.0, 120.0)[i % 4],
        "CC BY 4.0" if name < "B" else "",
    )


@pytest.fixture(scope="module")
def patients():
    names = [name for names in NAMES.values() for name in names]
    return {name: patient(name, i) for i, name in enumerate(names)}


@pytest.fixture(scope="module")
def outs(patients, tmp_path_factory):
    """Folders of a cross-validation by folds and of one by source."""
    by_fold, by_source = (tmp_path_factory.mktemp(name) for name in ("folds", "sources"))
    names = list(patients)
    for lead_set in LEAD_SETS:
        write_folds(by_fold, lead_set, {"1": names[::2], "2": names[1::2]})
        write_folds(by_source, lead_set, NAMES)
    return by_fold, by_source


@pytest.fixture(scope="module")
def starter(untrained, tmp_path_factory):
    model, folder = (tmp_path_factory.mktemp(name) for name in ("model", "starter"))
    for lead_set in LEAD_SETS:
        for ending in ("json", "weights.h5"):
            shutil.copy(untrained / f"{lead_set}_leads.{ending}", model)
    pack(model, folder, Release("1.2.3", "0123456", "python train_model.py R M"))
    return folder


@pytest.fixture(scope="module")
def card(starter, patients, outs):
    by_fold, by_source = (evaluate(out, patients, 1) for out in outs)
    return render(card_values(starter, patients, by_fold, by_source, {12: 1234, 2: 567}))


def rows_below(card, heading) -> list[list[str]]:
    """The cells of the first table below a heading."""
    lines = card.split(f"{heading}\n", 1)[1].splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return [rows[0], *rows[2:]]


def test_the_card_says_which_models_these_are(card, starter):
    files = rows_below(card, "## Files")
    for row, lead_set in zip(files[1:], LEAD_SETS, strict=True):
        digest = json.loads((starter / f"{lead_set}_leads.json").read_text())["weights"]["sha256"]
        assert row[0] == f"`{lead_set}_leads.weights.h5`"
        assert row[-2:] == ["0123456", f"`{digest}`"]
    assert [row[1] for row in files[1:]] == ["1,234", "567"]
    assert "| Version | 1.2.3 |" in card
    assert "\n    python train_model.py R M\n" in card


def test_every_table_is_complete(card):
    tables = re.findall(r"(?:^\|.*\n)+", card, re.MULTILINE)
    assert len(tables) == 14
    for lines in (found.splitlines() for found in tables):
        assert len(lines) > 2
        assert len({line.count("|") for line in lines}) == 1
    assert "nan" not in card
    assert "None" not in card


def test_unknown_things_are_said_to_be_unknown(card):
    sources = rows_below(card, "## Training data")
    assert [row[:3] for row in sources[1:]] == [
        ["CPSC 2018 (A)", "30", "CC BY 4.0"],
        ["PTB-XL (HR)", "24", "not stated"],
    ]
    assert "copies were taken" not in card


def test_scores_are_those_of_the_answers(card, outs, patients):
    (_, twelve, two) = rows_below(card, "### By lead set")
    assert (twelve[0], two[0]) == ("12", "2")
    found = evaluate(outs[0], patients, 1)[12]
    aurocs = [fold.scores["AUROC"] for fold in found.folds]
    assert twelve[1].startswith(f"{number(np.mean(aurocs))} (")
    assert twelve[2] == number(np.std(aurocs, ddof=1))
    (together,) = intervals(found.answered, read_weights())
    assert twelve[5].startswith(number(together["Challenge metric"].value))


def test_findings_without_a_record_have_no_figures(card):
    findings = rows_below(card, "30 records have share one point:")
    assert len(findings) == 1 + 3
    assert findings[1][:2] == ["sinus rhythm (NSR)", "36"]
    assert "No record has BBB, Brady, " in card


def test_groups_are_by_sex_age_and_measured_rate(outs, patients):
    groups = groups_of(evaluate(outs[0], patients, 1)[12])
    assert {name: int(chosen.sum()) for name, chosen in groups.items()} == {
        "sex: female": 27,
        "sex: male": 27,
        "age: 0 to 17": 14,
        "age: 40 to 59": 13,
        "age: 80 and older": 13,
        "age: unknown": 14,
        "heart rate: below 60/min": 14,
        "heart rate: 60 to 100/min": 13,
        "heart rate: above 100/min": 13,
        "heart rate: not measured": 14,
    }


def test_an_interval_of_means_contains_the_mean_and_small_folds_do_not_count():
    folds = [
        FoldOutputs(**(made_up_fold([f"{i}{j}" for j in range(size)], i) | {"training": {}}))
        for i, size in enumerate((40, 40, 5))
    ]
    for name, (interval, spread) in fold_means(folds).items():
        values = [fold.scores[name] for fold in folds[:2]]
        assert interval.value == pytest.approx(np.mean(values))
        assert spread == pytest.approx(np.std(values, ddof=1))
        assert interval.low < interval.value < interval.high


def test_a_single_fold_has_a_mean_without_a_spread():
    fold = FoldOutputs(**(made_up_fold([str(j) for j in range(40)], 0) | {"training": {}}))
    for name, (interval, spread) in fold_means([fold]).items():
        assert interval.value == pytest.approx(fold.scores[name])
        assert np.isnan(spread)
    assert all(np.isnan(found.value) for found, _ in fold_means([]).values())


def test_limits_count_what_the_card_warns_of(patients):
    labels = np.zeros((54, 26), bool)
    labels[:25, SINUS_RHYTHM] = labels[:3, 0] = True
    limits = limits_of(patients, labels)
    assert limits["n_under_18"] == 14
    assert limits["n_over_80"] == 13
    assert limits["rare"] == ["AF (3)"]
    assert len(limits["absent"]) == 24


def test_the_recipe_is_told_stage_by_stage():
    measured = {"n_training": 60, "epochs": 10, "batch_size": 64, "learning_rate": 0.002}
    simulated = measured | {"epochs": 2, "start": measured | {"start": None}}
    log = {
        "n_training": 9,
        "epochs": 3,
        "start": simulated,
        "n_validation": 1,
        "precision": "float32",
        "seed": 0,
        "gpus": [],
    }
    method = {
        "name": "m",
        "training": {"batch_size": 16, "learning_rate": 0.001},
        "network": {"widths": [8, 4], "demographics": False, "deviation": None},
    }
    recipe = recipe_of(method, log)
    stages = [line.split(" | ") for line in recipe["stages"].splitlines()[2:]]
    assert [stage[1:] for stage in stages] == [
        ["60", "10", "64", "0.002 |"],
        ["60", "2", "64", "0.002 |"],
        ["9", "3", "16", "0.001 |"],
    ]
    assert recipe["n_simulated"] == 60
    assert "network: widths 8-4, demographics no, deviation none" in recipe["options"]


@pytest.mark.parametrize(
    ("value", "text"), [(0.9, ".900"), (-0.19, "-.190"), (1.0, "1.000"), (float("nan"), "-")]
)
def test_scores_have_three_decimals(value, text):
    assert number(value) == text


def test_columns_of_numbers_are_aligned_to_the_right():
    assert table(["a", "b", "c"], [[1, 2, "x"], [3, "-", 4]]).splitlines() == [
        "| a | b | c |",
        "| --- | ---: | --- |",
        "| 1 | 2 | x |",
        "| 3 | - | 4 |",
    ]


def test_answers_to_other_records_are_refused(outs, patients):
    some = {name: found for name, found in patients.items() if name != "A0003"}
    with pytest.raises(ValueError, match="expected one answer for each of 53 records"):
        evaluate(outs[0], some, 1)


def test_folds_of_another_length_are_refused(outs, patients):
    with pytest.raises(ValueError, match=r"expected folds of 10 epochs, .* found 1"):
        evaluate(outs[0], patients, 10)


def test_a_model_without_folds_is_refused(starter, outs, patients):
    by_fold, by_source = (evaluate(out, patients, 1) for out in outs)
    lead_sets = {12: 1, 2: 1}
    fewer = {12: by_fold[12]}
    with pytest.raises(ValueError, match="expected folds of its lead sets, found none of 2 leads"):
        card_values(starter, patients, fewer, by_source, lead_sets)
    del by_source[12]
    with pytest.raises(ValueError, match="expected sources of its lead sets, found none of 12"):
        card_values(starter, patients, by_fold, by_source, lead_sets)


def test_a_smaller_lead_set_may_be_without_scores_by_source(starter, outs, patients):
    by_fold, by_source = (evaluate(out, patients, 1) for out in outs)
    del by_source[2]
    values = card_values(starter, patients, by_fold, by_source, {12: 1, 2: 1})
    assert "2 leads, AUROC" not in values["source_table"].replace("12 leads", "")
    assert "12 leads, AUROC" in values["source_table"]
    assert render(values)


def test_the_command_reads_records_and_writes_the_card(starter, tmp_path, capsys):
    records = write_folder(tmp_path / "records", 44, prefix="A")
    (records / "A120000.mat").write_bytes(b"broken")
    (records / "SOURCES.csv").write_text(
        "record,source_repo,licence_of_data\nA120001,someone/ecgs,CC BY 4.0\n"
    )
    found = read_patients(records)
    assert len(found) == 43  # training leaves the broken one out, too
    assert found["A120001"].licence == "CC BY 4.0"
    assert found["A120001"].copy == "someone/ecgs"
    assert 120 < found["A120001"].heart_rate_bpm < 140
    names = list(found)
    folds = {"1": names[:22], "2": names[22:]}
    for lead_set in LEAD_SETS:
        write_folds(tmp_path / "folds", lead_set, folds)
        write_folds(tmp_path / "sources", lead_set, folds)
    starter = shutil.copytree(starter, tmp_path / "starter")
    main([str(starter), str(records), str(tmp_path / "folds"), str(tmp_path / "sources")])
    card = (starter / model_card.CARD).read_text()
    assert "CC BY 4.0 (1)" in card
    assert "someone/ecgs" in card
    assert all(name in card for name in ("Brier", "PPV", "NPV", DIAGNOSES[0].name))
    assert "written" in capsys.readouterr().out
