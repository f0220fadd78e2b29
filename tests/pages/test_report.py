import json
import re
import shutil

import numpy as np
import pytest

from ecg.models.operating_points import default_points, points_to_dict
from ecg.records.diagnoses import DIAGNOSES, OUTPUT_CODES, per_code
from ecg.records.leads import LEAD_SETS
from ecg.records.outputs import write_output
from ecg.report import main
from ecg.simulation.names import record_name
from tests.browser import contrast, opened, serious_violations
from tests.synthetic import beats, write_folder, write_record

N_RECORDS = 24


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with records of all five lead sets and two folders of outputs for them."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for lead_set in LEAD_SETS:
        records = write_folder(folder / "labels" / str(lead_set), N_RECORDS, lead_set)
        for name in ("outputs", "others"):
            write_outputs(folder / name, records, rng)
    return folder


def write_outputs(folder, records, rng) -> None:
    """Write random outputs for every record of a folder."""
    folder.mkdir(exist_ok=True)
    for header in records.glob("*.hea"):
        probabilities = rng.random(26)
        labels = per_code((probabilities > 0.9).astype(int))
        file = folder / f"{header.stem}.csv"
        write_output(file, header.stem, OUTPUT_CODES, labels, per_code(probabilities))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory, untrained):
    """A report on 24 real and 3 simulated records of 12 leads."""
    folder = tmp_path_factory.mktemp("mixed")
    write_folder(folder / "labels" / "real", N_RECORDS)
    for i in range(3):
        name = record_name("A", 0, 12, i)
        write_record(folder / "labels" / "simulated", name, beats(5000, 500.0, seed=i), 500.0)
    for part in (folder / "labels").iterdir():
        write_outputs(folder / "outputs", part, np.random.default_rng(0))
    return report(untrained, folder / "labels", folder / "outputs", folder / "report.html")


def report(*arguments):
    """Write a report; return its path."""
    main([str(argument) for argument in arguments])
    return arguments[3]


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
        for part in ("findings", "curves", "confusion", "calibration", "groups", "model"):
            assert f'id="{part}-{lead_set}"' in text
            assert f'href="#{part}-{lead_set}"' in text
    assert text.count('class="ecg"') == 3 * len(LEAD_SETS)
    assert "always sinus rhythm" in text
    assert "compared outputs" in text
    assert "data fingerprint" in text
    assert text.count("&#34;preparation&#34;: {") == len(LEAD_SETS)  # in the options
    assert "not a medical device" in text
    assert all(diagnosis.name in text for diagnosis in DIAGNOSES)


def test_the_first_figure_has_a_score_of_every_lead_set(page):
    headlines = page.read_text().split('aria-label="Scores by lead set"')[1].split("</figure>")[0]
    for lead_set in LEAD_SETS:
        assert headlines.count(f">{lead_set} leads, {N_RECORDS} records<") == 2


def test_ids_of_the_page_are_unique_and_every_link_has_its_target(page):
    text = page.read_text()
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(ids)


def test_simulated_records_are_told_from_real_ones(mixed):
    text = mixed.read_text()
    assert "3 of 27 tested records are simulated." in text
    assert "24 real records of T (24), and 3 simulated ones" in text
    assert ">12 leads, 24 real<" in text
    assert '<g class="simulated"><text class="row"' in text
    assert ">12 leads, 3 simulated<" in text


def test_a_report_on_simulated_records_alone_says_so_first(mixed, untrained, tmp_path):
    folder = mixed.parent
    page = report(
        untrained, folder / "labels" / "simulated", folder / "outputs", tmp_path / "page.html"
    )
    text = page.read_text()
    assert "All 3 tested records are simulated. The scores say nothing about patients." in text
    assert "on 3 simulated records</title>" in text


def test_rare_findings_and_small_groups_are_grey(mixed):
    text = mixed.read_text()
    findings = text.split('id="findings-12"')[1].split("</table>")[0]
    assert '<tr><th scope="row" data-value="NSR">' in findings  # 15 records
    assert '<tr class="rare"><th scope="row" data-value="AF">' in findings  # none
    assert re.search(r'<tr class="small simulated"><th scope="row">simulated</th>', text)


def test_the_confusion_of_a_record_is_in_its_cell(data, untrained, tmp_path):
    records = data / "labels" / "2"
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    called = np.isin(OUTPUT_CODES, "164889003").astype(int)  # atrial fibrillation
    for header in records.glob("*.hea"):
        write_output(outputs / f"{header.stem}.csv", header.stem, OUTPUT_CODES, called, called)
    page = report(untrained, records, outputs, tmp_path / "page.html", "--worst", "0")
    assert "STach true, AF predicted wrongly: 6 of 6 records, " in page.read_text()


def test_the_clinical_rule_has_a_table_where_the_model_has_operating_points(
    data, untrained, tmp_path
):
    model = shutil.copytree(untrained, tmp_path / "model")
    description = json.loads((model / "2_leads.json").read_text())
    description["decision"]["operating_points"] = points_to_dict(default_points())
    (model / "2_leads.json").write_text(json.dumps(description))
    folders = data / "labels" / "2", data / "outputs"
    text = report(model, *folders, tmp_path / "page.html").read_text()
    assert "by clinical operating points" in text
    assert ">0.33</td></tr>" in text
    text = report(untrained, *folders, tmp_path / "page.html").read_text()
    assert "by clinical operating points" not in text


def test_records_of_one_lead_set_make_a_report(data, untrained, tmp_path, capsys):
    path = tmp_path / "page.html"
    labels = data / "labels" / "2"
    main([str(untrained), str(labels), str(data / "outputs"), str(path), "--worst", "0"])
    text = path.read_text()
    assert 'id="leads-2"' in text
    assert 'id="leads-12"' not in text
    assert 'class="ecg"' not in text
    assert "page.html: 0." in capsys.readouterr().out


def test_one_record_makes_a_report_without_what_is_not_defined(untrained, tmp_path):
    records = write_folder(tmp_path / "labels", 1, 2)
    write_outputs(tmp_path / "outputs", records, np.random.default_rng(0))
    page = report(untrained, records, tmp_path / "outputs", tmp_path / "page.html")
    text = page.read_text()
    assert "No finding has records with and without it." in text
    assert "2 leads, 1 records not defined" in text
    assert "nan" not in re.sub(r"<[^>]*>", "", text.split("</style>")[1].split("<script>")[0])


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
        figures = shown.locator("svg.plot:not(.panels svg), svg.figure, svg.ecg")
        assert figures.count() == 2 + 6 * len(LEAD_SETS)
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
    """Return the values that a column of the findings of 12 leads is sorted by."""
    cells = shown.locator(f"#leads-12 .by-finding >> nth=0 >> tbody tr > :nth-child({number})")
    return cells.evaluate_all("(cells) => cells.map((c) => c.dataset.value ?? c.innerText)")


@pytest.mark.nightly
def test_tables_sort_by_mouse_and_keyboard_both_ways(page):
    with opened(page) as shown:
        unsorted = [int(text) for text in column(shown, 2)]
        assert unsorted == sorted(unsorted, reverse=True)  # the most frequent first
        heads = shown.locator("#leads-12 .by-finding >> nth=0 >> th button")
        heads.nth(1).click()
        assert [int(text) for text in column(shown, 2)] == sorted(unsorted)
        heads.nth(1).press("Enter")
        assert [int(text) for text in column(shown, 2)] == sorted(unsorted, reverse=True)
        heads.nth(0).press("Space")
        names = column(shown, 1)
        assert names == sorted(names, key=str.lower)
        heads.nth(3).click()
        figures = [float(text) for text in column(shown, 4) if text]
        assert figures == sorted(figures)
        assert "" not in column(shown, 4)[: len(figures)]


@pytest.mark.nightly
def test_a_curve_is_named_and_stands_out_when_pointed_at_or_chosen(page):
    with opened(page) as shown:
        box = shown.locator("#leads-12 .curves")
        button = box.locator("button[data-finding=STach]")
        curves = box.locator("g.on .curve")
        assert curves.count() == 0
        button.hover()
        assert curves.count() == 2
        assert "STach, sinus tachycardia: AUROC" in box.locator(".readout").inner_text()
        shown.mouse.move(0, 0)
        assert curves.count() == 0
        button.focus()
        shown.keyboard.press("Enter")
        assert button.get_attribute("aria-pressed") == "true"
        shown.keyboard.press("Tab")
        shown.keyboard.press("Shift+Tab")
        assert curves.count() == 2
        shown.keyboard.press("Escape")
        assert button.get_attribute("aria-pressed") == "false"
        assert curves.count() == 0
        # A curve itself: the middle of its last stretch is under the pointer.
        curve = box.locator("g[data-finding=SB]").first
        curve.dispatch_event("pointerenter")
        assert "SB, sinus bradycardia" in box.locator(".readout").inner_text()


@pytest.mark.nightly
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [380, 1280, 1920])
def test_the_page_is_readable_at_any_width_and_in_both_schemes(page, width, scheme):
    with opened(page, width, scheme) as shown:
        assert shown.evaluate("document.documentElement.scrollWidth") <= width
        for selector in ("p", "figcaption", "td", ".notice", "a", ".rare td"):
            assert contrast(shown, selector) >= 4.5, selector


@pytest.mark.nightly
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing_serious(mixed, width, scheme):
    with opened(mixed, width, scheme) as shown:
        assert serious_violations(shown) == []


@pytest.mark.nightly
def test_every_score_can_be_reached_on_a_phone_beside_the_name_of_its_finding(page):
    with opened(page, width=390) as shown:
        box = shown.locator("#leads-12 .wide:has(.by-finding)").first
        box.evaluate("(box) => { box.scrollLeft = box.scrollWidth; }")
        name = box.locator("tbody tr >> nth=0 >> th").bounding_box()
        last = box.locator("tbody tr >> nth=0 >> td").last.bounding_box()
        assert name["x"] >= 0
        assert name["x"] + name["width"] <= last["x"]
        assert last["x"] + last["width"] <= 390
        box.focus()
        shown.keyboard.press("ArrowLeft")
        shown.wait_for_function(
            "(box) => box.scrollLeft < box.scrollWidth - box.clientWidth", arg=box.element_handle()
        )


@pytest.mark.nightly
def test_the_contents_stay_in_view_and_open_on_a_phone(page):
    with opened(page) as shown:
        shown.locator("#groups-12").scroll_into_view_if_needed()
        link = shown.locator(".contents a[href='#leads-12']")
        assert link.is_visible()
        assert link.bounding_box()["y"] >= 0
    with opened(page, width=390) as shown:
        link = shown.locator(".contents a[href='#curves-2']")
        assert not link.is_visible()
        shown.locator(".contents summary").click()
        link.click()
        assert not link.is_visible()
        heading = shown.locator("#curves-2").bounding_box()
        bar = shown.locator(".contents").bounding_box()
        assert bar["y"] + bar["height"] <= heading["y"] < 844


@pytest.mark.nightly
def test_nothing_is_cut_off_in_print(page):
    with opened(page, width=700) as shown:  # A4 without its margins
        shown.emulate_media(media="print")
        assert shown.evaluate("document.documentElement.scrollWidth") <= 700
        assert not shown.locator(".contents").is_visible()


@pytest.mark.nightly
def test_the_page_can_be_used_by_keyboard(page):
    with opened(page) as shown:
        shown.keyboard.press("Tab")
        assert shown.evaluate("document.activeElement.textContent") == "Skip to the content"
        shown.keyboard.press("Tab")  # the head of the contents
        shown.keyboard.press("Tab")
        assert shown.evaluate("document.activeElement.textContent") == "Summary"
        shown.keyboard.press("Tab")
        shown.keyboard.press("Enter")
        assert shown.url.endswith("#leads-12")
