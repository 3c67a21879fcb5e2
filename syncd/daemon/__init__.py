"""The daemon: takes the mirror, keeps every account in step, takes deliveries in, and stops cleanly.

Every account has one task that runs its rounds, woken by a timer. What comes in between (a delivery, a click, something
that falls due) is worked on at once, beside them. A fault in one round is written down and stops nothing else; losing
the mirror stops everything.
"""

from syncd.daemon.listening import address_of
from syncd.daemon.pace import PACE, Pace
from syncd.daemon.service import run_until_signalled, serve

__all__ = ["PACE", "Pace", "address_of", "run_until_signalled", "serve"]
