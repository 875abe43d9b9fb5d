"""Says which packages of requirement files an interpreter lacks: check_requirements.py FILE...

Run with the user's own interpreter, before anything is imported: the standard library alone.
"""

import importlib.metadata
import os
import re
import sys

# A build for a device has a name of its own, yet is the same framework.
BUILDS = (
    ("tensorflow-cpu", "tensorflow", "tensorflow-rocm", "intel-tensorflow", "tf-nightly"),
    ("paddlepaddle", "paddlepaddle-gpu", "paddlepaddle-xpu", "paddlepaddle-dcu"),
)
OTHER_NAMES = {builds[0]: builds[1:] for builds in BUILDS}
# A build without a device is none for a device.
OTHER_NAMES |= {builds[1]: builds[2:] for builds in BUILDS}


def names(file):
    """The package names in a requirements file and in those it refers to by -r."""
    found = []
    with open(file) as opened:
        for line in opened:
            line = line.partition("#")[0].strip()
            if line.startswith("-r"):
                found += names(os.path.join(os.path.dirname(file), line[2:].strip()))
            elif line and not line.startswith("-"):
                found.append(re.match(r"[\w.-]+", line).group())
    return found


def installed(name):
    """Whether a package, or a build of it by another name, is there."""
    for candidate in (name, *OTHER_NAMES.get(name, ())):
        try:
            importlib.metadata.version(candidate)
            return True
        except importlib.metadata.PackageNotFoundError:
            pass
    return False


def main(files):
    """Returns the exit code: 0 when all is there."""
    missing = sorted({name for file in files for name in names(file) if not installed(name)})
    if missing:
        print(
            f"error: PYTHON={sys.executable} lacks {', '.join(missing)}. Install them there, "
            "or unset PYTHON to have an environment made.",
            file=sys.stderr,
        )
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
