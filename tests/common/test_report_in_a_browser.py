"""The report's page in a real Chromium: what it draws, what it asks for, what runs in it."""

import functools
import http.server
import json
import threading

import pytest

from common.found import collect
from tests.browser import Browser
from tests.common import test_report
from tests.common.test_report import HOSTILE, hostile_folder, written

folder = test_report.folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def outside():
    """A server of this host.  requests: what it was asked for."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            self.send_response(404)
            self.end_headers()

        def log_message(self, *words):
            pass

    requests = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests = requests
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def page(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    written(folder, path)
    return path


@pytest.fixture(scope="module")
def hostile(folder, tmp_path_factory, outside):
    """The page of files whose texts ask a server, run scripts and break out of where they stand."""
    text = HOSTILE.replace("src=x", f"src=http://127.0.0.1:{outside.server_port}/asked")
    path = hostile_folder(folder, tmp_path_factory.mktemp("hostile"), text) / "report.html"
    written(path.parent, path)
    return path


def test_the_page_draws_all_its_pictures_and_asks_for_nothing(browser, page):
    browser.media()
    browser.open(page)
    charts = browser.run("document.querySelectorAll('.chart').length")
    assert charts == 6
    assert browser.run("document.querySelectorAll('.chart > svg').length") == charts
    assert browser.run("document.documentElement.dataset.drawn") == str(charts)
    # Nine evaluations in three lines, in each of two pictures.
    assert browser.run("document.querySelectorAll('[data-chart^=curve] .mark-line path').length"
                       ) == 6
    assert browser.complaints() == []
    assert browser.requests() == [f"file://{page}"]


@pytest.mark.parametrize(("scheme", "paper", "ink"), [
    ("light", "rgb(255, 255, 255)", "rgb(28, 31, 35)"),
    ("dark", "rgb(20, 23, 26)", "rgb(236, 239, 242)"),
])  # fmt: skip
def test_the_page_and_its_pictures_follow_the_readers_colours(scheme, paper, ink, browser, page):
    browser.media(scheme)
    browser.open(page)
    style = "getComputedStyle(document.querySelector('{}')).{}"
    assert browser.run(style.format("body", "backgroundColor")) == paper
    assert browser.run(style.format(".chart .role-axis-title text", "fill")) == ink
    browser.media(scheme, kind="print")
    assert browser.run(style.format("body", "backgroundColor")) == "rgb(255, 255, 255)"


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_is_wider_than_the_screen(width, browser, page):
    browser.media(width=width)
    browser.open(page)
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run("Math.max(...[...document.querySelectorAll('.chart svg')].map("
                       "(one) => one.getBoundingClientRect().right))") <= width


def test_the_keyboard_reaches_boxes_tables_and_details(browser, page):
    browser.media()
    browser.open(page)
    reached = []
    for _ in range(60):
        browser.press("Tab")
        reached.append(browser.run(
            "(document.activeElement.className + ' ' + document.activeElement.tagName).trim()"))
    assert {"skip A", "A", "scroll DIV", "SUMMARY"} <= set(reached)


def test_a_box_takes_a_frameworks_lines_away_by_the_keyboard(browser, folder, tmp_path):
    found = collect([str(folder)])
    runs = [run.result for run in found.runs]
    other = [run | {"framework": "tensorflow"} for run in runs[:2]]
    (tmp_path / "runs.json").write_text(json.dumps(runs + other))
    written(tmp_path / "runs.json", tmp_path / "report.html")
    browser.media()
    browser.open(tmp_path / "report.html")
    count = "document.querySelectorAll('[data-chart^=curve] .mark-line path').length"
    assert browser.run(count) == 2 * (3 + 2)
    for index, left in ((0, 2 * 2), (1, 2 * 2)):  # the last box that is checked stays so
        browser.run(f"document.querySelectorAll('fieldset input')[{index}].focus()")
        browser.press(" ", " ")
        browser.run(f"new Promise((done) => {{ const look = () => {count} === {left} ? done(0) : "
                    "setTimeout(look, 20); look(); })")
    boxes = "[...document.querySelectorAll('fieldset input')].map((box) => box.checked)"
    assert browser.run(boxes) == [False, True]
    assert browser.complaints() == []


def test_a_hostile_result_is_text_and_runs_nothing(browser, hostile, outside):
    browser.media()
    browser.open(hostile)
    assert browser.run("document.title") == "Time to quality"
    shown = HOSTILE.replace("\x1b", r"\x1b").partition("<img")[0]
    assert shown in browser.run("document.querySelector('main').innerText")
    assert shown[:15] in browser.run("document.querySelector('.chart svg').textContent")
    hover = ("document.querySelector('[data-chart^=curve] .mark-symbol path').dispatchEvent("
             "new PointerEvent('pointerover', {bubbles: true, clientX: 300, clientY: 300}))")
    browser.run(hover)
    browser.run("document.querySelector('.chart svg').dispatchEvent(new PointerEvent('pointermove',"
                " {bubbles: true, clientX: 300, clientY: 300}))")
    assert browser.run("document.querySelectorAll('img, main script').length") == 0
    assert browser.complaints() == []
    assert browser.requests() == [f"file://{hostile}"]
    assert outside.requests == []


@pytest.mark.parametrize("name", ["toString", "constructor", "__proto__", ""])
def test_a_name_that_javascript_has_too_is_drawn(name, browser, folder, tmp_path):
    result = json.loads((folder / "1" / "result.json").read_text())
    for one in (result, *result["quality_curve"]):
        one["quality"] = {name: one["quality"]["top1_accuracy"]}
    result |= {"target": {name: 0.9}, "profile": name, "framework": name}
    (tmp_path / "runs.json").write_text(json.dumps([result]))
    written(tmp_path / "runs.json", tmp_path / "report.html")
    browser.media()
    browser.open(tmp_path / "report.html")
    charts = browser.run("document.querySelectorAll('.chart').length")
    assert charts == browser.run("document.querySelectorAll('.chart > svg').length") > 2
    assert browser.complaints() == []


def test_what_watches_the_hostile_page_sees_a_page_that_obeys(browser, outside, tmp_path):
    """The same texts where nobody escapes them, and no policy holds them back."""
    text = HOSTILE.replace("src=x", f"src=http://127.0.0.1:{outside.server_port}/asked")
    (tmp_path / "page.html").write_text(f"<title>Time to quality</title><script>{text}")
    browser.open(tmp_path / "page.html", drawn=False)
    assert browser.run("document.title") == "ran"
    assert browser.complaints()
    assert outside.requests == ["/asked"]
    outside.requests.clear()


def test_the_policy_holds_back_what_would_stand_in_the_page(browser, outside, page, tmp_path):
    """Its last line of defence: the hostile texts as elements of the real page."""
    text = HOSTILE.replace("src=x", f"src=http://127.0.0.1:{outside.server_port}/asked")
    path = tmp_path / "report.html"
    path.write_text(page.read_text().replace("<main", f"<p>{text}</p><main"))
    browser.open(path)
    assert browser.run("document.title") == "Time to quality"
    assert browser.complaints()
    assert outside.requests == []


def test_a_picture_of_each_way_to_read_it(browser, page, tmp_path):
    """Each is another one: light, dark, a phone's, and they are no blank paper."""
    sizes = []
    for name, more in {"light": {}, "dark": {"scheme": "dark"}, "phone": {"width": 360}}.items():
        browser.media(**more)
        browser.open(page)
        picture = functools.partial(browser.picture, tmp_path / f"{name}.png")
        picture()
        sizes.append((tmp_path / f"{name}.png").stat().st_size)
    assert len(set(sizes)) == 3 and min(sizes) > 30_000
