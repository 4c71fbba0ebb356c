"""The systemd units, as far as a machine without a running systemd allows: their syntax, how exposed they are, and that the sandbox allows what the programs do."""
from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import MakePipeline
from pipeline import ROOT, Pipeline, binary, wait_until
from scrape import scrape, serve_metrics

UNITS = ROOT / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True)


def test_every_unit_is_understood(tmp_path: Path) -> None:
    for path in (*UNITS.glob("*.service"), *UNITS.glob("*.timer")):
        text = path.read_text().replace("/usr/bin/spool-writer", str(binary("spool-writer"))).replace("/usr/bin/spool-loader", str(binary("spool-loader")))
        (tmp_path / path.name).write_text(text)
    done = analyze("verify", "--man=no", *sorted(tmp_path.iterdir()))
    own = [line for line in done.stderr.splitlines() if "coldpath" in line or "spool-" in line]
    assert done.returncode == 0 and not own, done.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_no_unit_is_more_exposed_than_the_documentation_says(service: str) -> None:
    done = analyze("security", "--offline=true", "--threshold=20", UNITS / service)
    assert done.returncode == 0, done.stdout[-500:]
    exposure = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)[0]
    line = next(line for line in (ROOT / "docs" / "operations.md").read_text().splitlines() if line.startswith("|") and f"`{service}`" in line)
    assert exposure == line.split("|")[2].strip(), f"{service} has {exposure}: docs/operations.md says {line}"


@pytest.mark.parametrize("service", SERVICES)
def test_commands_and_files_of_the_units_exist(service: str) -> None:
    text = (UNITS / service).read_text()
    command = re.findall(r"^ExecStart=(.*)$", text, re.M)[0].split()
    done = subprocess.run([binary(Path(command[0]).name), command[1], "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and all(option in done.stdout for option in command[2:] if option.startswith("--"))


def allowed(service: str) -> set[str]:
    """System calls that the unit's filter lets through."""
    sets: dict[str, set[str]] = {}

    def members(name: str) -> set[str]:
        if not name.startswith("@"):
            return {name}
        if name not in sets:
            sets[name] = set()
            said = analyze("syscall-filter", name).stdout
            for line in said.splitlines()[1:]:
                if (word := line.strip()) and not word.startswith("#"):
                    sets[name] |= members(word)
        return sets[name]

    result = members("@default")
    for line in re.findall(r"^SystemCallFilter=(.*)$", (UNITS / service).read_text(), re.M):
        names = set().union(*(members(name) for name in line.lstrip("~").split()))
        # What is always allowed stays so.
        result = result - (names - members("@default")) if line.startswith("~") else result | names
    return result


def test_the_sandbox_allows_every_system_call_that_the_programs_make(make_pipeline: MakePipeline, orders_file: Path, tmp_path: Path) -> None:
    pipeline: Pipeline = make_pipeline(settings="[loader]\nbackoff = \"50ms\"\n")
    pipeline.start_clickhouse()
    pipeline.import_files(orders_file)
    _, loader = serve_metrics(pipeline)
    pipeline.writer.command += ["--rings", tmp_path / "rings"]
    for process in (pipeline.writer, pipeline.loader):
        process.command = ["strace", "-f", "-qq", "-o", tmp_path / process.name, *process.command]
    pipeline.writer.start()
    pipeline.loader.start()
    assert wait_until(lambda: scrape(loader).get('recorder_rows_total{table="orders",stage="loaded"}', 0) > 0, 30)
    # strace passes the signal on, and ends with what it traces.
    subprocess.run(["pkill", "-TERM", "-f", str(pipeline.spool)], check=False)
    assert wait_until(lambda: not pipeline.writer.is_alive and not pipeline.loader.is_alive, 15)
    for process, service in ((pipeline.writer, "spool-writer.service"), (pipeline.loader, "spool-loader.service")):
        text = (tmp_path / process.name).read_text()
        made = set(re.findall(r"^\d+ +([a-z0-9_]+)\(", text, re.M))
        assert len(made) > 30
        # The program's start, and what only makes a limit higher: it goes on without.
        refused = made - allowed(service) - {"execve", "arch_prctl", "setrlimit", "prlimit64"}
        assert not refused, f"{service} does not allow {refused}"
        unit = (UNITS / service).read_text()
        families = set(re.findall(r"socket\((AF_[A-Z0-9]+)", text)) - {"AF_NETLINK"}
        assert "AF_INET" in families and families <= set(re.findall(r"^RestrictAddressFamilies=(.*)$", unit, re.M)[0].split())
        # Whoever asks for the metrics that the shipped settings turn on must reach it.
        assert "PrivateNetwork=true" not in unit and "metrics" in (UNITS / "coldpath.toml").read_text()


@pytest.mark.parametrize("is_journal", [True, False])
def test_lines_for_the_journal_begin_with_their_priority(tmp_path: Path, is_journal: bool) -> None:
    log = tmp_path / "log"
    (tmp_path / "rings").mkdir()
    (tmp_path / "rings" / "bad.ring").write_bytes(b"no ring" * 1000)
    with log.open("wb") as file:
        status = os.fstat(file.fileno())
        stream = f"{status.st_dev}:{status.st_ino + (0 if is_journal else 1)}"
        process = subprocess.Popen(
            [binary("spool-writer"), "run", "--spool", tmp_path / "spool", "--schemas", ROOT / "schemas", "--socket", tmp_path / "s", "--rings", tmp_path / "rings"],
            stderr=file, env=os.environ | {"JOURNAL_STREAM": stream})
    assert wait_until(lambda: "RecorderFailure: ring set aside" in log.read_text(), 20), log.read_text()
    process.terminate()
    assert process.wait(20) == 0
    lines = log.read_text().splitlines()
    assert all(line.startswith("<") == is_journal for line in lines), lines
    if is_journal:
        assert any(line.startswith("<2>critical spool-writer: ring=") and "RecorderFailure: ring set aside" in line for line in lines), lines
        assert any(line.startswith("<5>notice ") or line.startswith("<6>info ") for line in lines)


def test_under_the_units_umask_rows_are_for_one_user_and_the_socket_for_the_group(make_pipeline: MakePipeline, orders_file: Path, tmp_path: Path) -> None:
    pipeline: Pipeline = make_pipeline()
    pipeline.start_clickhouse()
    pipeline.writer.command += ["--rings", tmp_path / "rings"]
    masks = {service: re.findall(r"^UMask=(\d+)$", (UNITS / service).read_text(), re.M) for service in SERVICES}
    assert set(map(tuple, masks.values())) == {("0077",)}, masks
    before = os.umask(0o077)
    try:
        pipeline.writer.start()
        pipeline.loader.start()
    finally:
        os.umask(before)
    assert wait_until(pipeline.writer_listens, 20)
    subprocess.run([sys.executable, ROOT / "demo" / "send_events.py", "--socket", pipeline.socket, "--client", "c", orders_file], check=True, capture_output=True)
    assert wait_until(lambda: list(pipeline.checkpoints.rglob("orders*")) != [], 20)
    for path in (*pipeline.spool.rglob("*"), *pipeline.checkpoints.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, f"{path}: {path.stat().st_mode:o}"
    assert pipeline.socket.stat().st_mode & 0o777 == 0o660 and (tmp_path / "rings").stat().st_mode & 0o7777 == 0o2770


def test_users_and_directories_are_made(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    for tool, source, target in (("systemd-sysusers", "coldpath.sysusers", "sysusers.d"), ("systemd-tmpfiles", "coldpath.tmpfiles", "tmpfiles.d")):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool} here")
        folder = root / "usr/lib" / target
        folder.mkdir(parents=True)
        shutil.copy(UNITS / source, folder / "coldpath.conf")
    subprocess.run(["systemd-sysusers", f"--root={root}", "coldpath.conf"], check=True, capture_output=True)
    assert re.search(r"^coldpath:", (root / "etc/passwd").read_text(), re.M) and re.search(r"^coldpath:", (root / "etc/group").read_text(), re.M)
    made = subprocess.run(["systemd-tmpfiles", f"--root={root}", "--create", "coldpath.conf"], capture_output=True, text=True)
    rings = root / "run/coldpath/rings"
    assert rings.is_dir() and rings.stat().st_mode & 0o7777 == 0o2770, made.stderr
    assert (root / "var/lib/coldpath").stat().st_mode & 0o7777 == 0o750
