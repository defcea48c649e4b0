"""Frozen records: the standard library's dataclass and named tuple, with nothing compiled at import.

`dataclasses.dataclass(frozen=True, slots=True)` writes and compiles `__init__`, `__repr__`, `__eq__`, `__hash__`,
`__setattr__` and `__delattr__` of every class as its module is imported, `typing.NamedTuple` a `__new__`: together a
third of the start of an offline estimate, which defines more than a hundred and makes a few records of most. Here all
but the constructor are shared by every record, and a class has a constructor compiled when it has made so many records
that compiling costs no more than they did. Fields, defaults, `__post_init__`, `replace`, `asdict`, matching, copying
and pickling are the standard library's. benchmarks/startup.py shows what this is worth.
"""

from __future__ import annotations

import dataclasses
from collections import _tuplegetter, namedtuple  # type: ignore[attr-defined]
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from operator import attrgetter
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any

__all__ = ["NamedTuple", "dataclass"]

FEW = 50
"""Records of a class that are made without a compiled constructor: they take as long as compiling one. Each class
counts down in `_left`."""

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
            missing = {name: value for name, value in shared.items() if name not in cls.__dict__}
            cls = _with_fields(cls, slots)
            for name, value in missing.items():
                setattr(cls, name, value)
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
            fields = tuple(given["__annotations__"])
            return type(
                name,
                (tuple,),
                {
                    **_OF_TUPLES,
                    **given,
                    **{field: _tuplegetter(index, f"Field {index}") for index, field in enumerate(fields)},
                    "__slots__": (),
                    "__match_args__": fields,
                    "_fields": fields,
                    "_field_defaults": {field: given[field] for field in fields if field in given},
                },
            )

    class NamedTuple(metaclass=_NamedTupleMeta):
        """What `typing.NamedTuple` is; its modules must import `annotations` from `__future__`."""


def _with_fields(cls: type, slots: bool) -> type:
    """The class with its fields. The standard library looks into each annotation that is a text: it is shown none."""
    told = vars(cls).get("__annotations__", {})
    cls.__annotations__ = dict.fromkeys(told, object)
    made: type = dataclasses.dataclass(init=False, repr=False, eq=False, slots=slots)(cls)
    made.__annotations__ = told
    for field in dataclasses.fields(made):
        field.type = told.get(field.name, field.type)
    return made


def _is_of_the_first(cls: Any) -> bool:
    """Whether the record that is being made, which this counts, is of the first few of its class."""
    cls._left -= 1
    return bool(cls._left >= 0)


def _filled(record: Any, values: tuple[Any, ...], named: Mapping[str, Any]) -> bool:
    """Set the fields of a new record, one by one; False where the values are not those of its fields."""
    cls: Any = type(record)
    setters, count, taken = _setters(cls), len(values), 0
    for index, (field, put) in enumerate(setters):
        if index < count:
            value = values[index]
        elif field.name in named:
            value, taken = named[field.name], taken + 1
        elif field.default is not dataclasses.MISSING:
            value = field.default
        elif field.default_factory is not dataclasses.MISSING:
            value = field.default_factory()
        else:
            return False
        put(record, value)
    if taken < len(named) or count > len(setters):
        return False
    if hasattr(record, "__post_init__"):
        record.__post_init__()
    return True


@cache
def _setters(cls: type) -> list[tuple[dataclasses.Field[Any], Callable[[Any, Any], None]]]:
    """The fields of a class, each with what sets it."""
    return [(field, _setter(cls, field.name)) for field in dataclasses.fields(cls)]


def _setter(cls: type, name: str) -> Callable[[Any, Any], None]:
    """What sets a field of a record, which refuses to be set."""
    slot = getattr(cls, name, None)
    if isinstance(slot, MemberDescriptorType):
        return slot.__set__
    return lambda record, value: object.__setattr__(record, name, value)


def _values_of(names: Iterable[str]) -> Callable[[Any], Any]:
    """A function from a record to the values of some of its fields."""
    chosen = tuple(names)
    return attrgetter(*chosen) if chosen else type


def _init(self: Any, *values: Any, **named: Any) -> None:
    """A class's first records. Then, or to say what is wrong with the values, `__init__` is compiled for it."""
    cls = type(self)
    if not (_is_of_the_first(cls) and _filled(self, values, named)):
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
    "_left": FEW,
}
_BY_VALUE = {"__eq__": _eq, "__hash__": _hash}


def _new(cls: Any, *values: Any, **named: Any) -> Any:
    """A class's first tuples. Then, or to say what is wrong with the values, `__new__` is compiled for it."""
    fields = cls._fields
    rest = fields[len(values) :]
    if _is_of_the_first(cls) and len(values) <= len(fields) and named.keys() <= set(rest):
        given = {**cls._field_defaults, **named}
        if given.keys() >= set(rest):
            return tuple.__new__(cls, (*values, *(given[field] for field in rest)))
    of_fields = namedtuple(cls.__name__, fields, defaults=tuple(cls._field_defaults.values()))  # type: ignore[misc]
    cls.__new__ = of_fields.__new__
    return cls.__new__(cls, *values, **named)


def _make(cls: Any, values: Iterable[Any]) -> Any:
    made = tuple.__new__(cls, values)
    if len(made) != len(cls._fields):
        raise TypeError(f"Expected {len(cls._fields)} arguments, got {len(made)}")
    return made


def _replace(self: Any, /, **named: Any) -> Any:
    made = self._make(map(named.pop, self._fields, self))
    if named:
        raise ValueError(f"Got unexpected field names: {list(named)!r}")
    return made


def _values(self: Any) -> tuple[Any, ...]:
    return tuple(self)


def _tuple_repr(self: Any) -> str:
    return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._asdict().items())})"


_OF_TUPLES = {
    "_left": FEW,
    "__new__": _new,
    "__repr__": _tuple_repr,
    "__getnewargs__": _values,
    "_make": classmethod(_make),
    "_replace": _replace,
    "_asdict": lambda self: dict(zip(self._fields, self, strict=True)),
}
