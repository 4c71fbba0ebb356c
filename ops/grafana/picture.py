#!/usr/bin/env python3
"""A picture of the dashboard, of real metrics: both processes, ClickHouse, producers and Prometheus run for some minutes; then every panel of
coldpath.json is asked of Prometheus, as Grafana would, and drawn. In between ClickHouse is away for a while, and a producer sends some wrong rows.

Needs matplotlib, which nothing else here does: `make dashboard` installs it into .venv.
"""
from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "demo"), str(ROOT / "Tests" / "endtoend")]

import matplotlib  # noqa: E402

matplotlib.use("Agg")
import matplotlib.dates as dates  # noqa: E402
import matplotlib.pyplot as plt  # noqa: E402
from pipeline import Pipeline, end_on_signals, free_port, wait_until  # noqa: E402
from scrape import program, serve_metrics  # noqa: E402
from send_events import Producer  # noqa: E402

DASHBOARD = ROOT / "ops" / "grafana" / "coldpath.json"
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")


def line(rng: random.Random, number: int) -> bytes:
    now = time.time_ns()
    if number % 20 == 0:
        return (f'{{"table":"orders","ts_intent":{now},"client_order_id":"O{number}","strategy":"maker","symbol":"{rng.choice(SYMBOLS)}","side":"buy",'
                f'"qty":"1","order_type":"limit","limit_px":"2","tif":"gtc","status":"new","risk_mode":"normal"}}\n').encode()
    bid = round(100 + rng.random(), 2)
    return (f'{{"table":"market_data","ts_exchange":{now},"ts_local":{now},"symbol":"{rng.choice(SYMBOLS)}","source":"x","event":"quote",'
            f'"bid_px1":{bid},"ask_px1":{bid + 0.01:.2f},"bid_sz1":1,"ask_sz1":2}}\n').encode()


def send(path: Path, rate: int, stopping: threading.Event, bad: threading.Event) -> None:
    producer, rng = Producer(str(path), "picture"), random.Random(1)
    began, number = time.monotonic(), 0
    while not stopping.is_set():
        due = int((time.monotonic() - began) * rate * (1 + 0.3 * (time.monotonic() % 20 > 15)))
        for _ in range(min(max(0, due - number), 2000)):
            producer.put(line(rng, number))
            number += 1
            if bad.is_set() and number % 50 == 0:
                producer.put(b'{"table":"orders","qty":"one"}\n')
        producer.pump(0.01)
        time.sleep(0.01)


def ask(port: int, expression: str, start: float, end: float) -> list[Any]:
    query = urllib.parse.urlencode({"query": expression, "start": start, "end": end, "step": 1})
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query_range?{query}", timeout=30) as answer:
        return json.load(answer)["data"]["result"]


def legend(form: str, labels: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match[1], ""), form)


def number_text(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{value:.0%}" if value > 0.095 or value == 0 else f"{value:.1%}"
    if unit == "s":
        return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"
    if unit == "bytes":
        for name in ("B", "KiB", "MiB", "GiB", "TiB"):
            if value < 1024:
                return f"{value:.0f} {name}"
            value /= 1024
    for size, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{name}"
    return f"{value:.3g}"


def draw(dashboard: dict[str, Any], port: int, start: float, end: float, out: Path) -> None:
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
    figure = plt.figure(figsize=(19, height * 0.36), facecolor="#181b1f")
    margin = 0.004
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        left, bottom = place["x"] / 24, 1 - (place["y"] + place["h"]) / height
        width, tall = place["w"] / 24, place["h"] / height
        if panel["type"] == "row":
            figure.text(left + margin, bottom + tall / 3, panel["title"], color="white", fontsize=12, weight="bold")
            continue
        unit = panel["fieldConfig"]["defaults"]["unit"]
        series = []
        for target in panel["targets"]:
            expression = target["expr"].replace("$writer", ".*").replace("$loader", ".*")
            series += [(legend(target["legendFormat"], found["metric"]), [(float(at), float(value)) for at, value in found["values"]])
                       for found in ask(port, expression, start, end)]
        if panel["type"] == "stat":
            value = series[0][1][-1][1] if series else float("nan")
            steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
            color = [step["color"] for step in steps if step["value"] is None or value >= step["value"]][-1]
            axes = figure.add_axes((left + margin, bottom + margin, width - 2 * margin, tall - 2 * margin), facecolor={"green": "#37872d", "orange": "#c15c17", "red": "#ad0317"}[color])
            axes.set_xticks([]), axes.set_yticks([])
            axes.text(0.5, 0.42, number_text(value, unit), color="white", fontsize=24, ha="center", va="center", transform=axes.transAxes)
            axes.text(0.5, 0.85, panel["title"], color="white", fontsize=9, ha="center", transform=axes.transAxes)
            continue
        axes = figure.add_axes((left + 0.035, bottom + 0.3 * tall, width - 0.045, 0.55 * tall), facecolor="#181b1f")
        for name, points in sorted(series):
            times = [at / 86400 for at, value in points if value == value]
            axes.plot(times, [value for _, value in points if value == value], linewidth=1.2, label=name)
        axes.set_title(panel["title"], color="white", fontsize=9, loc="left")
        axes.xaxis_date()
        axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M:%S"))
        axes.xaxis.set_major_locator(plt.MaxNLocator(5))
        axes.yaxis.set_major_formatter(lambda value, _, unit=unit: number_text(value, unit))
        axes.set_xlim(start / 86400, end / 86400)
        low, high = axes.get_ylim()
        axes.set_ylim(min(0, low) if low < -1e-9 else 0, max(high, 1e-9) if series else 1)
        axes.tick_params(colors="#aaaaaa", labelsize=7)
        axes.grid(color="#333333", linewidth=0.5)
        for spine in axes.spines.values():
            spine.set_color("#333333")
        if not series:
            axes.text(0.5, 0.5, "none", color="#888888", fontsize=9, ha="center", va="center", transform=axes.transAxes)
        if series:
            axes.legend(loc="upper left", bbox_to_anchor=(0, -0.13), ncols=4, fontsize=6, frameon=False, labelcolor="#cccccc", handlelength=1)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=80, facecolor=figure.get_facecolor())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--rate", type=int, default=3000)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures" / "dashboard.png")
    options = parser.parse_args()
    end_on_signals()
    work = Path(tempfile.mkdtemp(prefix="coldpath-dashboard-"))
    pipeline = Pipeline(work / "p")
    prometheus: subprocess.Popen[bytes] | None = None
    stopping, bad = threading.Event(), threading.Event()
    try:
        writer, loader = serve_metrics(pipeline)
        pipeline.start_clickhouse()
        pipeline.start_writer()
        pipeline.loader.start()
        port = free_port()
        settings = (ROOT / "ops" / "prometheus.yml").read_text()
        settings = settings.replace("5s", "1s").replace("9464", str(writer)).replace("9465", str(loader)).replace("alerts.yml", str(ROOT / "ops" / "alerts.yml"))
        (work / "prometheus.yml").write_text(settings)
        prometheus = subprocess.Popen(
            [program("prometheus"), f"--config.file={work}/prometheus.yml", f"--storage.tsdb.path={work}/tsdb", f"--web.listen-address=127.0.0.1:{port}"],
            stdout=subprocess.DEVNULL, stderr=open(work / "prometheus.log", "wb"))
        start = time.time()
        sender = threading.Thread(target=send, args=(pipeline.socket, options.rate, stopping, bad))
        sender.start()
        time.sleep(options.seconds * 0.45)
        pipeline.clickhouse.stop()
        time.sleep(options.seconds * 0.15)
        bad.set()
        pipeline.clickhouse.start()
        time.sleep(options.seconds * 0.05)
        bad.clear()
        time.sleep(options.seconds * 0.35)
        firing = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/alerts"))["data"]["alerts"]
        print("alerts at the end:", sorted({alert["labels"]["alertname"] for alert in firing}) or "none")
        draw(json.loads(DASHBOARD.read_text()), port, start, time.time(), options.out)
        print(options.out)
        return 0
    finally:
        stopping.set()
        pipeline.kill()
        if prometheus:
            prometheus.kill()
            prometheus.wait()
        wait_until(lambda: True, 0.1)
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
