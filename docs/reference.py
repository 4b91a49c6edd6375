"""The reference: a page of the command line, and names that lead from any page to their place in it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

STUB = Path(__file__).resolve().parent.parent / "gtzan_keras/__init__.pyi"
PUBLIC = set(re.findall(r" as (\w+)", STUB.read_text("utf-8")))

CODE = re.compile(r"(?<!\">)(?<!<b>)<code>(gk\.|gtzan_keras\.)?([A-Za-z][\w.]*)</code>(?!</a>)")
REWRITTEN = (
    # griffe gives every parameter of "height, width : int" the first one's default; the signature is right.
    (re.compile(r",\s+default:\s+<code>.*?</code>\s*(?=\))", re.DOTALL), ""),
    # "int > 0 [Hz]" is read as an index
    (re.compile(r"(&gt;=? \d)\["), r"\1 ["),
    # a type without a description
    (re.compile(r"\u2013\s*<div class=\"doc-md-description\">\s*</div>"), ""),
    # "See Also": name : what it is
    (re.compile(r"<p>([\w.]+) : "), r"<p><code>\1</code>: "),
    (re.compile(r"\n([\w.]+) : "), r"<br><code>\1</code>: "),
    # references in reStructuredText
    (re.compile(r"<p>\.\. (\[\d\])"), r"<p>\1"),
    (re.compile(r"\s\.\. (\[\d\])"), r"<br>\1"),
    (re.compile(r"(\[\d\])_"), r"\1"),
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page of the command line, as Typer describes it."""
    command = ["typer", "gtzan_keras.cli", "utils", "docs", "--name=gtzan-keras", "--title=Command line"]
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=True)
    # The list of all commands cuts its sentences, and every command has --help.
    text = re.sub(r"\*\*Commands\*\*:\n.*?(?=\n## )|\* `--help`.*?\n", "", done.stdout, flags=re.DOTALL)
    files.append(
        File.generated(config, "api/command-line.md", content=text.replace("```console\n$ ", "```text\n"))
    )
    return files


def on_page_content(html: str, page: Page, **_: Any) -> str:
    """Link names of the package to their place in the reference, and tidy what docstrings became."""
    if page.file.src_uri.startswith("api/"):
        for pattern, text in REWRITTEN:
            html = pattern.sub(text, html)

    def linked(match: re.Match[str]) -> str:
        first, dot, _ = match[2].partition(".")
        if match[1] or (first in PUBLIC and (dot or not first.islower())):
            return f'<autoref optional identifier="gtzan_keras.{match[2]}">{match[0]}</autoref>'
        return match[0]

    return CODE.sub(linked, html)
