"""Asking the processes what they say of themselves."""
from __future__ import annotations

import json
import re
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from pipeline import ROOT, Pipeline, free_port

LINE = re.compile(r'([a-z_]+)(\{([a-z]+="(?:[^"\\]|\\.)*"(,[a-z]+="(?:[^"\\]|\\.)*")*)?\})? (-?[0-9.e+-]+)')


def get(port: int, path: str) -> tuple[int, str]:
    """(status, body); (0, "") while nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except (urllib.error.URLError, ConnectionError):
        return 0, ""


def samples(text: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        assert LINE.fullmatch(line), line
        name, value = line.rsplit(" ", 1)
        assert name not in found, f"{name} twice"
        found[name] = float(value)
    return found


def scrape(port: int) -> dict[str, float]:
    """Samples by name with labels; none while the process is not ready."""
    status, text = get(port, "/metrics")
    return samples(text) if status == 200 else {}


def status(port: int) -> Any:
    return json.loads(get(port, "/status")[1])


def program(name: str) -> Path:
    """A program of Debian's package of Prometheus, as `scripts/setup --test` leaves it."""
    unpacked = ROOT / ".venv/prometheus/usr/bin" / name
    return unpacked if unpacked.exists() else Path("/usr/bin") / name


def promtool(*arguments: str | Path, data: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program("promtool"), *arguments], input=data, capture_output=True, text=True)


def serve_metrics(pipeline: Pipeline) -> tuple[int, int]:
    """Lets both processes serve metrics; the ports of writer and loader."""
    writer, loader = free_port(), free_port()
    pipeline.writer.command += ["--metrics", f"127.0.0.1:{writer}"]
    pipeline.loader.command += ["--metrics", f"127.0.0.1:{loader}"]
    return writer, loader
