"""The twelve leads, the Challenge's five lead sets, and their order."""

TWELVE_LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")

# By size, largest first, so that the first match is the largest one.
LEAD_SETS = {
    12: TWELVE_LEADS,
    6: TWELVE_LEADS[:6],
    4: ("I", "II", "III", "V2"),
    3: ("I", "II", "V2"),
    2: ("I", "II"),
}

_STANDARD_SPELLING = {lead.lower(): lead for lead in TWELVE_LEADS}


def canonical_lead(name: str) -> str:
    """Return the standard spelling of a lead's name in any case; any other name unchanged but
    stripped."""
    name = name.strip()
    return _STANDARD_SPELLING.get(name.lower(), name)


def sort_leads(leads) -> tuple[str, ...]:
    """Return the leads in standard order; names other than the twelve follow alphabetically."""
    position = {lead: i for i, lead in enumerate(TWELVE_LEADS)}
    return tuple(
        sorted(leads, key=lambda lead: (position.get(canonical_lead(lead), len(position)), lead))
    )


def lead_set_for(leads, sizes=tuple(LEAD_SETS)) -> int:
    """Return the size of the largest of the five lead sets that `leads` contains.

    sizes: those to consider. Where `leads` contains none of them (a single lead, say), the result
    is 2: the two-lead model reads an absent lead as zeros.
    """
    present = {canonical_lead(lead) for lead in leads}
    for size, lead_set in LEAD_SETS.items():
        if size in sizes and present.issuperset(lead_set):
            return size
    return min(LEAD_SETS)


def lead_rows(size: int) -> list[int]:
    """Return the positions, among the twelve leads, of those in the lead set of this size.

    Raises ValueError for a size that none of the five sets has.
    """
    if size not in LEAD_SETS:
        raise ValueError(
            f"lead_set: expected one of {', '.join(map(str, LEAD_SETS))}; found {size}"
        )
    return [TWELVE_LEADS.index(lead) for lead in LEAD_SETS[size]]
