import numpy as np
import pytest

from ecg.pages.evidence import marks_for, percent, weigh_parts
from ecg.pages.explanation import BEAT, SEGMENT, Explanation, Part

BEATS = tuple(
    Part(f"beat at {at}.5 s", BEAT, ("I", "II"), ((float(at), at + 1.0),)) for at in range(4)
)
WAVES = tuple(
    Part(f"{wave} in {lead}", wave, (lead,), tuple((at + 0.2, at + 0.4) for at in range(4)))
    for wave in ("P wave", "QRS complex", "ST and T wave")
    for lead in ("I", "II")
)


def an_explanation(beats=(0.0,) * 4, waves=(0.0,) * 6, parts=None) -> Explanation:
    """An explanation of class 0 by the drop of the log-odds without each beat and each wave."""
    separable = np.zeros((len(beats) + len(waves), 26))
    separable[:, 0] = [*beats, *waves]
    return Explanation(
        parts=BEATS + WAVES if parts is None else parts,
        separable=separable,
        log_odds=np.full(26, 2.0),
        baseline=np.full(26, -2.0),
        leads=("I", "II"),
        without_lead=np.full((2, 26), 0.5),
    )


def headline(explanation) -> str:
    return weigh_parts(explanation, 0).headline.replace("\N{NO-BREAK SPACE}", " ")


def test_the_shares_of_all_waves_add_up_to_one_and_so_do_those_of_the_beats():
    explanation = an_explanation(beats=(3.0, -0.5, 0.5, 0.0), waves=(1.0, 0, 0, -1.0, 0, 0))
    evidence = weigh_parts(explanation, 0)
    assert [(part.name, part.share) for part in evidence.waves] == [
        ("P waves in I", 0.5),
        ("QRS complexes in II", -0.5),
    ]
    assert evidence.beats[0].share == pytest.approx(0.75)
    assert dict(evidence.by_wave) == {
        "P waves": 0.5,
        "QRS complexes": 0.5,
        "ST and T waves": 0.0,
    }


def test_the_probability_without_a_part_is_that_of_the_model():
    evidence = weigh_parts(an_explanation(waves=(2.0, 0, 0, 0, 0, 0)), 0)
    assert evidence.probability == pytest.approx(1 / (1 + np.exp(-2)))
    assert evidence.waves[0].probability == pytest.approx(0.5)


def test_the_headline_names_the_part_that_counts_most():
    most = headline(an_explanation(waves=(0.5, 4.0, 0, 0, 0, 0)))
    assert most == "Most of the evidence: the P waves in II (89 %). No beat stands out."
    spread = headline(an_explanation(waves=(0, 0, 2.0, 1.5, 1.5, -1.0)))
    assert spread.startswith(
        "The strongest evidence: the QRS complexes in I (33 %), "
        "then the QRS complexes in II (25 %)."
    )


def test_a_finding_without_support_is_said_to_have_none():
    parts = BEATS[:2]
    text = headline(an_explanation(beats=(-1.0, -1.0), waves=(), parts=parts))
    assert text == "No part of the tracing supports it."


def test_a_beat_that_stands_out_is_named_and_marked_in_all_leads():
    explanation = an_explanation(beats=(0.1, 0.1, 5.0, 0.1))
    evidence = weigh_parts(explanation, 0)
    assert [part.name for part in evidence.beats] == ["beat at 2.5 s"]
    assert headline(explanation) == "The beat at 2.5 s counts more than the others (94 %)."
    marks = marks_for(explanation, 0)
    assert {(mark.lead, mark.start_s, mark.end_s) for mark in marks} == {
        ("I", 2.0, 3.0),
        ("II", 2.0, 3.0),
    }


def test_beats_that_count_alike_are_not_marked():
    explanation = an_explanation(beats=(2.0, 2.1, 1.9, 2.0), waves=(0, 0, 0, 0, 1.0, -0.5))
    assert weigh_parts(explanation, 0).beats == ()
    marks = marks_for(explanation, 0)
    assert {(mark.lead, mark.weight) for mark in marks} == {("I", 1.0), ("II", -0.5)}
    assert len(marks) == 8


def test_parts_that_hardly_change_the_probability_decide_nothing():
    evidence = weigh_parts(an_explanation(beats=(0.01,) * 4, waves=(0.02,) + (0.0,) * 5), 0)
    assert evidence.headline.startswith("No single wave or beat decides")
    assert marks_for(an_explanation(), 0) == []


def test_seconds_stand_for_beats_where_none_were_found():
    parts = tuple(
        Part(f"{at:.1f} to {at + 1:.1f} s", SEGMENT, ("I", "II"), ((at, at + 1.0),))
        for at in range(3)
    )
    explanation = an_explanation(beats=(1.0, 2.0, 1.0), waves=(), parts=parts)
    evidence = weigh_parts(explanation, 0)
    assert evidence.waves == evidence.by_wave == ()
    assert [part.share for part in evidence.beats] == [0.5, 0.25, 0.25]
    assert (
        headline(explanation) == "The stretch from 1.0 to 2.0 s counts more than the others (50 %)."
    )


def test_percentages_are_not_rounded_to_certainty():
    assert [percent(share) for share in (0.0, 0.001, 0.126, 0.997, 1.0)] == [
        f"{text}\N{NO-BREAK SPACE}%" for text in ("0", "<1", "13", ">99", "100")
    ]
