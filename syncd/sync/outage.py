"""A provider failed at one record: is it the record, or the provider?

Some providers give one answer to both. Whether another, harmless call is served tells them apart; and so many failures
in a row are an outage whatever that call says.
"""

from __future__ import annotations

from syncd.domain.errors import FailedError, ProviderError
from syncd.sync.context import Lane

IN_A_ROW_MAX = 12


async def endure(lane: Lane, error: FailedError, failures: int) -> None:
    """Return if it makes sense to go on with other records; raise the error if this is an outage.

    `failures`: how many calls in a row have failed, this one included.
    """
    if failures >= IN_A_ROW_MAX:
        raise error
    try:
        await lane.carrier.carry(lane.provider.check())
    except ProviderError:
        raise error from None
