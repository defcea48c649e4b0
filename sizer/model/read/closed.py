"""Names that no estimate can be made of (`data/closed_models.csv`): models whose makers serve them and publish no
weights, and models of images or speech."""

from __future__ import annotations

import re

from sizer.errors import UnknownModel
from sizer.tables import read_rows

_SEPARATOR = re.compile(r"[^a-z0-9.]+")


def refuse_closed(name: str, *, sized: bool = False) -> None:
    """Raises UnknownModel for the name of a closed model, with an open one of its maker where there is one, and for the
    name of what is no language model. A name with an organisation (`anthropic/claude-opus-4`, as services that pass
    requests on write them) is closed where it is its maker's.

    `sized`: the name tells parameters, so that it is no closed model's, but may still be one of images or speech.
    """
    *before, last = (" ".join(_SEPARATOR.split(part.casefold())).strip() for part in name.split("/"))
    for row in read_rows("closed_models.csv"):
        if not any(f"{last} ".startswith(f"{words} ") for words in row["words"].split("|")):
            continue
        if row["what"]:
            raise UnknownModel(
                f"{name!r} is {row['what']}, not a language model.",
                "sizer sizes models that read and write text; a repository's name (org/name) or a config.json is read.",
            )
        if sized or (before and before[-1] not in row["organisations"].split("|")):
            continue
        instead = f"An open model of theirs: `sizer estimate {row['instead']}`." if row["instead"] else ""
        raise UnknownModel(
            f"{name!r} is served by {row['maker']} alone: its weights are not published, so nothing can be sized.",
            f"{instead} `sizer fit` lists what this machine runs.".strip(),
        )
