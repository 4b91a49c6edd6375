"""Pages of the site that are kept elsewhere: README, notebooks, results; and the links between pages."""

from __future__ import annotations

import base64
import json
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
SOURCE = "https://github.com/gtzan-keras/gtzan-keras/blob/main/"

COPIED = {
    "README.md": "index.md",
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "reports/README.md": "leaderboard.md",
    "reports/ladder.svg": "assets/ladder.svg",
}
"""Files of the repository that are part of the site, and their names there; notebooks join them."""
COPIED |= {f"notebooks/{path.name}": f"tutorials/{path.stem}.md" for path in ROOT.glob("notebooks/*.ipynb")}
ORIGINS = {name: origin for origin, name in COPIED.items()}

LINK = re.compile(r"(?<=\]\()[^)\s]+(?=[)\s])")
TABLE = r"<style.*?</style>| border=\"1\"| class=\"dataframe\"| style=\"text-align: right;\"|\n\s*"
MARKS = re.compile(r"\] \[(?=\d)")  # "[4] [5]" in the leaderboard is no link
MATH = re.compile(r"(\$\$?)(?! )([^$`]+?)(?<! )\1")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the copies, and each notebook as a page with its figures next to it."""
    for origin, name in COPIED.items():
        path = ROOT / origin
        if path.suffix != ".ipynb":
            files.append(File.generated(config, name, content=path.read_bytes()))
            continue
        text, figures = notebook(path)
        files.append(File.generated(config, name, content=text))
        for figure, content in figures.items():
            files.append(File.generated(config, f"tutorials/{figure}", content=content))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Let relative links, which are right in the repository, lead to the pages of the site."""
    name = page.file.src_uri
    folder = posixpath.dirname(ORIGINS.get(name, f"docs/{name}"))

    def moved(match: re.Match[str]) -> str:
        target, hash_, anchor = match[0].partition("#")
        if target.startswith(SOURCE):
            path = target.removeprefix(SOURCE)
        elif not target or ":" in target:
            return match[0]
        else:
            path = posixpath.normpath(posixpath.join(folder, target))
        inside = {**COPIED, "notebooks": "tutorials/index.md"}.get(path) or (
            path.removeprefix("docs/") if path.startswith("docs/") else None
        )
        if inside:
            return posixpath.relpath(inside, posixpath.dirname(name) or ".") + hash_ + anchor
        return SOURCE + path + hash_ + anchor if (ROOT / path).exists() else match[0]

    return MARKS.sub(r"] \[", LINK.sub(moved, markdown))


def notebook(path: Path) -> tuple[str, dict[str, bytes]]:
    """Return a notebook, with the outputs that it has, as Markdown, and its figures."""
    parts: list[str] = []
    figures: dict[str, bytes] = {}
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        source = "".join(cell["source"]).strip()
        if cell["cell_type"] == "markdown":
            parts.append(MATH.sub(formula, source))
        elif source:
            parts.append(f"```python\n{source}\n```")
            parts += outputs(cell, path.stem, figures)
    return "\n\n".join(parts) + "\n", figures


def outputs(cell: dict[str, Any], stem: str, figures: dict[str, bytes]) -> Iterator[str]:
    """Yield a cell's outputs as Markdown, and add its figures."""
    for output in cell["outputs"]:
        data = output.get("data", {"text/plain": output.get("text", "")})
        if "image/png" in data:
            name = f"{stem}_{len(figures) + 1}.png"
            figures[name] = base64.b64decode("".join(data["image/png"]))
            yield f"![Output of the cell above]({name})"
        elif "text/html" in data:
            html = re.sub(TABLE, "", "".join(data["text/html"]), flags=re.DOTALL)
            yield f'<div class="output">{html}</div>'
        else:
            text = "".join(data["text/plain"]).rstrip()
            yield f"```{{ .text .output .no-copy }}\n{text}\n```"


def formula(match: re.Match[str]) -> str:
    """Return a formula as MathML, which browsers draw without a script."""
    display = "block" if match[1] == "$$" else "inline"
    return convert(match[2], display=display)
