#!/bin/sh
# Starts a ClickHouse for development: the real server where `clickhouse` is on the PATH, else the development server.
# usage: devserver/run.sh DATA_DIR PORT
set -eu

if [ $# -ne 2 ]; then
    echo "usage: $0 DATA_DIR PORT" >&2
    exit 64
fi
port=$2
case $port in
    '' | *[!0-9]*) echo "$0: PORT must be a number: $port" >&2; exit 64 ;;
esac
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
mkdir -p -- "$1"
data=$(CDPATH='' cd -- "$1" && pwd)

if ! command -v clickhouse >/dev/null 2>&1; then
    python=$root/.venv/bin/python
    if [ ! -x "$python" ]; then
        echo "$0: $python is missing. Create it:" >&2
        echo "  python3 -m venv .venv && .venv/bin/pip install --no-deps -r devserver/requirements.txt" >&2
        exit 69
    fi
    exec "$python" "$root/devserver/coldpath_devserver.py" --data "$data" --listen "127.0.0.1:$port"
fi

# The two kinds of server do not share files: the embedded engine's are below $data/engine.
case $data in
    *[\<\>\&]*) echo "$0: the data directory's path may not contain < > &" >&2; exit 64 ;;
esac
mkdir -p -- "$data/server"
cat >"$data/server.xml" <<XML
<clickhouse>
    <logger><level>warning</level><console>1</console></logger>
    <listen_host>127.0.0.1</listen_host>
    <http_port>$port</http_port>
    <path>$data/server/</path>
    <tmp_path>$data/server/tmp/</tmp_path>
    <user_files_path>$data/server/user_files/</user_files_path>
    <format_schema_path>$data/server/format_schemas/</format_schema_path>
    <user_directories>
        <users_xml><path>$data/server.xml</path></users_xml>
        <local_directory><path>$data/server/access/</path></local_directory>
    </user_directories>
    <profiles><default/></profiles>
    <quotas><default/></quotas>
    <users>
        <default>
            <password/>
            <networks><ip>127.0.0.1</ip></networks>
            <profile>default</profile>
            <quota>default</quota>
            <access_management>1</access_management>
        </default>
    </users>
</clickhouse>
XML
exec clickhouse server --config-file="$data/server.xml"
