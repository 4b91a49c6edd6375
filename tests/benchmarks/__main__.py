"""Run every benchmark on a folder of real tracks: ``python -m tests.benchmarks FOLDER``."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    for script in sorted(Path(__file__).parent.glob("bench_*.py")):
        print(f"\n== {script.stem}", flush=True)
        sys.argv[0] = str(script)
        runpy.run_path(str(script), run_name="__main__")
