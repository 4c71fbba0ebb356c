"""TLS as it is met in the field: nginx before ClickHouse, certificates of an authority of one's own, and all that can be wrong with them."""
from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from checks import assert_exactly_once, rows_by_table
from conftest import QUICK, MakePipeline
from fronts import Proxy
from pipeline import ROOT, Pipeline, Process, free_port, wait_until


def nginx_program() -> str:
    """As `scripts/setup --test` leaves it, or as it is installed."""
    for place in (ROOT / ".venv" / "nginx" / "usr" / "sbin" / "nginx", Path("/usr/sbin/nginx")):
        if place.exists():
            return str(place)
    found = shutil.which("nginx")
    assert found, "nginx is missing; run: scripts/setup --test"
    return found


class Authority:
    """A root, an intermediate below it, and certificates by the latter. All below one directory."""

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir()
        self._make("root", None, "basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign")
        self._make("intermediate", "root", "basicConstraints=critical,CA:true,pathlen:0\nkeyUsage=critical,keyCertSign")

    @property
    def root(self) -> Path:
        return self.home / "root.pem"

    def server(self, name: str, host: str, days: int = 2) -> Path:
        """A server's certificate with the intermediate behind it; the key lies beside it."""
        return self._leaf(name, f"subjectAltName={host}\nextendedKeyUsage=serverAuth", days)

    def client(self, name: str) -> Path:
        return self._leaf(name, "extendedKeyUsage=clientAuth", 2)

    def _leaf(self, name: str, extensions: str, days: int) -> Path:
        self._make(name, "intermediate", "basicConstraints=CA:false\n" + extensions, days)
        chain = self.home / f"{name}-chain.pem"
        chain.write_text((self.home / f"{name}.pem").read_text() + (self.home / "intermediate.pem").read_text())
        return chain

    def key(self, name: str) -> Path:
        return self.home / f"{name}.key"

    def _make(self, name: str, issuer: str | None, extensions: str, days: int = 2) -> None:
        (self.home / f"{name}.ext").write_text(extensions + "\n")
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr",
                      "-subj", f"/CN={name}")
        by = ["-signkey", f"{name}.key"] if issuer is None else ["-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key", "-CAcreateserial"]
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", "-days", str(days), "-extfile", f"{name}.ext", *by)
        (self.home / f"{name}.key").chmod(0o600)

    def _openssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], cwd=self.home, check=True, capture_output=True)


SERVER = """
    server {{
        listen {listen};
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        {more}
        location / {{
            proxy_pass http://127.0.0.1:{target};
            proxy_http_version 1.1;
            proxy_request_buffering off;
        }}
    }}
"""

NGINX = """
daemon off;
master_process off;
pid {home}/nginx.pid;
error_log {home}/error.log;
{user}
events {{ worker_connections 256; }}
http {{
    access_log {home}/access.log;
    client_max_body_size 0;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
{servers}
}}
"""


@dataclass
class Site:
    """One nginx with a server for each thing that can be the matter, before the pipeline's ClickHouse."""

    pipeline: Pipeline
    authority: Authority
    ports: dict[str, int]
    home: Path

    def url(self, name: str, scheme: str = "https") -> str:
        return f"{scheme}://localhost:{self.ports[name]}"

    def loader(self, command: str, url: str, *arguments: str, **settings: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command of the loader against an address, with these settings of its connection."""
        words = self.pipeline.loader_command(command, *arguments)
        place = words.index("--url")
        words[place + 1] = url
        environment = {f"COLDPATH_LOADER_{name.upper()}": str(value) for name, value in settings.items()}
        return subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=60, env=os.environ | environment)

    def refusal(self, url: str, **settings: str | Path) -> str:
        """What the loader says where it must not get through."""
        result = self.loader("audit", url, **settings)
        assert result.returncode == 74, result.stdout + result.stderr
        lines = result.stderr.strip().splitlines()
        assert len(lines) == 1 and url in lines[0], result.stderr
        return lines[0]


@pytest.fixture
def site(pipeline: Pipeline, orders_file: Path, tmp_path: Path) -> Iterator[Site]:
    pipeline.import_files(orders_file)
    authority = Authority(tmp_path / "authority")
    good = authority.server("good", "DNS:localhost")
    servers = {
        "good": (good, "good", ""),
        "elsewhere": (authority.server("elsewhere", "DNS:clickhouse.example"), "elsewhere", ""),
        "expired": (authority.server("expired", "DNS:localhost", days=-1), "expired", ""),
        "alone": (authority.home / "good.pem", "good", ""),  # the intermediate is missing
        "members": (good, "good", f"ssl_client_certificate {authority.root}; ssl_verify_client on; ssl_verify_depth 2;"),
        "old": (good, "good", "ssl_protocols TLSv1.2;"),
        "ancient": (good, "good", "ssl_protocols TLSv1 TLSv1.1; ssl_ciphers ALL:@SECLEVEL=0;"),
        "narrow": (good, "good", "client_max_body_size 1k;"),
    }
    home = tmp_path / "nginx"
    home.mkdir()
    ports = {name: free_port() for name in servers}
    parts = [
        SERVER.format(listen=f"127.0.0.1:{ports[name]} ssl", certificate=certificate, key=authority.key(key), more=more,
                      target=pipeline.clickhouse.port)
        for name, (certificate, key, more) in servers.items()]
    config = home / "nginx.conf"
    config.write_text(NGINX.format(home=home, servers="".join(parts), user="user root;" if os.getuid() == 0 else ""))
    # Its own files only: nothing of the system's configuration is read, and no service is touched.
    nginx = Process("nginx", [nginx_program(), "-p", home, "-e", home / "error.log", "-c", config], home / "output.log")
    nginx.start()
    try:
        assert wait_until(lambda: (home / "nginx.pid").exists() or not nginx.is_alive, 10) and nginx.is_alive, (home / "error.log").read_text()
        yield Site(pipeline, authority, ports, home)
    finally:
        nginx.kill()


def test_rows_go_through_tls_and_are_audited(site: Site, orders_file: Path) -> None:
    for version in ("1.2", "1.3"):
        result = site.loader("run", site.url("good"), "--once", ca_file=site.authority.root, tls_min_version=version)
        assert result.returncode == 0, result.stdout + result.stderr
    assert site.loader("audit", site.url("good"), ca_file=site.authority.root).returncode == 0
    assert_exactly_once(site.pipeline, orders_file)


def test_an_authority_that_is_not_trusted_is_refused(site: Site, tmp_path: Path) -> None:
    words = site.refusal(site.url("good"))
    assert "certificate" in words and "loader.ca_file" in words
    # Another authority: the file replaces the system's, it does not add to it.
    other = Authority(tmp_path / "other")
    assert "loader.ca_file" in site.refusal(site.url("good"), ca_file=other.root)
    assert "loader.ca_file" in site.refusal(site.url("alone"), ca_file=site.authority.root)
    assert rows_by_table(site.pipeline) == {}


def test_a_certificate_for_another_host_is_refused(site: Site) -> None:
    words = site.refusal(site.url("elsewhere"), ca_file=site.authority.root)
    assert "localhost" in words and "use a name in loader.url that the server's certificate has" in words
    assert "use a name" in site.refusal(site.url("good").replace("localhost", "127.0.0.1"), ca_file=site.authority.root)


def test_an_expired_certificate_is_refused(site: Site) -> None:
    words = site.refusal(site.url("expired"), ca_file=site.authority.root)
    assert "expired" in words and "clock" in words


def test_a_server_that_wants_a_client_certificate_gets_it(site: Site, tmp_path: Path, orders_file: Path) -> None:
    url, root = site.url("members"), site.authority.root
    assert "loader.client_certificate" in site.refusal(url, ca_file=root)
    stranger = Authority(tmp_path / "strangers")
    words = site.refusal(url, ca_file=root, client_certificate=stranger.client("stranger"), client_key=stranger.key("stranger"))
    assert "loader.client_certificate" in words
    member = site.authority.client("member")
    result = site.loader("run", url, "--once", ca_file=root, client_certificate=member, client_key=site.authority.key("member"))
    assert result.returncode == 0, result.stdout + result.stderr
    both = tmp_path / "both.pem"
    both.write_text(member.read_text() + site.authority.key("member").read_text())
    both.chmod(0o600)
    assert site.loader("audit", url, ca_file=root, client_certificate=both).returncode == 0, "the key may lie in the same file"
    assert_exactly_once(site.pipeline, orders_file)


def test_a_key_of_another_certificate_is_named(site: Site) -> None:
    member = site.authority.client("member")
    words = site.refusal(site.url("members"), ca_file=site.authority.root, client_certificate=member, client_key=site.authority.key("good"))
    assert "loader.client_certificate and loader.client_key" in words


def test_old_versions_of_tls_are_refused(site: Site) -> None:
    root = site.authority.root
    assert "loader.tls_min_version" in site.refusal(site.url("old"), ca_file=root, tls_min_version="1.3")
    assert site.loader("audit", site.url("old"), ca_file=root).returncode == 1, "1.2 is spoken by default; no row is there yet"
    assert "loader.tls_min_version" in site.refusal(site.url("ancient"), ca_file=root)


def test_the_wrong_scheme_is_named(site: Site) -> None:
    plain = site.pipeline.clickhouse.url.replace("http://", "https://")
    assert "is http:// meant?" in site.refusal(plain)
    assert "is https:// meant?" in site.refusal(site.url("good", "http"))


def test_a_proxy_without_its_server_is_waited_for(site: Site, orders_file: Path) -> None:
    pipeline = site.pipeline
    pipeline.clickhouse.stop()
    words = pipeline.loader_command("run")
    words[words.index("--url") + 1] = site.url("good")
    pipeline.config.write_text(QUICK + f'ca_file = "{site.authority.root}"\n')
    loader = Process("spool-loader", words, pipeline.loader.log)
    loader.start()
    try:
        assert wait_until(lambda: "HTTP status 502: 502 Bad Gateway" in loader.log.read_text(), 20)
        pipeline.clickhouse.start_and_wait()
        assert wait_until(lambda: rows_by_table(pipeline).get("orders", 0) > 1_000, 20, step=0.2), loader.log.read_text()
        assert loader.stop() == 0
    finally:
        loader.kill()
    assert_exactly_once(pipeline, orders_file)


def test_a_proxy_that_limits_the_size_of_requests_is_named(site: Site) -> None:
    result = site.loader("run", site.url("narrow"), "--once", ca_file=site.authority.root)
    assert result.returncode == 74 and rows_by_table(site.pipeline) == {}
    assert re.search(r"413 .*Request Entity Too Large; .*client_max_body_size.*loader\.batch_bytes", result.stdout + result.stderr)


def test_tls_goes_through_a_proxy_and_is_checked_end_to_end(site: Site, orders_file: Path) -> None:
    proxy = Proxy()
    result = site.loader("run", site.url("good"), "--once", ca_file=site.authority.root, proxy=proxy.url)
    assert result.returncode == 0, result.stdout + result.stderr
    assert proxy.asked and set(proxy.asked) == {f"CONNECT localhost:{site.ports['good']} HTTP/1.1"}
    assert "loader.ca_file" in site.refusal(site.url("good"), proxy=proxy.url)
    assert_exactly_once(site.pipeline, orders_file)


def test_the_loader_starts_with_no_file_that_it_cannot_use(make_pipeline: MakePipeline, tmp_path: Path, orders_file: Path) -> None:
    pipeline = make_pipeline()
    pipeline.import_files(orders_file)
    pipeline.config.write_text(QUICK + f'ca_file = "{tmp_path}/nowhere.pem"\n')
    failed = pipeline.load_once(expect=(64,))
    assert f"loader.ca_file: there is no file {tmp_path}/nowhere.pem" in failed.stderr
