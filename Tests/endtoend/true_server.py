"""A true ClickHouse server: the 18.16 that Debian 12 packages, as an ordinary process with its data below the test's directory."""
from __future__ import annotations

import os
import re
import shutil
import signal
import time
from pathlib import Path
from xml.sax.saxutils import escape

from pipeline import ROOT, ClickHouse, Process, free_port

UNPACKED = ROOT / ".clickhouse-server" / "clickhouse-server"
"""Where `scripts/setup --test` puts the program: the package itself would leave a service running."""

CONFIG = """<?xml version="1.0"?>
<yandex>
    <logger><level>information</level><log>{directory}/server.log</log><errorlog>{directory}/server.err.log</errorlog></logger>
    <listen_host>127.0.0.1</listen_host>
    <http_port>{http_port}</http_port>
    <tcp_port>{tcp_port}</tcp_port>
    <path>{data}/</path>
    <tmp_path>{data}/tmp/</tmp_path>
    <users_config>{directory}/users.xml</users_config>
    <default_profile>default</default_profile>
    <default_database>default</default_database>
    <mark_cache_size>16777216</mark_cache_size>
    <timezone>UTC</timezone>
</yandex>
"""

USER = """<{name}><password>{password}</password><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota></{name}>"""
USERS = """<?xml version="1.0"?>
<yandex><profiles><default/></profiles><quotas><default/></quotas><users>{users}</users></yandex>
"""


def program() -> Path | None:
    """The server's program; None if it is not here."""
    if UNPACKED.exists():
        return UNPACKED
    found = shutil.which("clickhouse-server", path=os.environ.get("PATH", "") + ":/usr/sbin")
    return Path(found) if found else None


class TrueServer(ClickHouse):
    """`default` may do everything without a password; `recorder` has one."""

    def __init__(self, directory: Path, data: Path | None = None) -> None:
        """`data` is where its tables lie, if that is not in `directory`."""
        self.directory = directory / "server"
        self.directory.mkdir(parents=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._credentials: dict[str, str] = {}
        self._users_time = 0
        self.data = data or self.directory / "data"
        (self.data / "tmp").mkdir(parents=True, exist_ok=True)
        (self.directory / "config.xml").write_text(
            CONFIG.format(directory=self.directory, data=self.data, http_port=self.port, tcp_port=free_port()))
        self.set_password("correct horse")
        binary = program()
        assert binary is not None, "there is no clickhouse-server here"
        Process.__init__(self, "clickhouse-server", [binary, f"--config-file={self.directory / 'config.xml'}"], self.directory / "out.log")

    def set_password(self, password: str) -> None:
        """Of the user `recorder`. A running server sees it within two seconds."""
        users = USER.format(name="default", password="") + USER.format(name="recorder", password=escape(password))
        draft = self.directory / "users.new"
        draft.write_text(USERS.format(users=users))
        # Its clock for files has seconds only.
        self._users_time = max(int(time.time()), self._users_time + 2)
        os.utime(draft, (self._users_time, self._users_time))
        draft.rename(self.directory / "users.xml")

    def freeze(self) -> None:
        """SIGSTOP: connections still come about, and nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


# Tables for it


def old_table(schema: str) -> str:
    """A table of `schemas/` as 18.16 can have it: without what it does not know, and with types of the same bytes where it lacks one."""
    text = re.sub(r"--.*", "", schema)
    text = re.sub(r"\bCODEC\((?:[^()]|\([^()]*\))*\)", "", text)
    text = re.sub(r"\bCOMMENT '(?:[^'\\]|\\.)*'", "", text)
    # Every column is sent, so its DEFAULT does not matter.
    text = re.sub(r"\bDEFAULT (?:'(?:[^'\\]|\\.)*'|[^\s,]+)", "", text)
    text = re.sub(r",\s*INDEX .*", "", text)
    text = re.sub(r"\bTTL .*", "", text)
    text = re.sub(r"\bSETTINGS .*", "", text, flags=re.S)
    text = re.sub(r"LowCardinality\((Nullable\(\w+\)|\w+)\)", r"\1", text)
    text = text.replace("DateTime64(9, 'UTC')", "Int64")
    text = re.sub(r"\bBool\b", "UInt8", text)
    text = re.sub(r"PARTITION BY (toDate|toYYYYMM)\((\w+)\)", r"PARTITION BY \1(toDateTime(intDiv(\2, 1000000000)))", text)
    # Some columns are named like keywords.
    return re.sub(r"^    (\w+) (?=[A-Z])", r"    `\1` ", text.strip().rstrip(";"), flags=re.M)
