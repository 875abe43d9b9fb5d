"""What all applications share."""

import signal
import sys

# python -m common.NAME: until `errors.told` waits for it, Ctrl-C ends the command without a
# traceback of whatever it imports.  Python says "-m" while it looks for the module.
if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
