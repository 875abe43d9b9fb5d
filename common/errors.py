"""The one exception for faults that a user can mend, and how each command tells them."""

import math
import signal
import sys
import time

ABORTED = 2       # exit code: does not hold: a target missed, a log or a port that fails
INTERRUPTED = 130
GRACE = 3.0       # seconds in which a launcher finds that a process has gone, and ends the others


class UserError(Exception):
    """Something the user can put right.  The message says what is wrong, where, and what to do.

    `told` prints it as a single line and exits with 1; no traceback.
    """


def printable(text):
    """str on one line: control characters, of files and servers that nobody vouches for, escaped.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def is_finite(value):
    """Whether a value that nobody vouches for is a number, and one that a float can hold."""
    try:
        return isinstance(value, (int, float)) and math.isfinite(value)
    except OverflowError:  # JSON's whole numbers have any length
        return False


def tell(text):
    """Prints an error's one line."""
    print(f"error: {printable(text)}", file=sys.stderr, flush=True)


def told(body, advice="", may_speak=None):
    """What body() returns; 1 for a fault of the user, 130 when interrupted, each told in one line.

    SIGTERM ends it like Ctrl-C, and so does the end of its terminal, unless nohup has it ignored.
    advice: what to do after an interruption that does not say so.
    may_speak: of a process among others, whether it is the one that tells; SIGTERM then ends it
    without a word, which is the launcher's.
    A file that cannot be read or written is the user's to mend, wherever it strikes; but among
    processes an OSError may be PaddlePaddle's word for a peer that has gone, which the launcher
    knows better.
    """
    ends = signal.SIG_DFL if may_speak else _interrupt
    handlers = {signal.SIGTERM: ends, signal.SIGHUP: ends}
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        del handlers[signal.SIGHUP]
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # see common/__init__.py
        handlers[signal.SIGINT] = signal.default_int_handler
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        return body()
    except UserError as error:
        line = str(error)
    except OSError as error:
        if may_speak:
            time.sleep(GRACE)
        line = f"{error.filename or 'input or output'}: {error.strerror or error}."
    except MemoryError as error:
        line = f"out of memory ({error}). Make the batch or the model smaller."
    except RecursionError:
        line = "a file holds values within values, too deep to read. Leave it out."
    except KeyboardInterrupt as interruption:
        tell(f"interrupted. {str(interruption) or advice}".rstrip())
        return INTERRUPTED
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if not may_speak or may_speak():
        tell(line)
    return 1


def _interrupt(number, frame):
    raise KeyboardInterrupt
