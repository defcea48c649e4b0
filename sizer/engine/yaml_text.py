"""YAML as plain data: configuration files of engines, and documents that a command stands in.

PyYAML reads it, and is imported where a text is YAML. Only data comes out: no tag makes an object, and what aliases
repeat counts each time.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from sizer.errors import UsageError

MOST_CHARACTERS = 400_000
"""Of a document with each alias written out: aliases of aliases may double it at each level."""


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
    """PyYAML's safe loader, with a bound to what aliases repeat; tags of one's own (`!reset`) are nothing."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_document(self, node: yaml.Node) -> Any:
            if _characters(node, {}) >= MOST_CHARACTERS:
                raise yaml.YAMLError("too long with its aliases written out")
            return super().construct_document(node)

    if plain:
        merges = [rule for rule in yaml.SafeLoader.yaml_implicit_resolvers["<"] if rule[0].endswith(":merge")]
        Loader.yaml_implicit_resolvers = {"<": merges}
    Loader.add_multi_constructor("!", lambda *_: None)
    return Loader


def _characters(node: Any, known: dict[int, int]) -> int:
    """How long a node is with each alias written out, at most the bound; one that holds itself reaches it."""
    if id(node) not in known:
        known[id(node)] = MOST_CHARACTERS
        parts = [] if isinstance(node.value, str) else node.value
        inner = sum(_characters(one, known) for part in parts for one in (part if isinstance(part, tuple) else (part,)))
        known[id(node)] = min(MOST_CHARACTERS, 1 + (inner or len(node.value)))
    return known[id(node)]
