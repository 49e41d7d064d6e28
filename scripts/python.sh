# Sourced by quickstart and test: `environment FOLDER PIP_ARGUMENTS...` makes a virtual environment once.

fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

find_python() {
  for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  fail "no Python 3.11 or newer with venv was found: install one, or name it with PYTHON=/path/to/python"
}

environment() {
  local folder=$1 stamp python
  shift
  stamp="$(cat pyproject.toml constraints.txt scripts/python.sh | cksum) $PWD $*"
  if [ "$(cat "$folder/.installed" 2>/dev/null)" = "$stamp" ]; then return; fi
  python=$(find_python) || exit 1
  echo "installing into $folder (once) ..." >&2
  [ -x "$folder/bin/python" ] || "$python" -m venv --clear "$folder" || fail "cannot make a virtual environment in $folder"
  "$folder/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt "$@" ||
    fail "pip could not install jaxal (its message is above): is a Python package index reachable, and is there space?"
  echo "$stamp" > "$folder/.installed"
}
