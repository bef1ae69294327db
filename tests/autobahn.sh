#!/usr/bin/env bash
# Has the Autobahn|Testsuite judge the client, and fails on any verdict but OK and INFORMATIONAL, also on the close.
# Installs the suite below the target directory.
#
# usage: tests/autobahn.sh [--install|quick|full|CASE…]
#
#   --install   the suite, and runs nothing
#   quick       sections 1 to 7, 9 and 10, and of each part of 12 and 13 (compression) the subcases 1 to 4, messages of up to
#               1 KiB, and of three parts subcase 11, messages of 8 KiB in fragments
#   full        all cases; most of the time the suite computes
#   CASE…       such as 6.4.3, or a pattern such as '9.*', which takes every case that begins with a match
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/tools.sh

# The released suite is for Python 2 alone, and this is the youngest set of packages that works there.
PACKAGES=(
    autobahntestsuite==25.10.1 autobahn==0.10.9 txaio==2.1.0 wsaccel==0.6.2
    Twisted==19.10.0 incremental==16.10.1 zope.interface==4.6.0 Automat==20.2.0
    constantly==15.1.0 hyperlink==20.0.1 idna==2.10 typing==3.10.0.0 attrs==21.4.0
    PyHamcrest==1.10.1 six==1.16.0 klein==17.10.0 Werkzeug==1.0.1
    Jinja2==2.11.3 MarkupSafe==1.1.1
    pyOpenSSL==19.1.0 cryptography==3.3.2 cffi==1.15.1 pycparser==2.21
    enum34==1.1.10 ipaddress==1.0.23 service_identity==18.1.0 pyasn1==0.4.8
    pyasn1-modules==0.2.8 unittest2==1.1.0 traceback2==1.4.0 linecache2==1.0.0 argparse==1.4.0
)
VIRTUALENV=virtualenv==16.7.12
ROOT=$TARGET/autobahn
REPORT=$ROOT/report
unset PYTHONPATH PYTHONHOME
export PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONWARNINGS=ignore

# The newest CPython 2.7 of pyenv, else the one on PATH, where it can also be a stand-in that only says that it is none.
find_python27() {
    local python newest=
    while read -r python; do newest=$python; done < <(
        compgen -G "${PYENV_ROOT:-$HOME/.pyenv}/versions/2.7.*/bin/python2.7" | sort -V
    )
    for python in "$newest" python2.7; do
        if [[ -n $python ]] && "$python" -c 'import platform; assert platform.python_implementation() == "CPython"' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    return 1
}

# zope is a namespace package and needs .pth files: a virtualenv has them, `pip --target` has not.
install() {
    local python=$1
    {
        "$python" -m pip install --quiet --target "$ROOT/virtualenv" "$VIRTUALENV" &&
            PYTHONPATH=$ROOT/virtualenv "$python" -m virtualenv --quiet --no-download "$ROOT/venv" &&
            "$ROOT/venv/bin/pip" install --quiet --no-deps "${PACKAGES[@]}" &&
            "$ROOT/venv/bin/python" -c 'import autobahntestsuite.fuzzing'
    } >"$ROOT/pip.log" 2>&1 && echo "${PACKAGES[*]}" >"$ROOT/installed"
}

case ${1-quick} in
--install) CASES=() ;;
quick) CASES=({1..7}'.*' '9.*' '10.*' 12.{1..5}.{1..4} 12.1.11 13.{1..7}.{1..4} 13.1.11 13.2.11) ;;
full) CASES=('*') ;;
-*)
    sed -n '/^# usage/,/^#   CASE/s/^# //p' "$0" >&2
    exit 2
    ;;
*) CASES=("$@") ;;
esac

need python3 python3
if [[ $(cat "$ROOT/installed" 2>/dev/null) != "${PACKAGES[*]}" ]]; then
    rm -rf "$ROOT" && mkdir -p "$ROOT"
    python27=$(find_python27) || { pyenv install 2.7.18 >"$ROOT/pyenv.log" 2>&1 && python27=$(find_python27); } ||
        missing "CPython 2.7, which the suite needs: there is none on PATH, and pyenv cannot install it, see $ROOT/pyenv.log"
    install "$python27" || missing "the suite, and it cannot be installed, see $ROOT/pip.log"
fi
need_openssl
if [[ ${1-} == --install ]]; then exit; fi

cargo build --quiet "${FEATURES[@]}" --example autobahn

# `wstest` would listen on every interface, whatever its configuration says: this is its fuzzing server on loopback, on
# a port that was free. Once it listens it writes that port to descriptor 3.
rm -rf "$REPORT" && mkdir -p "$REPORT" && mkfifo "$REPORT/port"
"$ROOT/venv/bin/python" -u - "$REPORT" "${CASES[@]}" 3>"$REPORT/port" >"$REPORT/server.log" 2>&1 <<'PYTHON' &
import json, os, sys
from autobahntestsuite.fuzzing import FuzzingServerFactory
from twisted.internet import reactor

report, cases = sys.argv[1], sys.argv[2:]
factory = FuzzingServerFactory({"url": "ws://127.0.0.1", "outdir": report, "cases": cases})
known = factory.CaseSet
unknown = [case for case in cases if not set(known.resolveCasePatternList([case])) & set(known.CasesById)]
if unknown:
    sys.exit("no such case: " + " ".join(unknown))
with open(os.path.join(report, "cases.json"), "w") as file:
    json.dump(factory.specCases, file)
factory.externalPort = reactor.listenTCP(0, factory, interface="127.0.0.1").getHost().port
os.write(3, "%d\n" % factory.externalPort)
os.close(3)
reactor.run()
PYTHON
server=$!
trap 'kill "$server" 2>/dev/null || true' EXIT
# It ends without a port if the server does.
read -r port <"$REPORT/port" || {
    echo "autobahn: the server does not start:"
    cat "$REPORT/server.log"
    exit 1
} >&2

"$TARGET/debug/examples/autobahn" "ws://127.0.0.1:$port"

python3 - "$REPORT" <<'PYTHON'
import collections, json, pathlib, sys

GOOD = {"OK", "INFORMATIONAL"}
report = pathlib.Path(sys.argv[1])
asked = json.loads((report / "cases.json").read_text())
verdicts = json.loads((report / "index.json").read_text()).get("wsflow", {})

sections = collections.defaultdict(collections.Counter)
for case in asked:
    verdict = verdicts.get(case, {"behavior": "NOT RUN"})["behavior"]
    sections[case.split(".")[0]].update(["cases", verdict])
sections["all"] = sum(sections.values(), collections.Counter())
columns = ["cases", *sorted(set(sections["all"]) - {"cases"}, key=lambda verdict: (verdict != "OK", verdict))]
print("section  " + "  ".join(columns))
for section, counts in sections.items():
    print(f"{section:>7}  " + "  ".join(f"{counts[column]:{len(column)}}" for column in columns))

bad = []
for case in asked:
    if case not in verdicts:
        bad.append(f"{case}: not run")
    else:
        behavior, close = verdicts[case]["behavior"], verdicts[case]["behaviorClose"]
        if not {behavior, close} <= GOOD:
            file = verdicts[case]["reportfile"]
            result = json.loads((report / file).read_text())
            bad.append(f"{case}: {behavior}, close {close}: {result['result']} {result['resultClose']}: {file}")
if bad:
    print(f"\n{len(bad)} cases are neither OK nor INFORMATIONAL; the files are in {report}:")
    print("\n".join(bad))
    sys.exit(1)
PYTHON
