# Sourced by the scripts beside it: makes .venv in the repository and installs palitune into it, once.
# usage: . bin/environment.sh REPOSITORY [EXTRA]      PYTHON names the interpreter to use (default: python3)

make_environment() {
  repository=$1
  extra=${2:-}
  venv=$repository/.venv
  python=${PYTHON:-python3}
  if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "palitune needs Python 3.11 or newer; name one with PYTHON=/path/to/python3 $0" >&2
    return 78
  fi
  [ -x "$venv/bin/python" ] || "$python" -m venv "$venv" || {
    echo "no virtual environment could be made in $venv (on Debian: apt-get install python3-venv)" >&2
    return 78
  }
  # A copy of pyproject.toml says what is installed, so that nothing is done twice and a change is not missed.
  stamp=$venv/.installed${extra:+-$extra}
  if ! cmp -s "$repository/pyproject.toml" "$stamp" && ! cmp -s "$repository/pyproject.toml" "$venv/.installed-dev"; then
    echo "installing palitune into .venv ..." >&2
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
      --editable "$repository${extra:+[$extra]}" || return 69
    cp "$repository/pyproject.toml" "$stamp"
  fi
  PATH=$venv/bin:$PATH
  export PATH
}
