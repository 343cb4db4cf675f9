"""The page of an experiment: self-contained, complete, the same bytes every time, and alive in a browser."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from made_results import ROOT, judge, make, settings, write_collected
from test_figures import draw
from test_stage_graph import card

from agrepa.errors import ArtifactError
from agrepa.params import Experiment
from agrepa.reporting import report, tables

TEMPLATE = ROOT / "workflow" / "report" / "report.html.j2"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CLIPS, PLAYED_ROWS, ROWS, FIGURES = 6, 4, 6, 7
FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)


@pytest.fixture(scope="module")
def results(demo: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole results folder with one run card."""
    folder = tmp_path_factory.mktemp("results") / "demo"
    collected = write_collected(folder / "scores")
    make(demo, collected, folder / "tables")
    draw(demo, collected, folder / "figures")
    judge(demo, collected, folder)
    (folder / "ATTRIBUTION.md").write_text("# Attribution\n\nSounds <by> A & B, https://example.org/licence\n")
    found = {"stage": "wer", "wildcards": {"row": "base", "seed": "0"}, "note": "</pre><script>alert(1)</script>"}
    (folder / "cards").mkdir()
    (folder / "cards" / "work.demo.metrics.base.seed0.wer.json.card.json").write_text(json.dumps(found))
    return folder


def write_page(experiment: Experiment, results: Path, out: Path, template: Path = TEMPLATE) -> None:
    report.run(
        settings(experiment, "report"),
        scores=results / "scores" / "scores.csv",
        tables=results / "tables",
        figures=results / "figures",
        claims=results / "claims.csv",
        listening=results / "scores" / "listening",
        selections=results / "scores" / "selections",
        cards=results / "cards",
        attribution=results / "ATTRIBUTION.md",
        template=template,
        out=out,
    )


@pytest.fixture(scope="module")
def page(demo: Experiment, results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("page") / "report.html"
    write_page(demo, results, out)
    return out


class Elements(HTMLParser):
    """Collects (tag, attributes) of every element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def elements(page: Path) -> Elements:
    return Elements(page.read_text())


def test_the_page_refers_to_nothing_outside_itself(page: Path, elements: Elements) -> None:
    for _, attributes in elements.found:
        for name in {"src", "href", "srcset", "poster", "data", "action"} & set(attributes):
            assert attributes[name].startswith(("data:", "#"))
    style = re.search(r"<style>(.*?)</style>", page.read_text(), re.DOTALL)[1]
    assert "url(" not in style
    assert "@import" not in style
    assert not elements.of("script")
    assert "default-src 'none'" in next(meta["content"] for meta in elements.of("meta") if "http-equiv" in meta)


def test_every_clip_has_a_spectrogram_of_every_row_and_a_player_of_every_model(elements: Elements) -> None:
    players = elements.of("audio")
    assert len(players) == (CLIPS + 1) * PLAYED_ROWS, "one clip of speech is also beside the answer"
    assert all("controls" in player and player["aria-label"] for player in players)
    assert base64.b64decode(players[0]["src"].split(",")[1])[:4] == b"fLaC"
    assert len(elements.of("img")) == CLIPS * ROWS + FIGURES
    assert all(picture["alt"] for picture in elements.of("img"))


def test_tables_have_scopes_captions_and_the_papers_values(page: Path, elements: Elements) -> None:
    text = page.read_text()
    assert all(cell["scope"] in ("row", "col") for cell in elements.of("th"))
    assert len(elements.of("caption")) == len(elements.of("table"))
    for words in ("97.3 [95.8, 99.0]", "paper: FAD (VGGish)", '<td class="paper">5.82</td>', "L1, L2, L7"):
        assert words in text


def test_a_value_links_to_its_run_card(page: Path, elements: Elements) -> None:
    anchors = {attributes["id"] for _, attributes in elements.found if attributes.get("id")}
    assert {link["href"].removeprefix("#") for link in elements.of("a")} <= anchors
    assert '<a href="#card-work-demo-metrics-base-seed0-wer-json-card">97.3 [95.8, 99.0]</a>' in page.read_text()


def test_text_from_files_is_escaped(page: Path) -> None:
    text = page.read_text()
    assert "pilot &lt;from&gt; Rio &amp; friends." in text
    assert "Sounds &lt;by&gt; A &amp; B" in text
    assert "<script>" not in text


def test_the_page_is_the_same_bytes_every_time(demo: Experiment, results: Path, page: Path, tmp_path: Path) -> None:
    write_page(demo, results, tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == page.read_bytes()


def test_the_page_is_light_says_its_data_and_fits_a_phone(demo: Experiment, page: Path, elements: Elements) -> None:
    assert page.stat().st_size < 8_000_000
    assert page.read_text().count(demo.reporting.data_note) == 2 + len(tables.NAMES)
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in elements.of("meta")
    assert elements.of("html") == [{"lang": "en"}]


def test_without_run_cards_the_page_says_so(demo: Experiment, results: Path, tmp_path: Path) -> None:
    shutil.copytree(results, tmp_path / "demo", ignore=shutil.ignore_patterns("*.card.json"))
    write_page(demo, tmp_path / "demo", tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "No run cards were kept" in text
    assert "#card-" not in text


def test_the_page_draws_the_graph_of_its_cards_and_lists_what_the_stages_do(
    demo: Experiment, results: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "demo"
    shutil.copytree(results, folder)
    for name, reads, writes in (("prepare", [], ["c"]), ("mel<1>", ["c"], ["d"])):
        text = json.dumps(card(name, reads, writes, does=f"What {name} does"))
        (folder / "cards" / f"{name[:3]}.card.json").write_text(text)
    write_page(demo, folder, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    drawn = base64.b64decode(re.search(r"data:image/svg\+xml;base64,([^\"]+)", text)[1]).decode()
    assert re.findall(r">([^<>]+)</text>", drawn).count("mel&lt;1&gt;") == 1 and "prepare" in drawn
    stages = re.findall(r"<li><strong>(.*?)</strong>(.*?)</li>", text)
    assert stages == [("prepare", "What prepare does"), ("mel&lt;1&gt;", "What mel&lt;1&gt; does"), ("wer", "wer")]


@pytest.mark.parametrize(
    "file", ["ATTRIBUTION.md", "tables/words.json", "tables/table3.csv", "figures/scores.png", "scores/listening/clips.csv"]
)
def test_a_missing_part_is_named(demo: Experiment, results: Path, tmp_path: Path, file: str) -> None:
    shutil.copytree(results, tmp_path / "demo")
    (tmp_path / "demo" / file).unlink()
    with pytest.raises(ArtifactError, match=f"{file} is missing"):
        write_page(demo, tmp_path / "demo", tmp_path / "page.html")


def test_a_missing_template_is_named(demo: Experiment, results: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"none\.j2: no such template: run from the root of the repository"):
        write_page(demo, results, tmp_path / "page.html", tmp_path / "none.j2")


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium")
def test_the_page_plays_in_a_browser_without_errors_or_requests(page: Path, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp", reason="speaks with the browser; DVC brings it")
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with subprocess.Popen([*command, "about:blank"], stderr=subprocess.PIPE, text=True) as browser:
        try:
            line = next(line for line in browser.stderr if line.startswith("DevTools listening on "))
            seen = asyncio.run(visit(line.split()[-1], page.as_uri()))
        finally:
            browser.kill()
    assert seen["requests"] == [page.as_uri()]
    assert seen["problems"] == []
    assert len(seen["durations"]) == CLIPS * PLAYED_ROWS
    assert min(seen["durations"]) == pytest.approx(1.0, abs=0.01)
    assert seen["wider_than_a_phone"] is False


SCRIPT = """(async () => {
    if (document.readyState !== "complete") await new Promise(done => addEventListener("load", done));
    const players = [...document.querySelectorAll("audio")];
    await Promise.all(players.map(player => player.readyState > 0 ? 0 : new Promise((done, fail) => {
        player.addEventListener("loadedmetadata", done); player.addEventListener("error", fail); })));
    const page = document.documentElement;
    return {durations: players.map(player => player.duration), wider_than_a_phone: page.scrollWidth > page.clientWidth};
})()"""


async def visit(browser: str, address: str) -> dict[str, Any]:
    """Open a page through the DevTools protocol: what it requested, complained of, and how long its players play."""
    import aiohttp

    requests: list[str] = []
    problems: list[Any] = []
    base = browser.replace("ws://", "http://").split("/devtools")[0]
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{base}/json/list") as answer:
            target = next(tab for tab in await answer.json() if tab["type"] == "page")
        async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:

            async def call(number: int, method: str, **params: Any) -> Any:
                await socket.send_json({"id": number, "method": method, "params": params})
                async for message in socket:
                    data = json.loads(message.data)
                    if data.get("id") == number:
                        return data["result"]
                    if data["method"] == "Network.requestWillBeSent":
                        requests.append(data["params"]["request"]["url"])
                    if data["method"] in ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
                        problems.append(data["params"])
                raise ConnectionError("the browser closed the connection")

            for number, domain in enumerate(("Network", "Log", "Runtime", "Page")):
                await call(number, f"{domain}.enable")
            await call(4, "Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True)
            await call(5, "Page.navigate", url=address)
            found = await call(6, "Runtime.evaluate", expression=SCRIPT, awaitPromise=True, returnByValue=True)
    outside = [url for url in requests if not url.startswith("data:")]
    return {"requests": outside, "problems": problems, **found["result"]["value"]}


def test_the_page_gives_its_answer_before_anything_else(page: Path) -> None:
    text = page.read_text()
    assert text.index('id="question"') < text.index('id="answer"') < text.index('id="reading"')
    assert "points of WER" in text[text.index('id="answer"') : text.index('id="reading"')]
