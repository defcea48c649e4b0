"""Several devices that take whole layers, some of whose tensors flags keep elsewhere: each device by itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sizer
from sizer.answer.document import CheckAnswer
from sizer.memory.layer_split import by_count, even_counts

SIZES = st.lists(st.integers(1, 50), min_size=1, max_size=60)
COMMAND = "llama-server -m Qwen3-235B-A22B-Instruct-2507-Q3_K_S.gguf -ngl 99 -c 16384 -fa on -np 1"


def checked(flags: str, device: str = "3xrtx-3090") -> CheckAnswer:
    """The verdict of a command with these flags."""
    return sizer.check(f"{COMMAND} {flags}", device=device, ram_bytes="128GiB", offline=True)


def test_experts_of_the_first_layers_empty_the_first_device() -> None:
    """94 layers and the output by thirds: the last card has 30 layers' experts and does not hold them."""
    verdict = checked("-ts 1,1,1 --n-cpu-moe 40")
    first, second, third = verdict.estimates[0].memory.devices
    assert [first.layers, second.layers, third.layers] == [0, 24, 30]
    assert first.total_bytes < 4 << 30
    assert third.total_bytes > third.available_bytes  # type: ignore[operator]
    assert verdict.check.reason.startswith("device 3 of 3 takes")
    assert any(change.startswith("-ts ") for change in verdict.check.change)


def test_a_split_evens_them_out() -> None:
    """What `check` proposes: as many layers a card as leave the fullest the emptiest, and the same bytes together."""
    proposed = next(change for change in checked("-ts 1,1,1 --n-cpu-moe 40").check.change if change.startswith("-ts"))
    even = checked(f"--n-cpu-moe 40 {proposed}")
    totals = [device.total_bytes for device in even.estimates[0].memory.devices]
    assert even.check.starts
    assert max(totals) - min(totals) < 2 << 30
    odd = [device.total_bytes for device in checked("-ts 1,1,1 --n-cpu-moe 40").estimates[0].memory.devices]
    assert sum(totals) == sum(odd)


def test_tensors_go_to_the_device_that_a_pattern_names() -> None:
    """`-ot PATTERN=CUDA1` takes a layer's experts to the second card, wherever the layer lies."""
    plain = checked("-ts 1,1,1 --n-cpu-moe 90").estimates[0].memory.devices
    moved = checked(r"-ts 1,1,1 -ot 'blk\.9[23]\.ffn_.*_exps=CUDA1' --n-cpu-moe 90").estimates[0].memory.devices
    experts = moved[1].weights_bytes - plain[1].weights_bytes
    assert experts > 1 << 30
    assert plain[2].weights_bytes - moved[2].weights_bytes == experts
    assert moved[0].weights_bytes == plain[0].weights_bytes


@pytest.mark.parametrize(("layers", "parts", "counts"), [(4, (1, 1), (3, 1)), (9, (3, 7), (3, 6)), (5, (0, 1), (0, 5))])
def test_layers_are_dealt_out_by_their_number(layers: int, parts: tuple[int, ...], counts: tuple[int, ...]) -> None:
    """The output counts as one more layer, the last."""
    positions = by_count(layers, parts)
    assert tuple(positions.count(number) for number in range(len(parts))) == counts


@given(SIZES, st.integers(0, 60), st.integers(0, 60), st.lists(st.integers(40, 400), min_size=2, max_size=4))
def test_even_counts_deal_out_every_layer(sizes: list[int], first: int, output: int, rooms: list[int]) -> None:
    """As many as there are and the output, and by their number those very layers; none is overfull without need."""
    counts = even_counts(sizes, first, output, rooms)
    assert sum(counts) == len(sizes) + 1
    positions = by_count(len(sizes), counts)
    assert [positions.count(number) for number in range(len(rooms) - 1)] == counts[:-1]
    held = [sum(size for size, at in zip(sizes, positions, strict=True) if at == n) for n in range(len(rooms))]
    held[0] += first
    held[-1] += output
    if max(sizes) + max(first, output) + sum(sizes) <= min(rooms):
        assert all(taken <= room for taken, room in zip(held, rooms, strict=True))
