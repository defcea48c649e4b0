"""Frozen records: the standard library's dataclass, without six functions compiled for each class at import.

`dataclasses.dataclass(frozen=True, slots=True)` writes and compiles `__init__`, `__repr__`, `__eq__`, `__hash__`,
`__setattr__` and `__delattr__` of every class as its module is imported: a third of the start of an offline estimate,
which defines half a hundred. Here all but `__init__` are shared by every record, and `__init__` is compiled when the
first record of a class is made. Fields, defaults, `__post_init__`, `replace`, `asdict`, matching, copying and pickling
are the standard library's. `NamedTuple` is typing's without an expression compiled for the type of each field.
benchmarks/startup.py shows what both are worth.
"""

from __future__ import annotations

import dataclasses
from collections import namedtuple
from collections.abc import Callable, Iterable
from operator import attrgetter
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any

__all__ = ["NamedTuple", "dataclass"]

if TYPE_CHECKING:
    from dataclasses import dataclass
    from typing import NamedTuple
else:

    def dataclass(*, frozen: bool, slots: bool = False, eq: bool = True):
        """The decorator of a frozen record; keywords as the standard library spells them (`frozen` must be true)."""
        if not frozen:
            raise TypeError("a record of sizer.frozen is frozen: take dataclasses.dataclass for one that changes")

        def record(cls: type) -> type:
            shared = _SHARED | _BY_VALUE if eq else _SHARED
            missing = {name: function for name, function in shared.items() if name not in cls.__dict__}
            cls = dataclasses.dataclass(init=False, repr=False, eq=False, slots=slots)(cls)
            for name, function in missing.items():
                setattr(cls, name, function)
            fields = dataclasses.fields(cls)
            cls.__compared__ = _values_of(field.name for field in fields if field.compare)
            cls.__hashed__ = _values_of(field.name for field in fields if field.compare and field.hash is not False)
            return cls

        return record

    class _NamedTupleMeta(type):
        """Makes a subclass of NamedTuple: a named tuple of the annotated names, with the methods written there."""

        def __new__(cls, name: str, bases: tuple[type, ...], given: dict[str, Any]) -> type:
            if not bases:
                return super().__new__(cls, name, bases, given)
            fields = given["__annotations__"]
            defaults = [given[field] for field in fields if field in given]
            made = namedtuple(name, fields, defaults=defaults, module=given["__module__"])
            for key, value in given.items():
                if key not in fields:
                    setattr(made, key, value)
            return made

    class NamedTuple(metaclass=_NamedTupleMeta):
        """What `typing.NamedTuple` is; its modules must import `annotations` from `__future__`."""


def _values_of(names: Iterable[str]) -> Callable[[Any], Any]:
    """A function from a record to the values of some of its fields."""
    chosen = tuple(names)
    return attrgetter(*chosen) if chosen else type


def _init(self: Any, *values: Any, **named: Any) -> None:
    """Compile `__init__` of the record's class, and call it: the first record of a class only."""
    cls = type(self)
    cls.__init__ = _compiled_init(cls)
    cls.__init__(self, *values, **named)


def _compiled_init(cls: type) -> Any:
    """`__init__` of a record: its fields in their order as parameters, with their defaults."""
    known: dict[str, Any] = {"_made": object()}
    parameters, lines = [], []
    for field in dataclasses.fields(cls):
        name, value = field.name, field.name
        if field.default_factory is not dataclasses.MISSING:
            known[f"_new_{name}"] = field.default_factory
            parameters.append(f"{name}=_made")
            value = f"_new_{name}() if {name} is _made else {name}"
        elif field.default is not dataclasses.MISSING:
            known[f"_default_{name}"] = field.default
            parameters.append(f"{name}=_default_{name}")
        else:
            parameters.append(name)
        slot = getattr(cls, name, None)
        if isinstance(slot, MemberDescriptorType):
            known[f"_set_{name}"] = slot.__set__
            lines.append(f" _set_{name}(self, {value})")
        else:
            known["_set"] = object.__setattr__
            lines.append(f" _set(self, {name!r}, {value})")
    if hasattr(cls, "__post_init__"):
        lines.append(" self.__post_init__()")
    exec(f"def __init__(self, {', '.join(parameters)}):\n" + "\n".join(lines or [" pass"]), known)  # noqa: S102
    made = known["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    return made


def _repr(self: Any) -> str:
    shown = (f"{field.name}={getattr(self, field.name)!r}" for field in dataclasses.fields(self) if field.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _eq(self: Any, other: Any) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    return self is other or self.__compared__(self) == self.__compared__(other)


def _hash(self: Any) -> int:
    return hash(self.__hashed__(self))


def _refuse(self: Any, name: str, *_: object) -> None:
    """Neither assignment nor deletion: a record stays what it was made as."""
    raise dataclasses.FrozenInstanceError(f"cannot change {name!r} of a {type(self).__name__}")


def _state(self: Any) -> dict[str, Any]:
    """What is copied and pickled: the values of the fields."""
    return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def _restore(self: Any, state: dict[str, Any]) -> None:
    for name, value in state.items():
        object.__setattr__(self, name, value)


_SHARED = {
    "__init__": _init,
    "__repr__": _repr,
    "__setattr__": _refuse,
    "__delattr__": _refuse,
    "__getstate__": _state,
    "__setstate__": _restore,
}
_BY_VALUE = {"__eq__": _eq, "__hash__": _hash}
