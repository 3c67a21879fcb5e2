"""The pages in a real Chromium: what is stored is inert, everybody can use them, and nothing needs a script.

`TEST_SHOTS=FOLDER` keeps a picture of every page, for a person to look at.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from syncd.domain.identity import Identity
from syncd.sync import one_click
from tests.pages.chromium import Chromium
from tests.pages.site import TOKEN, Site, held, served
from tests.scenes import Open, person
from tests.world import World

# One worker starts the browser.
pytestmark = [pytest.mark.browser, pytest.mark.loopback, pytest.mark.xdist_group("pages")]

SHOTS = os.environ.get("TEST_SHOTS")


@pytest.fixture(scope="module")
def address(town: World) -> Iterator[str]:
    """Where the crowded world is served."""
    with served(Site(town)) as found:
        yield found


def log_in(page: Any, address: str) -> None:
    page.goto(f"{address}/login")
    page.get_by_label("Operator token").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name="Log out").wait_for()


def said(page: Any, text: str) -> None:
    """The page that follows an act says what came of it."""
    page.get_by_role("status").filter(has_text=text).wait_for()


def explain(page: Any, address: str) -> None:
    page.goto(f"{address}/contact")
    page.get_by_label("E-mail address").fill("eve@example.org")
    page.get_by_role("button", name="Explain", exact=True).click()
    page.get_by_role("heading", name="eve@example.org").wait_for()


def pages_of(world: World, address: str) -> dict[str, Callable[[Any], None]]:
    """Every page that there is, and how one gets there; the first four without logging in."""
    key = one_click.signing_key(world.app.engine)
    link = f"{address}/unsubscribe/{one_click.make_token(key, Identity('ann@example.org'))}"
    plan = next(row for row in held(world) if row.account == "sales")

    def wrong(page: Any) -> None:
        page.goto(f"{address}/login")
        page.get_by_label("Operator token").fill("wrong")
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("alert").wait_for()

    return {
        "overview-read-only": lambda page: page.goto(address),
        "login": wrong,
        "docs": lambda page: page.goto(f"{address}/docs"),
        "unsubscribe": lambda page: page.goto(link),
        "unknown-link": lambda page: page.goto(f"{address}/unsubscribe/x"),
        "overview": lambda page: page.goto(address),
        "plan": lambda page: page.goto(f"{address}/plan/{plan.id}"),
        "no-plan": lambda page: page.goto(f"{address}/plan/none"),
        "contact": lambda page: explain(page, address),
    }


WIDE = {"width": 1280, "height": 900}
NARROW = {"width": 360, "height": 780}
LOOKS = {"light": ("light", WIDE), "dark": ("dark", WIDE), "narrow": ("light", NARROW)}


@pytest.mark.parametrize("looks", ["light", pytest.param("dark narrow", marks=pytest.mark.long)])
def test_every_page_can_be_used_by_everybody_and_asks_nobody_else(
    town: World, address: str, chromium: Chromium, looks: str
) -> None:
    """axe finds nothing; no page is wider than the window; nothing is loaded but the page itself; no rule is broken.

    The pages with the most on them are looked at in the dark and on a telephone too; `make long` looks at all of them.
    """
    faults: list[str] = []
    asked: set[str] = set()

    def examine(page: Any, name: str, look: str) -> None:
        scheme, size = LOOKS[look]
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size(size)
        for violation in Axe().run(page).response["violations"]:
            where = [node["html"][:120] for node in violation["nodes"][:2]]
            faults.append(f"{name}, {look}: {violation['id']}: {violation['help']}: {where}")
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            faults.append(f"{name}, {look}: wider than the window")
        if SHOTS:
            page.screenshot(path=Path(SHOTS) / f"{name}-{look}.png", full_page=True)

    def looking(page: Any) -> None:
        page.on("request", lambda request: asked.add(request.resource_type))
        page.on("console", lambda message: faults.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: faults.append(f"script: {error}"))
        for name, lead in pages_of(town, address).items():
            if name == "overview":
                log_in(page, address)
            lead(page)
            for look in LOOKS if name in {"overview", "plan"} else looks.split():
                examine(page, name, look)

    chromium.look(looking)
    # A browser says in the console that an answer is 401 or 404.
    assert [fault for fault in faults if "status of 40" not in fault] == []
    assert asked == {"document"}


def test_what_is_stored_is_shown_and_does_nothing(town: World, address: str, chromium: Chromium) -> None:
    plan = next(row for row in held(town) if row.account == "sales")

    def looking(page: Any) -> None:
        log_in(page, address)
        page.goto(f"{address}/plan/{plan.id}")
        row = page.get_by_role("row", name="eve@example.org")
        assert '<script>document.title="owned"</script>' in row.inner_text()
        assert "O'Neil & <b>Sons</b>" in row.inner_text()
        assert page.get_by_role("row", name="corn@example.org").inner_text().count("Corn") == 40
        assert "🦄" in page.get_by_role("row", name="corn@example.org").inner_text()
        assert "[U+202E]live[U+202C]" in page.get_by_role("row", name="turned@example.org").inner_text()
        for path in ("/", f"/plan/{plan.id}"):
            page.goto(f"{address}{path}")
            assert "owned" not in page.title()
            assert page.evaluate("document.scripts.length") == 0
            assert page.locator("main b, main i").filter(has_text=re.compile("Sons|503|indien|cannot")).count() == 0

    chromium.look(looking)


def test_everything_works_without_javascript(open_small_world: Open, chromium: Chromium) -> None:
    world = open_small_world(first_sync="hold")
    person(world, "ann@example.org")
    world.settle(2)

    def looking(page: Any) -> None:
        page.goto(here)
        assert page.get_by_text("log in", exact=True).count() == 1
        log_in(page, here)
        for _ in range(2):
            page.locator("a[href^='/plan/']").first.click()
            page.get_by_role("rowheader", name="ann@example.org").wait_for()
            page.get_by_role("button", name="Approve all 1").click()
            said(page, "Approved")
        page.get_by_role("button", name="Pause: crm").click()
        said(page, "Paused crm")
        page.get_by_role("button", name="Resume: crm").click()
        said(page, "Resumed crm")
        page.get_by_role("button", name="Sync now: crm").click()
        said(page, "A round of crm is asked for")
        page.get_by_text("The latest in words").click()
        page.get_by_role("cell", name="success").first.wait_for()
        page.get_by_text("renew every 30 s").click()
        assert page.locator("meta[http-equiv=refresh]").get_attribute("content") == "30"
        page.get_by_role("button", name="Log out").click()
        page.get_by_role("link", name="Log in", exact=True).wait_for()

    with served(Site(world)) as here:
        chromium.look(looking, java_script_enabled=False)
    world.settle(2)
    assert world.mail.subscriber("154", "ann@example.org")
    assert len(world.rows("SELECT id FROM wake")) == 1


def test_every_mark_has_words_and_a_shape_of_its_own(town: World, address: str, chromium: Chromium) -> None:
    def looking(page: Any) -> tuple[set[str], int]:
        page.goto(address)
        dots = page.locator("section[aria-labelledby=runs] g.dot")
        marks = page.evaluate(
            """() => [...document.querySelectorAll('section[aria-labelledby=runs] g.dot')].map(dot => [
                dot.querySelector('title').textContent.split(', ')[2],
                dot.querySelector('circle, path').outerHTML])"""
        )
        shapes: dict[str, set[str]] = {}
        for result, shape in marks:
            shapes.setdefault(result, set()).add(shape)
        assert all(len(one) == 1 for one in shapes.values())
        assert len({next(iter(one)) for one in shapes.values()}) == len(shapes)
        return set(shapes), dots.count()

    results, count = chromium.look(looking)
    assert {"success", "failed", "running"} <= results
    assert count > 8
