#!/usr/bin/env python3
"""Makes the spool and the events of a version that has none yet: `make_corpus.py 8`, with the release build of that day.

What is there stays as it is: a spool is the work of the writer of its time, and that later loaders can still load it is what it is kept for.
"""
from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
START = 1_769_904_000_000_000_000  # 2026-02-01


def events(version: int) -> list[dict[str, Any]]:
    """Rows with the extremes of every column, as a producer of that version writes them."""
    rows: list[dict[str, Any]] = []
    wide = version >= 4
    limits = ((-2 ** 63, 2 ** 63 - 1) if wide else (-2 ** 31, 2 ** 31 - 1))
    sides = ["buy", "sell"] + (["none", "both"] if version >= 3 else [])
    fees = ["9999999999999999999999999999.9999999999", "-0.0000000001"] if wide else ["9999999.99", "-9999999.99", "0.01"]
    venue = "venue" if version < 5 else "market" if version < 7 else "exchange"
    for number in range(24):
        row: dict[str, Any] = {"table": "trades", "ts": START + number * 3_600_000_000_001, "id": f"v{version}-{number}", "side": sides[number % len(sides)],
                               "px": [0.5, -1.25, 3.4028234663852886e38 if not wide else 1.7976931348623157e308, 1e-45 if not wide else 5e-324, 0.0][number % 5],
                               "qty": [0, *limits, -1][number % 4]}
        if number % 3:
            row["fee"] = fees[number % len(fees)]
            row["small"] = ([-32768, 32767] if wide else [0, 255])[number % 2]
            row["levels"] = [[], [0], [255, 1, 4_294_967_295 if wide else 254]][number % 3]
            row[venue] = ["", "näme 'q' \\ \t", "XETR", "x" * 200][number % 4]
        if version < 6 and number % 2:
            row["note"] = ["", "note \u2028", "n"][number % 3]
        if version >= 2 and number % 4:
            row["session"] = ["night", "", "day"][number % 3]
        if version >= 7:
            row["payer"] = [None, "", "us"][number % 3]
            if number % 6 == 5:
                row["qty"] = None
        rows.append(row)
    return rows


def make(version: int) -> None:
    directory = HERE / f"v{version}"
    if directory.exists():
        sys.exit(f"{directory} is there, and stays as it is")
    with tempfile.TemporaryDirectory() as work:
        schemas = Path(work) / "schemas"
        schemas.mkdir()
        for file in sorted((HERE / "schemas").glob("*.sql"))[:version]:
            shutil.copy(file, schemas)
        lines = Path(work) / "events.jsonl"
        lines.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in events(version)))
        config = Path(work) / "c.toml"
        config.write_text(f'[writer]\nid = "corpus-v{version}"\nchunk_rows = 7\n')
        subprocess.run([ROOT / ".build/release/spool-writer", "import", "--config", config, "--spool", directory / "spool", "--schemas", schemas, lines], check=True)
        shutil.copy(lines, directory / "events.jsonl")


if __name__ == "__main__":
    make(int(sys.argv[1]))
