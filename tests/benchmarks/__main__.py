"""Run every benchmark on a folder of real tracks, each in a process of its own, and write a page.

python -m tests.benchmarks FOLDER [PAGE]
"""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import groupby
from pathlib import Path

from tests.benchmarks.common import machine


def main(folder: str, page: Path) -> None:
    head = (
        "Written by `make bench DATA=path/to/gtzan`. Times and ratios are medians; what is compared ran in "
        "turns. Goals follow as 'at least' or 'at most'; those of bfloat16 hold only for a processor that "
        "computes in it."
    )
    parts = [f"# Benchmarks\n\n{head}\n\n{machine()}\n"]
    for script in sorted(Path(__file__).parent.glob("bench_*.py")):
        print(f"\n== {script.stem}", flush=True)
        command = [sys.executable, "-m", f"tests.benchmarks.{script.stem}", folder]
        quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "MPLBACKEND": "agg"}
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=quiet)
        failed = f"\nfailed with exit status {done.returncode}\n" if done.returncode else ""
        text = done.stdout + failed
        print(text, flush=True)
        title = script.stem.removeprefix("bench_").replace("_", " ").capitalize()
        load = f"Load at the end: {os.getloadavg()[0]:.1f}."
        parts.append(f"## {title}\n\n{in_markdown(text)}\n\n{load}\n")
    page.write_text("\n".join(parts), "utf-8")
    print(page)


def in_markdown(text: str) -> str:
    """Return what a benchmark printed: its tables as they are, all else as text."""
    blocks = []
    for is_table, lines in groupby(text.splitlines(), key=lambda line: line.startswith("|")):
        if block := "\n".join(lines).strip("\n"):
            blocks.append(block if is_table else f"```text\n{block}\n```")
    return "\n\n".join(blocks)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2] if len(sys.argv) > 2 else "docs/benchmarks.md"))
