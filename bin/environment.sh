# The scripts beside this file source it. It makes .venv in the repository and installs palitune into it, once.
# usage: . bin/environment.sh; make_environment REPOSITORY [EXTRA [FOLDER]]
# PYTHON names the interpreter for a new .venv (default: python3). PALITUNE_ENVIRONMENT names an environment that has
# everything already, as in the container image; nothing is installed then.
# shellcheck shell=sh

make_environment() {
  repository=$1
  extra=${2:-}
  if [ -n "${PALITUNE_ENVIRONMENT:-}" ]; then
    if [ ! -x "$PALITUNE_ENVIRONMENT/bin/palitune" ]; then
      echo "PALITUNE_ENVIRONMENT: there is no palitune in $PALITUNE_ENVIRONMENT; unset the variable to use .venv instead" >&2
      return 78
    fi
    PATH=$PALITUNE_ENVIRONMENT/bin:$PATH
    export PATH
    return
  fi
  venv=${3:-$repository/.venv}
  case $extra in cuda* | *verify*) size='5.5 GB' ;; *) size=0.5\ GB ;; esac
  # An environment that is missing, incomplete, or made for a folder of another name is replaced.
  if ! "$venv/bin/python" -I -m pip --version >/dev/null 2>&1; then
    make_venv || return
  fi
  # A copy of pyproject.toml records what is installed, so that nothing is installed twice and no change is missed.
  stamp=$venv/.installed${extra:+-$extra}
  if { cmp -s "$repository/pyproject.toml" "$stamp" || cmp -s "$repository/pyproject.toml" "$venv/.installed-dev"; } &&
    "$venv/bin/palitune" --version >/dev/null 2>&1; then
    :
  else
    [ ! -e "$venv/bin/palitune" ] || "$venv/bin/palitune" --version >/dev/null 2>&1 || make_venv || return
    echo "installing palitune and its dependencies (such as JAX, ${size:-0.5 GB}) into ${venv##*/}: this takes a few minutes, once ..." >&2
    # On a terminal pip shows its progress; elsewhere it only prints errors.
    quiet=--quiet
    [ ! -t 2 ] || quiet=
    # shellcheck disable=SC2086 # one word or none
    "$venv/bin/python" -I -m pip install $quiet --disable-pip-version-check \
      --editable "$repository${extra:+[$extra]}" >&2 || return 69
    echo "palitune is installed" >&2
    cp "$repository/pyproject.toml" "$stamp"
  fi
  PATH=$venv/bin:$PATH
  export PATH
}

make_venv() {
  python=${PYTHON:-python3}
  if ! command -v "$python" >/dev/null; then
    echo "no $python here; name a Python of 3.11 or newer with PYTHON=/path/to/python3" >&2
    return 78
  fi
  if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "palitune needs Python 3.11 or newer, $python is $("$python" --version 2>&1); name another with PYTHON=..." >&2
    return 78
  fi
  echo "making ${venv##*/} with $("$python" --version 2>&1) ..." >&2
  "$python" -I -m venv --clear "$venv" || {
    echo "no virtual environment could be made in $venv (on Debian: apt-get install python3-venv)" >&2
    return 78
  }
}
