"""Shared by the tests of advice: catalogued models, targets with any memory, and the questions of a ladder."""

from __future__ import annotations

from dataclasses import replace

from sizer.device.catalogue import find
from sizer.device.records import Target
from sizer.device.stated import override
from sizer.model.architecture import Architecture, Basis
from sizer.model.families import build
from sizer.model.read import catalogue

GIB = 2**30


def model(name: str) -> Architecture:
    """A catalogued model."""
    entry = catalogue.find(name)
    assert entry is not None, name
    return build(catalogue.load(entry), entry.model_id, Basis.CATALOGUE)


def target(device: str, memory_gib: float | None = None, ram_gib: float | None = None) -> Target:
    """A device, with other memory or beside a host with so much where asked."""
    found = find(device)
    if memory_gib is not None:
        found = override(found, None, int(memory_gib * GIB), None)
    if ram_gib is not None:
        host = found.host or find("consumer-cpu").device
        found = replace(found, host=host, host_memory_bytes=int(ram_gib * GIB))
    return found
