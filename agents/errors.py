"""The one family of errors that a person can put right.

A command meets two kinds of trouble. Some of it is the world's: a setting out of range, a broker that
does not answer, a file that is not there. That is told in one line and ends the command. All other
trouble is ours, and keeps its traceback. The line between the two is this class: nothing else is ever
turned into a message.
"""

from __future__ import annotations

EXIT_OPERATOR = 1
"""A person has to put something right: a setting, a topic, a flood of bad messages."""

EXIT_USAGE = 2
"""The command line itself is wrong."""

EXIT_BUG = 70
"""An error that nobody expected, or a worker that hung (sysexits' EX_SOFTWARE)."""

EXIT_TRY_AGAIN = 75
"""Trouble that passes by itself, such as a broker that does not answer: the same command may work later
(sysexits' EX_TEMPFAIL)."""


class OperatorError(Exception):
    """Something that the person who runs the command can put right.

    Parameters
    ----------
    message
        What is wrong and, where it helps, what to do: one line, or one for each thing that is wrong.

    Examples
    --------
    >>> str(OperatorError("no Kafka broker answers at 127.0.0.1:9092"))
    'no Kafka broker answers at 127.0.0.1:9092'
    """

    exit_code = EXIT_OPERATOR

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
