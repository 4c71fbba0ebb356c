"""Starts and stops spool-writer, spool-loader and a development ClickHouse: for the demo, the tests and the measurements."""
from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Callable

ROOT = Path(__file__).resolve().parent.parent
SCHEMAS = ROOT / "schemas"
START_SECONDS = 20.0
STOP_SECONDS = 20.0


class Trouble(Exception):
    """Something did not start, stop or answer; the message says what, and where its log is."""


def binary(name: str) -> Path:
    """One of our programs, as `swift build -c release` leaves it."""
    path = ROOT / ".build" / "release" / name
    if not path.exists():
        raise Trouble(f"{path} is missing; run: make build")
    return path


def free_port() -> int:
    """A TCP port that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition: Callable[[], bool], seconds: float, step: float = 0.01) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(step)
    return True


def end_on_signals() -> None:
    """Let SIGTERM and SIGHUP end this program as Ctrl-C does, through every `finally`: our processes have sessions of their
    own, and would outlive a closed terminal."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: sys.exit(128 + received))


class Process:
    """A program that can be started again after it was killed. What it says goes to one log file for all its lives."""

    def __init__(self, name: str, command: list[str | Path], log: Path) -> None:
        self.name, self.log = name, log
        self.command = [str(part) for part in command]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def status(self) -> int | None:
        """How it ended, as subprocess tells it; None while it lives."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        with open(self.log, "ab") as log:
            # Its own session: a Ctrl-C at the terminal reaches only us, and we stop the parts in their order.
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> int:
        """SIGTERM, and its exit status."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Trouble(f"{self.name} did not stop within {STOP_SECONDS:g} s of SIGTERM; see {self.log}") from None

    def peak_memory(self) -> int:
        """Most resident bytes so far (VmHWM)."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return 0

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class ClickHouse(Process):
    """The development server (or a real one, if `clickhouse` is on the PATH) with its data in a directory."""

    def __init__(self, directory: Path, faults: bool = False, options: list[str] | None = None) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._credentials: dict[str, str] = {}
        command: list[str | Path] = [ROOT / "devserver" / "run.sh", directory / "clickhouse", str(self.port)]
        if faults or options:
            # Only the development server knows these.
            command = [ROOT / ".venv" / "bin" / "python", ROOT / "devserver" / "coldpath_devserver.py", "--data", directory / "clickhouse",
                       "--listen", f"127.0.0.1:{self.port}", *(["--faults"] if faults else []), *(options or [])]
        super().__init__("ClickHouse", command, directory / "clickhouse.log")

    def log_in(self, user: str, password: str) -> None:
        """Use these credentials from now on."""
        self._credentials = {"X-ClickHouse-User": user, "X-ClickHouse-Key": password}

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/ping", timeout=2) as answer:
                return answer.status == 200
        except (OSError, ValueError):
            return False

    def start_and_wait(self) -> None:
        self.start()
        if not wait_until(lambda: self.answers() or not self.is_alive, START_SECONDS) or not self.is_alive:
            raise Trouble(f"ClickHouse did not start; see {self.log}")

    def query(self, sql: str, timeout: float = 60, **settings: str) -> str:
        """The answer's text.

        Raises:
            Trouble: it refuses.
            OSError: it cannot be reached.
        """
        target = f"{self.url}/?{urllib.parse.urlencode(settings)}"
        request = urllib.request.Request(target, sql.encode(), self._credentials)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            raise Trouble(f"ClickHouse refused {sql[:80]!r}: {error.read()[:400].decode(errors='replace')}") from error

    def rows(self, sql: str, **settings: str) -> list[Any]:
        """The answer's rows as lists; wide integers and decimals as text, so that nothing is rounded."""
        text = self.query(sql + " FORMAT JSONCompactEachRow", **settings)
        return [json.loads(line) for line in text.split("\n") if line]

    def plan_faults(self, *faults: dict[str, Any]) -> None:
        """Let these faults happen from now on, and no others."""
        self._faults({"reset": True, "next": list(faults)})

    def faults_done(self) -> list[dict[str, Any]]:
        """What has happened since the last plan."""
        return self._faults(None)["done"]

    def _faults(self, plan: dict[str, Any] | None) -> Any:
        data = None if plan is None else json.dumps(plan).encode()
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/dev/faults", data), timeout=10) as answer:
            return json.loads(answer.read())


class Pipeline:
    """A writer, a loader and a ClickHouse that belong together, with all their files below one directory."""

    def __init__(self, directory: Path, faults: bool = False, settings: str = "", server_options: list[str] | None = None,
                 schemas: Path = SCHEMAS) -> None:
        """`settings` is the text of a configuration file for both programs."""
        self.directory, self.schemas = directory, schemas
        self.spool, self.checkpoints = directory / "spool", directory / "checkpoints"
        # A unix socket's path has room for 107 bytes; a test's directory may be longer than that.
        self.socket = Path(os.path.relpath(directory / "writer.sock"))
        self.config = directory / "coldpath.toml"
        directory.mkdir(parents=True, exist_ok=True)
        self.config.write_text(settings)
        self.clickhouse = ClickHouse(directory, faults, server_options)
        self.writer = Process("spool-writer", self.writer_command("run", "--socket", self.socket), directory / "writer.log")
        self.loader = Process("spool-loader", self.loader_command("run"), directory / "loader.log")

    def writer_command(self, command: str, *arguments: str | Path) -> list[str | Path]:
        return [binary("spool-writer"), command, "--config", self.config, "--spool", self.spool, "--schemas", self.schemas, *arguments]

    def loader_command(self, command: str, *arguments: str | Path) -> list[str | Path]:
        """A loader's command with the places that it needs."""
        places: dict[str, list[str | Path]] = {
            "--spool": ["--spool", self.spool],
            "--checkpoints": ["--checkpoints", self.checkpoints],
            "--url": ["--url", self.clickhouse.url],
            "--schemas": ["--schemas", self.schemas],
        }
        needed = {
            "run": ("--spool", "--checkpoints", "--url"), "ls": ("--spool", "--checkpoints"), "audit": ("--spool", "--checkpoints", "--url"),
            "backfill": ("--spool", "--checkpoints", "--url"), "requeue": ("--spool", "--checkpoints", "--url"),
            "migrate": ("--schemas", "--url"), "rollup": ("--url",), "retain": ("--schemas", "--url"), "verify": ("--spool",), "prune": ("--spool", "--checkpoints"), "cat": ("--spool",),
        }[command]
        options = [part for place in needed for part in places[place]]
        return [binary("spool-loader"), command, *arguments, "--config", self.config, *options]

    def start_clickhouse(self) -> None:
        """Start ClickHouse and create the tables."""
        self.clickhouse.start_and_wait()
        self.run_loader("migrate", "apply")

    def start_writer(self) -> None:
        self.writer.start()
        if not wait_until(self.writer_listens, START_SECONDS):
            raise Trouble(f"spool-writer did not start; see {self.writer.log}")

    def writer_listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def run_loader(self, command: str, *arguments: str | Path, expect: tuple[int, ...] = (0,), timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command of the loader to its end.

        Raises:
            Trouble: it ended with another status than expected.
        """
        return run(self.loader_command(command, *arguments), expect, timeout)

    def load_once(self, expect: tuple[int, ...] = (0,), timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Load what is durable, and end."""
        return self.run_loader("run", "--once", expect=expect, timeout=timeout)

    def import_files(self, *files: Path, expect: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
        return run(self.writer_command("import", *files), expect)

    def stop(self) -> None:
        """Stop what runs, in the order in which nothing is lost or has to be sent again."""
        for process in (self.writer, self.loader, self.clickhouse):
            process.stop()

    def kill(self) -> None:
        for process in (self.writer, self.loader, self.clickhouse):
            process.kill()


def run(command: list[str | Path], expect: tuple[int, ...] = (0,), timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run a program to its end.

    Raises:
        Trouble: it ended with another status than expected, or not in time.
    """
    words = [str(part) for part in command]
    shown = " ".join([Path(words[0]).name, *words[1:]])
    try:
        result = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise Trouble(f"{shown}\n  did not end within {timeout:g} s; it said:\n{(error.stderr or b'').decode(errors='replace')}") from None
    if result.returncode not in expect:
        raise Trouble(f"{shown}\n  ended with {result.returncode}, not {' or '.join(map(str, expect))}:\n{result.stdout}{result.stderr}")
    return result
