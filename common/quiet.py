"""Keeps a framework's greetings off the error stream, which belongs to errors."""

import contextlib
import os
import sys
import tempfile


@contextlib.contextmanager
def quiet():
    """Holds back what is written to file descriptor 2, by C++ too; shows it if the body raises."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
