import csv
import io
import json
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest

from ecg.models.model_files import save_model
from ecg.models.predictor import load_predictor
from ecg.pages.predictions import NOTICE, notes_on
from ecg.predict import main
from ecg.records.diagnoses import DIAGNOSES
from ecg.records.leads import LEAD_SETS, TWELVE_LEADS
from ecg.records.record import Record
from ecg.signals.preprocessing import Preparation
from tests.narrow import untrained_model
from tests.recording_files import write_csv, write_dicom, write_edf, write_muse
from tests.synthetic import beats, write_record

FS = 500.0


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    for lead_set in (12, 2):
        save_model(untrained_model("multiscale_se", lead_set), folder)
    return folder


@pytest.fixture
def signal():
    return np.round(beats(5000, FS), 3)


def run(capsys, *arguments):
    """Return the command's stdout, stderr and exit status."""
    try:
        main([str(argument) for argument in arguments])
        status = 0
    except SystemExit as stopped:
        status = stopped.code
    printed = capsys.readouterr()
    return printed.out, printed.err, status


def probabilities_of(out) -> list[dict]:
    return [
        {diagnosis["abbreviation"]: diagnosis["probability"] for diagnosis in file["diagnoses"]}
        for file in json.loads(out)
    ]


def test_a_recording_gets_the_same_prediction_in_every_format(model, tmp_path, signal, capsys):
    files = [
        write_record(tmp_path, "A1", signal, FS),
        write_csv(tmp_path / "B1.csv", signal),
        write_dicom(tmp_path / "C1.dcm", signal, FS),
        write_edf(tmp_path / "D1.edf", signal, FS),
    ]
    out, _, status = run(capsys, model, *files, "--fs", 500, "--json")
    assert status == 0
    reference, *others = probabilities_of(out)
    # DICOM and EDF round to a few microvolts.
    for other in others:
        assert other == pytest.approx(reference, abs=2e-3)
    labels = [[d["present"] for d in file["diagnoses"]] for file in json.loads(out)]
    assert labels[0] == labels[1] == labels[2] == labels[3]


def test_the_prediction_is_that_of_run_model(model, tmp_path, signal, capsys):
    header = write_record(tmp_path, "A1", signal, FS)
    out, _, _ = run(capsys, model, header, "--json")
    answer = load_predictor(model, 12).answer(
        header.read_text(), np.round(signal * 1000).astype(np.int16)
    )
    (found,) = json.loads(out)
    by_code = {
        code: (diagnosis["probability"], int(diagnosis["present"]))
        for diagnosis in found["diagnoses"]
        for code in diagnosis["codes"]
    }
    expected = dict(
        zip(answer.codes, zip(answer.probabilities, answer.labels, strict=True), strict=True)
    )
    assert by_code.keys() == expected.keys()
    for code, (probability, label) in expected.items():
        assert by_code[code] == (pytest.approx(probability, abs=1e-6), label)
    assert (found["lead_set"], found["fs_hz"], found["duration_s"]) == (12, 500, 10)


def test_the_table_lists_notes_and_diagnoses(model, tmp_path, signal, capsys):
    leads = ("I", "II", "V5")
    rows = [TWELVE_LEADS.index(lead) for lead in leads]
    file = write_csv(tmp_path / "A1.csv", signal[rows], leads)
    out, _, _ = run(capsys, model, file, "--fs", 250)
    assert "20.0 s at 250 Hz, I, II, V5" in out
    assert "2-lead model" in out
    assert "not used: V5" in out
    assert "from 250 Hz to 100 Hz" in out
    assert "first 10 s of 20 s" in out
    assert NOTICE in out
    table = [line for line in out.splitlines() if "%" in line and "(" in line]
    assert len(table) >= 1
    assert table[0].split()[0] == "yes"


def test_csv_has_a_line_per_diagnosis(model, tmp_path, signal, capsys):
    files = [write_record(tmp_path, name, signal, FS) for name in ("A1", "A2")]
    out, _, _ = run(capsys, model, *files, "--csv")
    lines = list(csv.DictReader(io.StringIO(out)))
    assert len(lines) == 2 * len(DIAGNOSES)
    assert {line["file"] for line in lines} == set(map(str, files))
    assert {line["codes"] for line in lines} == {diagnosis.group for diagnosis in DIAGNOSES}
    assert all(0 <= float(line["probability"]) <= 1 for line in lines)


def test_files_beside_a_bad_file_are_predicted(model, tmp_path, signal, capsys):
    flat, good = np.zeros_like(signal), write_record(tmp_path, "B1", signal, FS)
    bad = [tmp_path / "missing", write_record(tmp_path, "A1", flat, FS)]
    out, err, status = run(capsys, model, *bad, good, "--json")
    assert status == 1
    assert [answer["file"] for answer in json.loads(out)] == [str(good)]
    first, second = err.splitlines()
    assert f"{tmp_path}/missing: " in first
    assert "A1.hea: " in second


def test_errors_in_options_are_one_line(tmp_path, model, capsys):
    for arguments, message in (
        ((tmp_path, "x.csv"), str(tmp_path)),
        ((model, "x.csv", "--unit", "kV"), "kV"),
    ):
        (tmp_path / "x.csv").write_text("I,II\n0,1\n")
        file = tmp_path / arguments[1]
        _, _, status = run(capsys, arguments[0], file, "--fs", 500, *arguments[2:])
        assert message in status
        assert "\n" not in status


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('I,II\n0,"1\n2,3\n', "line 2"),
        ('I,II\n0,"' + "1" * 140_000, "line 2"),
        ("I" * 200_000 + "\n1\n", "lead names"),
    ],
)
def test_files_beside_a_broken_table_are_predicted(
    content, message, model, tmp_path, signal, capsys
):
    good = write_record(tmp_path, "A1", signal, FS)
    (tmp_path / "broken.csv").write_text(content)
    broken = [tmp_path / "broken.csv", ".", "/"]
    out, err, status = run(capsys, model, *broken, good, "--fs", 500, "--json")
    assert status == 1
    assert len(json.loads(out)) == 1
    first, *folders = err.splitlines()
    assert first.startswith(f"ecg.predict: {tmp_path}/broken.csv")
    assert message in first
    assert len(first) < 500
    assert [line.split(": ")[1] for line in folders] == [".", "/"]


@pytest.mark.parametrize("fs", ["nan", "0", "-1", "inf", "1e9", "fast"])
def test_an_impossible_sampling_rate_is_refused(fs, model, capsys):
    _, err, status = run(capsys, model, "x.csv", f"--fs={fs}")
    assert status == 2
    assert "--fs: expected a sampling rate of 50 to 4000 Hz" in err
    assert f"'{fs}'" in err


def test_the_place_of_the_explanation_page_is_checked_first(model, tmp_path, capsys):
    page = tmp_path / "missing" / "page.html"
    out, err, status = run(capsys, model, tmp_path / "none.hea", "--explain", page)
    assert (out, err) == ("", "")
    assert status.startswith(f"ecg.predict: {page}: ")


def test_a_missing_model_concerns_only_the_files_that_need_it(model, tmp_path, signal, capsys):
    only_twelve = tmp_path / "model"
    only_twelve.mkdir()
    for file in model.glob("12_leads.*"):
        shutil.copy(file, only_twelve)
    twelve = write_record(tmp_path, "A1", signal, FS)
    two = write_record(tmp_path, "B1", signal, FS, LEAD_SETS[2])
    out, err, status = run(capsys, only_twelve, two, twelve, "--json")
    assert status == 1
    assert [file["lead_set"] for file in json.loads(out)] == [12]
    assert err.startswith(f"ecg.predict: {two}: ")
    assert f"{only_twelve}/2_leads.json" in err


def test_the_model_with_the_most_usable_leads_is_chosen(model, tmp_path, signal, capsys):
    # The folder has models of 12 and 2 leads.
    six = write_record(tmp_path, "A1", signal, FS, LEAD_SETS[6])
    out, _, status = run(capsys, model, six, "--json")
    assert (status, json.loads(out)[0]["lead_set"]) == (0, 2)


def test_notes_state_missing_flat_and_short_signals():
    signal = beats(1500, FS)[:2].astype(np.float32)
    signal[0, :150] = np.nan
    record = Record("A1", signal, FS, ("II", "V1"), 60.0, "Male", ())
    assert notes_on(record, 2, Preparation(fs=500.0)) == (
        "2-lead model, using I, II",
        "not used: V1",
        "missing, replaced by a flat line: I",
        "3.0 s long, shorter than the expected 10 s",
        "10.0% of the samples are missing",
    )
    flat = Record("A1", np.full((1, 5000), 3.0, np.float32), FS, ("I",), 60.0, "Male", ())
    assert "no signal in I" in notes_on(flat, 2, Preparation(fs=500.0))


def test_leads_option_names_the_columns_of_a_table_without_names(model, tmp_path, signal, capsys):
    named = write_csv(tmp_path / "A1.csv", signal[:2], LEAD_SETS[2])
    bare = tmp_path / "B1.csv"
    bare.write_text("".join(named.read_text().splitlines(keepends=True)[1:]))
    options = ("--fs", 500, "--json")
    out, _, status = run(capsys, model, bare, *options, "--leads", "I,lead II")
    assert status == 0
    assert probabilities_of(out) == probabilities_of(run(capsys, model, named, *options)[0])
    _, err, status = run(capsys, model, bare, *options, "--leads", "I,X7")
    assert status == 2
    assert "--leads: " in err
    assert "X7" in err


def test_derived_leads_are_noted(model, tmp_path, signal, capsys):
    file = write_muse(tmp_path / "export", signal, FS)
    out, _, status = run(capsys, model, file, "--json")
    (found,) = json.loads(out)
    assert (status, found["lead_set"]) == (0, 12)
    assert "III, aVR, aVL, aVF computed from I and II" in found["notes"]


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.headings, self.links, self.last = [], [], ""

    def handle_starttag(self, tag, attributes):
        self.links += [value for name, value in attributes if name in ("src", "href")]
        self.last = tag

    def handle_data(self, text):
        if self.last in ("h2", "h3") and text.strip():
            self.headings.append(text.strip())


def test_the_explanation_is_a_self_contained_page_with_a_figure_per_diagnosis(
    model, tmp_path, signal, capsys
):
    record = write_record(tmp_path, "A1", signal, FS)
    file = write_csv(tmp_path / "<b>.csv", np.tile(signal[:2], 2), LEAD_SETS[2])
    page = tmp_path / "page.html"
    out, _, status = run(capsys, model, record, file, "--fs", 500, "--json", "--explain", page)
    assert status == 0
    text = page.read_text()
    parsed = _Page()
    parsed.feed(text)
    present = [
        f"{diagnosis['name']} ({diagnosis['abbreviation']})"
        for prediction in json.loads(out)
        for diagnosis in prediction["diagnoses"]
        if diagnosis["present"]
    ]
    assert [head for head in parsed.headings if head in present] == present
    assert text.count('class="ecg"') == len(present)
    assert "first 10 s only" not in text  # the model itself reads no more
    assert all(link.startswith(("#", "data:")) for link in parsed.links)
    assert "<b>.csv" not in text
    assert len(text) < 250_000 * len(present)
