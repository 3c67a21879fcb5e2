"""The records of one address in one container.

They are found among those of the person, of whom an index knows: a container may hold a hundred thousand others.
"""

from __future__ import annotations

import sqlalchemy as sa

from syncd.domain.identity import Identity, suppression_key
from syncd.store.tables import CellRow

cell = CellRow.__table__  # type: ignore[attr-defined]


def of_address(account: str, container: str, identity: Identity) -> tuple[sa.ColumnElement[bool], ...]:
    """What a statement asks for that is about these records alone."""
    return (
        cell.c.person_key == suppression_key(identity),
        cell.c.identity == identity,
        cell.c.account == account,
        cell.c.container == container,
    )


OF_ADDRESS = (
    cell.c.person_key == sa.bindparam("of_person"),
    cell.c.identity == sa.bindparam("of_identity"),
    cell.c.account == sa.bindparam("of_account"),
    cell.c.container == sa.bindparam("of_container"),
)
"""The same for a statement that is made once."""


def given(account: str, container: str, identity: Identity) -> dict[str, str]:
    """What `OF_ADDRESS` is given."""
    return {
        "of_person": suppression_key(identity),
        "of_identity": identity,
        "of_account": account,
        "of_container": container,
    }
