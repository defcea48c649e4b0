"""Figures remembered by the identity of the model they are of: hashing an inventory costs more than sizing it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

Owner = TypeVar("Owner")
Value = TypeVar("Value")


class IdentityCache(Generic[Owner, Value]):
    """The last `size` values, each of one owner and key. An owner is held, so that its identity stays its own."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.lock = Lock()
        self.entries: OrderedDict[tuple[int, Hashable], tuple[Owner, Value]] = OrderedDict()

    def get(self, owner: Owner, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of an owner and key, made now if it is not remembered."""
        place = (id(owner), key)
        with self.lock:
            found = self.entries.get(place)
            if found is not None and found[0] is owner:
                self.entries.move_to_end(place)
                return found[1]
        value = make()
        with self.lock:
            self.entries[place] = (owner, value)
            while len(self.entries) > self.size:
                self.entries.popitem(last=False)
        return value
