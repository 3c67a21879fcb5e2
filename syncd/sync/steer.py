"""What a person does to accounts and to parked things."""

from __future__ import annotations

from syncd.domain.errors import SyncdError
from syncd.domain.records import UNREAD
from syncd.store import containers, inbox, inspect, journal, lookups, mirror, outbox, people, renames
from syncd.store.session import writing
from syncd.sync.context import Context


def pause(context: Context, account: str) -> None:
    """Neither read from nor write to an account. What people say meanwhile is kept and sent afterwards."""
    values = {"state": "paused", "reason": "paused by a person", "hint": f"syncd account resume {account}"}
    with writing(context.engine) as connection:
        journal.update_account(connection, account, **values)


def resume(context: Context, account: str) -> str:
    """Work on an account again, as if nothing had ever gone wrong there. Returns its state.

    Whatever lists it shows from then on are its own.
    """
    with writing(context.engine) as connection:
        read = journal.load_account(connection, account).last_good_read is not None
        state = "ok" if read else "new"
        journal.update_account(connection, account, state=state, reason="", hint="", failures=0, held_until=None)
        if account in journal.strangers(connection):
            journal.note_stranger(connection, account, False)
            containers.forget_shown(connection, account)
    return state


def retry(context: Context, parked_id: str) -> str:
    """Let a parked change be planned again, or a parked delivery be read again; says which it was."""
    with writing(context.engine) as connection:
        found = inspect.parked(connection, parked_id)
        if found is None:
            raise SyncdError(f"nothing is parked under {parked_id}", hint="syncd inspect parked")
        if found["what"] == "record" and parked_id.partition(f"/{found['remote_list']}/")[2].startswith(UNREAD):
            raise SyncdError(
                f"{parked_id} is a record that the provider cannot give out; every round asks for it anew",
                hint=f"tell {found['account']} what it answered: {found['reason']}",
            )
        if found["what"] == "record":
            raise SyncdError(
                f"{parked_id} is a record whose address cannot be mailed; it is read again once it changes there",
                hint=f"mend the address at {found['account']}",
            )
        if found["what"] == "lead":
            raise SyncdError(
                f"{parked_id} is a lead of a campaign that goes to no list; it is released as soon as one takes it",
                hint=f"syncd leads link {found['remote_list']} LIST --account {found['account']}",
            )
        if found["what"] == "delivery":
            inbox.settle_delivery(connection, parked_id, "new")
        elif found["what"] == "look-up":
            lookups.try_again(connection, found["account"], found["remote_list"], found["email"], context.now())
        else:
            outbox.retry_parked(connection, int(parked_id), context.now())
            renames.ask_again(connection, int(parked_id))
            mirror.forget_lost(connection, found["account"], found["remote_list"], found["email"])
            people.put_on_agenda(connection, [inspect.person_of(connection, int(parked_id))], context.now())
        return str(found["what"])
