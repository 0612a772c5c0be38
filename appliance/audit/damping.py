"""How many refusals of strangers the log takes: anybody with a token can cause them, as fast as they like.

A bucket that fills with time. What did not fit is counted, and the next one that is written says how many.
"""


class Damper:
    """`burst` at once, then `per_minute`. `now` is any clock that does not jump, in seconds."""

    def __init__(self, *, burst: int = 100, per_minute: float = 30.0) -> None:
        self._burst = float(burst)
        self._rate = per_minute / 60.0
        self._room = self._burst
        self._since = 0.0
        self._left_out = 0

    def admit(self, now: float) -> int | None:
        """How many were left out since the last that was written; None if this one is left out too."""
        self._room = min(self._burst, self._room + max(0.0, now - self._since) * self._rate)
        self._since = now
        if self._room < 1.0:
            self._left_out += 1
            return None
        self._room -= 1.0
        left_out, self._left_out = self._left_out, 0
        return left_out
