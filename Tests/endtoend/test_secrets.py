"""The password of ClickHouse is nowhere but where it belongs: whatever fails, whoever asks."""
from __future__ import annotations

import base64
import subprocess
import urllib.parse
from pathlib import Path

import pytest
from conftest import MakePipeline
from pipeline import Pipeline, Trouble, wait_until
from scrape import get, serve_metrics

PASSWORD = "pa55/w&rd+kept?well"
FORMS = {PASSWORD, urllib.parse.quote(PASSWORD), urllib.parse.quote_plus(PASSWORD), base64.b64encode(PASSWORD.encode()).decode(),
         base64.b64encode(f"recorder:{PASSWORD}".encode()).decode()}


def everything(directory: Path, ports: tuple[int, int]) -> dict[str, str]:
    """All text that the processes left or say: logs, files, pages."""
    texts = {str(path): path.read_bytes().decode(errors="replace") for path in directory.rglob("*")
             if path.is_file() and not path.is_relative_to(directory / "clickhouse") and path.name != "password"}
    for port in ports:
        for page in ("/metrics", "/status", "/healthz", "/readyz"):
            texts[f"{port}{page}"] = get(port, page)[1]
    return texts


@pytest.mark.parametrize("how", ["file", "environment"])
def test_the_password_is_in_no_log_page_or_file(make_pipeline: MakePipeline, orders_file: Path, tmp_path: Path, how: str,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    alerts, script = tmp_path / "p" / "alerts", tmp_path / "alert"
    script.write_text(f'#!/bin/sh\n{{ cat; env; }} >> {alerts}\n')
    script.chmod(0o755)
    settings = f'alert_command = "{script}"\n[loader]\nuser = "recorder"\nbackoff = "20ms"\nbackoff_max = "100ms"\ntimeout = "1s"\n'
    password = tmp_path / "p" / "password"
    if how == "file":
        settings += f'password_file = "{password}"\n'
    kept = tmp_path / "server"
    kept.write_text(PASSWORD + "\n")
    kept.chmod(0o600)
    pipeline: Pipeline = make_pipeline("p", settings=settings, faults=True, server_options=["--user", "recorder", "--password-file", str(kept)])
    pipeline.clickhouse._credentials = {"X-ClickHouse-User": "recorder", "X-ClickHouse-Key": PASSWORD}
    if how == "file":
        password.write_text(PASSWORD + "\n")
        password.chmod(0o600)
    else:
        monkeypatch.setenv("COLDPATH_LOADER_PASSWORD", PASSWORD)
    ports = serve_metrics(pipeline)
    pipeline.clickhouse.start_and_wait()
    pipeline.run_loader("migrate", "apply")
    # Servers and proxies that repeat what they were sent, in every way in which an answer can be wrong.
    echo = f"Code: 516. DB::Exception: recorder: Authentication failed: password {PASSWORD} is incorrect. (AUTHENTICATION_FAILED) (version 26.5.1.1)"
    pipeline.clickhouse.plan_faults(*(
        {"match": "INSERT INTO", "action": "status", "status": status, "headers": headers, "body": body}
        for status, headers, body in [(403, {"X-ClickHouse-Exception-Code": "516"}, echo), (500, {}, echo), (502, {}, f"<html>{PASSWORD}</html>"),
                                      (200, {}, echo), (401, {}, f"X-ClickHouse-Key: {PASSWORD}"), (302, {"Location": f"http://u:{urllib.parse.quote(PASSWORD)}@h/"}, "")]))
    pipeline.import_files(orders_file)
    pipeline.start_writer()
    pipeline.loader.start()
    assert wait_until(lambda: len(pipeline.clickhouse.faults_done()) == 6, 20), pipeline.loader.log.read_text()
    assert wait_until(lambda: pipeline.clickhouse.query("SELECT count() FROM orders").strip() != "0", 10)
    assert PASSWORD not in " ".join(pipeline.loader.command)
    outputs = {"ps": Path(f"/proc/{pipeline.loader.pid}/cmdline").read_bytes().decode(errors="replace")}
    for command, arguments in (("audit", ()), ("status", ("--loader-metrics", f"127.0.0.1:{ports[1]}")), ("ls", ()), ("backfill", ()), ("rollup", ())):
        places = {"status": "ls"}.get(command, command)
        line = [part if part != places else command for part in pipeline.loader_command(places, *arguments)]
        done = subprocess.run(line, capture_output=True, text=True, timeout=60)
        outputs[command] = done.stdout + done.stderr
    outputs["check-config"] = subprocess.run(pipeline.writer_command("check-config"), capture_output=True, text=True).stdout
    for place, text in (everything(pipeline.directory, ports) | outputs).items():
        if how == "environment" and place.endswith("/alerts"):
            continue
        for form in FORMS:
            assert form not in text, f"{place} has the password"
    if how == "environment":
        # The command that is run for alerts has an environment of its own.
        assert alerts.exists() and "COLDPATH_ALERT=" in alerts.read_text() and PASSWORD not in alerts.read_text()


def test_a_password_where_it_does_not_belong_is_refused_without_repeating_it(make_pipeline: MakePipeline) -> None:
    for name, settings in (("a", f'[loader]\npassword = "{PASSWORD}"\n'), ("b", f'[loader]\nurl = "http://recorder:{urllib.parse.quote(PASSWORD)}@127.0.0.1:8123"\n')):
        pipeline: Pipeline = make_pipeline(name, settings=settings)
        with pytest.raises(Trouble) as trouble:
            pipeline.run_loader("ls")
        assert "64" in str(trouble.value) and not any(form in str(trouble.value) for form in FORMS)
