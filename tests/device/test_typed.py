"""Devices as people write them: each is what they mean, or unknown; arithmetic of memory by its channels."""

import csv
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sizer.device import table
from sizer.device.catalogue import find
from sizer.device.typed import readings, system_memory
from sizer.device.usable import usable_memory_bytes
from sizer.errors import UnknownDevice, UsageError

TYPED = Path(__file__).parent.parent / "data" / "device" / "typed.csv"
PLAIN_FIGURE = 1e6  # figures above are bytes a second, those below GiB


def _rows() -> list[dict[str, str]]:
    with TYPED.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.mark.parametrize("row", _rows(), ids=lambda row: row["text"])
def test_typed_devices(row: dict[str, str]) -> None:
    """Each text names the device of its row (a variant of it), as often, with the memory or bandwidth it states."""
    if row["key"] == "?":
        with pytest.raises((UnknownDevice, UsageError)):
            find(row["text"])
        return
    target = find(row["text"])
    assert target.device.key.startswith(row["key"]) or (row["key"], target.device.kind) == ("cpu", "cpu")
    assert target.count == int(row["count"])
    if row["figure"]:
        figure = float(row["figure"])
        rate, memory = target.device.bandwidth_bytes_per_s, (target.device.memory_bytes or 0) / 2**30
        assert (rate if figure > PLAIN_FIGURE else memory) == pytest.approx(figure, rel=0.02)


def test_the_list_is_long() -> None:
    """There are 120 texts or more, and some that name nothing."""
    rows = _rows()
    assert len({row["text"] for row in rows}) >= 120
    assert sum(row["key"] == "?" for row in rows) >= 6


@pytest.mark.parametrize(
    ("text", "gb_per_s"),
    [("DDR5-5600 dual channel", 89.6), ("12 channels of DDR4-3200", 307.2), ("LPDDR5X-8533 128-bit", 136.528)],
)
def test_memory_by_arithmetic(text: str, gb_per_s: float) -> None:
    """Transfers a second times eight bytes a channel, or the bus width."""
    memory = system_memory(text)
    assert memory is not None
    assert memory.bandwidth_bytes_per_s / 1e9 == pytest.approx(gb_per_s)


@pytest.mark.parametrize(
    "text", ["DDR5-5600", "dual channel", "rtx 4090 ddr5-5600 dual channel", "ddr5-6000 900 channels"]
)
def test_memory_without_its_width_is_none(text: str) -> None:
    """Without channels there is nothing to multiply, and a card's name beside it is not passed over."""
    assert system_memory(text) is None


def test_no_key_needs_a_reading() -> None:
    """Every key of the table is found as it stands."""
    for key in table.by_key():
        assert find(key).device.key == key


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60))
def test_any_text_can_be_read(text: str) -> None:
    """No text raises, and readings end."""
    assert len(list(readings(text))) < 20
    system_memory(text)


@pytest.mark.parametrize("text", ["12GB", "24 gb vram", "16g", "1.5 TB of memory", "2x 24gb"])
def test_a_size_is_told_from_an_unknown_name(text: str) -> None:
    """A size typed for a device gets the options that take one, not names that look like it."""
    with pytest.raises(UnknownDevice, match="is a size, not a device") as raised:
        find(text)
    assert "--memory" in raised.value.hint


def test_a_refitted_card_shows_what_its_line_shows() -> None:
    """A 4090 with 48 GB shows 12 MiB less than its label, as one with 24 does (N - bus/32)."""
    refitted, plain = (usable_memory_bytes(find(text).device) for text in ("4090 48GB", "rtx-4090"))
    assert refitted == 48 * 2**30 - (24 * 2**30 - (plain or 0))


@pytest.mark.parametrize("text", ["3090 + 64gb ram", "rtx 4090 with 64 GB DDR5", "2x3090 and 64gb of system memory"])
def test_memory_beside_a_device_is_told_its_option(text: str) -> None:
    """A card and the machine's memory in one text: the error says which option takes the second."""
    with pytest.raises(UnknownDevice, match="the memory beside it") as raised:
        find(text)
    assert raised.value.hint.endswith("--ram 64GiB.")


@pytest.mark.parametrize("text", ["-1xh100", "1.5xh100", "0.5 x rtx-4090"])
def test_a_count_that_is_no_whole_number_is_told(text: str) -> None:
    """What was counted is known: the count is what is refused, and a right one is shown."""
    with pytest.raises(UnknownDevice, match="devices") as raised:
        find(text)
    assert "Write a whole number, as 2x" in raised.value.hint


@pytest.mark.parametrize("text", ["aws:c7i.8xlarge", "aws c7i.8xlarge", "gcp:c3-standard-22"])
def test_an_instance_without_an_accelerator_is_told_as_its_cpu(text: str) -> None:
    """The table has instances with accelerators: how one without is described stands in the error."""
    with pytest.raises(UnknownDevice, match="is its CPU: -d graviton3 --threads"):
        find(text)


@pytest.mark.parametrize(
    ("text", "offered", "never"),
    [
        ("mac studio 512gb", "apple-m3-ultra 512GB", "apple-m4"),
        ("16gb mac", "apple-m4 16GB", "apple-a1"),
        ("macbook 128 GB", "apple-m4-max 128GB", "apple-a1"),
    ],
)
def test_a_line_and_a_memory_offer_what_is_sold_so(text: str, offered: str, never: str) -> None:
    """A Mac told by its memory alone offers the chips sold with it, as one types them, and no telephone's."""
    with pytest.raises(UnknownDevice) as caught:
        find(text)
    assert offered in caught.value.hint
    assert never not in caught.value.hint
    assert find(offered).device.key.startswith("apple-")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("m4 air 16gb", "apple-m4"),
        ("m3 air", "apple-m3"),
        ("air m2 8gb", "apple-m2"),
        ("m4 pro mini 48gb", "apple-m4-pro"),
        ("studio m3 ultra 512gb", "apple-m3-ultra"),
    ],
)
def test_a_mac_may_be_named_by_half_its_name(text: str, key: str) -> None:
    """People leave MacBook and Mac out where the chip tells it."""
    assert find(text).device.key == key
