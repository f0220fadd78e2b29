import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.decision_rules import (
    AUROC,
    OWN,
    RULES,
    answers_by_rule,
    figures,
    main,
    read_runs,
    sinus_weights,
    weighted_metric,
)
from ecg.evaluation.folds import Answers
from ecg.models.decisions import calibrate, decide, fit_decision
from ecg.records.diagnoses import SINUS_RHYTHM, read_weights
from ecg.records.metrics import challenge_metric


def made_up(n_records, seed, source="A") -> Answers:
    random = np.random.default_rng(seed)
    probabilities = random.random((n_records, 26)) ** 4
    labels = random.random(probabilities.shape) < probabilities
    names = np.array([f"{source}{i:04d}" for i in range(n_records)])
    return Answers(names, labels, probabilities > 0.5, probabilities, {})


def write(
    folder, answers: Answers, fold="1", seed=0, key="0123456789ab", variant="published"
) -> None:
    (folder / "folds").mkdir(exist_ok=True)
    file = folder / "folds" / f"mtfnet.{variant}.3_leads.seed{seed}.fold_{fold}.{key}.npz"
    np.savez(file, **(vars(answers) | {"facts": json.dumps(answers.facts)}))


def test_equal_weights_give_the_challenge_metric():
    answers, weights = made_up(50, seed=0), read_weights()
    expected = challenge_metric(answers.labels, answers.outputs, weights)
    for weight in (1.0, 0.3):
        found = weighted_metric(answers.labels, answers.outputs, weights, np.full(50, weight))
        assert found == pytest.approx(expected)


def test_a_record_that_weighs_twice_is_as_if_it_were_there_twice():
    answers, weights = made_up(50, seed=1), read_weights()
    times = np.random.default_rng(1).integers(0, 4, 50)
    labels, outputs = (np.repeat(part, times, axis=0) for part in (answers.labels, answers.outputs))
    assert weighted_metric(answers.labels, answers.outputs, weights, times) == pytest.approx(
        challenge_metric(labels, outputs, weights)
    )


def test_records_weigh_so_that_sinus_rhythm_has_its_share():
    labels = made_up(50, seed=2).labels
    weights = sinus_weights(labels, 0.6)
    assert weights.sum() == pytest.approx(50)
    assert weights[labels[:, SINUS_RHYTHM]].sum() == pytest.approx(30)
    assert np.isnan(sinus_weights(np.zeros((3, 26), bool), 0.6)).all()


def test_a_rule_is_fitted_to_the_other_folds_alone():
    folds = [made_up(40, seed) for seed in range(3)]
    together, outputs = answers_by_rule(folds)
    assert list(outputs) == [OWN, *RULES]
    np.testing.assert_array_equal(outputs[OWN], np.concatenate([one.outputs for one in folds]))
    for rule in ("per class", "any set", "any, calibrated"):
        truth, fitted_on = together.labels[40:], together.probabilities[40:]
        decision = fit_decision(truth, fitted_on, read_weights(), RULES[rule])
        expected = decide(calibrate(folds[0].probabilities, decision.temperature), decision)
        np.testing.assert_array_equal(outputs[rule][:40], expected)
    wrong = replace(folds[0], labels=~folds[0].labels)
    _, others = answers_by_rule([wrong, *folds[1:]])
    for rule in RULES:
        np.testing.assert_array_equal(others[rule][:40], outputs[rule][:40])


def test_a_methods_own_temperature_is_undone():
    folds = [made_up(40, seed) for seed in range(2)]
    own = [
        replace(one, probabilities=calibrate(one.probabilities, 1.7), facts={"temperature": 1.7})
        for one in folds
    ]
    found, expected = (answers_by_rule(one)[0].probabilities for one in (own, folds))
    np.testing.assert_allclose(found, expected)


def test_every_rule_has_a_figure_of_each_source_and_shift():
    folds = [made_up(40, 0, "A"), made_up(30, 1, "HR")]
    together, outputs = answers_by_rule(folds)
    found = figures(together, outputs)
    of_source = challenge_metric(folds[1].labels, outputs["0.5"][40:], read_weights())
    assert found["source HR, 30", "0.5"] == pytest.approx(of_source)
    for situation in ("all 70 records", "source A, 40", "45% sinus rhythm", "CODE's classes"):
        assert all((situation, rule) in found for rule in [OWN, *RULES])
    assert ("all 70 records", AUROC) in found
    assert ("45% sinus rhythm", AUROC) not in found


def test_runs_are_told_apart_by_the_names_of_their_files(tmp_path):
    for seed in (0, 1):
        for fold in ("ptb.xl", "ningbo"):
            write(tmp_path, made_up(5, seed), fold, seed)
    (tmp_path / "folds" / ".7.mtfnet.published.3_leads.seed0.fold_a.00.npz").touch()  # unfinished
    runs = read_runs(tmp_path)
    assert {key: len(folds) for key, folds in runs.items()} == {
        ("mtfnet", "published", 3, 0): 2,
        ("mtfnet", "published", 3, 1): 2,
    }
    np.testing.assert_array_equal(
        runs["mtfnet", "published", 3, 1][0].labels, made_up(5, seed=1).labels
    )


def test_runs_without_two_folds_or_with_one_twice_are_refused(tmp_path):
    with pytest.raises(ValueError, match="found none"):
        read_runs(tmp_path)
    write(tmp_path, made_up(5, 0))
    with pytest.raises(ValueError, match=r"at least 2 folds of .*found 1"):
        read_runs(tmp_path)
    write(tmp_path, made_up(5, 0), key="ba9876543210")
    with pytest.raises(ValueError, match="one file of fold 1, found two"):
        read_runs(tmp_path)


@pytest.mark.parametrize("variant", ["published", "default"])
def test_numbered_folds_beside_those_of_sources_are_refused(variant, tmp_path):
    for fold in ("1", "2"):
        write(tmp_path, made_up(5, 0), fold)
    for fold in ("", "cpsc_2018"):  # names that begin with no letter have an empty source
        write(tmp_path, made_up(5, 0), fold, variant=variant)
    with pytest.raises(ValueError, match="expected folds of one kind of split") as error:
        read_runs(tmp_path)
    assert str(error.value) == (
        f"{tmp_path}: expected folds of one kind of split, by number or by source; "
        "found '1', '2', '', 'cpsc_2018'"
    )


def error_of(*arguments) -> str:
    """The one line that says why the command ended."""
    with pytest.raises(SystemExit) as error:
        main([str(argument) for argument in arguments])
    assert "\n" not in error.value.code
    return error.value.code


def test_a_folder_without_folds_ends_in_one_line(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        message = error_of(folder)
        assert message == (
            f"decision_rules: {folder}: expected answers of folds in its folder folds, found none"
        )
    write(tmp_path, made_up(5, 0))
    assert "expected at least 2 folds of" in error_of(tmp_path)


def broken(content: str, file) -> None:
    if content == "other arrays":
        np.savez(file, numbers=np.arange(3))
    elif content == "a part of it":
        file.write_bytes(file.read_bytes()[:-100])
    elif content == "another byte":
        changed = bytearray(file.read_bytes())
        changed[len(changed) // 2] ^= 1
        file.write_bytes(changed)
    elif content == "one array":
        with open(file, "wb") as stream:
            np.save(stream, np.arange(3))
    elif content == "no file":
        file.unlink()
        file.mkdir()
    else:
        file.write_text(content)


@pytest.mark.parametrize(
    "content",
    ["", "text", "one array", "other arrays", "a part of it", "another byte", "no file"],
)
def test_a_file_that_holds_no_answers_is_named_in_one_line(content, tmp_path):
    write(tmp_path, made_up(5, 0), "1")
    write(tmp_path, made_up(5, 0), "2")
    file = next((tmp_path / "folds").glob("*fold_2*"))
    broken(content, file)
    message = error_of(tmp_path)
    assert message.startswith(f"decision_rules: {file}: expected the answers of a fold, found ")


def test_a_file_of_another_name_is_named_in_one_line(tmp_path):
    write(tmp_path, made_up(5, 0), "1")
    file = tmp_path / "folds" / "mtfnet.fold_1.npz"
    file.touch()
    assert error_of(tmp_path).startswith(f"decision_rules: {file}: expected a name like METHOD.")


def test_all_folders_are_read_before_anything_is_computed(tmp_path, monkeypatch, capsys):
    for fold in ("1", "2"):
        write(tmp_path, made_up(5, 0), fold)
    monkeypatch.setattr("benchmarks.decision_rules.answers_by_rule", None)
    assert "found none" in error_of(tmp_path, tmp_path / "missing")
    with pytest.raises(SystemExit) as error:
        main([str(tmp_path), "--out", str(tmp_path / "missing" / "figures.csv")])
    assert error.value.code == 2
    assert "--out: expected a file in a folder that is there" in capsys.readouterr().err


def test_figures_go_to_the_table_and_the_file(tmp_path, capsys):
    for seed in (0, 1):
        for fold in ("A", "B"):
            write(tmp_path, made_up(30, 10 * seed + (fold == "B"), fold), fold, seed)
    out = tmp_path / "figures.csv"
    main([str(tmp_path), "--out", str(out)])
    with open(out, newline="") as file:
        rows = list(csv.DictReader(file))
    text = capsys.readouterr().out
    assert f"{tmp_path}: mtfnet published, 3 leads, seeds 0, 1" in text
    assert {(row["folder"], row["leads"], row["seed"]) for row in rows} == {
        (str(tmp_path), "3", seed) for seed in "01"
    }
    figures_of = [
        float(row["figure"])
        for row in rows
        if (row["records"], row["rule"]) == ("all 60 records", "0.5")
    ]
    assert len(figures_of) == 2
    assert f"{np.mean(figures_of):.3f}" in next(
        line for line in text.splitlines() if line.startswith("all 60 records")
    )
