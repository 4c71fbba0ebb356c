"""The Debian package: built, installed, run and removed, in a copy-on-write root of its own."""
from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from pipeline import ROOT

KEPT_BY_DPKG = re.compile(
    r"^(var/lib/(dpkg|systemd)|var/cache|var/log|etc/(passwd|group|shadow|gshadow|subuid|subgid|\.pwd\.lock|\.updated)|run|tmp|usr/share/(info/dir|man$)|var/lib$|var$|etc$|usr($|/share$))")

IN_ROOT = r"""
set -eu
dpkg -i /package.deb
getent passwd coldpath >/dev/null
spool-writer check-config --config /etc/coldpath/coldpath.toml | grep -q '^table orders: '
spool-writer --version; spool-loader --version
test -f /usr/share/man/man1/spool-writer.1.gz
zcat /usr/share/man/man1/spool-loader.retain.1.gz | grep -q 'dry-run'
bash -n /usr/share/bash-completion/completions/spool-loader
printf '#include <coldpath/coldpath_ring.h>\nint main(void) { return 0; }\n' > /tmp/ring.c
cc -c -o /dev/null /tmp/ring.c || clang -c -o /dev/null /tmp/ring.c
cd /
as_user() { setpriv --reuid coldpath --regid coldpath --clear-groups "$@"; }
ls -ld /run/coldpath /run/coldpath/rings /var/lib/coldpath
setpriv --reuid coldpath --regid coldpath --clear-groups spool-writer run --config /etc/coldpath/coldpath.toml 2>/tmp/writer.log & writer=$!
for _ in $(seq 100); do [ -S /run/coldpath/writer.sock ] && break; sleep 0.05; done
kill -TERM $writer; wait $writer
grep -q ready /tmp/writer.log
as_user spool-writer import --config /etc/coldpath/coldpath.toml /input.jsonl
as_user spool-loader ls --config /etc/coldpath/coldpath.toml | tee /ls.txt
dpkg --purge coldpath
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("no dpkg here")
    out = tmp_path_factory.mktemp("deb")
    done = subprocess.run([ROOT / "scripts" / "deb", out], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("coldpath_*.deb"))


def test_it_names_what_it_needs_and_is_small(package: Path) -> None:
    control = subprocess.run(["dpkg-deb", "-I", package], capture_output=True, text=True, check=True).stdout
    for library in ("libc6 (>= ", "liblz4-1", "libcurl", "libssl"):
        assert library in control
    # Once a stray import brought 44 MB of ICU into each program.
    assert package.stat().st_size < 16 << 20
    files = subprocess.run(["dpkg-deb", "-c", package], capture_output=True, text=True, check=True).stdout
    for path in ("usr/bin/spool-writer", "usr/lib/systemd/system/spool-loader.service", "usr/share/coldpath/schemas/0001_market_data.sql",
                 "usr/include/coldpath/coldpath_ring.h", "usr/share/man/man1/spool-loader.1.gz", "etc/coldpath/coldpath.toml",
                 "usr/share/zsh/vendor-completions/_spool-writer", "usr/share/doc/coldpath/docs/operations.md", "usr/lib/sysusers.d/coldpath.conf"):
        assert f"./{path}" in files
    assert " root/root " in files and not re.search(r" (?!root/root)\S+/\S+ +\d+ \d{4}-", files)
    modes = {line.split()[5]: line.split()[0] for line in files.splitlines()}
    assert modes["./usr/bin/spool-writer"] == "-rwxr-xr-x" and not any("w" in mode[5:] for mode in modes.values())


def test_it_installs_runs_and_leaves_nothing_but_what_was_recorded(package: Path, orders_file: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("only root can make a root of its own")
    upper, work, root = tmp_path / "upper", tmp_path / "work", tmp_path / "root"
    for folder in (upper, work, root):
        folder.mkdir(mode=0o755)
    # An overlay cannot lie on another one: then this is a container, and its disk is elsewhere.
    mount = f"mount -t tmpfs tmpfs {tmp_path} && mkdir {upper} {work} {root} && mount -t overlay overlay -o lowerdir=/,upperdir={upper},workdir={work} {root}"
    if subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("no overlay can be mounted here")
    (package.parent / "in-root.sh").write_text(IN_ROOT)
    copy = f"cp {package} {root}/package.deb && cp {orders_file} {root}/input.jsonl && cp {package.parent}/in-root.sh {root}/in-root.sh && chmod 644 {root}/input.jsonl"
    mounts = f"mount -t proc proc {root}/proc && mount --rbind /dev {root}/dev && mount -t tmpfs tmpfs {root}/run && mount -t tmpfs tmpfs {root}/tmp && chmod 1777 {root}/tmp"
    left = f"(cd {upper} && find . -type f -o -type l -o -type d | sed 's,^./,,') > /tmp/left.$$; cat /tmp/left.$$; rm /tmp/left.$$"
    script = f"{mount} && {copy} && {mounts} && chroot {root} sh /in-root.sh >&2 && {left}"
    done = subprocess.run(["unshare", "-m", "-f", "-p", "--kill-child", "sh", "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r"^orders +\d+ +\d+", done.stderr, re.M) and "stays, with what was recorded" in done.stderr
    assert "drwxrws--- 2 coldpath coldpath" in done.stderr
    own = {"package.deb", "input.jsonl", "in-root.sh", "ls.txt", ".", ""}
    remains = {path for path in done.stdout.splitlines() if not KEPT_BY_DPKG.match(path) and path not in own}
    spool = {path for path in remains if path.startswith("var/lib/coldpath")}
    assert any(path.endswith(".lz4") for path in spool)
    # A file that was there only in between is a device in the overlay, which is not listed. Directories that are there anyway are.
    new = {path for path in remains - spool if not Path("/", path).exists()}
    assert not new, new
