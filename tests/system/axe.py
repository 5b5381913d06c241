"""axe-core, which finds what keeps people with a disability from using a page."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.lift import find_uv

if TYPE_CHECKING:
    from playwright.async_api import Page

_PACKAGE: Final = "axe-playwright-python"
_VERSION: Final = "0.1.8"
_CACHE: Final = Path(__file__).parents[2] / ".cache" / "axe" / _VERSION
_GRAVE: Final = ("serious", "critical")
_RUN: Final = """async () => {
    const found = await axe.run(document, {resultTypes: ["violations"]});
    const where = (each) => each.nodes.map((node) => node.html).slice(0, 3).join(" | ");
    return found.violations.map((each) => [each.impact, each.id, where(each)]);
}"""


def script() -> str:
    """The text of axe-core; the package that has it is installed first where it must be."""
    if not any(_CACHE.rglob("axe.min.js")):
        install = (find_uv(), "pip", "install", "--quiet", "--no-deps", "--target", str(_CACHE))
        subprocess.run((*install, f"{_PACKAGE}=={_VERSION}"), check=True)
    [found] = _CACHE.rglob("axe.min.js")
    return found.read_text("utf-8")


async def grave(page: Page, axe: str) -> list[str]:
    """What is serious or worse on a page: the rule, and where it is broken."""
    await page.evaluate(axe)  # past the page's policy, as a browser's own tools are
    found = await page.evaluate(_RUN)
    return [f"{impact} {rule}: {where}" for impact, rule, where in found if impact in _GRAVE]
