"""`sizer devices`: the devices, cloud instances, classes and CPU families that sizer knows."""

from __future__ import annotations

import click

from sizer.cli.common import output_options, show
from sizer.device.catalogue import find, search
from sizer.device.clouds import instances, named_classes
from sizer.device.records import Device, Instance
from sizer.device.spelling import squash
from sizer.errors import UnknownDevice
from sizer.report.outputs import listing
from sizer.units import GIB, format_bandwidth

Row = dict[str, str | int | float | None]


@click.command()
@click.argument("text", nargs=-1)
@output_options
def command(text: tuple[str, ...], style: str) -> None:
    """List the devices whose key, name or alias holds every word of TEXT, with cloud instances and classes.

    A TEXT that names one device as --device would take it (a driver's string, a count, a slice) shows that device.

    \b
    sizer devices
    sizer devices rtx 4090
    sizer devices "NVIDIA A100-SXM4-80GB"
    sizer devices aws:g5 --json
    """
    wanted = " ".join(text)
    rows = [_device_row(device) for device in search(wanted)]
    rows += [_instance_row(instance) for instance in instances() if _holds(wanted, instance)]
    classes = named_classes() if squash(wanted) or not wanted.strip() else ()
    rows += [_class_row(named.name, named.key) for named in classes if squash(wanted) in squash(named.name)]
    if not rows:
        rows = [_named(wanted)]
    show(listing(rows, _for_people), style)


def _holds(wanted: str, instance: Instance) -> bool:
    """Whether every word of the text is in the instance's name; instances are listed only when asked for."""
    name = squash(f"{instance.cloud}:{instance.name}")
    return bool(squash(wanted)) and all(squash(word) in name for word in wanted.split())


def _named(wanted: str) -> Row:
    """The one device that the text names, if it does. Raises UnknownDevice."""
    try:
        target = find(wanted)
    except UnknownDevice as error:
        raise UnknownDevice(f"no device matches {wanted!r}.", error.hint) from None
    row = _device_row(target.device)
    row["key"] = f"{target.count}x {target.device.key}" if target.count > 1 else target.device.key
    return row


def _device_row(device: Device) -> Row:
    return {
        "key": device.key,
        "name": device.name,
        "kind": device.kind,
        "memory_bytes": device.memory_bytes,
        "bandwidth_bytes_per_s": device.bandwidth_bytes_per_s,
        "fp32_flops_per_s": device.peak_flops_per_s.get("fp32"),
        "fp16_flops_per_s": device.peak_flops_per_s.get("fp16"),
        "release_year": device.release_year,
        "source": device.source,
    }


def _instance_row(instance: Instance) -> Row:
    row = _class_row(f"{instance.cloud}:{instance.name}", f"{instance.count}x {instance.device_key}")
    row.update(kind="instance", source=instance.source)
    return row


def _class_row(name: str, meaning: str) -> Row:
    return {**_device_row(find(name).device), "key": name, "name": meaning, "kind": "class"}


def _tera(flops_per_s: str | float | None) -> str:
    return f"{float(flops_per_s) / 10**12:.4g}" if flops_per_s else "-"


def _for_people(row: Row) -> Row:
    memory, rate = row["memory_bytes"], row["bandwidth_bytes_per_s"]
    return {
        "key": row["key"],
        "name": row["name"],
        "kind": row["kind"],
        "memory": f"{float(memory) / GIB:g} GiB" if memory else "-",
        "bandwidth": format_bandwidth(float(rate)) if rate else "-",
        "fp16 TFLOPS": _tera(row["fp16_flops_per_s"]),
        "year": row["release_year"] or "-",
    }
