# shellcheck shell=bash
# Sourced.  make_environment NAME REQUIREMENTS...: sets PYTHON to an interpreter that has them.
#
# The virtual environment .venv/NAME is made on first use and kept up to date by a stamp over the
# requirements.  Where PYTHON is set already, that interpreter is used and nothing is installed.

make_environment() {
    local name=$1
    shift
    local root
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    if [ -n "${PYTHON:-}" ]; then
        if ! [ -x "$(command -v "$PYTHON")" ]; then
            echo "error: PYTHON=$PYTHON: no such program. Unset it to have one made." >&2
            return 1
        fi
        if [ "$("$PYTHON" -c 'import sys; print(sys.version_info >= (3, 11))' 2>&1)" != True ]; then
            echo "error: PYTHON=$PYTHON: no Python 3.11 or later. Unset it to have one made." >&2
            return 1
        fi
        "$PYTHON" "$root/common/check_requirements.py" "$@"
        return
    fi
    local folder=$root/.venv/$name
    PYTHON=$folder/bin/python
    local stamp
    # Each application's requirements.txt is small: all of them, whichever these refer to.  And the
    # names: two applications' files for a framework may be of one text, and refer to other ones.
    stamp=$({
        cat "$root"/constraints.txt "$root"/common/requirements*.txt "$root"/*/requirements.txt "$@"
        printf '%s\n' "${@#"$root"/}"
    } | cksum)
    if [ -x "$PYTHON" ] && grep -qsxF "$stamp" "$folder/installed"; then
        return
    fi
    (
        mkdir -p "$root/.venv"
        flock 9  # two runs started at once make it once
        if ! grep -qsxF "$stamp" "$folder/installed"; then
            echo "Making the Python environment .venv/$name (once)" >&2
            [ -x "$PYTHON" ] || "${PYTHON3:-python3.11}" -m venv "$folder"
            local arguments=()
            for file in "$@"; do arguments+=(-r "$file"); done
            "$PYTHON" -m pip install --quiet --disable-pip-version-check \
                -c "$root/constraints.txt" "${arguments[@]}" >&2
            echo "$stamp" >> "$folder/installed"
        fi
    ) 9> "$root/.venv.lock"
}

# requirements_of APPLICATION FRAMEWORK: the file of a variant, in this repository or in a folder
# that PYTHONPATH names.
requirements_of() {
    local folders folder
    IFS=: read -ra folders <<< "${PYTHONPATH:-}"
    for folder in "${folders[@]}"; do
        if [ -f "$folder/$1/$2/requirements.txt" ]; then
            echo "$folder/$1/$2/requirements.txt"
            return
        fi
    done
    echo "error: $1/$2: no such variant of an application." >&2
    return 1
}
