"""`jaxal report` and `jaxal compare`: the page, its files, what it warns of; and the page in a browser."""

import re
import xml.dom.minidom

import chromium
import numpy as np
import pandas as pd
import pytest
import synthetic
from commands import call, refused

from jaxal.reporting.provenance import command, provenance, warnings
from jaxal.reporting.study import Study
from jaxal.reporting.tables import Table

FIGURES = ["differences", "curves-random", "curves-typiclust", "gains", "win-rates", "top-by-cycle", "top-by-task",
           "critical-difference", "profile", "seeds", "pool-winners", "pool-curves", "sensitivity",
           "ips-typiclust-minus-random-by-cycle", "ips-typiclust-minus-random-by-task"]  # fmt: skip
TABLES = ["best", "gains", "settings", "thirds", "skewed", "labels-saved", "speed-up", "win-rates-random",
          "win-rates-typiclust", "top-by-cycle", "top-by-dataset", "top-by-model", "win-tie-loss", "seeds", "worse",
          "first", "pool-winners", "pools", "sensitivity", "seconds", "provenance"]  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A study with all that the report can show, its report, and what the command printed."""
    root = tmp_path_factory.mktemp("study")
    synthetic.write_study(root, datasets=["trec6", "<b>&</b>"], models=["minilm"],
                          strategies=["random", "margin", "coreset"], seeds=6, cycles=4)  # fmt: skip
    synthetic.write_pools(root / "ips", sizes=(20, 200))
    for path in root.glob("trec6/minilm-*/results.parquet"):  # a skewed task
        table = pd.read_parquet(path)
        table.assign(balanced_accuracy=table["balanced_accuracy"] - 0.2).to_parquet(path)
    return root, call("report", root, "--to", root / "out")


@pytest.fixture(scope="module")
def page(written):
    return (written[0] / "out" / "report.html").read_text()


def test_every_figure_and_every_table_is_a_file(written):
    root, done = written
    assert done.exit_code == 0
    assert done.stdout == f"report   {root / 'out' / 'report.html'}\n"
    found = {path.name for path in (root / "out" / "figures").iterdir()}
    assert found == {f"{name}.{kind}" for name in FIGURES for kind in ("png", "svg")}
    found = {path.name for path in (root / "out" / "tables").iterdir()}
    assert found == {f"{name}.{kind}" for name in TABLES for kind in ("csv", "tex")}
    for name in FIGURES:
        assert (root / "out" / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        xml.dom.minidom.parse(str(root / "out" / "figures" / f"{name}.svg"))
    for name in TABLES:
        table = pd.read_csv(root / "out" / "tables" / f"{name}.csv")
        text = (root / "out" / "tables" / f"{name}.tex").read_text()
        assert text.count(r"\\") == len(table) + 1
        assert text.isascii(), "LaTeX's own fonts lack other signs"


def test_the_page_stands_alone(page):
    assert not re.search(r"""(?:src|href)=["'](?!#|data:,)""", page)
    assert "@import" not in page
    assert "url(" not in re.sub(r"url\(#", "", page)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(ids)
    assert "<b>&</b>" not in page, "names are text"
    assert page.count("<svg") == page.count("</svg>") == page.count('role="img" aria-label="')


def test_every_caption_says_n(page):
    for name in FIGURES:
        article = re.search(rf'<article id="figure-{name}">.*?</article>', page, re.DOTALL)
        caption = re.search(r'class="caption">(.*?)</p>', article[0], re.DOTALL)[1]
        assert re.search(r"\bn = \d|\d+ settings|n in brackets|the settings", caption), caption


def test_the_page_opens_with_the_answer(page, written):
    text = page[page.index("<h2") : page.index("Warnings</h2>")]
    table = pd.read_csv(written[0] / "out" / "tables" / "gains.csv")
    first = table.iloc[0]
    assert first["strategy"] == "margin"
    assert f"margin gains most over random: {first['gain']:+.2f} points of AULC [{first['gain_low']:.2f}, " in text
    assert "worse than random: coreset" in text
    assert "ips random, variant official, C 1.0" in text


def test_a_table_shows_what_its_csv_has(page, written):
    """Numbers of the page, against the CSV; the CSV is compared with results.parquet in test_report_numbers."""
    for name in ("settings", "labels-saved", "win-tie-loss"):
        article = re.search(rf'<article id="table-{name}">.*?</article>', page, re.DOTALL)[0]
        cells = re.findall(r"<td[^>]*>(.*?)</td>", article)
        table = pd.read_csv(written[0] / "out" / "tables" / f"{name}.csv")
        column = {"settings": "aulc", "labels-saved": "target", "win-tie-loss": "mean"}[name]
        shown = [c for c in table if not str(c).endswith(("_low", "_high"))]
        texts = cells[shown.index(column) :: len(shown)]
        assert [float(t.split(" ")[0].replace("−", "-")) for t in texts] == table[column].round(2).tolist()


def test_what_is_never_reached_is_shown():
    frame = pd.DataFrame(
        {
            "saved": [12.4, -np.inf, np.nan],
            "saved_low": [-np.inf, -np.inf, np.nan],
            "saved_high": [20.0, 3.0, np.nan],
            "p": [0.0301, 0.0004, np.nan],
            "a_b": ["x", "y_z", "%"],
        }
    )
    table = Table("t", "T", "of 5 %", frame, {"saved": 0})
    assert [cell.text for row in table.rows for cell in row] == [
        "12 [−∞, 20]", ".030", "x", "never [−∞, 3]", "< .001", "y_z", "–", "–", "%",
    ]  # fmt: skip
    assert r"y\_z" in table.latex()
    assert r"of 5 \%" in table.latex()
    assert table.csv().splitlines()[2].startswith("-inf,-inf,3.0,0.0004")


def test_a_folder_of_initial_pools_alone(tmp_path):
    synthetic.write_pools(tmp_path / "deep" / "pools", sizes=(20,))
    assert call("report", tmp_path).exit_code == 0
    page = (tmp_path / "report" / "report.html").read_text()
    assert re.findall(r'<h2 id="([^"]+)"', page) == ["warnings", "initial-pools", "provenance"]


def test_one_run_with_one_strategy_and_one_seed(tmp_path):
    synthetic.write_run(tmp_path, np.random.default_rng(0), "trec6", "minilm", ["margin"], seeds=[7], cycles=1)
    done = call("report", tmp_path)
    assert done.exit_code == 0
    assert [line.split()[0] for line in done.stdout.splitlines() if line] == ["strategy", "margin", "figure", "report"]
    assert "<h2" in (tmp_path / "report" / "report.html").read_text()


def test_warnings(tmp_path):
    rng, names = np.random.default_rng(0), ["random", "margin"]
    synthetic.write_run(tmp_path / "a", rng, "banking77", "nv-embed-v2", names, pool_size=5000)
    synthetic.write_run(tmp_path / "b", rng, "sst2", "minilm", names[:1], seeds=range(12), device="cuda:0")
    synthetic.write_run(tmp_path / "c", rng, "mine", "minilm", names, seeds=range(12))
    table = pd.read_parquet(tmp_path / "c" / "results.parquet")
    table.assign(converged=table["cycle"] != 0).to_parquet(tmp_path / "c" / "results.parquet")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "results.parquet").write_bytes(b"PAR1")
    told = warnings(Study(tmp_path), {})
    expected = ["d/results.parquet cannot be read", "banking77, nv-embed-v2: the pool is capped to 5,000 rows",
                "banking77, nv-embed-v2: the model was trained on texts of this task",
                "sst2, minilm: 5,452 of the task's 67,349 rows are in the pool", "24 of 322 fits did not converge",
                "2 of 5 curves have fewer than 10 seeds (5 at least)", "1 of 6 (dataset, model, strategy) were not run",
                "computed with 2 devices"]  # fmt: skip
    assert len(told) == len(expected)
    for line, part in zip(told, expected, strict=True):
        assert part in line
    synthetic.write_run(tmp_path / "e" / "x", rng, "mine", "minilm", names, seeds=range(10))
    assert warnings(Study(tmp_path / "e"), {}) == []


def test_models_of_a_dataset_share_a_warning(tmp_path):
    rng = np.random.default_rng(0)
    for dataset, model, size in (("a", "x", 50), ("a", "y", 50), ("a", "z", 60), ("b", "x", 50)):
        folder = tmp_path / f"{dataset}{model}"
        synthetic.write_run(folder, rng, dataset, model, ["random"], pool_size=size, seeds=range(10))
    assert warnings(Study(tmp_path), {}) == [
        "a, x, y: the pool is capped to 50 rows", "a, z: the pool is capped to 60 rows",
        "b, x: the pool is capped to 50 rows",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("peak", "told"),
    [({"process": 1.5, "device": None}, "process 1.5"), ({"process": 2, "device": 3}, "process 2, device 3"),
     (None, "?"), ({}, "?"), ([1.5], "?"), ("much", "?")],
)  # fmt: skip
def test_peak_memory_of_a_folder(tmp_path, peak, told):
    """Of an earlier version, or edited by hand: it is not known then."""
    synthetic.write_run(tmp_path, np.random.default_rng(0), "mine", "minilm", ["random"], peak_memory_gb=peak)
    assert provenance(Study(tmp_path))["peak GB"].tolist() == [told]


def test_the_command_of_a_folder_makes_it_again(tmp_path, monkeypatch):
    """What the provenance names is given to `jaxal run`, which must ask for the very settings of config.json."""
    import shlex

    from jaxal.cli.group import group

    config = {"dataset": "mine", "model": "minilm", "ips": "typiclust", "cycles": 3, "batch_size": 7, "initial_size": 9,
              "variant": "official", "C": 2.0, "normalize": True, "pool_size": 500, "warm_start": False, "seeds": [4],
              "settings": {"random": {}, "dropquery": {"n_masks": 20}}}  # fmt: skip
    words = shlex.split(command(config))
    assert words[:2] == ["jaxal", "run"]
    given = group.commands["run"].make_context("run", words[2:]).params
    for name in (
        "dataset",
        "model",
        "ips",
        "cycles",
        "batch_size",
        "initial_size",
        "C",
        "normalize",
        "pool_size",
        "warm_start",
        "seeds",
    ):
        assert given[name] == config[name]
    assert given["strategies"] == ["random", "dropquery"]
    assert [tuple(option) for option in given["set_"]] == [("dropquery", "n_masks", 20)]
    assert command({}) == ""


def test_compare(written, tmp_path):
    root, _ = written
    done = call("compare", root, "--a", "margin", "--b", "coreset")
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["margin", "AULC", "final", "labels", "how"]
    raw = pd.concat(map(pd.read_parquet, root.rglob("*-random-official/results.parquet")))
    wide = 100 * raw.groupby(["dataset", "model", "seed", "strategy"])["accuracy"].mean().unstack()
    gain = (wide["margin"] - wide["coreset"]).groupby(["dataset", "model"]).mean()
    assert f"AULC      {gain.mean():+.2f} [" in done.stdout
    assert "margin wins 2, ties 0 (within 0.1), loses 0" in done.stdout
    assert "Wilcoxon's p 0.5 over 2 settings, effect size +1.00" in done.stdout
    back = call("compare", root, "--a", "coreset", "--b", "margin").stdout
    assert f"AULC      {-gain.mean():+.2f} [" in back
    assert "did you mean margin?" in refused("compare", root, "--a", "margn", "--b", "coreset")
    assert "--a and --b are both margin" in refused("compare", root, "--a", "margin", "--b", "margin")
    assert "no results.parquet" in refused("compare", tmp_path, "--a", "margin", "--b", "random")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if chromium.find() is None:
        pytest.skip("Chromium is not installed: the page is not opened in a browser")
    browser = chromium.Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


DARK, LIGHT = "rgb(22, 24, 28)", "rgb(255, 255, 255)"
SMALLEST_TEXT = """
Math.min(...[...document.querySelectorAll("svg text")].map(t => {
  const scale = t.ownerSVGElement.getBoundingClientRect().width / t.ownerSVGElement.viewBox.baseVal.width;
  return parseFloat(getComputedStyle(t).fontSize) * scale; }))
"""
OUTSIDE = """
[...document.querySelectorAll("article svg")].filter(s => {
  const box = s.getBoundingClientRect();
  return box.width < 250 || box.height < 150 || box.left < 0 || box.right > innerWidth; }).length
"""


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_in_a_browser(browser, written, width, scheme):
    """Every figure is there and legible, nothing is asked of a network, nothing complains."""
    path = written[0] / "out" / "report.html"
    browser.open(path, width, scheme)
    browser.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    assert browser.evaluate("innerWidth") == width
    assert browser.evaluate("document.documentElement.scrollWidth") <= width, "the page scrolls sideways"
    shown = "[...document.querySelectorAll('article')].filter(a => a.querySelector('svg')).map(a => a.id)"
    assert sorted(browser.evaluate(shown)) == sorted(f"figure-{name}" for name in FIGURES)
    assert browser.evaluate(OUTSIDE) == 0
    assert browser.evaluate(SMALLEST_TEXT) >= 8, "pixels of the smallest letters of a figure"
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == {"dark": DARK, "light": LIGHT}[scheme]
    ink = browser.evaluate("getComputedStyle(document.querySelector('svg text')).fill")
    assert (sum(map(int, re.findall(r"\d+", ink)[:3])) > 380) == (scheme == "dark"), "letters that the page hides"
    asked = [e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"]
    assert asked[0].startswith("file://")
    assert all(url.startswith("data:,") for url in asked[1:]), asked
    complaints = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")
    assert [event for event in browser.events if event["method"] in complaints] == []


def test_tables_are_sorted_by_a_click(browser, written):
    browser.open(written[0] / "out" / "report.html", 1280, "light")
    column = "[...document.querySelectorAll('#table-labels-saved tbody tr')].map(r => r.cells[7].dataset.key)"
    click = "document.querySelectorAll('#table-labels-saved th button')[7].click()"
    before = [float(key) for key in browser.evaluate(column)]
    assert -np.inf in before
    browser.evaluate(click)
    assert [float(key) for key in browser.evaluate(column)] == sorted(before, reverse=True)
    browser.evaluate(click)
    assert [float(key) for key in browser.evaluate(column)] == sorted(before)
    assert browser.evaluate("document.querySelectorAll('#table-labels-saved th')[7].ariaSort") == "ascending"
    browser.evaluate("document.querySelectorAll('#table-labels-saved th button')[2].click()")
    names = browser.evaluate(
        "[...document.querySelectorAll('#table-labels-saved tbody tr')].map(r => r.cells[2].textContent)"
    )
    assert names == sorted(names)
