"""The pages in a real browser: opened from disk, without a network, by mouse and by keyboard."""

import functools
import html
import itertools
import os
import shutil
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

from review import index, page
from tests.skipping import skip_loudly

pytestmark = pytest.mark.slow

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
# A busy machine takes its time.
_PATIENCE_MILLISECONDS = 120_000
_PHONE = {"width": 390, "height": 844}
# 1280 pixels at 400 %, as WCAG 2.2 has it (1.4.10).
_NARROW = {"width": 320, "height": 568}
_SHIRT, _TOP = 6, 0
# Kinds of data whose pages differ most from that of the reference.
_WIDE = ("two", "right to left", "long names", "large colour", "many", "worst")
# The other pages take seconds each to make.
_QUICK = ("two", "large colour")
_EACH_WIDE = [
    pytest.param(kind, marks=[] if kind in _QUICK else [pytest.mark.slow], id=kind)
    for kind in _WIDE
]
_IN_A_NOTEBOOK = '<iframe title="Review" width="100%" height="800" srcdoc="{}"></iframe>'
_PAPERS = {"light": "rgb(253, 253, 252)", "dark": "rgb(21, 24, 28)"}

# Elements that reach beyond the page, save in a container that scrolls, and text that is cut off.
_CUT_OFF = """() => [...document.querySelectorAll("body *")].filter((element) => {
  if (!element.checkVisibility() || element.closest(".skip")) return false;
  if (element.closest("svg") && element.tagName !== "svg") return false;
  const style = getComputedStyle(element), box = element.getBoundingClientRect();
  const scrolls = element.closest(".scroll") !== null;
  const beyond = !scrolls && (box.right > innerWidth + 0.5 || box.left < -0.5);
  const hides = ["hidden", "clip"].includes(style.overflowX);
  return beyond || (hides && element.scrollWidth > element.clientWidth + 1);
}).map((element) => element.outerHTML.slice(0, 120))"""

# Of a cell with a class: the colours of its text and of its ground, red, green and blue to 1.
_COLORS = """(element, name) => {
  element.className = name;
  const style = getComputedStyle(element);
  const pixel = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  return [style.color, style.backgroundColor].map((color) => {
    pixel.fillStyle = color;
    pixel.fillRect(0, 0, 1, 1);
    return [...pixel.getImageData(0, 0, 1, 1).data.slice(0, 3)].map((value) => value / 255);
  });
}"""


@pytest.fixture(scope="session")
def browser():
    """Chromium; where there is none the tests are skipped, and say so, but fail in CI."""
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        said = f"No Chromium ({', '.join(_PROGRAMS)}): THE PAGES WERE NOT TRIED IN A BROWSER."
        if os.environ.get("CI"):
            pytest.fail(said)
        skip_loudly(said)
    with sync_playwright() as playwright:
        # Containers lack what Chromium's sandbox needs; the pages are our own.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        expect.set_options(timeout=_PATIENCE_MILLISECONDS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def files(tmp_path_factory, page_of, wide_page, comparison, full):
    """Pages on disk, by name."""
    folder = tmp_path_factory.mktemp("pages")

    def path(name):
        found = folder / f"{name.replace(' ', '-')}.html"
        if not found.exists():
            text = made[name]() if name in made else page_of(name)
            found.write_text(text, encoding="utf-8")
        return found

    made = {
        **{f"wide {kind}": functools.partial(wide_page, kind) for kind in _WIDE},
        "comparison": lambda: page.render_comparison(comparison),
        # As a notebook shows a page.
        "framed": lambda: _IN_A_NOTEBOOK.format(html.escape(page_of("full"))),
        "index": lambda: index.render_index("clothes", full.history, {full.history[0].id}),
    }
    return path


@pytest.fixture
def visit(browser, files):
    """Opens a page from disk, offline; at the end nothing was loaded and nothing complained."""
    contexts, loaded, said = [], [], []

    def open_page(name="full", fragment="", init="", **options):
        context = browser.new_context(offline=True, **options)
        contexts.append(context)
        context.set_default_timeout(_PATIENCE_MILLISECONDS)
        context.set_default_navigation_timeout(_PATIENCE_MILLISECONDS)
        context.add_init_script(init)
        tab = context.new_page()
        tab.on("request", lambda request: loaded.append(request.url))
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.goto(files(name).as_uri() + fragment)
        return tab

    yield open_page
    for context in contexts:
        context.close()
    own = {url for url in loaded if Path(url.split("#")[0]).suffix == ".html"}
    assert {url.split(":")[0] for url in loaded if url not in own} <= {"data"}
    assert {url.split(":")[0] for url in own} == {"file"}
    assert said == []


def cell(tab, row=_SHIRT, column=_TOP):
    return tab.locator(f"#cell-{row}-{column}")


def open_details(tab):
    tab.evaluate("document.querySelectorAll('main details').forEach((e) => { e.open = true; })")


def shown(tab):
    return tab.locator("#cell-gallery .shot")


# --- Alone --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["full", "cleaned", "comparison", "index"])
def test_a_page_needs_nothing_but_itself(name, visit):
    tab = visit(name)
    expect(tab.locator("h1")).to_be_visible()
    for scheme, paper in _PAPERS.items():
        tab.emulate_media(color_scheme=scheme)
        assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == paper


def test_what_others_wrote_never_runs(visit):
    tab = visit("hostile")
    cell(tab).click()
    tab.locator("table[data-sortable] thead button").first.click()
    tab.locator(".command button").first.click()
    assert tab.evaluate("window.hacked") is None
    assert tab.locator("img").count() == 0


def test_without_a_script_everything_can_be_read(visit):
    tab = visit("full", java_script_enabled=False)
    expect(tab.locator("#theme")).to_be_hidden()
    expect(tab.locator(".with-script").first).to_be_hidden()
    expect(tab.locator("#cell-gallery")).to_be_hidden()
    expect(tab.locator("#confusion .shot").first).to_be_visible()
    expect(tab.locator("nav a").last).to_be_visible()
    assert tab.locator("thead button").count() == 0


@pytest.mark.parametrize(
    ("name", "schemes"),
    [
        pytest.param("sample", ["light", "dark"], marks=pytest.mark.slow),
        ("crashed", ["light"]),
        pytest.param("comparison", ["dark"], marks=pytest.mark.slow),
        ("index", ["light", "dark"]),
    ],
)
def test_nothing_keeps_anybody_out(name, schemes, visit):
    """By the rules of axe: no serious and no critical violation."""
    # The policy of the page would keep axe out too.
    tab = visit(name, color_scheme=schemes[0], bypass_csp=True)
    if name == "sample":
        cell(tab).click()
    open_details(tab)
    assert grave_violations(tab) == {}
    for scheme in schemes[1:]:
        tab.emulate_media(color_scheme=scheme)
        # Nothing but the colours is different.
        assert grave_violations(tab, runOnly=["color-contrast", "link-in-text-block"]) == {}


def grave_violations(tab, **options):
    # What passes takes most of the time to describe.
    options |= {"resultTypes": ["violations"]}
    found = Axe().run(tab, options=options).response["violations"]
    return {
        rule["id"]: [node["html"] for node in rule["nodes"]][:3]
        for rule in found
        if rule["impact"] in ("serious", "critical")
    }


# The search takes twenty seconds where there are many classes.
@pytest.mark.slow
@pytest.mark.parametrize("kind", _WIDE)
def test_no_data_keeps_anybody_out(kind, visit):
    tab = visit(f"wide {kind}", bypass_csp=True)
    cell(tab, 1, 1).click()
    assert grave_violations(tab) == {}


def test_the_number_in_a_cell_of_any_shade_can_be_read(visit, contrast):
    """By the contrast of WCAG 2.2, which axe cannot tell where colours are mixed."""
    tab = visit("full")
    shades = ["hit", "zero", *(f"shade-{number}" for number in range(7))]
    for scheme, name in itertools.product(_PAPERS, shades):
        tab.emulate_media(color_scheme=scheme)
        ink, ground = cell(tab).evaluate(_COLORS, name)
        assert contrast(ink, ground) >= 4.5, (scheme, name)


# --- On small screens ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["full", "hostile", "sample", "comparison", "index"])
def test_only_tables_are_wider_than_a_small_screen(name, visit):
    tab = visit(name, viewport=_NARROW)
    if name == "full":
        cell(tab).click()
    open_details(tab)
    for viewport in (_NARROW, _PHONE):
        tab.set_viewport_size(viewport)
        assert tab.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        assert tab.evaluate(_CUT_OFF) == []


@pytest.mark.parametrize("kind", _EACH_WIDE)
def test_no_data_makes_the_page_wider_than_a_phone(kind, visit):
    tab = visit(f"wide {kind}", viewport=_PHONE)
    cell(tab, 1, 1).click()
    open_details(tab)
    assert tab.evaluate("document.documentElement.scrollWidth") <= _PHONE["width"]
    assert tab.evaluate(_CUT_OFF) == []


@pytest.mark.parametrize(
    ("name", "tables"),
    [
        ("full", ["Gates", "Classification report", "Change of each class"]),
        ("wide many", ["Gates", "Classification report", "Change of each class"]),
        pytest.param("wide worst", ["Gates", "Classification report"], marks=pytest.mark.slow),
    ],
)
def test_tables_fit_on_a_usual_screen(name, tables, visit):
    tab = visit(name, viewport={"width": 1280, "height": 800})
    for table in tables:
        region = tab.locator(f".scroll[aria-label='{table}']")
        assert region.evaluate("element => element.scrollWidth - element.clientWidth") <= 0, table


def test_the_scores_under_corruptions_fit_on_a_usual_screen(visit):
    tab = visit("full", viewport={"width": 1280, "height": 800})
    region = tab.get_by_role("region", name="Accuracy under corruptions")
    assert region.evaluate("element => element.scrollWidth - element.clientWidth") <= 0


def test_tables_scroll_by_keyboard(visit):
    tab = visit("full", viewport=_PHONE)
    region = tab.get_by_role("region", name="Classification report")
    region.focus()
    tab.keyboard.press("ArrowRight")
    tab.wait_for_function("element => element.scrollLeft > 0", arg=region.element_handle())


def test_the_contents_work_on_a_phone(visit):
    tab = visit("full", viewport=_PHONE)
    link = tab.locator("nav a[href='#training']")
    expect(link).to_be_hidden()
    tab.locator("nav summary").click()
    link.click()
    expect(link).to_be_hidden()
    expect(tab.locator("#training-heading")).to_be_in_viewport()
    # They stay at hand, and do not cover what was asked for.
    expect(tab.locator("nav summary")).to_be_in_viewport()
    bar = tab.locator("nav").bounding_box()
    assert tab.locator("#training-heading").bounding_box()["y"] >= bar["y"] + bar["height"]


def test_the_contents_come_back_on_a_wide_screen(visit):
    tab = visit("full", viewport=_PHONE)
    tab.set_viewport_size({"width": 1280, "height": 900})
    expect(tab.locator("nav a").first).to_be_visible()


def test_the_keyboard_skips_the_contents(visit):
    tab = visit("full")
    tab.keyboard.press("Tab")
    expect(tab.locator(".skip")).to_be_in_viewport()
    tab.keyboard.press("Enter")
    expect(tab.locator("main")).to_be_focused()


# --- From a cell to its images ------------------------------------------------------------------


def test_a_cell_shows_its_images(visit, full):
    tab = visit()
    cell(tab).click()
    expect(cell(tab)).to_have_attribute("aria-pressed", "true")
    gallery = full.confusion.rows[_SHIRT][_TOP].gallery
    expect(shown(tab)).to_have_count(len(gallery.images))
    heading = tab.locator("#cell-heading")
    expect(heading).to_have_text(cell(tab).get_attribute("aria-label"))
    expect(heading).to_be_focused()
    expect(heading).to_be_in_viewport()
    expect(tab.locator("#cell-shown")).to_have_text(
        f"Showing {len(gallery.images)} of {gallery.count}."
    )
    assert tab.url.endswith("#cell-6-0")


def test_the_images_of_a_cell_are_those_of_the_summary(visit, full):
    tab, last = visit(), len(full.class_names) - 1
    cell(tab, last, last).click()
    places = full.confusion.rows[last][last].gallery.images
    columns = full.sheet.columns
    # Images of several rows of the sheet.
    assert len({place // columns for place in places}) > 1
    for place, shot in zip(places, shown(tab).all(), strict=True):
        record = full.images[place]
        tile = shot.locator(".tile")
        name = tile.get_attribute("aria-label")
        assert name.startswith("true Ankle boot, predicted Ankle boot ")
        assert name.endswith(f"; example {record.example_id}")
        position = tile.get_attribute("style")
        assert position == f"--x: {place % columns}; --y: {place // columns};"
        number = shot.locator("[data-path]")
        assert number.get_attribute("data-path") == f"images.{place}.choices.0.probability"
        assert float(number.get_attribute("data-value")) == record.choices[0].probability
        assert "✓ right" in shot.inner_text()


def test_the_same_gallery_comes_with_and_without_a_script(visit, full):
    """What the script builds is what the template writes."""
    tab = visit()
    place = full.confusion.confident_errors.images[0]
    record = full.images[place]
    written = tab.locator(f"#confusion .shot:has-text('{record.example_id}')").last
    names = full.class_names
    cell(tab, names.index(record.label), names.index(record.choices[0].name)).click()
    built = shown(tab).filter(has_text=record.example_id)
    assert built.inner_text() == written.inner_text()
    assert built.locator(".tile").get_attribute("aria-label") == written.locator(
        ".tile"
    ).get_attribute("aria-label")
    box = built.locator(".tile").bounding_box()
    assert (box["width"], box["height"]) == (84, 84)


def test_back_to_the_matrix_by_mouse(visit):
    tab = visit()
    cell(tab).click()
    tab.get_by_role("button", name="Back to the matrix").click()
    expect(cell(tab)).to_be_focused()
    expect(tab.locator("#cell-gallery")).to_be_visible()
    cell(tab).click()
    expect(tab.locator("#cell-gallery")).to_be_hidden()
    expect(cell(tab)).to_have_attribute("aria-pressed", "false")
    expect(cell(tab)).to_be_focused()


def test_to_the_images_and_back_by_keyboard(visit):
    tab = visit()
    tab.get_by_role("region", name="Confusion matrix", exact=True).last.focus()
    tab.keyboard.press("Tab")
    expect(cell(tab, 0, 0)).to_be_focused()
    for key in ["ArrowDown"] * _SHIRT + ["ArrowRight", "ArrowLeft", "ArrowLeft"]:
        tab.keyboard.press(key)
    expect(cell(tab)).to_be_focused()
    tab.keyboard.press("Enter")
    expect(tab.locator("#cell-heading")).to_be_focused()
    tab.keyboard.press("Tab")
    expect(tab.get_by_role("button", name="Back to the matrix")).to_be_focused()
    tab.keyboard.press("Escape")
    expect(cell(tab)).to_be_focused()
    expect(tab.locator("#cell-gallery")).to_be_hidden()
    tab.keyboard.press("Space")
    expect(tab.locator("#cell-gallery")).to_be_visible()
    assert tab.url.endswith("#cell-6-0")


def test_one_cell_is_reached_by_tab_and_arrows_stop_at_the_edge(visit, full):
    tab = visit()
    last = len(full.class_names) - 1
    cell(tab, 0, 0).focus()
    for key, at in [
        ("ArrowUp", (0, 0)),
        ("ArrowLeft", (0, 0)),
        ("End", (0, last)),
        ("ArrowRight", (0, last)),
        ("ArrowDown", (1, last)),
        ("Home", (1, 0)),
    ]:
        tab.keyboard.press(key)
        expect(cell(tab, *at)).to_be_focused()
    assert tab.locator("#matrix button[tabindex='0']").count() == 1


def test_a_confused_pair_leads_to_its_cell(visit, full):
    tab = visit()
    pair = full.confusion.pairs[0]
    tab.locator(".pairs a").first.click()
    expect(tab.locator("#cell-heading")).to_contain_text(
        f"{pair.label} taken for {pair.predicted}: {pair.count} "
    )
    expect(tab.locator("#matrix button[aria-pressed='true']")).to_have_count(1)


def test_an_address_restores_the_cell_and_back_goes_back(visit):
    tab = visit("full", "#cell-6-0")
    expect(cell(tab)).to_have_attribute("aria-pressed", "true")
    expect(tab.locator("#cell-heading")).to_be_in_viewport()
    cell(tab, 3, 3).click()
    expect(tab.locator("#cell-heading")).to_contain_text("Dress recognised")
    tab.go_back()
    expect(tab.locator("#cell-heading")).to_contain_text("Shirt taken for T-shirt/top")
    tab.go_forward()
    expect(cell(tab, 3, 3)).to_have_attribute("aria-pressed", "true")
    expect(cell(tab)).to_have_attribute("aria-pressed", "false")


def test_back_from_a_cell_to_none_leaves_the_focus_on_the_cell(visit):
    tab = visit()
    cell(tab).click()
    expect(tab.locator("#cell-heading")).to_be_focused()
    tab.go_back()
    expect(tab.locator("#cell-gallery")).to_be_hidden()
    expect(cell(tab)).to_be_focused()


def test_from_a_cell_to_a_section_the_focus_goes_along(visit):
    tab = visit()
    cell(tab).click()
    tab.locator("nav a[href='#gates']").click()
    expect(tab.locator("#cell-gallery")).to_be_hidden()
    expect(cell(tab)).not_to_be_focused()
    expect(tab.locator("#gates-heading")).to_be_in_viewport()


def test_the_matrix_leaves_the_keys_of_the_browser_alone(visit):
    tab = visit()
    cell(tab, 3, 3).focus()
    tab.evaluate(
        """() => {
          window.taken = [];
          addEventListener('keydown', (event) => { window.taken.push(event.defaultPrevented); });
        }"""
    )
    for held, key in (("Control", "ArrowRight"), ("Alt", "ArrowLeft"), ("Meta", "End")):
        tab.keyboard.press(f"{held}+{key}")
        # That of the held key, too.
        assert tab.evaluate("window.taken.splice(0)") == [False, False], key


def test_the_pairs_leave_the_clicks_of_the_browser_alone(visit):
    tab = visit()
    # Last of all, so that no other tab is opened after all.
    tab.evaluate(
        """() => {
          window.taken = [];
          addEventListener('click', (event) => {
            window.taken.push(event.defaultPrevented);
            event.preventDefault();
          });
        }"""
    )
    for held in ("Control", "Shift", "Alt", "Meta"):
        tab.locator(".pairs a").first.click(modifiers=[held])
        assert tab.evaluate("window.taken.splice(0)") == [False], held
        expect(tab.locator("#cell-gallery")).to_be_hidden()


@pytest.mark.parametrize(
    "viewport", [{"width": 1280, "height": 800}, _PHONE], ids=["wide", "phone"]
)
def test_the_row_of_a_class_comes_with_the_headings(viewport, visit):
    tab = visit("full", viewport=viewport)
    for row in (0, 5, 9):
        tab.evaluate("row => { scrollTo(0, 0); location.hash = `row-${row}`; }", row)
        expect(tab.locator(f"#row-{row} th")).to_be_in_viewport(ratio=1)
        expect(tab.locator("#matrix thead th").first).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("fragment", ["#cell-99-99", "#cell-x", "#gates", "#cell-6-0%22%5D"])
def test_an_address_of_no_cell_selects_none(fragment, visit):
    tab = visit("full", fragment)
    expect(tab.locator("#cell-gallery")).to_be_hidden()


def test_an_empty_cell_says_so(visit, full):
    row, column = next(
        (r, c)
        for r, cells in enumerate(full.confusion.rows)
        for c, found in enumerate(cells)
        if found.count == 0
    )
    tab = visit()
    cell(tab, row, column).click()
    expect(tab.locator("#cell-heading")).to_contain_text(": 0 images")
    expect(shown(tab)).to_have_count(0)


# --- In a notebook ------------------------------------------------------------------------------


@pytest.fixture
def framed(visit):
    """The page in the frame of a notebook."""
    return visit("framed").frames[1]


def test_in_a_notebook_a_cell_shows_its_images(framed):
    cell(framed).click()
    expect(framed.locator("#cell-heading")).to_be_focused()
    expect(shown(framed).first).to_be_visible()
    cell(framed).click()
    expect(framed.locator("#cell-gallery")).to_be_hidden()
    expect(cell(framed)).to_be_focused()
    framed.locator(".pairs a").first.click()
    expect(framed.locator("#cell-heading")).to_be_focused()


def test_in_a_notebook_links_lead_to_their_sections(framed):
    cell(framed).click()
    for section in ("training", "gates"):
        framed.locator(f"nav a[href$='#{section}']").click()
        expect(framed.locator(f"#{section}-heading")).to_be_in_viewport()
        expect(framed.locator("#cell-gallery")).to_be_hidden()
    framed.locator(".skip").press("Enter")
    expect(framed.locator("main")).to_be_focused()
    assert framed.url.startswith("about:srcdoc")


def test_where_addresses_are_refused_a_cell_shows_its_images(visit):
    tab = visit("full", init="history.pushState = () => { throw new Error('no'); };")
    cell(tab).click()
    expect(tab.locator("#cell-heading")).to_be_focused()
    cell(tab).click()
    expect(tab.locator("#cell-gallery")).to_be_hidden()
    expect(cell(tab)).to_be_focused()


# --- Of many classes ----------------------------------------------------------------------------


def test_of_many_classes_each_confusion_shows_its_images(visit, wide_review):
    tab, review = visit("wide many"), wide_review("many")
    pair = review.confusion.pairs[0]
    names = review.class_names
    row, column = names.index(pair.label), names.index(pair.predicted)
    tab.locator(".pairs a").first.click()
    expect(cell(tab, row, column)).to_have_attribute("aria-pressed", "true")
    expect(tab.locator("#cell-heading")).to_have_text(
        cell(tab, row, column).get_attribute("aria-label")
    )
    images = pair.gallery.images
    assert images
    expect(shown(tab)).to_have_count(len(images))
    label = shown(tab).first.locator(".tile").get_attribute("aria-label")
    assert label.startswith(f"true {pair.label}, predicted {pair.predicted} ")
    tab.keyboard.press("Escape")
    expect(cell(tab, row, column)).to_be_focused()


def test_arrows_move_between_rows_of_different_lengths(visit, wide_review):
    tab, confusion = visit("wide many"), wide_review("many").confusion
    rows = [(label, confusion.shown[label]) for label in confusion.order]
    at = next(n for n in range(199) if len(rows[n][1]) > len(rows[n + 1][1]))
    (label, choices), (below, others) = rows[at : at + 2]
    cell(tab, label, choices[0]).focus()
    for key, expected in [
        ("End", (label, choices[-1])),
        ("ArrowRight", (label, choices[-1])),
        ("ArrowDown", (below, others[-1])),
        ("Home", (below, below)),
        ("ArrowUp", (label, label)),
    ]:
        tab.keyboard.press(key)
        expect(cell(tab, *expected)).to_be_focused()


def test_the_row_of_one_of_many_classes_is_found(visit):
    tab = visit("wide many")
    for label in (0, 77, 199):
        tab.locator(f"#classes a[href='#row-{label}']").click()
        expect(tab.locator(f"#row-{label} th")).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("kind", ["two", "large colour", "right to left"])
def test_tiles_are_as_large_as_their_place(kind, visit):
    tab = visit(f"wide {kind}")
    tiles = tab.locator("#inside .gallery .tile").all()
    assert tiles
    for tile in tiles[:3]:
        box = tile.bounding_box()
        assert 40 <= max(box["width"], box["height"]) <= 100


# --- Tools --------------------------------------------------------------------------------------


def column_of(tab, number):
    return [
        float(value)
        for value in tab.locator("#classes table[data-sortable] tbody tr").evaluate_all(
            "(rows, n) => rows.map(r => r.cells[n].querySelector('[data-value]').dataset.value)",
            number,
        )
    ]


def test_a_table_is_sorted_by_any_column(visit):
    tab = visit()
    table = tab.locator("#classes table[data-sortable]")
    averages = table.locator("tfoot").inner_text()
    worst_first = column_of(tab, 2)
    assert worst_first == sorted(worst_first)
    for number, name in enumerate(["Precision", "Recall", "F1", "Support"], 1):
        header = table.locator("th", has_text=name)
        button = header.get_by_role("button")
        # The one that it is sorted by already turns round.
        first = "descending" if header.get_attribute("aria-sort") else "ascending"
        button.click()
        expect(header).to_have_attribute("aria-sort", first)
        assert column_of(tab, number) == sorted(column_of(tab, number), reverse=first[0] == "d")
        button.press("Enter")
        assert column_of(tab, number) == sorted(column_of(tab, number), reverse=first[0] == "a")
        assert table.locator("th[aria-sort]").count() == 1
    assert table.locator("tfoot").inner_text() == averages


def test_names_are_sorted_as_words(visit, full):
    tab = visit()
    tab.locator("#classes th", has_text="Class").get_by_role("button").first.click()
    names = tab.locator("#classes table[data-sortable] tbody th").all_inner_texts()
    assert names == sorted(full.class_names, key=str.casefold)


@pytest.mark.parametrize("storage", ["there", "refused"])
def test_the_theme_is_chosen(storage, visit):
    refusal = "Object.defineProperty(window, 'localStorage', {get() { throw new Error('no'); }});"
    tab = visit("full", init=refusal if storage == "refused" else "", color_scheme="light")
    button, papers = tab.locator("#theme"), []
    for name in ("auto", "light", "dark", "auto", "light", "dark"):
        expect(button).to_have_text(f"Theme: {name}")
        papers.append(tab.evaluate("getComputedStyle(document.body).backgroundColor"))
        button.click()
    light, dark = papers[0], papers[2]
    assert papers == [light, light, dark] * 2
    assert light != dark
    button.click()
    button.click()
    tab.reload()
    expect(button).to_have_text("Theme: dark" if storage == "there" else "Theme: auto")


def test_a_command_is_copied_or_marked(visit, full):
    tab = visit()
    button = tab.locator("#verdict .command button")
    button.click()
    tab.wait_for_function("button => button.textContent !== 'Copy'", arg=button.element_handle())
    if button.inner_text() != "Copied":
        assert tab.evaluate("getSelection().toString().trim()") == full.run.command


def test_the_print_is_light_and_without_tools(visit):
    tab = visit("full", color_scheme="dark")
    for theme in ("auto", "light", "dark"):
        expect(tab.locator("#theme")).to_have_text(f"Theme: {theme}")
        tab.emulate_media(media="print")
        expect(tab.locator("nav")).to_be_hidden()
        expect(tab.locator("#theme")).to_be_hidden()
        paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == _PAPERS["light"], theme
        tab.emulate_media(media="screen")
        tab.locator("#theme").click()
