#!/usr/bin/env bash
# Makes the virtual environment named by the argument with the first Python >= 3.11 it finds, or says what to install.
set -euo pipefail
target=$1
[ -x "$target/bin/python" ] && exit 0
for python in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
  command -v "$python" >/dev/null || continue
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    without_venv=$python
    continue
  fi
  "$python" -m venv "$target" && exit 0
  rm -rf "$target" # half-made
done
if [ -n "${without_venv:-}" ]; then
  version=$("$without_venv" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  echo "$without_venv cannot make virtual environments. Install its venv module (Debian, Ubuntu: apt-get install python$version-venv) and run this again." >&2
else
  echo "Python 3.11 or newer is needed (Debian, Ubuntu: apt-get install python3 python3-venv). PYTHON=/path/to/python chooses one." >&2
fi
exit 1
