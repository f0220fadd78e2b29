import json
import shutil

import numpy as np
import pytest

from ecg.records.diagnoses import DIAGNOSES, OUTPUT_CODES, per_code
from ecg.records.leads import LEAD_SETS
from ecg.records.outputs import write_output
from ecg.report import main
from tests.browser import contrast, opened
from tests.synthetic import write_folder

N_RECORDS = 24


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with records of all five lead sets and two folders of outputs for them."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for lead_set in LEAD_SETS:
        records = write_folder(folder / "labels" / str(lead_set), N_RECORDS, lead_set)
        for name in ("outputs", "others"):
            (folder / name).mkdir(exist_ok=True)
            for header in records.glob("*.hea"):
                probabilities = rng.random(26)
                labels = per_code((probabilities > 0.9).astype(int))
                file = folder / name / f"{header.stem}.csv"
                write_output(file, header.stem, OUTPUT_CODES, labels, per_code(probabilities))
    return folder


@pytest.fixture(scope="module")
def page(data, untrained):
    path = data / "report.html"
    folders = (untrained, data / "labels", data / "outputs")
    main([*map(str, folders), str(path), f"--compare={data / 'others'}"])
    return path


def error_of(*arguments) -> str:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return end.value.code


def test_the_page_is_small_and_complete(page):
    text = page.read_text()
    assert len(text) < 5_000_000
    for lead_set in LEAD_SETS:
        assert f'id="leads-{lead_set}"' in text
    assert text.count('class="figure"') == 5 * len(LEAD_SETS)
    assert text.count('class="ecg"') == 3 * len(LEAD_SETS)
    assert "always sinus rhythm" in text
    assert "compared outputs" in text
    assert "data fingerprint" in text
    assert text.count("&#34;preparation&#34;: {") == len(LEAD_SETS)  # in the options
    assert "not a medical device" in text
    assert all(diagnosis.name in text for diagnosis in DIAGNOSES)


def test_records_of_one_lead_set_make_a_report(data, untrained, tmp_path, capsys):
    path = tmp_path / "page.html"
    labels = data / "labels" / "2"
    main([str(untrained), str(labels), str(data / "outputs"), str(path), "--worst", "0"])
    text = path.read_text()
    assert 'id="leads-2"' in text
    assert 'id="leads-12"' not in text
    assert 'class="ecg"' not in text
    assert "page.html: 0." in capsys.readouterr().out


def test_errors_name_the_missing_file_or_folder(data, untrained, tmp_path):
    page = tmp_path / "page.html"
    labels, outputs = data / "labels", data / "outputs"
    missing = tmp_path / "missing"
    assert "12_leads.json" in error_of(tmp_path, labels, outputs, page)
    assert str(missing) in error_of(untrained, labels, missing, page)
    assert str(missing) in error_of(untrained, missing, outputs, page)
    assert str(missing) in error_of(untrained, labels / "2", outputs, missing / "page.html")
    assert str(tmp_path) in error_of(untrained, labels / "2", outputs, tmp_path)
    assert not page.exists()


def test_the_error_for_an_incomplete_description_names_its_file(data, untrained, tmp_path):
    model = shutil.copytree(untrained, tmp_path / "model")
    description = json.loads((model / "2_leads.json").read_text())
    del description["training_log"]
    (model / "2_leads.json").write_text(json.dumps(description))
    error = error_of(model, data / "labels" / "2", data / "outputs", tmp_path / "page.html")
    assert "2_leads.json: " in error
    assert "KeyError('training_log')" in error


def test_all_training_stages_of_a_pretrained_model_are_drawn(data, untrained, tmp_path):
    model = shutil.copytree(untrained, tmp_path / "model")
    description = json.loads((model / "2_leads.json").read_text())
    # Pretraining has no validation, see `ecg.training.pretraining.pretrain`.
    stage = {"history": {"loss": [0.7, 0.5], "learning_rate": [1e-3, 1e-4]}, "n_training": 24}
    description["training_log"]["start"] = stage | {"start": stage | {"start": None}}
    (model / "2_leads.json").write_text(json.dumps(description))
    page = tmp_path / "page.html"
    main([str(model), *(str(data / name) for name in ("labels/2", "outputs")), str(page)])
    training = page.read_text().split('aria-label="Training of 2 leads"')[1].split("</svg>")[0]
    stages = (">measurements alone<", ">simulated<", ">records<")
    assert [training.count(stage) for stage in stages] == [1, 1, 1]
    assert ">validation<" in training


def test_a_model_that_the_training_started_from_is_named_but_not_drawn(data, untrained, tmp_path):
    model = shutil.copytree(untrained, tmp_path / "model")
    description = json.loads((model / "2_leads.json").read_text())
    before = {"digest": "0f" * 32, "method": "multiscale_se", "n_training": 517, "start": None}
    description["training_log"]["start"] = before
    (model / "2_leads.json").write_text(json.dumps(description))
    page = tmp_path / "page.html"
    main([str(model), *(str(data / name) for name in ("labels/2", "outputs")), str(page)])
    text = page.read_text()
    assert "a model trained on 517 records, 0f0f0f0f0f0f<" in text
    assert ">records<" in text.split('aria-label="Training of 2 leads"')[1].split("</svg>")[0]


def test_an_unreadable_header_is_named_on_the_page(data, untrained, tmp_path):
    labels = shutil.copytree(data / "labels" / "2", tmp_path / "labels")
    header = labels / "T020003.hea"
    header.write_text("\n".join(["garbage", *header.read_text().splitlines()[1:]]))
    page = tmp_path / "page.html"
    main([str(untrained), str(labels), str(data / "outputs"), str(page)])
    assert "counted as 12\nleads: T020003." in page.read_text()


def test_a_negative_number_of_records_is_refused(data, untrained, tmp_path, capsys):
    arguments = (untrained, data / "labels", data / "outputs", tmp_path / "page.html")
    assert error_of(*arguments, "--worst", "-1") == 2
    assert "'-1'" in capsys.readouterr().err


def test_a_record_with_a_broken_signal_is_listed_without_a_drawing(data, untrained, tmp_path):
    labels = shutil.copytree(data / "labels" / "2", tmp_path / "labels")
    for signal in labels.glob("*.mat"):
        signal.write_bytes(b"broken")
    page = tmp_path / "page.html"
    main([str(untrained), str(labels), str(data / "outputs"), str(page)])
    assert page.read_text().count("Cannot be drawn: ") == 3


@pytest.mark.nightly
def test_the_page_opens_without_an_error_and_shows_every_figure(page):
    with opened(page) as shown:
        figures = shown.locator("svg.figure, svg.ecg")
        assert figures.count() == 8 * len(LEAD_SETS)
        for i in range(figures.count()):
            box = figures.nth(i).bounding_box()
            assert box["width"] > 200
            assert box["height"] > 100


@pytest.mark.nightly
def test_lead_names_are_legible(page):
    with opened(page, width=380) as shown:
        sheet = shown.locator("#leads-12 svg.ecg").first
        assert set(sheet.locator("text.lead").all_text_contents()) >= set(LEAD_SETS[12])
        for text in sheet.locator("text.lead").all():
            assert text.bounding_box()["height"] > 8  # pixels, on a phone too


def column(shown, number) -> list[str]:
    cells = shown.locator(f"#leads-12 table.sortable >> nth=0 >> tbody td:nth-child({number})")
    return cells.all_inner_texts()


@pytest.mark.nightly
def test_tables_sort_by_mouse_and_keyboard_both_ways(page):
    with opened(page) as shown:
        unsorted = column(shown, 3)
        heads = shown.locator("#leads-12 table.sortable >> nth=0 >> th button")
        heads.nth(2).click()
        rising = [int(text) for text in column(shown, 3)]
        assert rising == sorted(map(int, unsorted))
        heads.nth(2).press("Enter")
        assert [int(text) for text in column(shown, 3)] == rising[::-1]
        heads.nth(1).press("Space")
        names = column(shown, 2)
        assert names == sorted(names, key=str.lower)
        heads.nth(4).click()
        figures = [float(text) for text in column(shown, 5) if text != "-"]
        assert figures == sorted(figures)
        assert column(shown, 5)[: len(figures)].count("-") == 0


@pytest.mark.nightly
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [380, 1280])
def test_the_page_is_readable_at_any_width_and_in_both_schemes(page, width, scheme):
    with opened(page, width, scheme) as shown:
        assert shown.evaluate("document.documentElement.scrollWidth") <= width
        for selector in ("p", "figcaption", "td", ".notice", "a"):
            assert contrast(shown, selector) >= 4.5, selector


@pytest.mark.nightly
def test_the_page_can_be_used_by_keyboard(page):
    with opened(page) as shown:
        shown.keyboard.press("Tab")
        assert shown.evaluate("document.activeElement.textContent") == "Skip to the content"
        shown.keyboard.press("Tab")
        shown.keyboard.press("Enter")
        assert shown.url.endswith("#leads-12")
