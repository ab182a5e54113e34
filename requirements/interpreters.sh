#!/bin/sh
# Python interpreters of this machine that the pins fit, one a line: version, tested or untested,
# path. Tested ones stand first, those on the PATH before those of pyenv, newest first. Each was run:
# a name on the PATH may be a pyenv shim of a version that is not active.

look() { # whether they are tested, their versions
    for version in $2; do
        for command in "python$version" python3 python; do
            show "$1" "$version" "$command"
        done
    done
    for version in $2; do
        for command in "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python; do
            show "$1" "$version" "$command"
        done
    done
}

show() { # whether it is tested, the version it must be, the command that starts it
    command -v "$3" >/dev/null && "$3" -c "
import ctypes, ensurepip, sqlite3, ssl, sys, venv
if '%d.%d' % sys.version_info[:2] == '$2':
    print('$2', '$1', sys.executable)
" 2>/dev/null
}

{
    look tested "3.13 3.12 3.11"
    look untested "3.14"
} | awk '!seen[$1]++'
