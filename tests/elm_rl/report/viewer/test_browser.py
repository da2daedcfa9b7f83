"""The page of walks in a real browser: a Chromium that the machine has, without a window."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from elm_rl.report.viewer.history import read_history
from elm_rl.report.viewer.site import write_site
from tests.elm_rl.report.viewer.copied_run import HOSTILE, copied_run

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FOUND = next((path for name in BROWSERS if (path := shutil.which(name))), None)

pytestmark = pytest.mark.skipif(
    FOUND is None, reason=f"no browser to try the page in: none of {', '.join(BROWSERS)} is on the PATH"
)

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=FOUND)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser, site: Path) -> Iterator[Open]:
    """Opens the page; at the end nothing may have been complained about, and nothing asked of a network."""
    complaints: list[str] = []
    contexts = []

    def opened(fragment: str = "", **settings: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **settings})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request", lambda request: complaints.append(request.url) if not request.url.startswith("file:") else None
        )
        page.goto(site.as_uri() + fragment)
        page.wait_for_selector("html[data-ready=yes]", timeout=60_000)
        page.wait_for_function("() => document.querySelector('#distance') || location.hash.includes('view=')")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def picture(page: Page, selector: str) -> str:
    """What a canvas shows, as text."""
    return str(page.evaluate("selector => document.querySelector(selector).toDataURL()", selector))


def wait_until_it_moves(page: Page, selector: str) -> None:
    first = picture(page, selector)
    page.wait_for_function(
        "([selector, first]) => document.querySelector(selector).toDataURL() !== first",
        arg=[selector, first],
        timeout=20_000,
    )


def fragment(page: Page) -> str:
    return str(page.evaluate("location.hash"))


def test_the_walker_walks_to_its_evaluated_distance(open_page: Open, run: Path) -> None:
    page = open_page()
    history = read_history([run])
    best = max(history.records[place].fitness for place in history.elites())
    assert page.inner_text("#distance").startswith(f"{best:.2f}")
    wait_until_it_moves(page, "#stage canvas")
    page.click("#stage button")
    assert page.inner_text("#stage button") == "Play"
    still = picture(page, "#stage canvas")
    page.wait_for_timeout(150)
    assert picture(page, "#stage canvas") == still


def test_a_click_selects_a_cell_and_the_link_brings_it_back(open_page: Open) -> None:
    page = open_page()
    before = page.inner_text("#who h2")
    box = page.locator("#map").bounding_box()
    assert box is not None
    for x in range(60, int(box["width"]), 12):  # until another filled cell is met
        for y in range(10, int(box["height"]) - 45, 30):
            page.mouse.click(box["x"] + x, box["y"] + y)
            if page.inner_text("#who h2") != before:
                break
        else:
            continue
        break
    chosen = page.inner_text("#who h2")
    assert chosen != before
    again = open_page(fragment(page))
    assert again.inner_text("#who h2") == chosen
    assert again.inner_text("#distance") == page.inner_text("#distance")


def test_keys_move_over_the_map_and_step_through_the_lineage(open_page: Open) -> None:
    page = open_page()
    page.focus("#map")
    home = page.inner_text("#who h2")
    seen = {home}
    for key in ("ArrowLeft", "ArrowDown", "ArrowRight", "ArrowUp"):
        page.keyboard.press(key)
        seen.add(page.inner_text("#who h2"))
    assert len(seen) > 1
    page.keyboard.press("Home")
    assert page.inner_text("#who h2") == home
    page.keyboard.press(",")  # with the map still in focus, as after a click on it
    assert page.inner_text("#who h2") != home
    assert "shown=" in fragment(page)
    page.keyboard.press(".")
    assert page.inner_text("#who h2") == home
    page.focus("#map")
    page.keyboard.press("2")
    assert page.is_hidden("#view-map")
    page.keyboard.press("1")
    page.focus("#map")
    page.keyboard.press("r")
    assert page.get_attribute("#tabs a[data-view=race]", "aria-current") == "page"
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("1")
    assert page.is_visible("#view-map")


def test_the_lineage_plays_as_a_film(open_page: Open) -> None:
    page = open_page()
    elite = page.inner_text("#who h2")
    page.select_option("#stage select", "4")
    page.click("button.film")
    assert page.inner_text("#who h2") != elite
    assert page.inner_text("#generation").startswith("Generation 0 ")
    page.wait_for_function(
        "() => !document.querySelector('#generation').textContent.startsWith('Generation 0 ')", timeout=20_000
    )
    page.click("button.film")
    assert page.inner_text("button.film") == "Play as a film"
    while not page.inner_text("#generation").startswith("Generation 0 "):
        page.keyboard.press(",")
    page.click("button.film")  # from where it begins
    assert page.inner_text("button.film") != "Play as a film"
    page.wait_for_function(
        "() => !document.querySelector('#generation').textContent.startsWith('Generation 0 ')", timeout=20_000
    )


def test_links_to_what_is_not_there_show_nothing_in_its_place(open_page: Open) -> None:
    for walkers in ("", "0.99999", "9.9+row.77"):
        page = open_page(f"#view=race&walkers={walkers}")
        assert page.locator(".lane").count() == 0
    assert open_page("#view=race&walkers=row.0").locator(".lane").count() == 1
    assert open_page("#view=constructor").is_visible("#view-map")


def test_the_race_and_the_matrix_play(open_page: Open) -> None:
    page = open_page("#view=race")
    wait_until_it_moves(page, ".lane canvas")
    assert page.locator(".lane").count() == 2
    page.click("#tabs a[data-view=terrains]")
    wait_until_it_moves(page, "#matrix .cell canvas")
    cells = page.locator("#matrix .cell")
    assert cells.count() == page.locator("#matrix tbody tr").count() * page.locator("#matrix thead th").count()
    cells.nth(1).click()
    page.wait_for_selector("#matrix-stage canvas")
    words = cells.nth(1).inner_text()
    assert words in page.inner_text("#matrix-who") or "Stopped" in page.inner_text("#matrix-who")


def test_slices_and_axes_change_the_map(open_page: Open) -> None:
    page = open_page()
    whole = page.get_attribute("#map", "aria-label")
    page.focus("#map-cuts input")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert "cut=mass.2" in fragment(page)
    assert page.get_attribute("#map", "aria-label") != whole
    page.select_option("#map-x", "mass")
    assert "x=mass" in fragment(page)
    assert "cut" not in fragment(page)


def test_harmful_texts_stay_text(open_page: Open) -> None:
    page = open_page()
    page.wait_for_selector("#program pre")
    assert HOSTILE in str(page.evaluate("document.querySelector('#program pre').textContent"))
    assert HOSTILE in str(page.evaluate("document.querySelector('#diff').textContent"))
    for view in ("race", "terrains", "learning", "failures", "tables"):
        page.click(f"#tabs a[data-view={view}]")
        assert page.is_visible(f"#view-{view}")
    assert HOSTILE.replace("|", "/") in str(page.evaluate("document.querySelector('#tables').textContent"))
    assert page.evaluate("window.harmed") is None
    assert page.locator("main img").count() == 0
    assert page.locator("script").count() == 4


def test_the_policy_stops_what_gets_past_everything_else(browser: Browser, site: Path) -> None:
    page = browser.new_page()
    page.goto(site.as_uri())
    page.wait_for_selector("html[data-ready=yes]")
    refused = page.evaluate(
        """() => {
            const script = document.createElement("script");
            let markup = false;
            try { document.body.insertAdjacentHTML("beforeend", "<b>x</b>"); markup = true; } catch { /* as it should be */ }
            try { script.textContent = "window.harmed = 3"; document.body.append(script); } catch { /* as it should be */ }
            return [markup, window.harmed === undefined];
        }"""
    )
    assert refused == [False, True]
    page.close()


def test_failed_children_can_be_read(open_page: Open) -> None:
    page = open_page("#view=failures")
    kinds = page.locator("#failure-kinds button")
    assert kinds.count() > 0
    kinds.last.click()
    page.click("#failure-samples summary")
    assert "make_walker" in page.inner_text("#failure-samples pre")
    assert "kind=" in fragment(page)


@pytest.mark.parametrize("view", ["map", "race", "terrains", "learning", "failures", "tables"])
def test_a_phone_scrolls_in_one_direction(open_page: Open, view: str) -> None:
    page = open_page(f"#view={view}", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    if view == "map":
        page.tap("#stage canvas")
        assert page.inner_text("#stage button") == "Play"


def test_dark_and_light(open_page: Open) -> None:
    shades = {}
    for scheme in ("light", "dark"):
        page = open_page(color_scheme=scheme)
        shades[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("#theme")
    assert page.inner_text("#theme") == "Theme: light"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == shades["light"] != shades["dark"]


def test_a_page_of_a_run_that_goes_on_loads_itself_again(browser: Browser, run: Path, tmp_path: Path) -> None:
    page = browser.new_page()
    page.goto(write_site(copied_run(run, tmp_path / "copy"), refresh=1).as_uri())
    page.wait_for_selector("html[data-ready=yes]")
    page.evaluate("window.before = true")
    page.wait_for_function("() => window.before === undefined", timeout=20_000)
    page.check(".live input")
    page.evaluate("window.before = true")
    page.wait_for_timeout(1_500)
    assert page.evaluate("window.before"), "held still"
    page.close()


def test_whoever_wants_less_motion_gets_it(open_page: Open) -> None:
    page = open_page(reduced_motion="reduce")
    page.wait_for_selector("#program pre")
    still = picture(page, "#stage canvas")
    page.wait_for_timeout(200)
    assert picture(page, "#stage canvas") == still
    page.click("#stage button")
    wait_until_it_moves(page, "#stage canvas")
