"""The five papers' tables of results, read from papers.json beside this file.

Figures are copied as printed. A column or row whose figure is also measured here says which it is:
the method's variant, the lead set and the name of the figure.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_FILE = Path(__file__).with_name("papers.json")


@dataclass(frozen=True)
class Column:
    """A column of a paper's table.

    heading: the paper's. figure: its name in `Scores.summary`, or "F-beta" or "G-beta"; None where
    the column's records are hidden or it holds no score. lead_set: None where the row names it.
    """

    heading: str
    figure: str | None = None
    lead_set: int | None = None


@dataclass(frozen=True)
class Row:
    """A row of a paper's table.

    label: the paper's. published: a figure per column, "-" where the paper gives none. variant:
    None where the network is not built here or the row's records are hidden. lead_set: None where
    the column names it.
    """

    label: str
    published: tuple[str, ...]
    variant: str | None = None
    lead_set: int | None = None


@dataclass(frozen=True)
class Table:
    """A table of results as a paper prints it.

    source: team, conference, table. data: what the published figures were measured on.
    row_heading: what the row labels are.
    """

    source: str
    title: str
    method: str
    data: str
    row_heading: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    note: str = ""


@cache
def read_tables() -> tuple[Table, ...]:
    """All tables of the five papers, by paper and number."""
    return tuple(
        Table(
            **table
            | {
                "columns": tuple(Column(**column) for column in table["columns"]),
                "rows": tuple(
                    Row(**row | {"published": tuple(row["published"])}) for row in table["rows"]
                ),
            }
        )
        for table in json.loads(_FILE.read_text("utf-8"))
    )
