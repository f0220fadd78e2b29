from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecg.evaluation.labelled_outputs import (
    LabelledOutputs,
    always_sinus,
    calibration,
    calibration_error,
    confusion_costs,
    confusion_counts,
    intervals,
    lost_scores,
    precision_recall_curve,
    read_labelled_outputs,
    roc_curve,
    subgroups_of,
    summary,
)
from ecg.records.diagnoses import CLASS_OF_CODE, OUTPUT_CODES, per_code, read_weights
from ecg.records.discovery import RecordFiles
from ecg.records.headers import RecordError
from ecg.records.metrics import areas_under_curves
from ecg.records.outputs import write_output
from ecg.simulation.names import record_name
from tests.synthetic import write_folder

WEIGHTS = read_weights()


def record_files(name) -> RecordFiles:
    return RecordFiles(Path(f"{name}.hea"), Path(f"{name}.mat"))


def answered(n_records=300, seed=0) -> LabelledOutputs:
    """Outputs that are right more often than not."""
    rng = np.random.default_rng(seed)
    labels = rng.random((n_records, 26)) < 0.1
    probabilities = np.clip(0.6 * labels + 0.4 * rng.random(labels.shape), 0, 1)
    return LabelledOutputs(
        lead_set=2,
        files=np.array([record_files(f"A{i}") for i in range(n_records)], object),
        sources=np.array(["A", "HR"], object)[np.arange(n_records) % 2],
        sexes=np.array(["Female", "Male", "Unknown"], object)[np.arange(n_records) % 3],
        ages=np.where(np.arange(n_records) % 4, np.arange(n_records) % 100, np.nan),
        fs=np.where(np.arange(n_records) % 5, 500.0, 257.0),
        labels=labels,
        outputs=(probabilities > 0.5) | (rng.random(labels.shape) < 0.02),
        probabilities=probabilities,
    )


def write_answers(folder, records, right=True):
    """An output file for every header of the folder."""
    folder.mkdir(exist_ok=True)
    for header in sorted(records.glob("*.hea")):
        dx = header.read_text().split("#Dx: ")[1].splitlines()[0].split(",")
        label = np.zeros(26, int)
        label[[CLASS_OF_CODE[code] for code in dx]] = right
        given = per_code(label)
        write_output(folder / f"{header.stem}.csv", header.stem, OUTPUT_CODES, given, given)


def test_records_of_each_lead_set_are_read_with_their_answers(tmp_path):
    for lead_set in (12, 2):
        records = write_folder(tmp_path / "labels" / str(lead_set), 4, lead_set)
        write_answers(tmp_path / "outputs", records)
    found = read_labelled_outputs(tmp_path / "labels", tmp_path / "outputs")
    assert list(found) == [12, 2]
    for lead_set, own in found.items():
        assert own.lead_set == lead_set
        assert [file.name[:3] for file in own.files] == [f"T{lead_set:02d}"] * 4
        assert set(own.sources) == {"T"}
        assert set(own.ages) == {60}
        assert set(own.fs) == {500}
        assert summary(own, WEIGHTS)["Challenge metric"] == 1


def test_a_header_with_nothing_but_diagnoses_still_counts(tmp_path):
    records = write_folder(tmp_path / "labels", 1)
    write_answers(tmp_path / "outputs", records)
    (header,) = records.glob("*.hea")
    header.write_text("\n".join(["garbage", *header.read_text().splitlines()[-3:]]))
    (own,) = read_labelled_outputs(records, tmp_path / "outputs").values()
    assert summary(own, WEIGHTS)["Accuracy"] == 1
    assert np.isnan(own.ages[0])
    assert own.sexes[0] == "Unknown"


def test_a_missing_output_and_an_empty_folder_are_named(tmp_path):
    records = write_folder(tmp_path / "labels", 1)
    with pytest.raises(FileNotFoundError, match=r"T120000\.csv: expected an output file"):
        read_labelled_outputs(records, tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordError, match="expected records"):
        read_labelled_outputs(tmp_path / "empty", tmp_path)


def test_intervals_hold_the_figure_and_narrow_with_the_number_of_records():
    widths = []
    for n_records in (50, 450):
        (found,) = intervals(answered(n_records), WEIGHTS)
        for name, value in summary(answered(n_records), WEIGHTS).items():
            assert found[name].value == value
            assert found[name].low <= value <= found[name].high
        widths.append(found["Challenge metric"].high - found["Challenge metric"].low)
    # Three times as narrow with nine times the records.
    assert widths[0] / widths[1] == pytest.approx(3, rel=0.35)


def test_the_difference_to_the_same_answers_is_nothing_and_to_worse_ones_above_it():
    own = answered()
    _, same = intervals(own, WEIGHTS, own)
    assert {(one.value, one.low, one.high) for one in same.values()} == {(0, 0, 0)}
    _, better = intervals(own, WEIGHTS, always_sinus(own))
    assert better["Challenge metric"].low > 0


def test_what_records_cost_adds_up_to_what_the_score_lacks():
    own = answered()
    lost = lost_scores(own, WEIGHTS)
    assert lost.sum() == pytest.approx(1 - summary(own, WEIGHTS)["Challenge metric"])
    worst = lost.argmax()
    mended = own.outputs.copy()
    mended[worst] = own.labels[worst]
    gained = summary(replace(own, outputs=mended), WEIGHTS)["Challenge metric"]
    assert gained - summary(own, WEIGHTS)["Challenge metric"] == pytest.approx(lost[worst])


def test_right_answers_gain_on_the_diagonal_and_wrong_ones_lose_beside_it():
    own = answered()
    beside = ~np.eye(26, dtype=bool)
    right = confusion_costs(replace(own, outputs=own.labels), WEIGHTS)
    assert (np.diag(right) > 0).all()
    assert (right[beside] == 0).all()
    costs = confusion_costs(own, WEIGHTS)
    assert (costs[beside] <= 0).all()
    assert costs[beside].sum() < 0


def test_a_wrong_answer_loses_what_its_weight_lacks():
    labels, outputs = np.zeros((1, 26), bool), np.zeros((1, 26), bool)
    labels[0, [0, 8]] = outputs[0, [0, 8, 5]] = True  # two right, one wrong: a third each
    costs = confusion_costs(replace(answered(1), labels=labels, outputs=outputs), WEIGHTS)
    assert costs[0, 5] == pytest.approx(-(1 - WEIGHTS[0, 5]) / 3)
    assert costs[8, 5] == pytest.approx(-(1 - WEIGHTS[8, 5]) / 3)
    assert costs[0, 0] == costs[8, 8] == pytest.approx(1 / 3)
    assert np.count_nonzero(costs) == 4


def test_groups_hold_every_record_once():
    own = answered()
    groups = subgroups_of(own)
    assert list(groups) == ["origin", "source", "sex", "age", "sampling rate"]
    for values in groups.values():
        np.testing.assert_array_equal(sum(chosen.astype(int) for chosen in values.values()), 1)
    assert groups["age"]["unknown"].sum() == 75
    assert "80 and older" in groups["age"]
    assert list(groups["sampling rate"]) == ["257 Hz", "500 Hz"]


def test_simulated_records_are_told_from_real_ones_by_their_names():
    names = [record_name("A", 0, 12, i) for i in range(3)] + ["A0001"]
    own = replace(answered(4), files=np.array([record_files(name) for name in names], object))
    assert own.simulated.tolist() == [True, True, True, False]
    assert subgroups_of(own)["origin"]["real"].tolist() == [False, False, False, True]


def test_confusions_are_counted_once_for_each_true_class():
    labels, outputs = np.zeros((3, 26), bool), np.zeros((3, 26), bool)
    labels[0, [0, 8]] = outputs[0, [0, 8, 5]] = True
    labels[1, 0] = outputs[1, 5] = True
    outputs[2, 3] = True  # nothing is true
    counts = confusion_counts(replace(answered(3), labels=labels, outputs=outputs))
    assert counts[0, 0] == counts[8, 8] == counts[8, 5] == 1
    assert counts[0, 5] == 2
    assert counts.sum() == 5


@settings(deadline=None)
@given(st.integers(2, 400), st.integers(0, 2**31), st.integers(1, 40))
def test_curves_have_the_area_that_is_scored(n_records, seed, n_values):
    rng = np.random.default_rng(seed)
    label = rng.random(n_records) < 0.4
    label[:2] = True, False
    probability = rng.integers(0, n_values, n_records) / n_values
    auroc, auprc = areas_under_curves(label, probability)
    x, y = roc_curve(label, probability).T
    assert np.trapezoid(y, x) == pytest.approx(auroc)
    recall, precision = precision_recall_curve(label, probability).T
    assert np.sum(np.diff(recall, prepend=0) * precision) == pytest.approx(auprc)
    assert (np.diff(recall, prepend=0) > 0).all()
    assert recall[-1] == 1


def test_long_curves_are_thinned_and_keep_their_area():
    rng = np.random.default_rng(0)
    label = rng.random(20_000) < 0.2
    probability = np.clip(rng.normal(0.3 + 0.2 * label, 0.2), 0, 1)
    points = roc_curve(label, probability)
    assert len(points) <= 101
    assert points[0].tolist() == [0, 0]
    assert points[-1].tolist() == [1, 1]
    expected = areas_under_curves(label, probability)[0]
    assert np.trapezoid(points[:, 1], points[:, 0]) == pytest.approx(expected, abs=2e-3)


def test_calibration_counts_every_probability_and_knows_true_ones():
    rng = np.random.default_rng(0)
    probabilities = rng.random((5000, 26))
    labels = rng.random(probabilities.shape) < probabilities
    bins = calibration(labels, probabilities)
    assert bins[:, 0].sum() == probabilities.size
    np.testing.assert_allclose(bins[:, 1], bins[:, 2], atol=0.02)
    assert calibration_error(labels, probabilities) < 0.01
    assert calibration_error(labels, np.ones_like(probabilities)) == pytest.approx(0.5, abs=0.01)
    assert np.isnan(calibration([True], [1.0])[0, 1:]).all()
