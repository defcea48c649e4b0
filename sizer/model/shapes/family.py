"""What a family is: from a config to parts; and families for files that call the usual fields otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sizer.model.blocks.core import Parts
from sizer.model.config import ClassDefaults, Config

Family = Callable[[Config], Parts]


def named(config: Config, aliases: Mapping[str, str], **defaults: Any) -> Config:
    """The config read with the names that its own code has for the usual fields, and the defaults of that code.

    `aliases` are {usual name: the file's name}. Errors name the file's own field.
    """
    known = config.class_defaults
    both = ClassDefaults(
        known.model_type, {**known.fields, **defaults}, {**known.aliases, **aliases}, known.sub_configs
    )
    return Config(config.fields, both, config.path)


def looping(family: Family, field: str, passes: int) -> Family:
    """`family` whose layers a token runs through as often as `field` says, `passes` times where the file is silent."""
    return lambda config: family(config).looped(config.size(field, default=passes, maximum=64))


DENOISES = (
    "a diffusion model: a pass denoises a block of tokens, as many passes as its sampler is told; the speed here "
    "is that of one token a pass"
)


def denoising(family: Family) -> Family:
    """`family` of a model that fills masked tokens in instead of writing one after the other."""
    return lambda config: family(config).with_notes(DENOISES)


def with_names(family: Family, aliases: Mapping[str, str], **defaults: Any) -> Family:
    """`family` for files that call its fields by other names, or leave them to other defaults."""
    return lambda config: family(named(config, aliases, **defaults))
