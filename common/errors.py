"""The one exception for faults that a user can mend."""


class UserError(Exception):
    """Something the user can put right.  The message says what is wrong, where, and what to do.

    `common.main` prints it as a single line and exits with 1; no traceback.
    """
