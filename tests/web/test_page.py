"""The page in a real browser: light, kept in its address, usable without mouse or eyes, safe with any text."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import Browsed, answered, answers, visit

from sizer.answer.loss import BROKEN, WORDS

AXE = "SIZER_AXE"
MOST_REQUESTS = 25  # its modules, its names, a question
PAIR = "?model=Qwen/Qwen3-8B&device=rtx-4090"
TABS = {
    "answer": PAIR,
    "too large": "?model=meta-llama/Llama-3.3-70B-Instruct&device=rtx-4060",
    "compare": f"{PAIR}&versus=Qwen/Qwen3-14B|m4-max",
    "fit": "?tab=fit&device=rtx-4060&limit=20",
    "hardware": "?tab=hardware&model=Qwen/Qwen3-8B&min-speed=30",
    "check": "?tab=check",
}


@pytest.fixture
def page(browser: Browsed, served: str) -> Iterator[Any]:
    """The served page, its first answer shown."""
    with browser.page(served + PAIR, permissions=["clipboard-read", "clipboard-write"]) as opened:
        yield opened


def named(page: Any) -> None:
    """Wait until the form has the names that it suggests."""
    page.locator("select[name=engine] option").nth(1).wait_for(state="attached")


def test_first_answer_needs_few_requests(page: Any, served: str) -> None:
    """The first answer costs one question to the server and no more files than the page is made of.

    How long it takes is `benchmarks/page.py`'s to say: a machine that others use makes no test fail.
    """
    questions = [url for url in page.asked if "/api/recommend" in url]
    assert len(questions) == 1
    assert len(page.asked) == len(set(page.asked)) <= MOST_REQUESTS
    assert all(url.startswith(served) for url in page.asked)


def test_bar_shows_what_lies_on_the_card(page: Any) -> None:
    """Free and taken are the card's: a table that the engine keeps in the host's memory is told apart."""
    legend = page.locator(".membar .legend").first.inner_text()
    found = page.evaluate(f"fetch('/api/recommend{PAIR}').then((reply) => reply.json())")
    memory = found["estimate"]["memory"]
    (card,) = memory["devices"]
    assert memory["host_bytes"] > 0
    assert f"{(card['available_bytes'] - card['total_bytes']) / 2**30:.1f}" in legend, legend
    assert "on the host" in legend


def test_names_that_come_late_are_suggested_too(page: Any) -> None:
    """A form that somebody is in already when the names arrive is left as it is, and suggests them."""
    held: list[Any] = []

    def hold(route: Any) -> None:
        held.append(route)

    page.route("**/api/devices*", hold)
    page.reload()
    answered(page)
    box = page.locator("input[name=model]")
    box.focus()
    held.pop().continue_()
    named(page)
    box.fill("qwen3-14b")
    box.press("ArrowDown")
    assert page.locator("[role=option][aria-selected=true]").inner_text().startswith("Qwen/Qwen3-14B")


def test_address_holds_the_question(page: Any, browser: Browsed) -> None:
    """What is changed on the page is in its address; the address alone shows the same answer."""
    before = answers(page)
    named(page)
    page.locator("#range-users").press("ArrowRight")
    answered(page, before + 1)
    box = page.locator("input[name=model]")
    box.fill("qwen3-14b")
    box.press("ArrowDown")
    box.press("Enter")
    answered(page, before + 2)
    assert "model=Qwen/Qwen3-14B" in page.url
    assert "batch=2" in page.url
    shown = page.locator(".tiles").inner_text()
    with browser.page(page.url) as other:
        assert other.locator(".tiles").inner_text() == shown


def test_back_returns_to_the_answer_before(page: Any) -> None:
    """The back button brings back the question, its answer and its tab."""
    first = page.locator("#verdict").inner_text()
    before = answers(page)
    page.get_by_role("link", name="What can I run?").click()
    answered(page, before + 1)
    assert page.locator("table.list tbody tr").count() > 5
    before = answers(page)
    page.go_back()
    answered(page, before + 1)
    assert page.locator("#verdict").inner_text() == first
    assert page.locator("input[name=model]").input_value() == "Qwen/Qwen3-8B"


def test_no_answer_stands_under_another_question(page: Any) -> None:
    """While a tab's first answer is computed, the answer of the tab before is not shown below its heading."""
    held: list[Any] = []

    def hold(route: Any) -> None:
        held.append(route)

    page.route("**/api/fit*", hold)
    before = answers(page)
    page.get_by_role("link", name="What can I run?").click()
    page.locator("#verdict").wait_for(state="detached")
    assert page.locator("#answer").inner_text().strip() == ""
    while not held:
        page.wait_for_timeout(10)
    held.pop().continue_()
    answered(page, before + 1)
    assert page.locator("table.list tbody tr").count() > 5


def test_rows_are_links(page: Any) -> None:
    """A row of a listing opens the answer for that model on that device."""
    visit(page, "?tab=fit&device=rtx-4060")
    link = page.locator("table.list tbody a").first
    name, before = link.inner_text(), answers(page)
    link.click()
    answered(page, before + 1)
    assert name in page.locator(".about").inner_text()


@pytest.mark.parametrize(("sort", "said"), [("", "lowest price first"), ("memory", "least memory first")])
def test_a_list_says_how_it_is_ordered(browser: Browsed, served: str, sort: str, said: str) -> None:
    """What hardware a model needs is told in the order that was asked for, and says so."""
    with browser.page(served + f"?tab=hardware&model=Qwen/Qwen3-32B&min-speed=20&sort={sort}") as page:
        page.wait_for_selector(".found")
        assert said in page.locator(".found").inner_text()


def test_command_is_copied(page: Any) -> None:
    """The copy button puts the command on the clipboard, as it is shown."""
    command = page.locator(".code code").inner_text()
    page.get_by_role("button", name="Copy").click()
    page.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == command
    assert "Qwen3-8B" in command


def test_precision_is_picked(page: Any) -> None:
    """A precision of the table is looked at by its button, which keeps the focus; the recommended one stays told."""
    before = answers(page)
    page.get_by_role("button", name="Q8_0", exact=True).click()
    answered(page, before + 1)
    assert "Q8_0" in page.locator("#verdict").inner_text()
    assert "Q6_K" in page.locator(".about").inner_text()
    assert page.evaluate("document.activeElement.textContent") == "Q8_0"


def test_arithmetic_is_shown_on_request(page: Any) -> None:
    """The why panel has the text of `sizer estimate --explain`."""
    page.get_by_text("Why: the arithmetic").click()
    page.locator(".explain", has_text="bits per weight").wait_for()
    assert "Decode:" in page.locator(".explain").inner_text()


SHIFT = """new Promise((done) => {
    const sum = (list) => done(list.getEntries().reduce((all, entry) => all + entry.value, 0));
    new PerformanceObserver(sum).observe({type: "layout-shift", buffered: true});
    setTimeout(() => done(0), 500);
})"""
HOSTILE = "<img src=x onerror=alert(1)>\"'><script>alert(1)</script>"


@pytest.mark.parametrize("tab", ["estimate", "fit", "hardware", "check"])
def test_markup_is_text(page: Any, tab: str) -> None:
    """Markup in any parameter is shown as the text that it is: no element is made of it, nothing runs."""
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    keys = ("model", "device", "versus", "command", "family", "license", "engine", "precision", "context")
    fields = dict.fromkeys(keys, HOSTILE) | {"command": "vllm serve '<img src=x onerror=alert(1)>'"}
    query = page.evaluate("(fields) => new URLSearchParams(fields).toString()", fields)
    visit(page, f"?tab={tab}&{query}")
    assert page.locator("#main img, #main script").count() == 0
    assert "<img" in page.locator("#answer").inner_text()
    assert page.evaluate("typeof window.alerted") == "undefined"


def test_words_are_complete() -> None:
    """Each text of the page has its English and its Chinese, with the same blanks to fill."""
    text = (Path(__file__).parents[2] / "sizer" / "web" / "page" / "words.js").read_text(encoding="utf-8")
    rows = re.findall(r"^  (\w+|\"[\w ]+\"): \[\s*(\".*?\"),\s*(\".*?\"),?\s*\],", text, re.MULTILINE | re.DOTALL)
    assert len(rows) > 100
    assert {f'"loss {word}"' for word in (*(word for _, word in WORDS), BROKEN)} <= {row[0] for row in rows}
    for key, *texts in rows:
        english, chinese = map(json.loads, texts)
        assert english, key
        assert chinese, key
        assert set(re.findall(r"\{\w+\}", english)) == set(re.findall(r"\{\w+\}", chinese)), key


def test_chinese(browser: Browsed, served: str) -> None:
    """A reader of Chinese gets the page in Chinese; the button changes the language and the page remembers."""
    with browser.page(served + PAIR, locale="zh-CN") as page:
        assert page.evaluate("document.documentElement.lang") == "zh"
        assert "装得下" in page.locator("h1").inner_text()
        before = answers(page)
        page.get_by_role("button", name="English").click()
        answered(page, before + 1)
        assert "Will it fit" in page.locator("h1").inner_text()


@pytest.mark.parametrize("name", TABS)
@pytest.mark.parametrize("width", [320, 768, 1280])
def test_nothing_is_wider_than_the_window(browser: Browsed, served: str, name: str, width: int) -> None:
    """From 320 px on, no tab has to be scrolled sideways."""
    with browser.page(served + TABS[name], viewport={"width": width, "height": 800}) as page:
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_layout_does_not_shift(browser: Browsed, served: str) -> None:
    """From the first paint on, what is on the page stays where it is (cumulative layout shift below 0.1)."""
    with browser.page(served + PAIR) as page:
        page.wait_for_timeout(600)
        assert page.evaluate(SHIFT) < 0.1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", TABS)
def test_axe_finds_nothing(browser: Browsed, served: str, name: str, scheme: str) -> None:
    """axe, at WCAG 2.2 AA, has no complaint about any tab in either scheme."""
    script = Path(os.environ.get(AXE, ""))
    if not script.is_file():
        pytest.skip(f"no axe: {AXE} names axe.min.js of the npm package axe-core")
    with browser.page(served + TABS[name], color_scheme=scheme, bypass_csp=True) as page:
        page.evaluate("Promise.allSettled(document.getAnimations().map((one) => one.finished)).then(() => undefined)")
        page.add_script_tag(path=script)
        tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
        found = page.evaluate("(tags) => axe.run({runOnly: tags})", tags)
        assert [(item["id"], [node["target"] for node in item["nodes"]][:3]) for item in found["violations"]] == []
        assert len(found["passes"]) > 20


def test_keyboard_alone(browser: Browsed, served: str) -> None:
    """Tab reaches the skip link, the tabs, the boxes and the sliders in this order; Escape closes the suggestions."""
    with browser.page(served + PAIR) as page:
        reached = []
        for _ in range(12):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.name || document.activeElement.textContent.trim()"))
        order = ["Skip to the answer", "Will it fit?", "Check a command", "model", "device", "context", "users"]
        places = [reached.index(name) for name in order]
        assert places == sorted(places)
        box = page.locator("input[name=device]")
        box.fill("rtx 40")
        assert box.get_attribute("aria-expanded") == "true"
        box.press("ArrowDown")
        active = box.get_attribute("aria-activedescendant")
        assert page.locator(f"#{active}").get_attribute("aria-selected") == "true"
        box.press("Escape")
        assert box.get_attribute("aria-expanded") == "false"
        assert box.input_value() == "rtx-4090"


RENDERERS = {
    "ANGLE (NVIDIA, NVIDIA GeForce RTX 3060 (0x00002504) Direct3D11 vs_5_0 ps_5_0, D3D11)": "NVIDIA GeForce RTX 3060",
    "ANGLE (Apple, ANGLE Metal Renderer: Apple M2 Pro, Unspecified Version)": "Apple M2 Pro",
    "NVIDIA GeForce RTX 4090/PCIe/SSE2": "NVIDIA GeForce RTX 4090",
    "ANGLE (AMD, AMD Radeon RX 7900 XTX (0x0000744C) Direct3D11 vs_5_0 ps_5_0, D3D11)": "AMD Radeon RX 7900 XTX",
}


def test_the_browsers_gpu_is_a_name_that_sizer_reads(page: Any) -> None:
    """What browsers call a GPU becomes a name that `--device` takes."""
    from sizer.device.catalogue import find

    for told, name in RENDERERS.items():
        assert page.evaluate("async (told) => (await import('./gpu.js')).cleaned(told)", told) == name
        assert find(name).device.memory_bytes


def test_answers_are_compared(page: Any) -> None:
    """An answer kept stands beside the next one, up to four; each can be taken away; the address holds them."""
    before = answers(page)
    page.get_by_role("button", name="Keep this answer to compare").click()
    answered(page, before + 1)
    visit(page, f"{page.evaluate('location.search')}&versus=Qwen/Qwen3-14B|rtx-4090&versus=Qwen/Qwen3-4B|m4-max")
    columns = page.locator(".compare .column")
    assert columns.count() == 3
    assert [text.split("\n")[0] for text in columns.all_inner_texts()] == ["Qwen3-8B", "Qwen3-14B", "Qwen3-4B"]
    before = answers(page)
    page.get_by_role("button", name="Remove Qwen3-14B").click()
    answered(page, before + 1)
    assert columns.count() == 2
    assert "Qwen3-14B" not in page.url


def test_many_users_are_served(page: Any) -> None:
    """The serving panel has the rows of `sizer capacity`, asked for when it is opened."""
    page.get_by_text("Many users over time").click()
    page.locator(".plain tbody tr").first.wait_for()
    query = [["model", "Qwen/Qwen3-8B"], ["device", "rtx-4090"]]
    told = page.evaluate("async (query) => (await import('./api.js')).ask('capacity', query)", query)
    assert page.locator(".plain tbody tr").count() == len(told["serving"]) > 1
    shown = page.locator(".plain tbody tr").first.locator("data").first.get_attribute("value")
    assert float(shown) == told["serving"][0]["ttft_s"]["p90"]


def test_measured_rows_stand_beside_the_prediction(page: Any) -> None:
    """Rows measured on this very model, precision, device and engine have a tick; the rows are those of the JSON."""
    visit(page, "?model=meta-llama/Llama-3.1-8B-Instruct&device=rtx-4090")
    query = [["model", "meta-llama/Llama-3.1-8B-Instruct"], ["device", "rtx-4090"]]
    told = page.evaluate("async (query) => (await import('./api.js')).ask('recommend', query)", query)
    rows = told["estimate"]["decode"]["measured"][:3]
    shown = page.locator(".measured li")
    assert shown.count() == len(rows) > 0
    for index, row in enumerate(rows):
        exact = set(row["same"]) >= {"model", "precision", "device", "engine"}
        assert shown.nth(index).inner_text().startswith("✓") == exact
        assert float(shown.nth(index).locator("data").get_attribute("value") or 0) == row["tokens_per_s"]


def test_an_encoder_is_told_by_its_texts(browser: Browsed, served: str) -> None:
    """A model that writes nothing has texts a second in the verdict, curves, and a command that serves it."""
    with browser.page(f"{served}?model=BAAI/bge-m3&device=rtx-4090") as page:
        assert "texts/s" in page.locator(".tiles").inner_text()
        assert "tokens/s" not in page.locator(".tiles").inner_text()
        assert "Time to read" in page.locator(".tiles").inner_text()
        assert "First token" not in page.locator(".tiles").inner_text()
        assert "--embedding" in page.locator("pre").first.inner_text()
        page.wait_for_selector(".charts svg")
