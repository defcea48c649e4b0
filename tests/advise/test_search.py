"""`fit` over the catalogue and `hardware` over the devices: all that they list runs as asked."""

from __future__ import annotations

import json

import pytest
from advice import model, target
from clirun import Run

from sizer.advise.advice import questions_for
from sizer.advise.candidates import Filter
from sizer.advise.fitting_models import Found, first_screen, fitting
from sizer.advise.hardware import hardware
from sizer.advise.ratings import category_of
from sizer.advise.recommend import TOLERABLE_LOSS, Wanted, has_margin, slower_than_reading, waited_rate
from sizer.advise.search import best_of
from sizer.answer.loss import loss_of
from sizer.answer.records import Estimate
from sizer.device.catalogue import find
from sizer.engine.options import EngineOptions
from sizer.errors import UnknownDevice, UsageError
from sizer.memory.case import Case
from sizer.memory.placement import max_context_tokens
from sizer.memory.records import Placement
from sizer.model.read import catalogue
from sizer.speed.case import speed_case
from sizer.speed.limits import fastest_decode
from sizer.tables import read_rows
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
    """What of the whole catalogue runs there."""
    found = fitting(
        target(device, memory_gib),
        Workload(context_tokens=context or 640),
        wanted,
        flags=EngineOptions(engine) if engine else None,
        keep=Filter(family, moe, everything=True),
        context_asked=context,
    )
    return [item.estimate for item in found]


def listed_on(device: str, **keep: str) -> list[Found]:
    """What `fit` lists unasked."""
    return fitting(
        target(device, None),
        Workload(),
        WANTED,
        flags=None,
        keep=Filter(**keep),
        context_asked=None,  # type: ignore[arg-type]
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


def test_each_shape_is_listed_once(on_24_gib: list[Estimate]) -> None:
    """No two rows have one class and one number of parameters."""
    shapes = [(item.architecture.architecture, item.architecture.total_params) for item in on_24_gib]
    assert len(shapes) == len(set(shapes))


def test_the_best_rated_come_first_then_the_newest() -> None:
    """Rated models fall in rating, the unrated follow and fall in date; all answer a person, none is old."""
    found = listed_on("rtx-4090")
    ratings = [item.rating.rating for item in found if item.rating]
    assert len(ratings) > 10
    assert ratings == sorted(ratings, reverse=True)
    assert [item.rating is None for item in found] == sorted(item.rating is None for item in found)
    dates = [item.released for item in found if item.rating is None]
    assert dates == sorted(dates, reverse=True)
    assert {item.kind for item in found} <= {"instruct", "reasoning"}
    assert min(item.released for item in found) > "2024"


def test_an_older_model_of_a_line_gives_way() -> None:
    """Of one maker's models of one size only the newest is listed, unless the older is rated higher."""
    names = {item.estimate.architecture.model_id for item in listed_on("rtx-4090")}
    assert "Qwen/Qwen3-30B-A3B-Instruct-2507" in names
    assert not {"Qwen/Qwen2.5-32B-Instruct", "Qwen/Qwen1.5-32B-Chat", "google/gemma-2-27b-it"} & names


def test_a_category_orders_by_its_own_ratings() -> None:
    """Rated for coding, the order is that of the arena's coding table; an unknown category names the nearest."""
    coding = [item.rating.rating for item in listed_on("rtx-4090", category="coding") if item.rating]
    assert coding == sorted(coding, reverse=True)
    assert coding != [item.rating.rating for item in listed_on("rtx-4090") if item.rating]
    assert category_of("law") == "industry_legal_and_government"
    with pytest.raises(UsageError, match="codding"):
        category_of("codding")


def test_every_rating_is_of_a_model_with_an_organisation() -> None:
    """The mapping names hub ids, each arena name once, and the arena has figures for all of them."""
    mapped = list(read_rows("arena_models.csv"))
    assert len({row["arena_name"] for row in mapped}) == len(mapped)
    assert all(row["model"].count("/") == 1 for row in mapped)
    assert {row["arena_name"] for row in mapped} == {row["arena_name"] for row in read_rows("arena.csv")}
    known = {name.lower() for name, _ in catalogue.published()}
    assert sum(row["model"].lower() in known for row in mapped) > 0.75 * len(mapped)


@pytest.mark.parametrize("since", ["25", "2025-13", "soon", "2025-6"])
def test_since_is_a_date(since: str) -> None:
    """What is no year, month or day is refused."""
    with pytest.raises(UsageError, match="since"):
        Filter(since=since)


def test_what_nobody_runs_is_not_listed(on_24_gib: list[Estimate]) -> None:
    """Fixtures and fragments are never listed; altered copies only where no original has their shape."""
    names = {item.architecture.model_id for item in on_24_gib}
    assert not any("tiny-random" in name.lower() or "layer1" in name for name in names)
    assert any(name.startswith("LGAI-EXAONE/EXAONE") for name in names)
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
    assert fast and all((waited_rate(item) or 0) >= 100 for item in fast)  # noqa: PT018
    long = fit_on("rtx-4090", family="llama", context=65536)
    assert long and all((item.architecture.max_context_tokens or 65536) >= 65536 for item in long)  # noqa: PT018


def test_a_higher_loss_brings_larger_models() -> None:
    """Two bits hold more parameters than four: what --max-loss is for."""
    four, two = fit_on("rtx-4090", family="llama-3"), fit_on("rtx-4090", family="llama-3", wanted=Wanted(max_loss=1.0))
    assert max(item.architecture.total_params for item in two) > max(item.architecture.total_params for item in four)


def test_an_engine_s_precisions_are_its_own() -> None:
    """With mlx-lm asked for, every row is an MLX precision or a 16-bit one."""
    rows = fit_on("m2-ultra", family="qwen3", engine="mlx-lm")
    assert rows
    assert {item.precision.split("-")[0] for item in rows} <= {"mlx", "bf16", "mxfp4", "nvfp4"}


LLAMA_70B = "meta-llama/Llama-3.1-70B"
WORK = Workload(context_tokens=8192)


def test_every_device_listed_runs_it_as_asked() -> None:
    """Each row holds the model, reaches the speed, loses no more than allowed; least memory first if asked."""
    found = hardware(model(LLAMA_70B), WORK, Wanted("memory", 15, TOLERABLE_LOSS), text="rtx", order="memory")
    assert found
    for item in found:
        assert item.estimate.placement.whole
        assert has_margin(item.estimate)
        assert (waited_rate(item.estimate) or 0) >= 15
        assert loss_of(item.estimate) <= TOLERABLE_LOSS
    memories = [item.memory_bytes for item in found]
    assert memories == sorted(memories)


def test_the_cheapest_hour_comes_first() -> None:
    """What is rented is listed by its rent, then what is not, by its launch price; what has no price known is last."""
    found = hardware(model(LLAMA_70B), WORK, Wanted("memory", None, TOLERABLE_LOSS))
    rents = [item.usd_per_hour for item in found if item.usd_per_hour is not None]
    assert rents == sorted(rents)
    assert [item.usd_per_hour for item in found[: len(rents)]] == rents
    bought = [item.price_usd_launch for item in found[len(rents) :]]
    known = [price for price in bought if price is not None]
    assert known == sorted(known)
    assert bought[: len(known)] == known
    assert rents and known  # noqa: PT018


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
        hardware(
            model("Qwen/Qwen3-32B"),
            Workload(context_tokens=8192, batch_size=users),
            WANTED,
            text="nvidia h100",
            order="memory",
        )
        for users in (1, 16)
    )
    assert many[0].memory_bytes >= one[0].memory_bytes


def test_one_precision_alone() -> None:
    """With a precision asked for, every row has it."""
    found = hardware(model("Qwen/Qwen3-8B"), WORK, Wanted("memory"), precision="bf16", text="rtx-40")
    assert found
    assert {item.estimate.precision for item in found} == {"bf16"}


def test_many_users_get_an_engine_that_serves() -> None:
    """For fifty sequences a card with vLLM's ladder runs vLLM, for one llama.cpp."""
    one, many = (
        hardware(model("Qwen/Qwen3-8B"), Workload(context_tokens=4096, batch_size=users), WANTED, text="rtx-4090")
        for users in (1, 50)
    )
    assert {item.estimate.engine for item in one} == {"llama.cpp"}
    assert {item.estimate.engine for item in many} == {"vllm"}


def test_rent_is_dated_and_can_be_overridden() -> None:
    """An hour's price is a sourced row or the user's own; a million tokens cost it over what is decoded in an hour."""
    (card,) = (
        item for item in hardware(model("Qwen/Qwen3-8B"), Workload(), WANTED, text="h100-80gb-sxm") if not item.rented
    )
    assert card.rent is not None
    assert "2026" in card.rent.words
    own = hardware(model("Qwen/Qwen3-8B"), Workload(), WANTED, text="h100-80gb-sxm", prices={"h100-80gb-sxm": 2.0})
    (mine,) = (item for item in own if not item.rented)
    assert mine.usd_per_hour == 2.0
    rate = waited_rate(mine.estimate)
    assert rate is not None
    assert mine.usd_per_million_tokens == pytest.approx(2.0 / (rate * 3600) * 1e6)


def test_words_that_match_nothing_are_named() -> None:
    """No device called foo is an error that says so, not an empty list."""
    with pytest.raises(UnknownDevice, match="nothing matched 'foo'"):
        hardware(model("Qwen/Qwen3-8B"), Workload(), WANTED, text="foo")
    with pytest.raises(UnknownDevice, match="whose memory or bandwidth the table does not tell") as caught:
        hardware(model("Qwen/Qwen3-8B"), Workload(), WANTED, text="epyc")
    assert "--ram" in caught.value.hint


def test_a_speed_that_nothing_reaches_is_refused_by_arithmetic(on_24_gib: list[Estimate]) -> None:
    """No prediction of what lies whole on a card exceeds the bound that the search passes questions over by."""
    assert on_24_gib
    for item in on_24_gib:
        bound = fastest_decode(speed_case(item.architecture, item.stored, item.target, item.workload, item.engine))
        assert (waited_rate(item) or 0) <= bound * (1 + 1e-9), item.architecture.model_id
        assert bound < 1e5


def test_a_search_places_only_what_it_answers_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest context costs a dozen placements: it is told of the devices that are shown, not of all that are
    tried."""
    asked: list[Case] = []

    def counted(case: Case, placement: Placement) -> int | None:
        asked.append(case)
        return max_context_tokens(case, placement)

    monkeypatch.setattr("sizer.answer.records.max_context_tokens", counted)
    found = hardware(model("Qwen/Qwen3-8B"), Workload(), WANTED, text="rtx 40")
    assert len(found) > 5
    assert not asked
    assert found[0].estimate.max_context_tokens == found[0].estimate.max_context_tokens
    assert len(asked) == 1


def test_macs_are_told_by_the_memory_that_suffices() -> None:
    """Of a chip sold with several memories the smallest that holds the model is listed, once, under that memory."""
    found = hardware(model("Qwen/Qwen3-32B"), Workload(), WANTED, text="apple m4")
    names = [item.estimate.target.asked for item in found]
    assert "apple-m4-max 36GB" in names
    assert len({item.estimate.target.device.key for item in found}) == len(found)
    for item in found:
        sold = find(item.estimate.target.device.key).device.memory_options_bytes
        assert item.memory_bytes in sold
        assert f"{item.memory_bytes // 2**30}GB" in item.estimate.target.asked
        for size_bytes in (size for size in sold if size < item.memory_bytes):
            smaller = find(f"{item.estimate.target.device.key} {size_bytes // 2**30}GB")
            assert best_of(questions_for(model("Qwen/Qwen3-32B"), smaller, item.estimate.workload), WANTED) is None


def test_the_first_screen_has_the_best_rated_and_the_newest() -> None:
    """A person sees both, in the list's order: nothing slower than reading, no speck beside the card, makers' own
    models before what others made of them."""
    found = listed_on("rtx-3060")
    shown = first_screen(found, 20)
    assert len(shown) == 20
    assert shown == [item for item in found if item in shown]
    assert sum(item.rating is None for item in shown) >= 8
    assert not any(slower_than_reading(item.estimate) for item in shown)
    names = {item.estimate.architecture.model_id for item in shown}
    assert {"google/gemma-3-12b-it", "google/gemma-4-12B-it", "Qwen/Qwen3.5-9B"} <= names
    sizes = [item.estimate.footprint.total_bytes for item in shown if item.rating is None]
    assert min(sizes) > 2**30
    assert first_screen(found[:3], 20) == found[:3]


def test_what_answers_slower_than_reading_comes_last_on_a_screen() -> None:
    """On a PC without a card a dense 27B of 3 tokens/s gives way; where nothing is quicker, it is shown."""
    keep = Filter(family="gemma")
    found = fitting(target("consumer-cpu", None, 32), Workload(), WANTED, flags=None, keep=keep, context_asked=None)
    slow = [item for item in found if slower_than_reading(item.estimate)]
    assert slow
    assert first_screen(found, 3) == [item for item in found if item in first_screen(found, 3)]
    assert not any(slower_than_reading(item.estimate) for item in first_screen(found, 3))
    assert first_screen(slow, 3) == slow[:3]


def test_the_commands_of_a_list_run_as_they_stand(run: Run) -> None:
    """What `fit` prints to type starts at once: no file has to be made before."""
    lines = run("fit", "-d", "rtx-4090", "--family", "mistral").out.splitlines()
    typed = [line.strip() for line in lines if line.startswith("  llama-server")]
    assert typed
    assert all(" -hf " in line for line in typed)


def test_a_model_that_no_engine_of_a_device_runs_is_left_out(run: Run) -> None:
    """On a card told by its memory alone only some engines are listed: models that none of them has code for are left
    out, the others are answered; an engine that nobody runs there is still an error."""
    result = run("fit", "--vram", "16GiB", "--json")
    assert result.code == 0
    assert len(json.loads(result.out)) > 50
    refused = run("fit", "--vram", "16GiB", "-e", "mlx-lm")
    assert refused.code == 2
    assert "mlx-lm" in refused.err
