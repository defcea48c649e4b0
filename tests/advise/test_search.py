"""`fit` over the catalogue and `hardware` over the devices: all that they list runs as asked."""

from __future__ import annotations

from itertools import pairwise

import pytest
from advice import model, target

from sizer.advise.fitting_models import Filter, fitting
from sizer.advise.hardware import hardware
from sizer.advise.loss import loss_of
from sizer.advise.recommend import TOLERABLE_LOSS, Wanted, decode_rate, has_margin
from sizer.answer.records import Estimate
from sizer.workload import Workload

WANTED = Wanted(max_loss=TOLERABLE_LOSS)


def fit_on(
    device: str,
    memory_gib: float | None = None,
    *,
    family: str = "",
    moe: bool = False,
    wanted: Wanted = WANTED,
    context: int | None = None,
    engine: str | None = None,
) -> list[Estimate]:
    """What of the catalogue runs there."""
    return fitting(
        target(device, memory_gib),
        Workload(context_tokens=context or 640),
        wanted,
        engine=engine,
        keep=Filter(family, moe),
        context_asked=context is not None,
    )


@pytest.fixture(scope="module")
def on_24_gib() -> list[Estimate]:
    """The whole catalogue on a 24 GiB card."""
    return fit_on("rtx-4090")


def test_every_listed_model_fits(on_24_gib: list[Estimate]) -> None:
    """Each row lies whole on the card with the margin, at a tolerable loss, with the usual context or the model's."""
    assert len(on_24_gib) > 100
    for item in on_24_gib:
        assert item.placement.whole, item.architecture.model_id
        assert has_margin(item)
        assert loss_of(item) <= TOLERABLE_LOSS
        assert item.workload.context_tokens == max(640, min(8192, item.architecture.max_context_tokens or 8192))


def test_the_largest_comes_first_and_each_shape_once(on_24_gib: list[Estimate]) -> None:
    """Rows fall in size, and no two have one class and one number of parameters."""
    sizes = [item.architecture.total_params for item in on_24_gib]
    assert all(large >= small for large, small in pairwise(sizes))
    shapes = [(item.architecture.architecture, item.architecture.total_params) for item in on_24_gib]
    assert len(shapes) == len(set(shapes))


def test_what_nobody_runs_is_not_listed(on_24_gib: list[Estimate]) -> None:
    """Fixtures and fragments are never listed; altered copies only where no original has their shape."""
    names = {item.architecture.model_id for item in on_24_gib}
    assert not any("tiny-random" in name.lower() or "layer1" in name for name in names)
    assert "LGAI-EXAONE/EXAONE-3.5-32B-Instruct" in names
    assert "huihui-ai/EXAONE-3.5-32B-Instruct-abliterated" not in names


def test_a_larger_card_lists_what_a_smaller_one_lists() -> None:
    """More memory never takes a shape off the list."""
    small, large = ({(item.architecture.architecture, item.architecture.total_params) for item in fit_on(
        "rtx-4090", gib, family="qwen")} for gib in (8, 16))  # fmt: skip
    assert small < large


def test_filters_hold() -> None:
    """A family's words, mixtures alone, a wanted speed and an asked context each hold for every row."""
    assert all("qwen" in item.architecture.model_id.lower() for item in fit_on("rtx-4090", family="qwen/"))
    sparse = fit_on("rtx-4090", moe=True)
    assert sparse and all(item.architecture.experts for item in sparse)  # noqa: PT018
    fast = fit_on("rtx-4090", family="qwen3", wanted=Wanted("balanced", 100, TOLERABLE_LOSS))
    assert fast and all((decode_rate(item) or 0) >= 100 for item in fast)  # noqa: PT018
    long = fit_on("rtx-4090", family="llama", context=65536)
    assert long and all((item.architecture.max_context_tokens or 65536) >= 65536 for item in long)  # noqa: PT018


def test_a_higher_loss_brings_larger_models() -> None:
    """Two bits hold more parameters than four: what --max-loss is for."""
    four, two = fit_on("rtx-4090", family="llama-3"), fit_on("rtx-4090", family="llama-3", wanted=Wanted(max_loss=1.0))
    assert two[0].architecture.total_params > four[0].architecture.total_params


def test_an_engine_s_precisions_are_its_own() -> None:
    """With mlx-lm asked for, every row is an MLX precision or a 16-bit one."""
    rows = fit_on("m2-ultra", family="qwen3", engine="mlx-lm")
    assert rows
    assert {item.precision.split("-")[0] for item in rows} <= {"mlx", "bf16", "mxfp4", "nvfp4"}


LLAMA_70B = "meta-llama/Llama-3.1-70B"
WORK = Workload(context_tokens=8192)


def test_every_device_listed_runs_it_as_asked() -> None:
    """Each row holds the model, reaches the speed, loses no more than allowed; the least memory comes first."""
    found = hardware(model(LLAMA_70B), WORK, Wanted("memory", 15, TOLERABLE_LOSS), text="rtx")
    assert found
    for item in found:
        assert item.estimate.placement.whole
        assert has_margin(item.estimate)
        assert (decode_rate(item.estimate) or 0) >= 15
        assert loss_of(item.estimate) <= TOLERABLE_LOSS
    memories = [item.memory_bytes for item in found]
    assert memories == sorted(memories)


def test_the_fewest_cards_that_suffice_are_listed() -> None:
    """No device is listed twice, and one card fewer of a listed count does not do."""
    found = hardware(model(LLAMA_70B), WORK, Wanted("memory", None, TOLERABLE_LOSS), text="rtx-4090")
    desktop = [item for item in found if item.estimate.target.device.key == "rtx-4090" and not item.rented]
    assert [item.estimate.target.count for item in desktop] == [2]


def test_prices_grow_with_the_count() -> None:
    """A launch price is the card's times the count, and a rented instance has none."""
    found = hardware(model(LLAMA_70B), WORK, Wanted("memory", None, TOLERABLE_LOSS), text="3090")
    pair = next(item for item in found if item.estimate.target.device.key == "rtx-3090" and not item.rented)
    assert pair.estimate.target.device.price_usd_launch is not None
    assert pair.price_usd_launch == pair.estimate.target.device.price_usd_launch * pair.estimate.target.count
    rented = hardware(model(LLAMA_70B), WORK, Wanted("memory", None, TOLERABLE_LOSS), text="aws:p5")
    assert rented and all(item.price_usd_launch is None and item.rented for item in rented)  # noqa: PT018


def test_more_users_need_no_less_memory() -> None:
    """The least memory that serves sixteen is at least what serves one."""
    one, many = (
        hardware(model("Qwen/Qwen3-32B"), Workload(context_tokens=8192, batch_size=users), WANTED, text="nvidia h100")
        for users in (1, 16)
    )
    assert many[0].memory_bytes >= one[0].memory_bytes


def test_one_precision_alone() -> None:
    """With a precision asked for, every row has it."""
    found = hardware(model("Qwen/Qwen3-8B"), WORK, Wanted("memory"), precision="bf16", text="rtx-40")
    assert found
    assert {item.estimate.precision for item in found} == {"bf16"}
