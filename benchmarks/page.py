"""How soon the page answers in a real browser: first answer, an answer after a slider, and the static site's Python.

Run: python benchmarks/page.py [ROUNDS] on a machine with nothing else to do. Prints medians beside the goals. Needs
Playwright and Chromium; the static site also needs SIZER_PYODIDE (the npm package of Pyodide).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from browsing import (
    FLAGS,
    Browsed,
    answered,
    answers,
    chromium_path,
    pyodide_path,
    served_folder,
    served_page,
)
from playwright.sync_api import sync_playwright

from sizer.web.app import application
from sizer.web.dispatch import Rules
from sizer.web.export import export

PAIR = "?model=Qwen/Qwen3-8B&device=rtx-4090"
FIRST_GOAL_S, SLIDER_GOAL_S, COLD_START_GOAL_S = 0.3, 0.2, 8


def first_answer_s(page: Any) -> float:
    """From the start of the navigation to the first answer on the page."""
    return float(page.evaluate("performance.getEntriesByName('answered')[0].startTime")) / 1000


def slider_s(page: Any) -> float:
    """From a slider's move to its answer."""
    before, start_ms = answers(page), page.evaluate("performance.now()")
    page.locator("#range-context").press("ArrowRight")
    answered(page, before + 1)
    return float(page.evaluate("performance.getEntriesByName('answered').at(-1).startTime") - start_ms) / 1000


def told(what: str, times_s: list[float], goal_s: float) -> None:
    """Print one line of the result."""
    print(f"{what:40} {median(times_s):6.2f} s (goal {goal_s} s), {len(times_s)} times", flush=True)


def time_served(browser: Browsed, rounds: int) -> None:
    """The page as `sizer web` serves it."""
    first, slider = [], []
    with served_page(application(Rules(offline=True))) as address:
        for _ in range(rounds):
            with browser.page(address + PAIR) as page:
                first.append(first_answer_s(page))
                slider.append(slider_s(page))
    told("served: first answer", first, FIRST_GOAL_S)
    told("served: answer after a slider", slider, SLIDER_GOAL_S)


def time_static(browser: Browsed, pyodide: Path, rounds: int) -> None:
    """The static site: the stored answer, and until Python runs in the browser."""
    stored, python = [], []
    with tempfile.TemporaryDirectory() as folder:
        export(Path(folder) / "site", pyodide, [("Qwen/Qwen3-8B", "rtx-4090")])
        with served_folder(Path(folder)) as (address, _):
            for _ in range(rounds):
                with browser.page(f"{address}site/{PAIR}") as page:
                    stored.append(first_answer_s(page))
                    page.locator("#mode", has_text="nothing is sent").wait_for(timeout=120_000)
                    python.append(float(page.evaluate("performance.now()")) / 1000)
    told("static: stored answer", stored, FIRST_GOAL_S)
    told("static: until Python answers", python, COLD_START_GOAL_S)


def main(rounds: int) -> None:
    """Time the served page, and the static site where Pyodide is at hand."""
    with sync_playwright() as driver:
        browser = Browsed(driver.chromium.launch(executable_path=chromium_path(), headless=True, args=list(FLAGS)))
        time_served(browser, rounds)
        pyodide = pyodide_path()
        if pyodide is None:
            print("static: not timed (SIZER_PYODIDE names no package)")
        else:
            time_static(browser, pyodide, rounds)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
