# Sourced by the other scripts: `environment FOLDER PIP_ARGUMENTS...` makes a virtual environment once, and
# `debian "COMMANDS" PACKAGES...` installs Debian's packages unless all of the commands are there.

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

constraints=constraints.txt  # the versions that are installed

environment() {
  local folder=$1 stamp python
  shift
  stamp="$(cat pyproject.toml $constraints scripts/python.sh | cksum) $PWD $*"
  if [ "$(cat "$folder/.installed" 2>/dev/null)" = "$stamp" ]; then return; fi
  python=$(find_python) || exit 1
  echo "installing into $folder (once) ..." >&2
  [ -x "$folder/bin/python" ] || "$python" -m venv --clear "$folder" || fail "cannot make a virtual environment in $folder"
  "$folder/bin/python" -m pip install --quiet --disable-pip-version-check -c "$constraints" "$@" ||
    fail "pip could not install jaxal (its message is above): is a Python package index reachable, and is there space?"
  echo "$stamp" > "$folder/.installed"
}

debian() {
  local commands=$1 missing=
  shift
  for command in $commands; do command -v "$command" > /dev/null || missing=$command; done
  if [ -z "$missing" ]; then return; fi
  if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
    echo "installing $* (once) ..." >&2
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y "$@"; } > /dev/null && return
  fi
  echo "$missing is not there (Debian: $*): what needs it is skipped" >&2
}

# What developers use. torch by its exact version: a range would take the newest build, with gigabytes of CUDA packages.
development() { environment .venv-test torch==2.13.0 -e '.[dev]'; }

# The same tests with the lowest versions that pyproject.toml admits. torch has no small build of its lowest version: 6 GB.
lowest() {
  local python
  python=$(find_python) || exit 1
  constraints=.cache/lowest.txt
  mkdir -p .cache
  "$python" scripts/lowest extract offline-models static-models test > $constraints || exit 1
  # setuptools builds the package in an environment of its own, which reads these variables and not -c
  PIP_CONSTRAINT=$constraints PIP_BUILD_CONSTRAINT=$constraints environment .venv-lowest -e '.[extract,offline-models,static-models,test]'
}
