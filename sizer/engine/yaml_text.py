"""YAML as plain data: configuration files of engines, and documents that a command stands in.

PyYAML reads it, and is imported where a text is YAML. Only data comes out: no tag makes an object, and merged keys may
not multiply.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from sizer.errors import UsageError

MOST_KEYS = 2000
"""Of one mapping: merges of merges may double them at each level."""


def read_yaml(text: str, *, plain: bool = False) -> list[Any]:
    """The documents of a text: mappings, lists and values; every value stays the text it is where `plain`.

    Raises UsageError for what is no YAML, and where PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError:
        raise UsageError("this text is YAML, which PyYAML reads: it is not installed.", "pip install PyYAML.") from None
    try:
        return list(yaml.load_all(text, Loader=_loader(plain)))
    except yaml.MarkedYAMLError as error:
        where = f" at line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UsageError(f"the YAML cannot be read: {error.problem}{where}.", "Paste it whole, as it stands.") from None
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError):
        raise UsageError("the YAML cannot be read.", "Paste it whole, as it stands.") from None


@cache
def _loader(plain: bool) -> Any:
    """PyYAML's safe loader, with a bound to merged keys; tags of one's own (`!reset`) are nothing."""
    import yaml

    class Loader(yaml.SafeLoader):
        def flatten_mapping(self, node: yaml.MappingNode) -> None:
            super().flatten_mapping(node)
            if len(node.value) > MOST_KEYS:
                raise yaml.YAMLError("too many keys")

    if plain:
        merges = [rule for rule in yaml.SafeLoader.yaml_implicit_resolvers["<"] if rule[0].endswith(":merge")]
        Loader.yaml_implicit_resolvers = {"<": merges}
    Loader.add_multi_constructor("!", lambda *_: None)
    return Loader
