"""The one exception for users' mistakes. Imports nothing, so every room may import it."""


class UserError(Exception):
    """A mistake of the user's: one sentence with what happened, which value, and what to do.

    The command line prints the sentence without a traceback and exits with code 2.
    """
