"""What a browser makes of a page."""

from __future__ import annotations

from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path

VOID = {"br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}
"""Tags that nothing closes."""


class Reader(HTMLParser):
    """A page's text, its tags, the rows of its tables, where it leads and what it loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.rows: list[list[str]] = []
        self.pieces: list[str] = []
        self.open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.rows = [[" ".join(cell.split()) for cell in row] for row in self.rows]
        self.text = " ".join(" ".join(self.pieces).split())

    @cached_property
    def ids(self) -> set[str]:
        return {attrs[name] for _, attrs in self.tags for name in ("id", "name") if name in attrs}

    @cached_property
    def links(self) -> list[str]:
        return [attrs["href"] for tag, attrs in self.tags if tag == "a" and "href" in attrs]

    @cached_property
    def loaded(self) -> list[str]:
        """What is not in the page itself."""
        own = [attrs for tag, attrs in self.tags if tag != "a"]
        own = [attrs for attrs in own if attrs.get("rel") not in ("canonical", "next", "prev")]
        found = [attrs[name] for attrs in own for name in ("src", "href", "xlink:href") if name in attrs]
        return [address for address in found if not address.startswith(("data:", "#"))]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.pieces.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data
