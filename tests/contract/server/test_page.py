"""The page of `lf serve` in a real Chromium: clicked through, read as a screen reader does, and lied to by models."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import Lf
from tests.fixtures.browser import Page, browsing, find_chromium
from tests.fixtures.engines import need_engine
from tests.fixtures.scripted import TEMPLATE, Shape, make_gguf
from tests.fixtures.serving import REPLY, Server, serving

from localfirst.server.page.files import PAGE

KEY = "0123456789abcdef0123456789abcdef"
HOSTILE = """<script>window.hit = 1</script> <img src=x onerror="window.hit = 2"> **<b onmouseover=hit>bold</b>**

[press](javascript:window.hit=3) [data](data:text/html,<script>1</script>) [web](https://example.org/a_b "t") \
[up](JaVaScRiPt:alert(1)) ![pixel](https://example.org/p.png) https://example.org/x_y_z.

- `one` *two*
  1. **three**

```html" onload="x
<script>window.hit = 4</script>
```

| a | b |
|---|---|
| <iframe src=//example.org> | ~~d~~ |

## <svg onload=hit>

> \u202equoted <a href="javascript:hit">x</a>
"""
ANSWERED = "document.querySelector('#stop').hidden && !!document.querySelector('article:last-child .acts .last')"
CONTRASTS = """(() => {
  const parse = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const light = (rgb) => rgb.slice(0, 3).map((one) => one / 255)
    .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4))
    .reduce((sum, one, index) => sum + one * [0.2126, 0.7152, 0.0722][index], 0);
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const color = parse(getComputedStyle(one).backgroundColor);
      if (color.length === 3 || color[3] > 0.99) return color;
    }
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.data.trim(), element = walker.currentNode.parentElement;
    if (!text || element.closest(".hidden, script, :disabled")) continue;
    if (!element.checkVisibility({ visibilityProperty: true })) continue;
    const [one, other] = [parse(getComputedStyle(element).color), ground(element)].map(light);
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    found.push([Number(ratio.toFixed(2)), text]);
  }
  return found;
})()"""
"""Each text that is seen, with its contrast: https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio."""
INTERACTIVE = {"button", "textbox", "radio", "link", "spinbutton", "DisclosureTriangle", "dialog"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Lf:
    need_engine("xllamacpp")
    find_chromium()
    folder: Path = tmp_path_factory.mktemp("page")
    lf = Lf(folder / "home")
    make_gguf(folder / "greeter.gguf", REPLY)
    make_gguf(folder / "hostile.gguf", HOSTILE)
    make_gguf(folder / "thinker.gguf", "<think>Let me see.</think>Blue.", template=TEMPLATE + "{# <think> </think> #}")
    make_gguf(folder / "endless.gguf", "round and round ", loop=True, shape=Shape(context=65536))
    for file in sorted(folder.glob("*.gguf")):
        done = lf("model", "import", str(file), "--name", file.stem)
        assert done.returncode == 0, done.stderr
    return lf


@pytest.fixture(scope="module")
def serves(home: Lf) -> Iterator[Server]:
    with serving(home) as running:
        yield running


@pytest.fixture
def page(serves: Server, tmp_path: Path) -> Iterator[Page]:
    """The page as it is opened first, asked to use no model but the greeter."""
    with browsing(tmp_path / "profile") as tab:
        tab.resize(1100, 800)
        open_page(tab, serves)
        yield tab
        assert tab.errors == []


def open_page(tab: Page, server: Server, model: str = "greeter") -> None:
    tab.open(f"{server.root}/")
    choose(tab, model)


def choose(tab: Page, model: str) -> None:
    tab.wait("!document.querySelector('#choose').disabled && document.querySelectorAll('#shelf input').length > 0")
    tab.click("#choose")
    tab.click(f"#shelf input[value={model}]")
    tab.wait("!document.querySelector('#models').open")
    assert tab.text("#chosen") == model


def say(tab: Page, text: str) -> None:
    tab.click("#question")
    tab.type(text)
    tab.press("Enter")


def read_answer(tab: Page) -> str:
    tab.wait(ANSWERED)
    return tab.text("article:last-child .text")


def count_articles(tab: Page) -> int:
    return tab.run("document.querySelectorAll('article').length")


def test_a_question_is_answered_with_its_counts_and_stays(page: Page) -> None:
    assert page.run("document.querySelector('#send').disabled")
    say(page, "Wie geht's? **ja**")
    assert read_answer(page) == REPLY
    assert re.match(r"\d+ tokens · [\d.,]+ tokens/s · first token after [\d.]+ s · ", page.text("article .stats"))
    assert page.text("article:first-child .said") == "Wie geht's? **ja**"
    assert page.run("document.activeElement.id") == "question"
    page.wait("document.querySelector('#chosen-state').textContent === 'loaded'")
    page.reload()
    assert read_answer(page) == REPLY
    page.click("#fresh")
    assert count_articles(page) == 0
    page.reload()
    page.wait("document.querySelector('#welcome').checkVisibility() && document.querySelector('#offers input')")
    assert count_articles(page) == 0


def test_an_answer_streams_and_stopping_it_frees_the_model(page: Page, serves: Server) -> None:
    choose(page, "endless")
    for stop in (lambda: page.click("#stop"), lambda: page.press("Escape")):
        say(page, "go on")
        page.wait("document.querySelector('article:last-child .text').textContent.includes('round and round round')")
        assert page.run("!document.querySelector('#stop').hidden && document.querySelector('#send').hidden")
        stop()
        assert read_answer(page).startswith("round and round")
        assert "stopped after" in page.text("article:last-child .stats")
        asked = {"model": "endless", "messages": [{"role": "user", "content": "x"}], "max_tokens": 2}
        assert serves.post("/v1/chat/completions", asked).json()["usage"]["completion_tokens"] == 2
    assert page.run("document.activeElement.id") == "question"


def test_an_answer_can_be_given_anew_and_a_question_changed(page: Page) -> None:
    say(page, "first")
    read_answer(page)
    page.run("document.querySelector('article:last-child').isOld = true")
    page.click("article:last-child .acts .last")
    page.wait("!document.querySelector('article:last-child').isOld")
    assert read_answer(page) == REPLY
    assert count_articles(page) == 2
    page.click(".question .acts button")
    assert page.run("document.querySelector('#question').value") == "first"
    page.press("Escape")
    assert page.run("document.querySelector('#question').value") == ""
    page.click(".question .acts button")
    page.run("document.querySelector('#question').select()")
    page.type("second")
    page.click("#send")
    assert read_answer(page) == REPLY
    assert (count_articles(page), page.text("article:first-child .said")) == (2, "second")


def test_a_model_is_chosen_by_keys_alone_and_its_thoughts_are_folded(page: Page) -> None:
    page.run("document.querySelector('#choose').focus()")
    page.press("Enter")
    page.wait("document.activeElement.value === 'greeter'")
    names = page.run("[...document.querySelectorAll('#shelf input')].map((one) => one.value)")
    assert {"greeter", "thinker", "starter"} <= set(names)
    for _ in range(names.index("thinker") - names.index("greeter") + len(names) * (names[-1] == "greeter")):
        page.press("ArrowDown")
    assert page.run("document.querySelector('#models').open")
    page.press("Enter")
    page.wait("!document.querySelector('#models').open")
    assert (page.text("#chosen"), page.run("document.activeElement.id")) == ("thinker", "question")
    page.type("colour?")
    page.press("Enter")
    assert read_answer(page) == "Blue."
    assert page.run("!document.querySelector('details').open")
    page.click("summary")
    assert page.text(".thought") == "Let me see."


def test_what_is_known_of_a_model_is_shown(page: Page) -> None:
    facts = page.run("document.querySelector('#shelf input[value=starter]').parentElement.textContent")
    assert re.search(r"starter(not )?loaded1.97 MBQ4_0llama-cpu on the CPUfits, needs [\d.]+ MB", facts)
    assert re.search(r"(about [\d,]+ to [\d,]+|[\d.,]+) tokens/s", facts)


def test_markup_of_a_model_is_text(page: Page) -> None:
    choose(page, "hostile")
    say(page, "x")
    said = read_answer(page)
    for text in ("<script>window.hit = 1</script>", 'onerror="window.hit = 2"', "<b onmouseover=hit>bold</b>"):
        assert text in said
    assert page.run("window.hit") is None
    inside = "document.querySelector('article:last-child')"
    assert page.run(f"{inside}.querySelectorAll('script, img, iframe, svg, b, [onload], [onerror]').length") == 0
    links = page.run(f"[...{inside}.querySelectorAll('a')].map((one) => [one.protocol, one.href, one.rel, one.text])")
    assert [link[1] for link in links] == [
        "https://example.org/a_b",
        "https://example.org/p.png",
        "https://example.org/x_y_z",
    ]
    assert all(link[0] == "https:" and "noopener" in link[2] for link in links)
    assert page.text("article:last-child strong") == "<b onmouseover=hit>bold</b>"
    assert page.text("article:last-child pre") == "<script>window.hit = 4</script>"
    for tag, text in (("ul > li > code", "one"), ("li ol strong", "three"), ("td del", "d"), ("li em", "two")):
        assert page.text(f"article:last-child {tag}") == text
    page.click("article:last-child .copy")
    page.wait("document.querySelector('article:last-child .copy').textContent === 'Copied'")


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        ("*a **b** c*", "<em>a <strong>b</strong> c</em>"),
        ("***x***", "<strong><em>x</em></strong>"),
        ("a_b_c 2 * 3 * 4 **", "a_b_c 2 * 3 * 4 **"),
        (r"\*a\* `\*`", r"*a* <code>\*</code>"),
        ("`` a`b `` **`x**`", "<code>a`b</code> **<code>x**</code>"),
        ("one\ntwo", "one<br>two"),
        ("[a](ftp://x) [b](//x) [c](https://", "[a](ftp://x) [b](//x) [c](https://"),
        ("(https://x.y/z)", '(<a href="https://x.y/z">https://x.y/z</a>)'),
        ("[" * 99 + "*" * 99, "[" * 99 + "*" * 99),
    ],
)
def test_lines_are_read_as_markdown_has_it(page: Page, markdown: str, html: str) -> None:
    got = page.run(
        "(async () => { const { inline, make } = await import('/markdown.js');"
        f" return make('p', {{}}, ...inline({markdown!a})).innerHTML; }})()"
    )
    got = re.sub(r' (dir|title|target|rel)="[^"]*"', "", got)
    assert got == html


def test_blocks_are_read_as_they_come(page: Page) -> None:
    """Every beginning of a text is shown without an error, and what is whole is left alone."""
    kept = page.run(
        "(async () => { const { show } = await import('/markdown.js'); const place = document.createElement('div');"
        f" const text = {HOSTILE!a} + '\\n1. a\\n\\n   b\\n2. c\\n- d\\n\\n~~~\\nopen';"
        " let first; for (let end = 1; end <= text.length; end++) { show(place, text.slice(0, end));"
        " if (end === 300) first = place.firstChild; }"
        " return [place.firstChild === first, ...[...place.children].map((one) => one.tagName)]; })()"
    )
    assert kept == [True, "P", "P", "UL", "FIGURE", "DIV", "H4", "BLOCKQUOTE", "OL", "UL", "FIGURE"]


def test_settings_are_sent_and_kept(page: Page) -> None:
    page.run(
        "void (window.was = fetch, window.fetch = (path, how) => (window.sent = how.body ?? sent, was(path, how)))"
    )
    page.run("void (window.sent = '')")
    page.click("#set")
    page.type("Be brief.")
    for field, value in (("temperature", "0.5"), ("longest", "2")):
        page.click(f"#{field}")
        page.type(value)
    page.press("Enter")
    page.wait("!document.querySelector('#settings').open")
    page.run("document.querySelector('#question').focus()")
    page.type("hi")
    page.press("Enter")
    page.wait(ANSWERED)
    asked = json.loads(page.run("sent"))
    assert (asked["temperature"], asked["max_tokens"], asked["stream"]) == (0.5, 2, True)
    assert [one["role"] for one in asked["messages"]] == ["system", "user"]
    assert asked["messages"][0]["content"] == "Be brief."
    assert "cut off" in page.text("article:last-child .stats")
    page.reload()
    page.click("#set")
    values = "['system', 'temperature', 'longest'].map((id) => document.getElementById(id).value)"
    assert page.run(values) == ["Be brief.", "0.5", "2"]
    page.click("#forget")
    page.wait("!document.querySelector('#settings').open")
    page.reload()
    page.click("#set")
    assert page.run(values) == ["", "", ""]
    page.press("Escape")


def test_an_error_is_told_as_the_server_says_it(page: Page) -> None:
    page.click("#question")
    page.type("long " * 4000)
    page.press("Enter")
    page.wait(ANSWERED)
    assert "context" in page.text("article:last-child .error")
    assert page.text("article:last-child .acts .last") == "Try again"
    page.errors.clear()  # that a request was refused
    page.click("#fresh")


@pytest.mark.parametrize("dark", [False, True])
def test_it_is_read_by_eyes_and_by_screen_readers(page: Page, dark: bool, tmp_path: Path) -> None:
    page.resize(390, 800, dark=dark)
    choose(page, "hostile")
    say(page, "x")
    page.wait("document.querySelector('#announcer').textContent.includes('Code, 1 lines')")
    read_answer(page)
    page.run("document.querySelector('details')?.toggleAttribute('open', true)")
    for opener in (None, "#choose", "#set"):
        if opener:
            page.click(opener)
        assert [one for one in page.run(CONTRASTS) if one[0] < 4.5] == []
        assert page.run("document.documentElement.scrollWidth") <= 390
        nameless = [one for one in page.list_named() if one[0] in INTERACTIVE and not one[1]]
        assert nameless == []
        page.press("Escape")
        page.wait("!document.querySelector('dialog[open]')")
    ground = page.run("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground))) < 3 * 64) is dark
    page.shoot(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 5000


def test_a_key_is_asked_for_and_kept_in_the_tab(home: Lf, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    with serving(home, "--api-key-file", str(tmp_path / "key")) as server, browsing(tmp_path / "profile") as tab:
        tab.open(f"{server.root}/")
        tab.wait("document.querySelector('#lock').open")
        tab.click("#lock .close")
        tab.wait("!document.querySelector('#notice').hidden")
        assert "only who shows its key" in tab.text("#notice")
        tab.click("#notice-act")
        tab.wait("document.activeElement.id === 'key'")
        tab.type("wrong")
        tab.press("Enter")
        tab.wait("document.querySelector('#lock-error').textContent === 'The server has another key.'")
        tab.type(KEY)
        tab.press("Enter")
        tab.wait("!document.querySelector('#lock').open")
        choose(tab, "greeter")
        say(tab, "hi")
        assert read_answer(tab) == REPLY
        tab.reload()
        tab.wait("document.querySelector('#chosen').textContent === 'greeter'")
        assert tab.run("[document.querySelector('#lock').open, document.querySelector('#notice').hidden]") == [
            False,
            True,
        ]
        assert tab.run(f"JSON.stringify(localStorage).includes({KEY!r})") is False
        assert all("401" in error for error in tab.errors)


def test_it_goes_on_when_the_server_comes_back(home: Lf, tmp_path: Path) -> None:
    with browsing(tmp_path / "profile") as tab:
        with serving(home) as server:
            open_page(tab, server, "endless")
            say(tab, "go on")
            tab.wait("document.querySelector('article:last-child .text').textContent.includes('round')")
            server.stop()
            tab.wait("!document.querySelector('#notice').hidden")
            assert tab.text("article:last-child .error")
        with serving(home, "--port", str(server.port)):
            tab.wait("document.querySelector('#notice').hidden")
            choose(tab, "greeter")
            tab.click("article:last-child .acts .last")
            tab.wait(f"document.querySelector('article:last-child .text').textContent === {REPLY!a}")


def test_without_models_of_ones_own_it_says_how_to_come_by_them(lf: Lf, tmp_path: Path) -> None:
    find_chromium()
    with serving(lf) as server, browsing(tmp_path / "profile") as tab:
        tab.open(f"{server.root}/")
        tab.wait("document.querySelector('#chosen').textContent === 'starter'")
        assert "lf pull MODEL" in tab.text("#welcome")
        assert tab.errors == []


def test_its_files_say_what_they_may_do_and_come_once(serves: Server) -> None:
    for path, file in PAGE.items():
        answer = serves.get(path)
        assert answer.headers["content-type"].startswith(file.kind)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert (answer.headers["x-content-type-options"], answer.headers["referrer-policy"]) == (
            "nosniff",
            "no-referrer",
        )
        assert answer.headers["cache-control"] == "no-cache"
        again = serves.get(path, headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert serves.get("/v1/models").headers["cache-control"] == "no-store"
    assert sum(len(serves.get(path).content) for path in PAGE) < 60_000


def test_a_page_elsewhere_cannot_ask_in_a_users_name(page: Page, serves: Server) -> None:
    """From another origin on this machine, as a real browser sends it: the same address by another name."""
    elsewhere = serves.root.replace("127.0.0.1", "localhost")
    tried = page.run(f"fetch('{elsewhere}/v1/models', {{mode: 'no-cors'}}).then((one) => one.type, () => 'refused')")
    assert tried == "refused"  # by the page's own policy, before it is sent
    page.errors.clear()
