"""Points of which servers of prompts stood beside servers of tokens: rows of `data/serving_fleets.csv`.

The public benchmark's runs on racks tell the devices of both together. Its launch scripts of their date tell how many
of each there were, by devices, lengths and users.
"""

from __future__ import annotations

from sizer.frozen import NamedTuple
from sizer.serving.layout import Fleet, fleet_of
from sizer.serving.points import OTHER_SCRIPTS, Point
from sizer.tables import read_rows

TABLE = "serving_fleets.csv"


class FleetTold(NamedTuple):
    """The servers of a point, the tokens of a step of those of prompts, and what those of tokens draft a step."""

    fleet: Fleet
    step_tokens: int
    drafts: int


def fleet_told(point: Point) -> FleetTold | None:
    """The fleet of a point; None of one server alone, and of what another benchmark measured."""
    if point.row.get("requests") or OTHER_SCRIPTS in point.row.get("silicon_data_source", ""):
        return None
    for row in read_rows(TABLE):
        if speaks_of(row, point):
            return FleetTold(fleet_of(row["fleet"]), int(row["step_tokens"]), int(row["drafts"] or 0))
    return None


def speaks_of(row: dict[str, str], point: Point) -> bool:
    """Whether a row of the table is of a point."""
    return (
        (row["engine"], row["precision"]) == (point.engine, point.precision)
        and (row["prompt_tokens"], row["output_tokens"]) == (point.row["isl"], point.row["osl"])
        and row["system"] == point.row["system"]
        and row["model"] in point.model.casefold()
        and row["devices"] == str(point.devices)
        and (not row["users"] or str(point.load.users) in row["users"].split())
        and point.date < row["before_date"]
    )
