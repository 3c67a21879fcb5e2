"""How often things are looked at, and how long is waited."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """`drain_s` and `hang_s`: None for what the configuration says."""

    tick_s: float = 1.0
    idle_max_s: float = 60.0
    keep_s: float = 20.0
    drain_s: float | None = None
    hang_s: float | None = None
    status_s: float = 15.0
    register_again_s: float = 900.0
    pause_s: float = 1.0
    pause_max_s: float = 300.0
    jitter_max_s: float = 30.0

    def pause(self, failures: int) -> float:
        """The wait after so many failures in a row."""
        return min(self.pause_max_s, self.pause_s * 2.0 ** min(failures - 1, 16))


PACE = Pace()
