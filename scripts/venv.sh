# Shared by ./run and ./test, which set $root first: a private .venv with locked packages.
# use_venv sets $python. Packages come from whatever pip is configured with.

say() { printf 'patina: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# The first Python that is new enough. Shims of version managers can exist and not work: try each.
find_python() {
    local candidate
    for candidate in python3.13 python3.12 python3.11 python3 python; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    die "Python 3.11 or newer is missing: install it and try again"
}

make_venv() {
    local base
    base=$(find_python) || exit 1
    "$base" -c 'import ensurepip, venv' >/dev/null 2>&1 ||
        die "$base has no venv module: install it (on Debian and Ubuntu the package python3-venv)"
    say "making .venv with $("$base" --version)"
    "$base" -m venv --clear "$root/.venv" ||
        die "cannot make $root/.venv: is the folder writable, the disk full?"
}

use_venv() {
    [ -x "$root/.venv/bin/python" ] || [ -x "$root/.venv/Scripts/python.exe" ] || make_venv
    python=$root/.venv/bin/python
    [ -x "$python" ] || python=$root/.venv/Scripts/python.exe # Windows
}

# Bring .venv to the lock file $1. A copy of what was installed last stands in .venv: when nothing
# changed, one comparison is all that happens.
install_lock() {
    cmp -s "$root/$1" "$root/.venv/$1" && return
    # Interrupted while it was made, a .venv has a Python and no pip.
    "$python" -m pip --version >/dev/null 2>&1 || make_venv
    say "installing the packages of $1 (once; this can take a minute)"
    "$python" -m pip install -qq --disable-pip-version-check --require-hashes -r "$root/$1" ||
        die "the packages of $1 cannot be installed: pip says why above"
    # Patina itself is not built: its packages find ../src by a relative path.
    "$python" - "$root/src" <<'EOF' || die "cannot write into $root/.venv"
import os, pathlib, sys, sysconfig
packages = sysconfig.get_path("purelib")
source = os.path.relpath(sys.argv[1], packages)
pathlib.Path(packages, "patina.pth").write_text(source + "\n", encoding="utf-8")
EOF
    cp "$root/$1" "$root/.venv/$1"
}
