import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.decision_rules import (
    AS_PREDICTED,
    AUROC,
    RULES,
    answers_by_rule,
    main,
    read_runs,
    score_rules,
    sinus_weights,
    weighted_metric,
)
from ecg.evaluation.folds import FoldOutputs
from ecg.models.decisions import calibrate, decide, fit_decision
from ecg.records.diagnoses import SINUS_RHYTHM, read_weights
from ecg.records.metrics import challenge_metric


def random_answers(n_records, seed, source="A") -> FoldOutputs:
    random = np.random.default_rng(seed)
    probabilities = random.random((n_records, 26)) ** 4
    labels = random.random(probabilities.shape) < probabilities
    names = np.array([f"{source}{i:04d}" for i in range(n_records)])
    return FoldOutputs(names, labels, probabilities > 0.5, probabilities, {})


def write(
    folder, answers: FoldOutputs, fold="1", seed=0, key="0123456789ab", variant="published"
) -> None:
    (folder / "folds").mkdir(exist_ok=True)
    file = folder / "folds" / f"mtfnet.{variant}.3_leads.seed{seed}.fold_{fold}.{key}.npz"
    np.savez(file, **(vars(answers) | {"training": json.dumps(answers.training)}))


def test_equal_weights_give_the_challenge_metric():
    answers, weights = random_answers(50, seed=0), read_weights()
    expected = challenge_metric(answers.labels, answers.outputs, weights)
    for weight in (1.0, 0.3):
        found = weighted_metric(answers.labels, answers.outputs, weights, np.full(50, weight))
        assert found == pytest.approx(expected)


def test_a_weight_of_two_is_like_a_repeated_record():
    answers, weights = random_answers(50, seed=1), read_weights()
    times = np.random.default_rng(1).integers(0, 4, 50)
    labels, outputs = (np.repeat(part, times, axis=0) for part in (answers.labels, answers.outputs))
    assert weighted_metric(answers.labels, answers.outputs, weights, times) == pytest.approx(
        challenge_metric(labels, outputs, weights)
    )


def test_weights_give_sinus_rhythm_its_share():
    labels = random_answers(50, seed=2).labels
    weights = sinus_weights(labels, 0.6)
    assert weights.sum() == pytest.approx(50)
    assert weights[labels[:, SINUS_RHYTHM]].sum() == pytest.approx(30)
    assert np.isnan(sinus_weights(np.zeros((3, 26), bool), 0.6)).all()


def test_a_rule_is_fitted_only_to_the_other_folds():
    folds = [random_answers(40, seed) for seed in range(3)]
    together, outputs = answers_by_rule(folds)
    assert list(outputs) == [AS_PREDICTED, *RULES]
    predicted = np.concatenate([fold.outputs for fold in folds])
    np.testing.assert_array_equal(outputs[AS_PREDICTED], predicted)
    for rule in ("per class", "any set", "any, calibrated"):
        truth, fitted_on = together.labels[40:], together.probabilities[40:]
        decision = fit_decision(truth, fitted_on, read_weights(), RULES[rule])
        expected = decide(calibrate(folds[0].probabilities, decision.temperature), decision)
        np.testing.assert_array_equal(outputs[rule][:40], expected)
    wrong = replace(folds[0], labels=~folds[0].labels)
    _, others = answers_by_rule([wrong, *folds[1:]])
    for rule in RULES:
        np.testing.assert_array_equal(others[rule][:40], outputs[rule][:40])


def test_the_methods_calibration_is_undone():
    folds = [random_answers(40, seed) for seed in range(2)]
    calibrated = [
        replace(
            fold, probabilities=calibrate(fold.probabilities, 1.7), training={"temperature": 1.7}
        )
        for fold in folds
    ]
    found, expected = (answers_by_rule(f)[0].probabilities for f in (calibrated, folds))
    np.testing.assert_allclose(found, expected)


def test_every_rule_is_scored_on_each_source_and_shift():
    folds = [random_answers(40, 0, "A"), random_answers(30, 1, "HR")]
    together, outputs = answers_by_rule(folds)
    found = score_rules(together, outputs)
    source_metric = challenge_metric(folds[1].labels, outputs["0.5"][40:], read_weights())
    assert found["source HR, 30", "0.5"] == pytest.approx(source_metric)
    for subset in ("all 70 records", "source A, 40", "45% sinus rhythm", "CODE's classes"):
        assert all((subset, rule) in found for rule in [AS_PREDICTED, *RULES])
    assert ("all 70 records", AUROC) in found
    assert ("45% sinus rhythm", AUROC) not in found


def test_runs_are_identified_by_file_names(tmp_path):
    for seed in (0, 1):
        for fold in ("ptb.xl", "ningbo"):
            write(tmp_path, random_answers(5, seed), fold, seed)
    (tmp_path / "folds" / ".7.mtfnet.published.3_leads.seed0.fold_a.00.npz").touch()  # unfinished
    runs = read_runs(tmp_path)
    assert {key: len(folds) for key, folds in runs.items()} == {
        ("mtfnet", "published", 3, 0): 2,
        ("mtfnet", "published", 3, 1): 2,
    }
    np.testing.assert_array_equal(
        runs["mtfnet", "published", 3, 1]["ningbo"].labels, random_answers(5, seed=1).labels
    )


def test_runs_with_one_fold_or_a_repeated_fold_are_refused(tmp_path):
    with pytest.raises(ValueError, match="found none"):
        read_runs(tmp_path)
    write(tmp_path, random_answers(5, 0))
    with pytest.raises(ValueError, match=r"at least 2 folds of .*found 1"):
        read_runs(tmp_path)
    write(tmp_path, random_answers(5, 0), key="ba9876543210")
    with pytest.raises(ValueError, match="one file of fold 1, found two"):
        read_runs(tmp_path)


@pytest.mark.parametrize("variant", ["published", "default"])
def test_a_mixture_of_numbered_folds_and_sources_is_refused(variant, tmp_path):
    for fold in ("1", "2"):
        write(tmp_path, random_answers(5, 0), fold)
    for fold in ("", "cpsc_2018"):  # names that begin with no letter have an empty source
        write(tmp_path, random_answers(5, 0), fold, variant=variant)
    with pytest.raises(ValueError, match="found '1', '2', '', 'cpsc_2018'") as error:
        read_runs(tmp_path)
    assert str(error.value).startswith(f"{tmp_path}: ")


def error_of(*arguments) -> str:
    """Run the command, which must end with an error of one line; return that line."""
    with pytest.raises(SystemExit) as error:
        main([str(argument) for argument in arguments])
    assert "\n" not in error.value.code
    return error.value.code


def test_a_folder_without_folds_is_named(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        assert error_of(folder).startswith(f"benchmarks.decision_rules: {folder}/folds: ")
    write(tmp_path, random_answers(5, 0))
    assert "expected at least 2 folds of" in error_of(tmp_path)


def overwrite(content: str, file) -> None:
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
def test_an_unreadable_file_is_named(content, tmp_path):
    write(tmp_path, random_answers(5, 0), "1")
    write(tmp_path, random_answers(5, 0), "2")
    file = next((tmp_path / "folds").glob("*fold_2*"))
    overwrite(content, file)
    assert error_of(tmp_path).startswith(f"benchmarks.decision_rules: {file}: ")


def test_a_file_with_an_unexpected_name_is_named(tmp_path):
    write(tmp_path, random_answers(5, 0), "1")
    file = tmp_path / "folds" / "mtfnet.fold_1.npz"
    file.touch()
    assert error_of(tmp_path).startswith(f"benchmarks.decision_rules: {file}: ")


def test_all_folders_are_read_before_anything_is_computed(tmp_path, monkeypatch, capsys):
    for fold in ("1", "2"):
        write(tmp_path, random_answers(5, 0), fold)
    monkeypatch.setattr("benchmarks.decision_rules.answers_by_rule", None)
    assert "found none" in error_of(tmp_path, tmp_path / "missing")
    with pytest.raises(SystemExit) as error:
        main([str(tmp_path), "--out", str(tmp_path / "missing" / "score_rules.csv")])
    assert error.value.code == 2
    assert "--out: " in capsys.readouterr().err


def test_scores_are_printed_and_written(tmp_path, capsys):
    for seed in (0, 1):
        for fold in ("A", "B"):
            write(tmp_path, random_answers(30, 10 * seed + (fold == "B"), fold), fold, seed)
    out = tmp_path / "score_rules.csv"
    main([str(tmp_path), "--out", str(out)])
    with open(out, newline="") as file:
        rows = list(csv.DictReader(file))
    text = capsys.readouterr().out
    assert f"{tmp_path}: mtfnet published, 3 leads, seeds 0, 1" in text
    assert {(row["folder"], row["leads"], row["seed"]) for row in rows} == {
        (str(tmp_path), "3", seed) for seed in "01"
    }
    scores = [
        float(row["figure"])
        for row in rows
        if (row["records"], row["rule"]) == ("all 60 records", "0.5")
    ]
    assert len(scores) == 2
    assert f"{np.mean(scores):.3f}" in next(
        line for line in text.splitlines() if line.startswith("all 60 records")
    )
