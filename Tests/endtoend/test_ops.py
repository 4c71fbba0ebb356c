"""Alerts and dashboard: that they are right, and that they are of metrics that exist."""
from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import QUICK
from pipeline import ROOT, Pipeline, wait_until
from scrape import get, promtool, scrape, serve_metrics

OPS = ROOT / "ops"
DASHBOARD = json.loads((OPS / "grafana" / "coldpath.json").read_text())
NAME = re.compile(r"\b(?:recorder|process)_[a-z_]+")


def expressions(dashboard: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(title, expression)."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for note in dashboard["annotations"]["list"]:
        yield note["name"], note["expr"]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory, orders_file: Path) -> dict[str, set[str]]:
    """The labels of every metric that the two processes have, with one insert that failed."""
    pipeline = Pipeline(tmp_path_factory.mktemp("ops"), faults=True, settings=QUICK)
    try:
        pipeline.start_clickhouse()
        writer, loader = serve_metrics(pipeline)
        pipeline.import_files(orders_file)
        pipeline.clickhouse.plan_faults({"match": "INSERT INTO", "action": "drop_before"})
        pipeline.start_writer()
        pipeline.loader.start()
        assert wait_until(lambda: any(name.startswith("recorder_parts{") for name in scrape(loader)), 15)
        found: dict[str, set[str]] = {}
        for name in [*scrape(writer), *scrape(loader)]:
            bare, _, labels = name.partition("{")
            found.setdefault(bare, set()).update(re.findall(r'([a-z_]+)="', labels))
        return found
    finally:
        pipeline.kill()


def test_the_rules_and_their_tests_hold() -> None:
    for arguments in (("check", "rules", OPS / "alerts.yml"), ("check", "config", OPS / "prometheus.yml"), ("test", "rules", OPS / "alerts_test.yml")):
        done = promtool(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_and_has_a_chapter_that_says_what_to_do() -> None:
    text = (OPS / "alerts.yml").read_text()
    alerts = re.findall(r"- alert: (\w+)", text)
    assert len(alerts) == len(set(alerts)) >= 12
    tested = set(re.findall(r"alertname: (\w+)", (OPS / "alerts_test.yml").read_text()))
    assert set(alerts) == tested
    chapters = {re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-")
                for line in (ROOT / "docs" / "operations.md").read_text().splitlines() if line.startswith("#")}
    for page, anchor in re.findall(r"runbook: (\S+)#(\S+)", text):
        assert (ROOT / page).exists() and anchor in chapters, anchor
    assert text.count("runbook:") == len(alerts)


def test_every_alert_and_every_panel_is_fed_by_metrics_that_exist(names: dict[str, set[str]]) -> None:
    alerts = [("alert", expression) for expression in re.findall(r"expr: (.*)", (OPS / "alerts.yml").read_text())]
    panels = list(expressions(DASHBOARD))
    assert len(panels) > 25 and len(alerts) > 12
    for title, expression in alerts + panels:
        used = set(NAME.findall(expression))
        assert used or "up{" in expression, f"{title}: {expression} has no metric"
        for name in used:
            assert name in names, f"{title}: nobody has {name}"
        for labels in re.findall(r"by \(([a-z, ]+)\)", expression) + re.findall(r"\{([^}]*)\}", expression):
            for label in re.findall(r"([a-z_]+)(?==|!=|,|$| )", labels):
                known = set().union(*(names[name] for name in used)) | {"instance", "job", "le", "and"} if used else {"job"}
                assert label in known, f"{title}: {sorted(used)} has no label {label}"


def test_prometheus_understands_every_panel(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{index}", "expr": expression.replace("$writer", ".*").replace("$loader", ".*")}
             for index, (_, expression) in enumerate(expressions(DASHBOARD))]
    # JSON is YAML.
    (tmp_path / "panels.yml").write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    done = promtool("check", "rules", tmp_path / "panels.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_panels_lie_side_by_side_and_say_what_they_are() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken and max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells
        assert panel["title"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])

