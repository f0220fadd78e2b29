import math
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from ecg.models.prediction import ModelSummary, Prediction, Timeline
from ecg.pages.explanation_page import write_explanations
from ecg.pages.predictions import Failure
from ecg.records.diagnoses import DIAGNOSES
from ecg.records.leads import LEAD_SETS, TWELVE_LEADS
from ecg.records.record import Record
from ecg.signals.global_measurements import GlobalMeasurements
from tests.browser import contrast, opened, serious_violations
from tests.synthetic import beats

FS = 500.0
ABBREVIATIONS = [diagnosis.abbreviation for diagnosis in DIAGNOSES]
RBBB, LAD, TAB, AF = (ABBREVIATIONS.index(name) for name in ("RBBB", "LAD", "TAb", "AF"))
MEASURED = GlobalMeasurements(72.0, 160.0, 132.0, 400.0, 438.0, -45.0)


def a_record(leads=TWELVE_LEADS, seconds=10.0) -> Record:
    signal = beats(round(seconds * FS), FS, noise_mv=0.002).astype(np.float32)
    rows = [TWELVE_LEADS.index(lead) for lead in leads]
    return Record("A1", signal[rows], FS, tuple(leads), 61.0, "Female", ())


def steepness(lead) -> float:
    """Return how much of a lead (n_samples,) is steep, which QRS complexes are."""
    return float(np.sum(np.nan_to_num(np.diff(lead)) ** 2))


def predictor(record):
    """A predictor that finds RBBB by the QRS complexes of the first lead, and LAD by the last's."""
    whole = {i: steepness(record.signal[row]) for i, row in ((RBBB, 0), (LAD, -1))}

    def probabilities_of(records):
        for each in records:
            found = np.full(26, 0.02)
            for i, row in ((RBBB, 0), (LAD, -1)):
                share = steepness(each.signal[row]) / whole[i]
                found[i] = 1 / (1 + math.exp(4 - 6 * share))
            found[TAB] = 0.25
            yield found

    model = SimpleNamespace(
        prevalence=np.full(26, 0.05),
        decision=SimpleNamespace(points=None),
        method=SimpleNamespace(preparation=SimpleNamespace(duration_s=10.0)),
    )
    return SimpleNamespace(model=model, probabilities_of=probabilities_of)


def a_prediction(file="/home/someone/ward/A1.xml", record=None, **changes):
    record = record or a_record()
    probabilities = np.full(26, 0.02)
    probabilities[[RBBB, LAD, TAB, AF]] = 0.88, 0.4, 0.25, 0.07
    present, uncertain = np.zeros(26, bool), np.zeros(26, bool)
    present[[RBBB, LAD]] = True
    uncertain[[LAD, TAB]] = True
    prediction = Prediction(
        file=file,
        record=record,
        duration_s=record.signal.shape[1] / record.fs,
        lead_set=len(record.leads),
        model=ModelSummary("multiscale_se, 12 leads", "643 records of A and E"),
        rule="clinical",
        usable=True,
        measurements=MEASURED,
        probabilities=probabilities,
        present=present,
        uncertain=uncertain,
        warnings=("much mains hum",),
        notes=("resampled from 500 Hz to 100 Hz",),
    )
    return replace(prediction, **changes), predictor(record)


def unusable():
    nothing = np.zeros(26, bool)
    return a_prediction(
        file="noise.csv",
        usable=False,
        warnings=("no ECG: no heartbeats stand out",),
        measurements=GlobalMeasurements(),
        probabilities=np.zeros(26),
        present=nothing,
        uncertain=nothing,
    )


def a_long_prediction():
    """Two minutes whose first windows are unusable and whose findings are in the last ones."""
    usable = np.arange(12) >= 3
    present = np.zeros((12, 26), bool)
    present[8:, RBBB] = True
    rates = np.where(usable, 72.0, math.nan)
    probabilities = np.where(usable[:, None], np.where(present, 0.9, 0.02), math.nan)
    timeline = Timeline(10.0 * np.arange(12), usable, rates, present, probabilities)
    return a_prediction(record=a_record(seconds=120.0), duration_s=120.0, timeline=timeline)


FAILURE = (Failure("/home/someone/ward/x.csv", "/home/someone/ward/x.csv: no leads"), None)


def write(folder, *predictions):
    page = folder / "page.html"
    write_explanations(page, predictions)
    return page


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return write(tmp_path_factory.mktemp("one"), a_prediction())


@pytest.fixture(scope="module")
def page_of_several(tmp_path_factory):
    two_leads = a_prediction("two.csv", a_record(LEAD_SETS[2]))
    predictions = (a_prediction(), two_leads, unusable(), FAILURE, a_long_prediction())
    return write(tmp_path_factory.mktemp("several"), *predictions)


def words(page) -> str:
    """Return the text of a page without its tags, styles and scripts."""
    text = re.sub(r"(?s)<(style|script)>.*?</\1>", " ", page.read_text())
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())


def test_the_page_names_file_model_training_records_and_date_but_no_folder(page):
    text = words(page)
    for expected in ("A1.xml", "multiscale_se, 12 leads", "643 records of A and E"):
        assert expected in text
    assert re.search(r"Page of \d{4}-\d\d-\d\d", text)
    assert "someone" not in page.read_text()
    assert "log-odds" not in text


def test_warnings_notes_and_uncertainty_are_in_sight(page):
    text = words(page)
    for expected in ("Warning: much mains hum", "resampled from", "probably present", "possible"):
        assert expected in text
    assert "atrial fibrillation (AF) 7 %" in text


def test_measurements_outside_their_usual_range_are_marked_in_words(page):
    text = page.read_text()
    assert text.count('aria-label="above the usual range:"') == 1  # QRS
    assert text.count('aria-label="below the usual range:"') == 1  # axis
    assert "438" in words(page)


def test_the_tracing_is_drawn_once_however_many_findings_there_are(page):
    text = page.read_text()
    assert text.count('class="ecg"') == 1
    assert text.count('class="trace"') == 13


def test_what_a_finding_rests_on_is_said_in_words(page):
    text = words(page)
    assert re.search(r"Most of the evidence: the QRS complexes in I \(\d+ %\)", text)
    assert "It would no longer be called present if I were missing." in text
    assert "It would no longer be called present if V6 were missing." in text


def test_only_findings_that_are_present_or_uncertain_can_be_chosen(page):
    values = re.findall(r'type="radio" name="r1-finding" value="(\d*)"', page.read_text())
    assert values == ["", *map(str, (RBBB, LAD, TAB))]


def test_files_that_cannot_be_used_are_listed_and_marked(page_of_several):
    text = page_of_several.read_text()
    contents = text[text.index("<nav") : text.index("</nav>")]
    assert contents.count("href=") == 5
    assert re.search(r"noise.csv.*cannot be judged", contents)
    assert re.search(r"x.csv.*could not be read", contents)
    assert "no heartbeats stand out" in words(page_of_several)
    assert "x.csv: no leads" in words(page_of_several)


def test_a_recording_that_cannot_be_judged_has_a_tracing_and_no_findings(tmp_path):
    text = write(tmp_path, unusable()).read_text()
    assert text.count('class="trace"') == 13
    assert 'type="radio"' not in text
    assert "Measurements" not in text


def test_a_page_of_nothing_but_failures_is_written(tmp_path):
    assert "x.csv: no leads" in words(write(tmp_path, FAILURE))


def test_of_a_long_recording_a_stretch_with_its_findings_is_shown(tmp_path):
    page = write(tmp_path, a_long_prediction())
    assert "tracing and marks of 1:20 to 1:30" in words(page)
    assert 'class="timeline"' in page.read_text()


def answering(error: Exception):
    """A stand-in for a predictor's `probabilities_of` that answers every record with the error."""
    return lambda records: (error for _ in records)


def test_a_long_recording_whose_model_cannot_judge_the_stretch_has_no_marks(tmp_path):
    prediction, its_predictor = a_long_prediction()
    its_predictor.probabilities_of = answering(ValueError("none of the leads holds a signal"))
    page = write(tmp_path, (prediction, its_predictor))
    assert "right bundle branch block" in words(page)
    assert "no finding is explained: this tracing cannot be judged" in words(page)
    assert 'type="radio"' not in page.read_text()


def test_other_errors_of_the_model_are_not_hidden(tmp_path):
    prediction, its_predictor = a_prediction()
    its_predictor.probabilities_of = answering(RuntimeError("out of memory"))
    with pytest.raises(RuntimeError, match="out of memory"):
        write(tmp_path, (prediction, its_predictor))


def test_a_dozen_records_take_less_than_5_mb(tmp_path):
    assert write(tmp_path, *[a_prediction()] * 12).stat().st_size < 5_000_000


def shown_marks(shown) -> list[str]:
    return shown.eval_on_selector_all(
        "use.marks",
        "all => all.filter((use) => getComputedStyle(use).display !== 'none')"
        ".map((use) => use.dataset.finding)",
    )


def shown_evidence(shown) -> list[str]:
    headings = shown.locator(".evidence:visible .part").all_inner_texts()
    return [heading.split(" rests")[0] for heading in headings]


@pytest.mark.nightly
def test_the_tracing_is_clean_until_a_finding_is_clicked(page):
    with opened(page) as shown:
        assert (shown_marks(shown), shown_evidence(shown)) == ([], [])
        shown.get_by_text("left axis deviation (LAD)").click()
        assert shown_marks(shown) == [str(LAD)]
        assert shown_evidence(shown) == ["What “left axis deviation”"]
        box = shown.locator(f"use.marks[data-finding='{LAD}']").bounding_box()
        assert min(box["width"], box["height"]) > 10
        shown.get_by_text("Clean tracing", exact=True).click()
        assert (shown_marks(shown), shown_evidence(shown)) == ([], [])


@pytest.mark.nightly
def test_findings_are_chosen_by_keys(page):
    with opened(page) as shown:
        shown.locator(".findings input").first.focus()
        chosen = []
        for key in ("ArrowDown", "ArrowDown", "Enter", "ArrowDown", "Escape"):
            shown.keyboard.press(key)
            chosen.append(shown_marks(shown))
        assert chosen == [[str(RBBB)], [str(LAD)], [], [str(RBBB)], []]


@pytest.mark.nightly
def test_every_part_is_reached_by_the_tab_key(page):
    with opened(page) as shown:
        names = []
        for _ in range(8):
            shown.keyboard.press("Tab")
            names.append(
                shown.evaluate(
                    "document.activeElement.ariaLabel ?? document.activeElement.textContent"
                )
            )
        assert names[:6] == [
            "Skip to the content", "Smaller", "Larger", "Callipers", "March out",
            "Tracing of A1.xml",
        ]  # fmt: skip


@pytest.mark.nightly
def test_all_present_findings_are_printed_with_a_marked_tracing_each(page):
    with opened(page) as shown:
        shown.get_by_text("T-wave abnormality (TAb)").click()
        shown.emulate_media(media="print")
        assert shown_marks(shown) == []  # the first tracing is clean
        assert shown_evidence(shown) == [
            "What “right bundle branch block”",
            "What “left axis deviation”",
        ]
        for copy in shown.locator("svg.copy:visible").all():
            assert copy.bounding_box()["width"] > 200
        assert shown.locator("svg.copy:visible").count() == 2
        assert not shown.locator(".tools").is_visible()


@pytest.mark.nightly
def test_the_printed_tracing_is_true_to_scale(page):
    with opened(page) as shown:
        shown.emulate_media(media="print")
        millimetre = 96 / 25.4
        width = shown.locator("svg.ecg").bounding_box()["width"]
        assert width / millimetre == pytest.approx(264, abs=0.5)


@pytest.mark.nightly
def test_callipers_measure_time_rate_and_amplitude(page):
    with opened(page) as shown:
        box = shown.locator("svg.callipers").bounding_box()
        mm = box["width"] / 264
        x, y = box["x"] + 60 * mm, box["y"] + 40 * mm
        shown.mouse.move(x, y)
        shown.mouse.down()
        shown.mouse.move(x + 20 * mm, y - 5 * mm, steps=3)
        shown.mouse.up()
        ms, rate, mv = re.fullmatch(
            r"(\d+) ms · (\d+)/min · (.+) mV", shown.locator(".reading").inner_text()
        ).groups()
        assert int(ms) == pytest.approx(800, abs=8)
        assert int(rate) == pytest.approx(75, abs=1)
        assert float(mv) == pytest.approx(0.5, abs=0.04)
        shown.get_by_role("button", name="March out").click()
        assert shown.locator("line.repeat").count() in range(12, 15)
        shown.mouse.click(x, y + 10 * mm)
        assert shown.locator(".reading").inner_text() == ""


@pytest.mark.nightly
def test_callipers_are_placed_moved_and_removed_by_keys(page):
    with opened(page) as shown:
        shown.get_by_role("button", name="Callipers").press("Enter")
        reading = shown.locator(".reading")
        assert reading.inner_text().startswith("800 ms · 75/min")
        shown.keyboard.press("ArrowRight")
        assert reading.inner_text().startswith("810 ms")
        shown.keyboard.press("Shift+ArrowLeft")
        assert reading.inner_text().startswith("710 ms")
        slider = shown.get_by_role("slider", name="Calliper, second end")
        assert slider.get_attribute("aria-valuetext") == reading.inner_text()
        shown.keyboard.press("Escape")
        assert reading.inner_text() == ""
        assert shown.get_by_role("slider").count() == 0


@pytest.mark.nightly
def test_the_tracing_is_enlarged_and_scrolls_within_its_frame(page):
    with opened(page) as shown:
        before = shown.locator("svg.ecg").bounding_box()["width"]
        shown.get_by_role("button", name="Larger").click()
        assert shown.locator("svg.ecg").bounding_box()["width"] == pytest.approx(
            1.5 * before, rel=0.01
        )
        assert shown.evaluate("document.documentElement.scrollWidth") <= 1280
        shown.get_by_role("button", name="Smaller").click()
        assert shown.locator("svg.ecg").bounding_box()["width"] == pytest.approx(before)


@pytest.mark.nightly
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_is_readable_at_any_width_and_in_both_schemes(page_of_several, width, scheme):
    with opened(page_of_several, width, scheme) as shown:
        shown.locator(".findings input").nth(1).check()
        assert shown.evaluate("document.documentElement.scrollWidth") <= width
        selectors = (
            ".facts", ".muted", ".notice", "a", ".flag", ".unusual", ".usual", ".legend",
            ".word", ".absent", ".headline", ".shares th", ".leads .lost", ".notes", ".how p",
        )  # fmt: skip
        for selector in selectors:
            assert contrast(shown, selector) >= 4.5, selector
        for text in shown.locator("#r1 svg.ecg text.lead").all():
            assert text.bounding_box()["height"] > 8  # pixels, on a phone too


@pytest.mark.nightly
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_violation(page_of_several, scheme):
    with opened(page_of_several, scheme=scheme) as shown:
        shown.locator(".findings input").nth(1).check()
        shown.get_by_role("button", name="Callipers").first.click()
        assert serious_violations(shown) == []
