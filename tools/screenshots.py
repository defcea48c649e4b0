"""Pictures of the page, made by Chromium: python tools/screenshots.py DIR [--gallery].

Three widths in both schemes, each tab and both languages; with --gallery only the README's two.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from browsing import FLAGS, Browsed, chromium_path, served_page  # noqa: E402 - from the checkout

PAIR = "?model=Qwen/Qwen3-32B&device=rtx-4090"
TABS = {
    "answer": PAIR,
    "too-large": "?model=meta-llama/Llama-3.3-70B-Instruct&device=rtx-4060",
    "split": "?model=meta-llama/Llama-3.3-70B-Instruct&device=rtx-4090&ram=64GiB",
    "compare": f"{PAIR}&versus=Qwen/Qwen3-32B|m4-max&versus=Qwen/Qwen3-30B-A3B|rtx-4090",
    "fit": "?tab=fit&device=rtx-4060",
    "hardware": "?tab=hardware&model=Qwen/Qwen3-32B&min-speed=20",
    "check": "?tab=check&device=rtx-4090&command=vllm+serve+Qwen/Qwen3-8B+--max-model-len+32768",
}
WIDTHS = (320, 768, 1280)
SETTLED_MS = 900


def picture(browsed: Browsed, url: str, path: Path, width: int, height: int, **options: Any) -> None:
    """One picture of an address; `clip` cuts it to the window."""
    whole = options.pop("whole", True)
    language = options.pop("language", "en")
    with browsed.page(url, viewport={"width": width, "height": height}, locale=language, **options) as page:
        page.wait_for_timeout(SETTLED_MS)
        page.screenshot(path=path, full_page=whole)
        overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if overflow > 0:
            print(f"{path.name}: {overflow} px wider than the window")


def every(browsed: Browsed, address: str, folder: Path) -> None:
    """Each tab at each width in both schemes, and one in Chinese."""
    for name, query in TABS.items():
        for width in WIDTHS:
            for scheme in ("light", "dark"):
                picture(
                    browsed, address + query, folder / f"{name}-{width}-{scheme}.png", width, 900, color_scheme=scheme
                )
    picture(browsed, address + PAIR, folder / "chinese.png", 1280, 900, language="zh-CN")


def gallery(browsed: Browsed, address: str, folder: Path) -> None:
    """The README's two: a light answer on a wide window, a dark one on a phone."""
    picture(browsed, address + PAIR, folder / "page.png", 1080, 1000, whole=False, color_scheme="light")
    picture(browsed, address + PAIR, folder / "page-phone.png", 390, 1350, whole=False, color_scheme="dark")


def main() -> None:
    """Serve the page to this machine and take the pictures."""
    from playwright.sync_api import sync_playwright

    from sizer.web.app import application
    from sizer.web.dispatch import Rules

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gallery", action="store_true")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    path = chromium_path()
    if path is None:
        raise SystemExit("no Chromium: apt-get install chromium")
    with served_page(application(Rules(offline=True))) as address, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, headless=True, args=list(FLAGS))
        (gallery if asked.gallery else every)(Browsed(browser), address, asked.folder)
        browser.close()


if __name__ == "__main__":
    main()
