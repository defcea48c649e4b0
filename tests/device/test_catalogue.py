"""Names of devices: every spelling to its own row, never to a namesake."""

from __future__ import annotations

import contextlib
import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sizer.device import table as rows
from sizer.device.catalogue import THIS_MACHINE, THIS_PART, find, search
from sizer.device.lookup import find_row
from sizer.device.spelling import REWRITES, spell, squash
from sizer.device.stated import described, override, power_limited
from sizer.errors import SizerError, UnknownDevice, UsageError
from sizer.units import GB, GIB

SPELLINGS = Path(__file__).parent.parent / "data" / "device" / "spellings.csv"


def spellings(kind: str) -> list[dict[str, str]]:
    """The hand-checked spellings of one set: measured (in the measurement tables), spelled, unknown."""
    with SPELLINGS.open(encoding="utf-8", newline="") as lines:
        return [row for row in csv.DictReader(lines) if row["set"] == kind]


@pytest.mark.parametrize("row", spellings("measured") + spellings("spelled"), ids=lambda row: row["text"])
def test_spelling_names_its_device(row: dict[str, str]) -> None:
    """Each hand-checked spelling resolves to its key, count, kind, host and further cards."""
    target = find(row["text"])
    found = [str(target.count), target.device.key, target.device.kind]
    assert found == [row["count"], row["key"], row["kind"]]
    assert (target.host.key if target.host else "") == row["host"]
    assert "|".join(device.key for device in target.others) == row["others"]
    assert target.asked == row["text"]


@pytest.mark.parametrize("row", spellings("unknown"), ids=lambda row: row["text"])
def test_unknown_text_is_refused(row: dict[str, str]) -> None:
    """A name that no row has is an error that quotes it, not a guess."""
    with pytest.raises(SizerError) as error:
        find(row["text"])
    assert repr(row["text"]) in error.value.message
    assert error.value.hint


def test_every_spelling_of_the_table_is_its_own_row() -> None:
    """Key, name and each alias of all rows resolve to that row; only strings that drivers share may differ."""
    owners: dict[str, set[str]] = {}
    for number, device in enumerate(rows.all_devices()):
        for text in rows.spellings(number):
            owners.setdefault(squash(text), set()).add(device.key)
    for number, device in enumerate(rows.all_devices()):
        for text in rows.spellings(number):
            found = find_row(text)
            assert found is not None, text
            shared = owners[squash(text)]
            assert found.device.key in shared, (text, found.device.key)
            if shared == {device.key}:
                assert found.device.key == device.key, (text, found.device.key)
            elif not spell(text).form:
                assert any(repr(text) in note for note in found.notes), text


def test_words_alone_find_every_row() -> None:
    """Matching by words finds each row by its name even without the exact map: case, brackets and prefixes aside."""
    for device in rows.all_devices():
        found = find_row(f"({device.vendor})  {device.name.upper()}".replace("(", " ").replace(")", " "))
        if found is not None:
            assert device.key == found.device.key or any(device.key in note for note in found.notes), device.name


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("NVIDIA RTX A1000", "a100"),
        ("NVIDIA A800-SXM4-80GB", "apple-m4"),
        ("RTX 4090 Laptop GPU", "rtx-4090"),
        ("RTX 4090 D", "rtx-4090"),
        ("RTX 4060 Ti", "rtx-4060"),
        ("H100 PCIe", "h100-80gb-sxm"),
        ("M2 Ultra", "apple-m2"),
        ("A10G", "a10"),
        ("L40S", "l40"),
        ("Tesla P100-SXM2-16GB", "apple-m2"),
    ],
)
def test_namesakes_stay_apart(text: str, wrong: str) -> None:
    """A part of a word, a laptop part or a suffixed part is never its better-known namesake."""
    key = find(text).device.key
    assert key != wrong
    assert not key.startswith(f"{wrong}-8")


@pytest.mark.parametrize("text", ["a100", "h100", "RTX 3060", "NVIDIA GeForce RTX 3080", "m3 max", "orin", "RTX 6000"])
def test_ambiguous_names_say_what_they_took(text: str) -> None:
    """A bare name with several variants takes one and names the others in a note."""
    assert any("is taken as" in note for note in find(text).notes)


def test_memory_breaks_ties_and_sets_system_memory() -> None:
    """A size in the text picks the variant, the configuration of a chip, or the memory of a CPU's machine."""
    assert find("RTX 3060 8GB").device.key == "rtx-3060-8gb"
    assert find("M2 Ultra 64GB").device.memory_bytes == 64 * GIB
    assert find("Ryzen 9 7950X 96GB").device.memory_bytes == 96 * GIB
    assert find("Ryzen 9 7950X (DDR5-6000)").device.bandwidth_bytes_per_s == pytest.approx(96 * GB)
    with pytest.raises(UnknownDevice):
        find("RTX 4090 12GB")


def test_cpu_of_a_unified_chip_has_no_gpu_peak() -> None:
    """'Apple M2 Max CPU' is the chip's memory with the GPU's compute left out."""
    chip, cpu = find("apple-m2-max").device, find("Apple M2 Max CPU").device
    assert (cpu.key, cpu.kind, cpu.bandwidth_bytes_per_s) == (chip.key, "cpu", chip.bandwidth_bytes_per_s)
    assert chip.peak_flops_per_s
    assert not cpu.peak_flops_per_s


def test_mig_scales_bandwidth_by_memory_slices_and_compute_by_compute_slices() -> None:
    """3g.40gb of an 80 GB A100 is half of the bandwidth, three sevenths of the compute and 40 GiB."""
    whole, part = find("a100-80gb-sxm").device, find("a100-80gb-sxm MIG 3g.40gb").device
    assert whole.bandwidth_bytes_per_s is not None
    assert part.bandwidth_bytes_per_s == pytest.approx(whole.bandwidth_bytes_per_s / 2)
    assert part.peak_flops_per_s["bf16"] == pytest.approx(whole.peak_flops_per_s["bf16"] * 3 / 7)
    assert part.memory_bytes == 40 * GIB


@pytest.mark.parametrize(
    ("text", "key", "gib"),
    [
        ("a100 1g.5gb", "a100-40gb-sxm", 5), ("a100 mig 2g.20gb", "a100-80gb-sxm", 20), ("a30 2g.12gb", "a30", 12),
        ("h200 1g.18gb", "h200", 18), ("b200 1g.23gb", "b200", 23), ("h100-nvl 1g.12gb", "h100-94gb-nvl", 12),
        ("rtx pro 6000 1g.24gb", "rtx-pro-6000-ws", 24), ("A100-PCIE-40GB MIG 1g.10gb", "a100-40gb-pcie", 10),
    ],
)  # fmt: skip
def test_a_slice_is_of_the_variant_that_has_it(text: str, key: str, gib: int) -> None:
    """A profile is cut from the variant of the card whose memory it is a part of, else from the usual one."""
    found = find(text).device
    assert (found.key, found.memory_bytes) == (key, gib * GIB)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("rtx-4090 1g.5gb", "has no MIG"), ("t4 2g.8gb", "has no MIG"), ("h100 1g.5gb", "smallest is 1g.10gb"),
        ("a100-80gb 1g.5gb", "smallest is 1g.10gb"), ("a30 5g.24gb", "smallest is 1g.6gb"),
        ("2x l40s 1g.6gb", "has no MIG"), ("b200 1g.5gb", "smallest is 1g.23gb"),
    ],
)  # fmt: skip
def test_a_slice_that_no_card_has_is_refused(text: str, why: str) -> None:
    """What MIG cannot cut has no figures: the error says so, and which the smallest profile is."""
    with pytest.raises(UnknownDevice, match=why):
        find(text)


def test_counts_are_checked() -> None:
    """Zero or absurdly many devices are refused as usage."""
    for text in ("0x rtx-4090", "1025x rtx-4090", "999999999x rtx-4090"):
        with pytest.raises(UsageError):
            find(text)


def test_override_and_described_take_the_users_figures() -> None:
    """Given figures replace the table's; a device can be its figures alone."""
    target = override(find("rtx-4090"), bandwidth_bytes_per_s=936e9, memory_bytes=24 * GIB, flops_per_s=71e12)
    assert target.device.bandwidth_bytes_per_s == 936e9
    assert target.device.peak_flops_per_s["fp16"] == 71e12
    assert target.device.key == "rtx-4090"
    blank = described(bandwidth_bytes_per_s=100e9).device
    assert (blank.bandwidth_bytes_per_s, blank.memory_bytes) == (100e9, None)
    assert blank.name == "a GPU at 100 GB/s"
    assert described(memory_bytes=24 * GIB).device.name == "a GPU of 24 GiB"


def test_power_limit_cuts_compute_and_leaves_bandwidth() -> None:
    """Peaks fall in proportion, bandwidth stays; a limit above the own one changes nothing; unknown power is told."""
    card = find("rtx-3090")
    held = power_limited(card, 175.0)
    assert held.device.peak_flops_per_s["fp16"] == card.device.peak_flops_per_s["fp16"] / 2
    assert held.device.bandwidth_bytes_per_s == card.device.bandwidth_bytes_per_s
    assert "nobody has measured" in held.notes[-1]
    assert power_limited(card, 400.0).device == card.device
    with pytest.raises(UsageError, match="20W"):
        power_limited(find("snapdragon-x-elite"), 20.0)
    with pytest.raises(UsageError, match="350 W") as refused:
        power_limited(card, 1.0)
    assert "at least 70 W" in refused.value.hint
    assert power_limited(card, 70.0)


@pytest.mark.parametrize(("text", "offered"), [
    ("macbook", "apple-m"), ("Mac mini", "apple-m"), ("imac", "apple-m"), ("radeon", "rx-9"), ("geforce", "rtx-50"),
    ("arc", "arc-"), ("ryzen", "ryzen-"),
])  # fmt: skip
def test_a_line_of_devices_lists_its_newest(text: str, offered: str) -> None:
    """A name that tells no more than a maker or a line is answered with devices of it, not with look-alikes."""
    with pytest.raises(UnknownDevice) as refused:
        find(text)
    assert refused.value.hint.count(offered) >= 2
    assert "graviton" not in refused.value.hint


def test_search_finds_by_every_word() -> None:
    """All words of a search must occur; no text lists everything."""
    assert {device.key for device in search("rtx 4090")} == {"rtx-4090", "rtx-4090-d", "rtx-4090-laptop"}
    assert len(search()) == len(rows.table()[1])
    assert search("no such thing") == ()
    chips = {device.key for device in search() if device.key.startswith("apple-m")}
    assert chips <= {device.key for device in search("macs")} <= {device.key for device in search("mac")}


@given(st.text(max_size=60))
@example("(((")
@example("1" * 400)
@example("x" * 40 + "2")
@example("++,,&& and")
@example("rtx 4090+" * 30)
@example("a+" * 149)
@settings(max_examples=150, deadline=None)
def test_no_text_breaks_the_lookup(text: str) -> None:
    """Any text gives a target or a SizerError."""
    if text.casefold().strip().partition(":")[0] in {*THIS_MACHINE, *THIS_PART}:
        return
    with contextlib.suppress(SizerError):
        assert find(text).device.key


@given(
    st.sampled_from([device.key for device in rows.all_devices()]),
    st.sampled_from(["{}", "  {} ", "2x{}", "{} x3", "NVIDIA {}", "{} GPU", "{} 7GB", "{} Laptop", "{}+{}", "({})"]),
)
@settings(max_examples=150, deadline=None)
def test_dressed_keys_never_break_the_lookup(key: str, dress: str) -> None:
    """A key with a count, a prefix or a wrong suffix resolves or is refused, and is never another vendor's device."""
    text = dress.format(*[key] * dress.count("{}"))
    try:
        found = find(text)
    except SizerError:
        return
    named = find(key).device
    assert found.device.vendor == named.vendor
    assert found.device.kind == named.kind


def test_one_lookup_loads_nothing_heavy() -> None:
    """Finding a device imports no torch, numpy, psutil, pynvml or platformdirs."""
    code = (
        "import sys; from sizer.device.catalogue import find; find('NVIDIA A100'); find('2x rtx 4090');"
        "bad = {'torch','numpy','psutil','pynvml','platformdirs','asyncio','urllib.request'} & set(sys.modules);"
        "sys.exit(str(bad) if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("text", "key", "count"),
    [
        ("lambda:gpu_1x_a10", "a10", 1),
        ("gpu_8x_h100_sxm5", "h100-80gb-sxm", 8),
        ("gpu_8x_a100_80gb_sxm4", "a100-80gb-sxm", 8),
        ("runpod:RTX 4090", "rtx-4090", 1),
        ("vast.ai: 2x RTX 3090", "rtx-3090", 2),
    ],
)
def test_clouds_that_rent_by_the_card_name_the_card(text: str, key: str, count: int) -> None:
    """Their instance types are the card's name with a count; a note says what was taken."""
    target = find(text)
    assert (target.device.key, target.count) == (key, count)
    assert any(text in note for note in target.notes)


def test_an_unknown_card_of_such_a_cloud_is_refused() -> None:
    """The error quotes the whole name."""
    with pytest.raises(UnknownDevice, match="runpod:foo 9"):
        find("runpod:foo 9")


def test_a_rewrite_is_passed_over_only_where_it_finds_nothing() -> None:
    """The texts that a spelling's rewrite waits for stand in whatever it would change."""
    texts = [text for number in range(len(rows.table()[1])) for text in rows.spellings(number)]
    texts += [row["text"] for kind in ("measured", "spelled", "unknown") for row in spellings(kind)]
    texts += [f"{first} {second}" for first, second in zip(texts, texts[7:], strict=False)]
    missed = []
    for whole in texts:
        text = whole.casefold().replace("_", " ")
        for needed, found, replacement in REWRITES:
            before, text = text, re.sub(found, replacement, text)
            if text != before and needed and not any(word in before for word in needed.split()):
                missed.append((before, found))
    assert not missed, missed[:5]


def test_most_rewrites_find_something() -> None:
    """The test above sees at least two in three of them at work."""
    asked = "\n".join([text for number in range(len(rows.table()[1])) for text in rows.spellings(number)]
                      + [row["text"] for row in spellings("spelled") + spellings("measured")]).casefold()  # fmt: skip
    working = [found for _, found, _ in REWRITES if re.search(found, asked)]
    assert len(working) > len(REWRITES) * 2 / 3


@pytest.mark.parametrize(
    ("text", "near"),
    [("pixel 9", ""), ("pixel 8 pro", ""), ("surface laptop 7", ""), ("h100x", "h100,"),
     ("m9 max", "m5-max"), ("gforce 4090", "rtx-4090"), ("raspbery pi 5", "raspberry-pi-5"),
     ("epic 9654", "epyc-9654"), ("mi999x", "mi355x"), ("A800-SXM4-40GB", "a800"), ("v100 sxm2 64gb", "v100,")],
)  # fmt: skip
def test_nearest_names_share_a_word(text: str, near: str) -> None:
    """What an unknown name is likened to shares a word or a number with it; where nothing does, that is said."""
    with pytest.raises(UnknownDevice) as refused:
        find(text)
    assert near in refused.value.hint
    assert ("No known name is near" in refused.value.hint) is (not near)
    assert "i9-9900k" not in refused.value.hint
