"""The leaderboard and a recipe's page in a real browser: three widths, light and dark, mouse and keyboard."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gtzan_keras.report.leaderboard import report_all
from gtzan_keras.report.two_splits import two_splits

REPORTS = Path(__file__).resolve().parent.parent / "reports"
SHOWN = (
    "zhang/cnn/fault-filtered/seed0", "zhang/cnn/published/seed0", "baseline/knn/artist/seed0",
    "baseline/knn/published/seed0", "uncu/scratch-cnn/published/seed0", "arrigo/01/published/seed0",
    "malvezzi/vgg16-frozen/fault-filtered/seed0", "baseline/thumbnail-cnn/random/seed0",
    "baseline/thumbnail-cnn/fault-filtered/seed0",
)  # fmt: skip
WIDTHS = (400, 1000, 1600)


@pytest.fixture(scope="module")
def pages(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The addresses of the leaderboard, of one recipe's page, and of the page of `make report`."""
    root = tmp_path_factory.mktemp("reports")
    for name in SHOWN:
        shutil.copytree(REPORTS / name, root / name)
    page = report_all(root, only="zhang/cnn")
    two = two_splits(root, ["baseline/thumbnail-cnn"])
    return [(root / "index.html").as_uri(), page.as_uri(), two.as_uri()]


@pytest.fixture
def opened(browser: Any) -> Iterator[Any]:
    """A function that opens an address, and fails at the end where the browser complained of a page."""
    complaints: list[str] = []
    asked: list[str] = []
    contexts = []

    def open_page(address: str, width: int = 1000, scheme: str = "light") -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def column(page: Any, number: int) -> list[float | None]:
    """The values of a column as shown, in the order of the rows; None for empty cells."""
    values = page.locator(".board").first.evaluate(
        "(table, n) => [...table.tBodies[0].rows].map(row => row.cells[n].dataset.value)", number
    )
    return [None if value is None else float(value) for value in values]


def shown_rows(page: Any) -> list[str]:
    return page.locator(".board tbody tr:visible th").all_inner_texts()


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_page_and_nothing_is_loaded(
    pages: list[str], opened: Any, width: int
) -> None:
    for address in pages:
        page = opened(address, width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("h1").is_visible()
    if width == 1600:
        assert opened(pages[0], width).locator(".board").first.bounding_box()["width"] > 1450


def test_the_first_column_stays_and_leaves_room_on_a_phone(pages: list[str], opened: Any) -> None:
    page = opened(pages[0], 400)
    scroll, first = page.locator(".scroll").first, page.locator(".board tbody th").first
    before = first.bounding_box()
    assert before["width"] < 160
    scroll.evaluate("element => element.scrollLeft = 300")
    assert scroll.evaluate("element => element.scrollLeft") == 300
    assert first.bounding_box()["x"] == before["x"]


def test_a_heading_sorts_by_mouse_with_empty_cells_last_both_ways(pages: list[str], opened: Any) -> None:
    page = opened(pages[0])
    for number in (1, 4):
        button = page.locator(".board").first.locator("thead button").nth(number)
        for order in ("descending", "ascending"):
            button.click()
            values = column(page, number)
            full = sorted((value for value in values if value is not None), reverse=order == "descending")
            assert len(full) > (number == 1)
            assert values == full + [None] * (len(values) - len(full))
            assert button.locator("..").get_attribute("aria-sort") == order


def test_a_heading_sorts_by_keyboard(pages: list[str], opened: Any) -> None:
    page = opened(pages[0])
    page.locator("#column").focus()
    for key in ("Tab", "Tab", "Tab", "Enter"):  # by way of the table, which scrolls, and of "recipe"
        page.keyboard.press(key)
    assert column(page, 1)[0] == max(value for value in column(page, 1) if value is not None)
    assert page.locator("th[aria-sort=descending]").inner_text().startswith("published")


def test_filters_by_text_source_and_column(pages: list[str], opened: Any) -> None:
    page = opened(pages[0])
    everything = len(shown_rows(page))
    page.locator("#source").select_option("zhang")
    assert shown_rows(page)
    assert all(text.startswith("zhang/") for text in shown_rows(page))
    assert page.locator(".chart li:visible .label").all_inner_texts() == ["zhang/cnn"] * 2 + [
        "zhang/cnn-augmented", "zhang/cnn-kfold",
    ]  # fmt: skip
    page.locator("#column").select_option(label="fault-filtered")
    assert [text.split("\n")[0] for text in shown_rows(page)] == ["zhang/cnn"]
    assert page.locator("#shown").inner_text() == f"1 of {everything} rows"
    page.locator("#source").select_option("")
    page.locator("#column").select_option("0")
    page.locator("#filter").focus()
    page.keyboard.type("m2d-as")
    assert len(shown_rows(page)) == 1


def test_the_chart_has_its_marks_where_its_figures_say(pages: list[str], opened: Any) -> None:
    page = opened(pages[0], 1600)
    for line in page.locator(".chart").first.locator("li").all():
        plot, mark = (line.locator(f".{name}").bounding_box() for name in ("plot", "mark"))
        place = (mark["x"] + mark["width"] / 2 - plot["x"]) / plot["width"]
        shown = float(re.match(r"[\d.]+", line.locator(".values").inner_text()).group())
        assert place == pytest.approx(shown / 100, abs=0.005)


CONTRASTS = """elements => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const light = colour => {
    canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map(v => v / 255)
      .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const page = light(getComputedStyle(document.body).backgroundColor);
  return elements.map(element => {
    const own = light(getComputedStyle(element).color);
    return (Math.max(own, page) + .05) / (Math.min(own, page) + .05);
  });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_and_figures_can_be_read_in_light_and_dark(pages: list[str], opened: Any, scheme: str) -> None:
    chart = "figcaption, .label, .label a, .values, .axis .plot span, .mark"
    ticks, fill = "figure svg [id*=axis] [id*=text] > g", CONTRASTS.replace(").color", ").fill")
    for address, words, script in (
        (pages[0], f".chart :is({chart})", CONTRASTS),
        (pages[1], ticks, fill),
        (pages[2], ticks, fill),
    ):
        contrasts = opened(address, 1000, scheme).locator(words).evaluate_all(script)
        assert len(contrasts) > 5
        assert min(contrasts) >= 4.5  # of text, as WCAG 2 asks


def test_the_figure_of_two_splits_keeps_its_size_on_a_phone(pages: list[str], opened: Any) -> None:
    page = opened(pages[2], 400)
    assert page.locator("figure svg").bounding_box()["width"] > 500  # and scrolls


def test_a_figure_of_the_leaderboard_leads_to_its_recipe_in_the_same_file(
    pages: list[str], opened: Any
) -> None:
    page = opened(pages[0])
    assert not page.locator("#zhang-cnn").is_visible()
    page.locator(".chart li", has_text="zhang/cnn").first.locator(".label a").click()
    page.wait_for_url(f"{pages[0]}#zhang-cnn")
    page.locator("#zhang-cnn").wait_for()  # until it is visible
