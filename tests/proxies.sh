#!/usr/bin/env bash
# Runs the client through proxies that others wrote: tinyproxy and microsocks of Debian, proxy.py and pproxy of PyPI.
# Unpacks them below the target directory and starts them on ports of loopback. More: tests/proxies.rs.
#
# usage: tests/proxies.sh [--install]
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/tools.sh

PROXY_PY=2.4.10
PPROXY=2.7.9
ROOT=$TARGET/proxies
mkdir -p "$ROOT"

# debian PACKAGE PROGRAM: the program of the package, unpacked.
debian() {
    [[ -x $ROOT/$1/usr/bin/$2 ]] && return
    command -v apt-get >/dev/null && command -v dpkg >/dev/null || return
    (
        cd "$ROOT"
        apt-get download "$1" || { apt-get update && apt-get download "$1"; }
        dpkg -x "$1"_*.deb "$1" && rm "$1"_*.deb
    ) >"$ROOT/$1.deb.log" 2>&1
}

venv() {
    python3 -m venv --clear "$ROOT/venv" &&
        "$ROOT/venv/bin/pip" install --quiet "proxy.py==$PROXY_PY" "pproxy==$PPROXY" &&
        touch "$ROOT/venv/$PROXY_PY-$PPROXY"
}
need python3 python3
need openssl openssl
debian tinyproxy-bin tinyproxy || missing "the Debian package tinyproxy-bin, see $ROOT/tinyproxy-bin.deb.log"
debian microsocks microsocks || missing "the Debian package microsocks, see $ROOT/microsocks.deb.log"
[[ -e $ROOT/venv/$PROXY_PY-$PPROXY ]] || venv >"$ROOT/pip.log" 2>&1 ||
    missing "proxy.py and pproxy, and they cannot be installed, see $ROOT/pip.log"
need_openssl
if [[ ${1-} == --install ]]; then exit; fi

started=()
stop() { ((${#started[@]} == 0)) || kill "${started[@]}" 2>/dev/null || true; }
trap stop EXIT

# The next port that nobody listens on, in `port`.
port=$((20000 + RANDOM % 10000))
is_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
next_port() {
    port=$((port + 1))
    while is_open "$port"; do port=$((port + 1)); done
}

# start NAME SCHEME ACCESS COMMAND...: starts it, and lists it for the tests once its port is open. ACCESS is `open`, or
# `closed` to all but user:secret.
PROXIES=
start() {
    local name=$1 scheme=$2 access=$3 pid
    shift 3
    "$@" >"$ROOT/$name.log" 2>&1 &
    pid=$!
    started+=("$pid")
    for _ in {1..100}; do
        if is_open "$port"; then
            PROXIES+="$name $scheme://127.0.0.1:$port $access"$'\n'
            return
        fi
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    echo "proxies: $name does not start:" >&2
    cat "$ROOT/$name.log" >&2
    exit 1
}

tinyproxy=$ROOT/tinyproxy-bin/usr/bin/tinyproxy
for access in open closed; do
    next_port
    conf=$ROOT/tinyproxy-$access.conf
    printf '%s\n' "Port $port" "Listen 127.0.0.1" "Timeout 60" "Allow 127.0.0.1" "MaxClients 50" >"$conf"
    [[ $access == open ]] || echo "BasicAuth user secret" >>"$conf"
    start "tinyproxy-$access" http $access "$tinyproxy" -d -c "$conf"
done
microsocks=$ROOT/microsocks/usr/bin/microsocks
next_port
start microsocks-open socks5 open "$microsocks" -i 127.0.0.1 -p "$port"
next_port
start microsocks-closed socks5 closed "$microsocks" -i 127.0.0.1 -p "$port" -u user -P secret

proxy_py=("$ROOT/venv/bin/proxy" --hostname 127.0.0.1 --num-acceptors 1 --num-workers 1 --data-dir "$ROOT/proxy.py")
next_port
start proxy.py-open http open "${proxy_py[@]}" --port "$port"
next_port
start proxy.py-closed http closed "${proxy_py[@]}" --port "$port" --basic-auth user:secret
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=proxy \
    -addext "subjectAltName=IP:127.0.0.1" -addext "basicConstraints=critical,CA:FALSE" \
    -keyout "$ROOT/key.pem" -out "$ROOT/certificate.pem" 2>"$ROOT/openssl.log"
export PROXIES_CERTIFICATE=$ROOT/certificate.pem
next_port
start proxy.py-tls https closed "${proxy_py[@]}" --port "$port" --basic-auth user:secret \
    --cert-file "$ROOT/certificate.pem" --key-file "$ROOT/key.pem"
pproxy=("$ROOT/venv/bin/pproxy" --auth 0)
next_port
start pproxy-http-open http open "${pproxy[@]}" -l "http://127.0.0.1:$port"
next_port
start pproxy-http-closed http closed "${pproxy[@]}" -l "http://127.0.0.1:$port#user:secret"
next_port
start pproxy-socks-open socks5 open "${pproxy[@]}" -l "socks5://127.0.0.1:$port"
next_port
start pproxy-socks-closed socks5 closed "${pproxy[@]}" -l "socks5://127.0.0.1:$port#user:secret"

export PROXIES
cargo test --quiet "${FEATURES[@]}" --test proxies -- --ignored --nocapture
