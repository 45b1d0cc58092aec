"""The page as a reader's browser gets it, taken apart by a parser."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib
import pytest

from prunecert.report import write_report

RESULTS = Path(__file__).with_name("results.json")

VOID = {"meta", "br", "link", "img", "input", "hr"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    children: list["Element | str"] = field(default_factory=list)

    def all(self, tag: str) -> list["Element"]:
        below = [child for child in self.children if isinstance(child, Element)]
        here = [self] if self.tag == tag else []
        return here + [found for child in below for found in child.all(tag)]

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    @property
    def classes(self) -> list[str]:
        return self.attributes.get("class", "").split()


class Parser(HTMLParser):
    """A tree; fails on a tag that is closed twice, in the wrong order or never."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.root = Element("root", {})
        self.open = [self.root]
        self.feed(page)
        assert self.open == [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def render(tmp_path: Path, *runs: dict[str, Any]) -> str:
    paths = []
    for index, run in enumerate(runs):
        paths.append(tmp_path / f"run-{index}" / "results.json")
        paths[-1].parent.mkdir(exist_ok=True)
        paths[-1].write_text(json.dumps(run))
    return write_report(paths, tmp_path / "report.html").read_text()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report([RESULTS], tmp_path_factory.mktemp("page") / "report.html").read_text()


@pytest.fixture(scope="module")
def tree(page: str) -> Element:
    return Parser(page).root


def table(tree: Element, name: str) -> Element:
    return next(
        region.all("table")[0]
        for region in tree.all("div")
        if region.attributes.get("aria-label") == name
    )


def cells(found: Element) -> list[list[Element]]:
    return [row.all("td") for row in found.all("tr")[1:]]


def heads(found: Element) -> list[str]:
    return [head.text for head in found.all("th")]


def leaves(value: Any) -> list[Any]:
    """Every key and single value of a JSON document."""
    if isinstance(value, dict):
        return [*value, *(leaf for item in value.values() for leaf in leaves(item))]
    if isinstance(value, list):
        return [leaf for item in value for leaf in leaves(item)]
    return [value]


def read(words: str) -> tuple[Fraction, Fraction]:
    """(the number a cell shows, one unit of its last digit)."""
    words = words.translate(str.maketrans("−⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "-0123456789-")).replace(",", "")
    digits, percent, power = re.fullmatch(r"(-?[\d.]+)(?:( %)| × 10(-?\d+))?", words).groups()
    scale = Fraction(1, 100) if percent else Fraction(10) ** int(power or 0)
    return Fraction(digits) * scale, scale / 10 ** len(digits.partition(".")[2])


# --------------------------------------------------------------------------- self-contained


def test_nothing_runs_and_nothing_is_fetched(page: str, tree: Element) -> None:
    for tag in ("script", "link", "img", "iframe", "object", "embed", "form"):
        assert tree.all(tag) == []
    for words in ("http:", "https:", "@import"):
        assert words not in page
    assert "url(" not in tree.all("style")[0].text
    everything = [tree]
    while everything:
        element = everything.pop()
        everything += [child for child in element.children if isinstance(child, Element)]
        for name, value in element.attributes.items():
            assert not name.startswith("on") and name not in ("src", "srcset", "background")
            if name in ("href", "xlink:href"):
                assert value.startswith("#")
    policy = next(m for m in tree.all("meta") if m.attributes.get("http-equiv"))
    assert policy.attributes["content"].startswith("default-src 'none';")


def test_same_files_same_bytes(page: str, tmp_path: Path) -> None:
    with matplotlib.rc_context({"font.size": 30, "axes.grid": True, "svg.fonttype": "path"}):
        assert write_report([RESULTS], tmp_path / "again.html").read_text() == page
    code = "import sys; from prunecert.report import write_report; "
    code += "write_report([sys.argv[1]], sys.argv[2])"
    other = tmp_path / "other.html"
    subprocess.run(
        [sys.executable, "-c", code, str(RESULTS), str(other)],
        env={**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"},
        check=True,
    )
    assert other.read_text() == page


def test_ids_are_unique_and_references_resolve(tmp_path: Path, results: dict[str, Any]) -> None:
    tree = Parser(render(tmp_path, results, results)).root
    elements, ids, references = [tree], [], []
    while elements:
        element = elements.pop()
        elements += [child for child in element.children if isinstance(child, Element)]
        ids += [element.attributes["id"]] if "id" in element.attributes else []
        for name in ("href", "xlink:href"):
            references += [element.attributes[name][1:]] if name in element.attributes else []
        references += re.findall(r"url\(#([^)]*)\)", element.attributes.get("clip-path", ""))
    assert len(ids) == len(set(ids))
    assert set(references) <= set(ids) and {"run-1", "run-2"} <= set(references)


def test_every_colour_is_defined_in_light_and_in_dark(page: str) -> None:
    style, body = page.split("</style>", 1)
    light, dark = style.split("prefers-color-scheme: dark")
    used = set(re.findall(r"var\((--[a-z0-9-]+)\)", body))
    assert {"--series-0", "--series-3", "--ink", "--rule", "--strip", "--page"} <= used
    for name in used | set(re.findall(r"(--[a-z0-9-]+):", light)) - {"--hue"}:
        assert re.search(rf"{name}: #[0-9a-f]{{6}}", light), name
        assert re.search(rf"{name}: #[0-9a-f]{{6}}", dark), name
    assert re.findall(r"#[0-9a-f]{6}\b", re.sub(r'(href="|id="|url\()#?\w+', "", body)) == []


# --------------------------------------------------------------------------- numbers


def test_every_number_in_a_table_is_in_results_json(tree: Element, results: dict[str, Any]) -> None:
    known = leaves(results)
    numbers = {float(leaf) for leaf in known if isinstance(leaf, (int, float))}
    texts = [leaf for leaf in known if isinstance(leaf, str)]
    seen = 0
    for cell in [cell for found in tree.all("table") for row in cells(found) for cell in row]:
        for data in cell.all("data"):
            value = Fraction(data.attributes["value"])
            shown, unit = read(data.text)
            assert float(value) in numbers
            assert abs(shown - value) < unit
            seen += 1
        loose = [child for child in cell.children if isinstance(child, str)]
        loose += [code.attributes["title"] for code in cell.all("code")]
        for words in loose:
            for part in words.strip(" ,").replace("\N{NO-BREAK SPACE}", " ").split(", "):
                key = part.strip().replace(" ", "_")
                assert not re.search(r"\d", part) or any(part in t or key in t for t in texts)
    assert seen > 150


def test_all_data_of_a_figure_are_among_its_numbers(tree: Element, results: dict[str, Any]) -> None:
    for found in results["figures"].values():
        numbers = table(tree, f"{found['title']}: {found['y']['label']}")
        columns = {head: index for index, head in enumerate(heads(numbers))}
        is_risk = any(s.get("kind", "measured") != "measured" for s in found["series"])
        for series in found["series"]:
            column = columns[series["name"] + (f" {series['kind']}" if is_risk else "")]
            shown = [
                (row[0].all("data")[0].attributes["value"] if row[0].all("data") else row[0].text,
                 row[column].all("data")[0].attributes["value"])
                for row in cells(numbers)
                if row[column].children
            ]  # fmt: skip
            assert [float(value) for _, value in shown] == series["y"]
            assert [x for x, _ in shown] == [str(x) for x in series["x"]]
            if series.get("kind") in ("certified", "conditional"):
                words = [row[column].text for row in cells(numbers) if row[column].children]
                assert all(read(w)[0] >= Fraction(repr(y)) for w, y in zip(words, series["y"]))


def test_proven_bounds_are_shown_no_smaller_than_they_are(
    tree: Element, results: dict[str, Any]
) -> None:
    rows = cells(table(tree, "Statements about new data"))
    proven = [b for b in results["bounds"] if b["kind"] in ("certified", "conditional")]
    assert len(rows) == len(proven) == 13
    for row, bound in zip(rows, proven):
        value = Fraction(repr(bound["value"]))
        shown, unit = read(row[2].text)
        assert value <= shown < value + unit
        assert [cell.text for cell in row[:2]] == [bound["network"], bound["name"]]
        labels = [label.text for label in row[3].all("span")]
        assert labels == [bound["kind"]] + (["vacuous"] if bound["value"] >= 1 else [])
        assert row[3].all("span")[0].classes == ["kind", bound["kind"]]


def test_order_only_values_stand_in_a_table_of_their_own(tree: Element) -> None:
    name = "Capacity measures (rank networks, bound nothing)"
    measures = cells(table(tree, name))
    assert name in [head.text for head in tree.all("h2")]
    assert [row[1].text for row in measures] == [
        "mbp-sketch-as-published",
        "spectral-product",
        "path-norm",
    ]
    assert {row[3].text for row in measures} == {"order-only"}
    assert [row[2].text for row in measures] == ["184.3", "8,621", "1.244 × 10⁶"]
    assert "order-only" not in table(tree, "Statements about new data").text


def test_a_statement_that_does_not_apply_says_why(tree: Element, results: dict[str, Any]) -> None:
    [row] = cells(table(tree, "Statements that do not apply"))
    reason = results["bounds"][-1]["details"]["reason"]
    assert [cell.text for cell in row[1:]] == ["n-to-m-sketch", "not applicable", reason]


def test_units_other_than_fractions(tmp_path: Path) -> None:
    row = {"network": "w", "name": "x", "kind": "certified", "value": 3.00001, "unit": "bits"}
    tree = Parser(render(tmp_path, {"bounds": [row]})).root
    [[_, _, value, kind]] = cells(table(tree, "Statements about new data"))
    assert value.text == "3.001 bits" and kind.text == "certified"


STEPS = "Steps of the argument (nothing about new data)"


def step(name: str, kind: str, value: float | None, unit: str, **more: Any) -> dict[str, Any]:
    return {"network": "w", "name": name, "kind": kind, "value": value, "unit": unit, **more}


def test_a_norm_is_no_risk_and_never_vacuous(tmp_path: Path) -> None:
    reason = {"details": {"reason": "too large"}}
    bounds = [
        step("a", "certified", 5.00001, "norm", layer="fc1", measured=4.0, delta=0.05),
        step("b", "conditional", 0.5, "share of weights", layer="fc1"),
        step("c", "order-only", 2351.0, "weights", layer="fc2"),
        step("d", "certified", 1.0, "length", sample="train[0:9]"),
        step("e", "not-applicable", None, "rows", layer="fc2", **reason),
        step("risk", "certified", 1.5, "fraction"),
    ]
    tree = Parser(render(tmp_path, {"bounds": bounds})).root
    found = table(tree, STEPS)
    given = ["layer", "step", "says", "measured", "unit", "kind", "sample", "δ"]
    assert heads(found) == given
    two = {"bounds": [*bounds, step("a", "certified", 2.0, "norm") | {"network": "v"}]}
    assert heads(table(Parser(render(tmp_path, two)).root, STEPS)) == ["network", *given]
    assert [[cell.text for cell in row] for row in cells(found)] == [
        ["fc1", "a", "5.001", "4", "norm", "certified", "", "0.05"],
        ["fc1", "b", "0.5", "", "share of weights", "conditional", "", ""],
        ["fc2", "c", "2,351", "", "weights", "order-only", "", ""],
        ["", "d", "1", "", "length", "certified", "train[0:9]", ""],
    ]
    [risk] = cells(table(tree, "Statements about new data"))
    assert [cell.text for cell in risk] == ["w", "risk", "1.5", "certified vacuous"]
    [refusal] = cells(table(tree, "Statements that do not apply"))
    assert [cell.text for cell in refusal] == ["w", "fc2", "e", "not applicable", "too large"]
    assert "Capacity measures" not in "".join(head.text for head in tree.all("h2"))


def test_a_figure_of_norms_names_the_kinds_but_writes_no_percentages(tmp_path: Path) -> None:
    series = [
        {"name": "s", "kind": kind, "x": ["p"], "y": [y]}
        for kind, y in (("certified", 0.50001), ("order-only", 3.0), ("measured", 0.25))
    ]
    axes = {"x": {"label": "layer"}, "y": {"label": "norm", "risk": False}}
    run = {"figures": {"f": {"title": "T", **axes, "series": series}}}
    found = table(Parser(render(tmp_path, run)).root, "T: norm")
    assert heads(found) == ["layer", "s certified", "s order-only", "s measured"]
    assert [cell.text for cell in cells(found)[0]] == ["p", "0.5001", "3", "0.25"]


def test_a_diagnostic_of_a_layer_names_it(tmp_path: Path) -> None:
    row = {"network": "w", "layer": "fc1", "name": "kurtosis", "value": -1.2}
    found = table(Parser(render(tmp_path, {"diagnostics": [row]})).root, "Diagnostics")
    assert heads(found) == ["network", "layer", "measured", "value"]
    assert [cell.text for cell in cells(found)[0]] == ["w", "fc1", "kurtosis", "−1.2"]


def test_further_facts_about_a_network_are_further_columns(tree: Element) -> None:
    networks = table(tree, "Networks")
    given = ["network", "method", "sparsity", "parameters", "nonzeros"]
    assert heads(networks) == [*given, "code bits", "test errors", "sha256"]
    first = [cell.text for cell in cells(networks)[0]]
    assert first[:7] == ["magnitude-0.9000", "magnitude", "90.00 %", "4,810", "481", "4,533", "13"]


# --------------------------------------------------------------------------- words


def test_figures_have_words_for_those_who_cannot_see_them(
    tree: Element, results: dict[str, Any]
) -> None:
    plots = [svg for svg in tree.all("svg") if "plot" in svg.classes]
    assert [svg.classes[1] for svg in plots] == ["wide", "narrow"] * 3
    for svg, found in zip(plots[::2], results["figures"].values()):
        assert svg.attributes["role"] == "img"
        assert svg.attributes["aria-label"].startswith(f"{found['title']}: {found['y']['label']}")
        assert all(series["name"] in svg.attributes["aria-label"] for series in found["series"])
    assert [caption.text for caption in tree.all("figcaption")] == [
        found["title"] for found in results["figures"].values()
    ]


def test_sentences_and_commands_are_given_word_for_word(
    tree: Element, results: dict[str, Any]
) -> None:
    paragraphs = [paragraph.text for paragraph in tree.all("p")]
    assert set(results["summary"]) <= set(paragraphs)
    assert [block.text for block in tree.all("pre")] == [c["command"] for c in results["commands"]]
    assert {c["what"] for c in results["commands"]} <= set(paragraphs)


def test_names_are_text_never_markup(tmp_path: Path) -> None:
    nasty = '<script>alert("1")</script> & $x_1$ {{ 7 * 7 }}'
    series = {"name": nasty, "kind": "certified", "style": "bars", "x": [nasty], "y": [0.5]}
    axis = {"label": nasty}
    tree = Parser(
        render(
            tmp_path,
            {
                "title": nasty,
                "summary": [nasty],
                "networks": [{"name": nasty, nasty: nasty, "sha256": nasty}],
                "bounds": [{"network": nasty, "name": nasty, "kind": "certified", "value": 0.5,
                            "unit": nasty, "sample": nasty, "details": {nasty: nasty}}],
                "figures": {
                    nasty: {"title": nasty, "x": axis, "y": axis, "series": [series]},
                    "curve": {"title": nasty, "x": axis, "y": axis, "note": nasty,
                              "series": [{**series, "x": [1], "style": "line"}]},
                },
            },
        )
    ).root  # fmt: skip
    assert tree.all("script") == []
    assert tree.all("title")[0].text == tree.all("h1")[0].text == nasty
    assert nasty in [text.text for text in tree.all("text")]
    assert nasty in [cell.text for cell in tree.all("td")]
    assert "49" not in tree.all("main")[0].text


def test_several_runs_share_a_page(tmp_path: Path, results: dict[str, Any]) -> None:
    tree = Parser(render(tmp_path, results, {"title": "bare"}, {})).root
    titles = [results["title"], "bare", "run-2"]
    assert [head.text for head in tree.all("h1")] == titles
    assert [link.text for link in tree.all("nav")[0].all("a")] == titles
    assert tree.all("title")[0].text == "prunecert report"
