"""Brings notebooks into the one form that gives clean diffs: ``python -m tests.normalise_notebooks FILE...``.

Stays: sources, outputs, tags. Cell ids and execution counts follow the order (nbval wants counts where there
are outputs). Goes: times, the kernel's version, widget state, whatever an editor added.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def normalised(text: str) -> str:
    notebook = nbformat.reads(text, as_version=4)
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    count = 0
    for number, cell in enumerate(notebook.cells, start=1):
        cell.id = f"c{number:02}"
        cell.metadata = {"tags": sorted(cell.metadata.tags)} if cell.metadata.get("tags") else {}
        if cell.cell_type == "code":
            count += 1
            cell.execution_count = count
            for output in cell.outputs:
                if output.output_type == "execute_result":
                    output.execution_count = count
                if "metadata" in output:
                    output.metadata = {}
    notebook.nbformat_minor = 5
    return nbformat.writes(notebook, indent=1) + "\n"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(normalised(path.read_text("utf-8")), "utf-8")
