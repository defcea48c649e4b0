"""A model's name that was misspelt: its words as published names spell them."""

from __future__ import annotations

import re

from sizer.model.read.catalogue import find
from sizer.model.read.name_parts import word_roles
from sizer.model.read.names import LONGEST_NAME
from sizer.model.read.typed_names import read, vocabulary

_WORD = re.compile(r"[A-Za-z]{3,}")
ALIKE = 0.75
"""How alike two words must be (difflib's ratio): `lama` and `llama` are 0.89, `mistral` and `minitron` 0.53."""


def meant(name: str) -> tuple[str, ...]:
    """The published names that a misspelt one comes nearest to: `lama3` Llama 3, `deepsek r1` DeepSeek-R1; none where
    no word of it is nearly a published one."""
    from difflib import get_close_matches

    last = name.rpartition("/")[2]
    if len(last) > LONGEST_NAME:
        return ()
    known = sorted(word for word in vocabulary() if len(word) > 2)
    said_of_any = word_roles()["filler"]

    def spelt(match: re.Match[str]) -> str:
        word = match[0].lower()
        if word in known or word in said_of_any:
            return word
        return next(iter(get_close_matches(word, known, 1, ALIKE)), word)

    corrected = _WORD.sub(spelt, last)
    if corrected == last.lower():
        return ()
    entry = find(corrected)
    found = read(corrected)
    chosen = entry or found.entry
    return (chosen.alias or chosen.model_id,) if chosen is not None else found.nearest
