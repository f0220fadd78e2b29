import os
import sys

import pytest

from evaluate_model import evaluate_model, format_class_scores, format_scores, main


def write_case(folder, cases):
    """Write headers and outputs of (name, dx, output) triples; return the two folders."""
    for name, dx, output in cases:
        group = folder / "labels" / f"g{len(name)}"
        group.mkdir(parents=True, exist_ok=True)
        # Scoring reads only the diagnoses of a header.
        (group / f"{name}.hea").write_text(f"{name}\n# Dx: {dx}\n")
        (folder / "outputs").mkdir(exist_ok=True)
        (folder / "outputs" / f"{name}.csv").write_text(f"#{name}\n{output}\n")
    return folder / "labels", folder / "outputs"


def test_a_case_worked_by_hand(tmp_path):
    scores = evaluate_model(
        *write_case(
            tmp_path,
            [
                # Left bundle branch block by either code; the probability is the pair's mean.
                ("A", "164909002", "733534002,164909002,426783006\n1,0,0\n0.9,0.5,0.2"),
                ("BB", "426783006,,1", "164909002,426783006,999\n0,1,1\n0.7,0.8,1"),
            ],
        )
    )
    summary = scores.summary
    # Block: 0.7 for the positive record and for the other. Sinus rhythm: 0.8 above 0.2.
    assert scores.auroc[4] == 0.5
    assert scores.auroc[14] == 1.0
    assert summary["AUROC"] == 0.75
    assert summary["AUPRC"] == 0.75
    assert summary["Accuracy"] == 1.0
    assert summary["F-measure"] == 1.0
    assert summary["Challenge metric"] == 1.0
    assert format_scores(scores) == (
        "AUROC,AUPRC,Accuracy,F-measure,Challenge metric\n0.750,0.750,1.000,1.000,1.000\n"
    )
    lines = format_class_scores(scores).splitlines()
    assert lines[0].startswith("Classes,164889003,164890007,6374002,426627000,164909002|733534002,")
    assert lines[1].split(",")[5] == "0.500"
    assert lines[1].split(",")[1] == "nan"


@pytest.mark.parametrize("output", ["", "\n\n", "426783006\nx\ny", "999\n1\n1"])
def test_an_unreadable_or_empty_output_counts_as_no_labels(tmp_path, output):
    scores = evaluate_model(
        *write_case(
            tmp_path,
            [("A", "164889003", output), ("B", "426783006", "426783006\n1\n0.9")],
        )
    )
    # Observed 1 (record B), correct 2, always sinus W[AF, sinus] / 2 + 1 = 1.125.
    assert scores.challenge_metric == pytest.approx((1 - 1.125) / (2 - 1.125))
    assert scores.accuracy == 0.5


def test_empty_outputs_score_below_always_sinus_rhythm(tmp_path):
    cases = [("A", "426783006", ""), ("B", "426783006", ""), ("C", "164889003", "")]
    scores = evaluate_model(*write_case(tmp_path, cases))
    assert scores.challenge_metric < 0


def test_a_missing_output_is_named(tmp_path):
    labels, outputs = write_case(tmp_path, [("A", "1", ""), ("B", "1", "")])
    (outputs / "B.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"B\.csv: expected an output file, found none"):
        evaluate_model(labels, outputs)


@pytest.mark.parametrize(
    "header",
    [
        "A\n#Dx: 426783006\n",
        "A\r\n# Age: 3\r\n# dx : 7, 426783006 ,\r\n",
        "A\r#DX:426783006",
        "A 1 500\nA.mat 16 1000/mV # no comment\n  # Dx:\n#Dx: 426783006\n#Rx: Unknown",
        "#Dx: 426783006\nA\n",
        "\u00b5V\x85#Dx: 426783006",
    ],
)
def test_diagnoses_are_read_from_any_dx_line(tmp_path, header):
    labels, outputs = write_case(tmp_path, [("A", "", "426783006\n1\n1")])
    (labels / "g1" / "A.hea").write_bytes(header.encode())
    assert evaluate_model(labels, outputs).accuracy == 1


@pytest.mark.parametrize(
    "header", ["", "A\n", "A #Dx: 426783006\n", "A\n#Rx: 426783006\n", "A\n#No Dx: 426783006\n"]
)
def test_diagnoses_are_not_read_from_other_lines(tmp_path, header):
    labels, outputs = write_case(tmp_path, [("A", "", "426783006\n0\n0")])
    (labels / "g1" / "A.hea").write_bytes(header.encode())
    assert evaluate_model(labels, outputs).accuracy == 1


def test_outputs_may_list_codes_in_different_orders(tmp_path):
    cases = [
        ("A", "426783006", "426783006,164889003\n1,0\n0.9,0.1"),
        ("B", "164889003", "164889003,426783006\n1,0\n0.8,0.2"),
        ("C", "", ""),
        ("D", "426783006", "426783006,164889003\n1,0\n0.7,0.3"),
    ]
    scores = evaluate_model(*write_case(tmp_path, cases))
    assert scores.accuracy == 1
    assert scores.summary["AUROC"] == 1


# The command -----------------------------------------------------------------------------------


@pytest.fixture
def case(tmp_path, monkeypatch):
    """A small case, as arguments of the command: labels, outputs."""
    monkeypatch.delenv("ECG_DEBUG", raising=False)
    cases = [("A", "426783006", "426783006\n1\n0.9"), ("B", "164889003", "426783006\n1\n0.8")]
    return [str(folder) for folder in write_case(tmp_path, cases)]


def test_scores_are_printed_without_a_file(case, tmp_path, capsys):
    before = sorted(tmp_path.rglob("*"))
    main(case)
    assert capsys.readouterr().out == format_scores(evaluate_model(*case))
    assert sorted(tmp_path.rglob("*")) == before


def test_scores_are_written_to_a_file_and_not_printed(case, tmp_path, capsys):
    folder = tmp_path / "scores"
    folder.mkdir()
    (folder / "all.csv").write_text("of another run, and much longer than what follows\n" * 20)
    main([*case, str(folder / "all.csv")])
    assert capsys.readouterr().out == ""
    assert (folder / "all.csv").read_text() == format_scores(evaluate_model(*case))
    assert [path.name for path in folder.iterdir()] == ["all.csv"]


def test_class_scores_are_written_to_a_second_file(case, tmp_path, capsys):
    folder = tmp_path / "scores"
    folder.mkdir()
    main([*case, str(folder / "all.csv"), str(folder / "classes.csv")])
    assert capsys.readouterr().out == ""
    scores = evaluate_model(*case)
    assert (folder / "all.csv").read_text() == format_scores(scores)
    assert (folder / "classes.csv").read_text() == format_class_scores(scores)
    assert sorted(path.name for path in folder.iterdir()) == ["all.csv", "classes.csv"]


def test_scores_can_be_written_to_a_named_pipe(case, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)  # lets a writer open it at once
    try:
        main([*case, str(pipe)])
        assert os.read(reader, 4096).decode() == format_scores(evaluate_model(*case))
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_after_an_error_existing_score_files_are_unchanged(case, tmp_path, capsys):
    labels, outputs = case
    files = [tmp_path / "all.csv", tmp_path / "classes.csv"]
    for file in files:
        file.write_text("old")
    (tmp_path / "outputs" / "B.csv").unlink()
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, message in (
        ((labels, outputs), f"{outputs}/B.csv: "),
        ((empty, outputs), f"{empty}: "),
        ((f"{labels}/no", outputs), f"{labels}/no: "),
    ):
        with pytest.raises(SystemExit) as end:
            main([*map(str, (*arguments, *files))])
        assert end.value.code.startswith(f"evaluate_model.py: {message}")
        assert [file.read_text() for file in files] == ["old"] * 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("written", [[], ["all.csv"]])
def test_the_error_names_a_file_that_cannot_be_written(case, tmp_path, written):
    files = [*(tmp_path / name for name in written), tmp_path / "nowhere" / "last.csv"]
    with pytest.raises(SystemExit) as end:
        main([*case, *map(str, files)])
    assert end.value.code.startswith("evaluate_model.py: ")
    assert "nowhere/last.csv" in end.value.code


@pytest.mark.parametrize("n_arguments", [0, 1, 5])
def test_a_wrong_number_of_arguments_prints_the_usage(n_arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(["x"] * n_arguments)
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("usage: ")


def test_the_help_contains_the_module_docstring(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert not end.value.code
    assert sys.modules[main.__module__].__doc__.strip() in capsys.readouterr().out
