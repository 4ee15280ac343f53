"""The log of an outage: its beginning and its end, not each of its failures."""

import logging

logger = logging.getLogger("dual_mode_streaming")


class OutageLog:
    """Logs the first of several failures in a row, and that it works again.

    Args:
        what: what does not work, as the beginning of a sentence.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._is_failing = False

    def failed(self, error: object) -> None:
        """Note a failure."""
        level = logging.DEBUG if self._is_failing else logging.WARNING
        self._is_failing = True
        logger.log(level, "%s: %s", self._what, error)

    def worked(self) -> None:
        """Note a success."""
        if self._is_failing:
            self._is_failing = False
            logger.info("%s: it is over", self._what)
