import csv

import numpy as np
import pytest

from ecg.records.diagnoses import (
    DIAGNOSES,
    GROUPS,
    OUTPUT_CODES,
    SINUS_RHYTHM,
    WEIGHTS_FILE,
    encode_dx,
    per_code,
    read_weights,
)


def test_weights_are_square_symmetric_and_one_on_the_diagonal():
    weights = read_weights()
    assert weights.shape == (26, 26)
    np.testing.assert_array_equal(np.diag(weights), 1.0)
    np.testing.assert_array_equal(weights, weights.T)


def test_weights_of_other_classes_are_refused(tmp_path):
    path = tmp_path / "weights.csv"
    path.write_text(",1,2\n1,1,0\n2,0,1\n")
    with pytest.raises(ValueError, match=r"weights\.csv: expected the columns 164889003"):
        read_weights(path)


def test_both_codes_of_a_pair_are_one_class():
    for pair in (
        ("733534002", "164909002"),
        ("713427006", "59118001"),
        ("284470004", "63593006"),
        ("427172004", "17338001"),
    ):
        np.testing.assert_array_equal(encode_dx(pair[:1]), encode_dx(pair[1:]))
        assert encode_dx(pair).sum() == 1


def test_codes_that_are_not_scored_are_left_out():
    assert not encode_dx(["164930006", "1", ""]).any()
    assert np.flatnonzero(encode_dx(["1", "426783006"])) == [SINUS_RHYTHM]


def test_an_output_lists_thirty_codes_and_pairs_share_their_value():
    values = dict(zip(OUTPUT_CODES, per_code(range(26)), strict=True))
    assert len(values) == 30
    assert values["733534002"] == values["164909002"] == 4
    assert values["59931005"] == 25


def test_names_and_codes_are_those_of_the_challenge(shared_records):
    with open(shared_records.parent / "dx_mapping_scored.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    abbreviations = {row["SNOMEDCTCode"]: row["Abbreviation"] for row in rows}
    assert set(abbreviations) == set(OUTPUT_CODES)
    for diagnosis in DIAGNOSES:
        of_its_codes = {abbreviations[code] for code in diagnosis.codes}
        assert any(diagnosis.abbreviation in one for one in of_its_codes)
    assert (shared_records.parent / "weights.csv").read_text().startswith(f",{','.join(GROUPS)}")


@pytest.mark.parametrize("number", ["nan", "inf"])
def test_weights_that_are_not_finite_are_refused(number, tmp_path):
    text = WEIGHTS_FILE.read_text().replace("0.5", number, 1)
    (tmp_path / "weights.csv").write_text(text)
    with pytest.raises(ValueError, match=r"weights\.csv: expected finite numbers, found others"):
        read_weights(tmp_path / "weights.csv")
