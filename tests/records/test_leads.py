import pytest

from ecg.records.leads import (
    LEAD_SETS,
    TWELVE_LEADS,
    canonical_lead,
    lead_rows,
    lead_set_for,
    sort_leads,
)


@pytest.mark.parametrize(
    ("name", "expected"), [("AVR", "aVR"), ("avl", "aVL"), (" v3 ", "V3"), ("ii", "II"), ("X", "X")]
)
def test_lead_names_in_any_case_get_their_standard_spelling(name, expected):
    assert canonical_lead(name) == expected


@pytest.mark.parametrize("size", LEAD_SETS)
def test_each_lead_set_is_answered_by_its_own_model(size):
    assert lead_set_for(LEAD_SETS[size]) == size
    assert lead_set_for([lead.upper() for lead in reversed(LEAD_SETS[size])]) == size


@pytest.mark.parametrize(
    ("leads", "size"),
    [
        ([lead for lead in TWELVE_LEADS if lead != "V6"], 6),
        (["I", "II", "III", "aVR", "aVL", "V1"], 2),
        (["I", "II", "V2", "V5"], 3),
        (["I", "II", "III"], 2),
        (["II"], 2),
        ([], 2),
    ],
)
def test_other_lead_sets_take_the_largest_set_that_they_contain(leads, size):
    assert lead_set_for(leads) == size


def test_sorting_puts_the_twelve_first_and_keeps_the_others():
    assert sort_leads(["V2", "ecg", "AVR", "I"]) == ("I", "AVR", "V2", "ecg")


@pytest.mark.parametrize(
    ("size", "leads"),
    [
        (12, "I II III aVR aVL aVF V1 V2 V3 V4 V5 V6"),
        (6, "I II III aVR aVL aVF"),
        (4, "I II III V2"),
        (3, "I II V2"),
        (2, "I II"),
    ],
)
def test_rows_of_a_lead_set_are_the_places_of_the_challenges_leads_among_the_twelve(size, leads):
    assert [TWELVE_LEADS[row] for row in lead_rows(size)] == leads.split()


def test_a_size_that_no_lead_set_has_is_refused():
    with pytest.raises(ValueError, match="lead_set: expected one of 12, 6, 4, 3, 2; found 5"):
        lead_rows(5)
