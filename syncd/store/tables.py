"""The mirror's tables. SQLModel describes them; rows move through SQLAlchemy Core, in batches.

Times are UTC. Free-form content is JSON as text where rows are many (`cell`), so that the provider's own bytes are
kept as they came.
Tables may change; the views (`v_…`, see `alembic/`) are the stable way in.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

JsonColumn = sa.JSON().with_variant(JSONB(), "postgresql")

SQLModel.metadata.naming_convention = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Meta(SQLModel, table=True):
    """Single values: the sequence, the key of the keyed hashes."""

    __tablename__ = "meta"
    key: str = Field(primary_key=True)
    value: str


class AccountRow(SQLModel, table=True):
    """The state of one account. `state`: new, ok, failing, quarantined, paused.

    `joined`: first contact is over. `protected`: why nothing but unsubscribes goes out until then, whatever is
    configured.
    """

    __tablename__ = "account"
    name: str = Field(primary_key=True)
    provider: str
    state: str = "new"
    reason: str = ""
    hint: str = ""
    joined: bool = False
    protected: str = ""
    last_attempt: datetime | None = None
    last_good_read: datetime | None = None
    last_report: datetime | None = None
    held_until: datetime | None = None
    failures: int = 0


class ContainerRow(SQLModel, table=True):
    """One list at one account. `shown`: the account itself named it when it was last asked for its lists.

    `whole_*`: the latest listing that counted as whole. `doubt`: why the latest one did not. `reread`: the next whole
    listing reads every record, also those on pages that are the same. `evidence`: what the verdict on the latest
    whole listing rests on.
    """

    __tablename__ = "container"
    account: str = Field(primary_key=True)
    container: str = Field(primary_key=True)
    name: str
    remote: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    present: bool = True
    shown: bool = False
    active: int | None = Field(default=None, sa_type=sa.BigInteger)
    active_explained: int | None = Field(default=None, sa_type=sa.BigInteger)
    known_explained: int | None = Field(default=None, sa_type=sa.BigInteger)
    moved_at: datetime | None = None
    rows: int = 0
    rows_allowed: int | None = None
    whole_seq: int = Field(default=0, sa_type=sa.BigInteger)
    whole_at: datetime | None = None
    read_at: datetime | None = None
    watermark: str | None = None
    reread: bool = False
    doubt: str = ""
    evidence: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)


class LinkRow(SQLModel, table=True):
    """Which container belongs to which list of ours: the configuration and the commands, as the views need them.

    `until`: nothing new goes there or comes from there, and a "no" still reaches records that came until then.
    """

    __tablename__ = "link"
    list: str = Field(primary_key=True)
    account: str = Field(primary_key=True)
    container: str = Field(primary_key=True)
    scope: str
    until: datetime | None = None


class CommandedLinkRow(SQLModel, table=True):
    """A list of ours that a person linked to a campaign or to an outbound connection, beside the configuration.

    One that was unlinked stays, because of those who came under it. `provider`: whose account it was.
    """

    __tablename__ = "commanded_link"
    list: str = Field(primary_key=True)
    account: str = Field(primary_key=True)
    container: str = Field(primary_key=True)
    provider: str
    linked_at: datetime
    unlinked_at: datetime | None = None


class PageRow(SQLModel, table=True):
    """What each page of the latest whole listing held: a digest of the body, and the keys in their order."""

    __tablename__ = "page"
    account: str = Field(primary_key=True)
    container: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    digest: bytes
    count: int
    keys: bytes


_MISSING = sa.text("missing_count > 0")
_NOBODY = sa.text("identity IS NULL")


class CellRow(SQLModel, table=True):
    """The last admissible observation of one record in one container, with the record as it came.

    `asked_at`: when it was last asked about by itself for what only a look-up shows, whatever came of it.
    """

    __tablename__ = "cell"
    __table_args__ = (
        sa.Index("ix_cell_person", "person_key"),
        sa.Index("ix_cell_missing", "account", "container", sqlite_where=_MISSING, postgresql_where=_MISSING),
        sa.Index("ix_cell_nobody", "account", "container", sqlite_where=_NOBODY, postgresql_where=_NOBODY),
    )
    account: str = Field(primary_key=True)
    container: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    person_key: str | None
    identity: str | None
    address: str
    remote_id: str | None
    status: str
    fields: str
    base: str | None
    raw: str
    digest: bytes
    seq: int = Field(sa_type=sa.BigInteger)
    observed_at: datetime
    status_seq: int = Field(sa_type=sa.BigInteger)
    status_at: datetime
    said_no_seq: int = Field(default=0, sa_type=sa.BigInteger)
    missing_seq: int = Field(default=0, sa_type=sa.BigInteger)
    missing_count: int = 0
    unsubscribed_at: str | None = None
    confirmed_at: str | None = None
    confirmed_seq: int = Field(default=0, sa_type=sa.BigInteger)
    route: str
    grade: str
    receipt: str | None = None
    asked_at: datetime | None = None


class PersonRow(SQLModel, table=True):
    """The merged fields of one identity, for those that were ever compared."""

    __tablename__ = "person"
    __table_args__ = (sa.Index("ix_person_person_key", "person_key"),)
    identity: str = Field(primary_key=True)
    person_key: str
    fields: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    updated_at: datetime


class ConsentEventRow(SQLModel, table=True):
    """Append-only: every fact about consent, with where it came from. The database refuses any change."""

    __tablename__ = "consent_event"
    __table_args__ = (
        sa.Index("ix_consent_event_identity", "identity"),
        sa.Index("ix_consent_event_person", "person_key", "scope"),
        sa.Index("ix_consent_event_source", "source", "container", "at"),
    )
    id: int | None = Field(default=None, primary_key=True)
    seq: int = Field(sa_type=sa.BigInteger)
    at: datetime
    person_key: str
    identity: str
    scope: str
    epoch: int
    level: int
    source: str
    container: str = ""
    route: str
    evidence: str
    inferred: bool = False
    mass: bool = False


class ConsentRow(SQLModel, table=True):
    """The fold of the events: one state per person and scope."""

    __tablename__ = "consent"
    person_key: str = Field(primary_key=True)
    scope: str = Field(primary_key=True)
    epoch: int
    level: int
    seq: int = Field(sa_type=sa.BigInteger)
    since: datetime
    source: str
    event_id: int


class ExemptionRow(SQLModel, table=True):
    """One cell left subscribed although a "no" stands, on evidence of its own. Ended ones are kept: `ended_by` says by
    a "no" to what.
    """

    __tablename__ = "exemption"
    __table_args__ = (sa.Index("ix_exemption_person", "person_key"),)
    id: int | None = Field(default=None, primary_key=True)
    account: str
    container: str
    identity: str
    person_key: str
    evidence: str
    granted_seq: int = Field(sa_type=sa.BigInteger)
    granted_at: datetime
    ended_seq: int | None = Field(default=None, sa_type=sa.BigInteger)
    ended_at: datetime | None = None
    ended_by: str = ""


class AgendaRow(SQLModel, table=True):
    """Who is to be planned, and when. `urgent`: before those of whom there is nothing but a listing."""

    __tablename__ = "agenda"
    __table_args__ = (
        sa.Index("ix_agenda_due_at", "due_at"),
        sa.Index("ix_agenda_urgent", "due_at", sqlite_where=sa.text("urgent = 1"), postgresql_where=sa.text("urgent")),
    )
    person_key: str = Field(primary_key=True)
    due_at: datetime
    urgent: bool = False


class CautionRow(SQLModel, table=True):
    """Of whom additions wait for a person, whatever the configuration lets pass, until nothing more follows."""

    __tablename__ = "caution"
    person_key: str = Field(primary_key=True)
    since: datetime


class LookUpRow(SQLModel, table=True):
    """Who is to be asked about at an account."""

    __tablename__ = "lookup"
    account: str = Field(primary_key=True)
    container: str = Field(primary_key=True)
    identity: str = Field(primary_key=True)
    address: str
    reason: str
    urgent: bool = False
    wanted_at: datetime
    failures: int = 0
    given_up: str = ""


_OPEN = sa.text("state IN ('ready','inflight','unknown','accepted')")


class OpRow(SQLModel, table=True):
    """One operation: the outbox while it is open, its history afterwards."""

    __tablename__ = "op"
    __table_args__ = (
        sa.Index(
            "uq_op_open_cell",
            "account",
            "container",
            "identity",
            unique=True,
            sqlite_where=_OPEN,
            postgresql_where=_OPEN,
        ),
        sa.Index("ix_op_person", "person_key"),
        sa.Index("ix_op_state", "state", "account"),
        sa.Index("ix_op_ended", "account", "ended_seq"),
        sa.Index(
            "ix_op_guarded", "created_at", sqlite_where=sa.text("guarded = 1"), postgresql_where=sa.text("guarded")
        ),
    )
    id: int | None = Field(default=None, primary_key=True)
    account: str
    container: str
    identity: str
    person_key: str
    kind: str
    address: str
    keys: list[str] = Field(default_factory=list, sa_type=JsonColumn)
    account_key: str | None = None
    fields: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    replaces: str | None = None
    state: str
    priority: int
    why: str
    guarded: bool
    attempts: int = 0
    not_before: datetime
    created_at: datetime
    sent_at: datetime | None = None
    began_seq: int = Field(default=0, sa_type=sa.BigInteger)
    ended_seq: int = Field(default=0, sa_type=sa.BigInteger)
    settled_seq: int = Field(default=0, sa_type=sa.BigInteger)
    ended_at: datetime | None = None
    accepted_at: datetime | None = None
    closed_at: datetime | None = None
    closed_seq: int = Field(default=0, sa_type=sa.BigInteger)
    receipt: str | None = None
    reason: str = ""


class ErasureRow(SQLModel, table=True):
    """Somebody who was erased, as a keyed hash and nothing else. `asked`: by account, what was asked of it."""

    __tablename__ = "erasure"
    hash: str = Field(primary_key=True)
    erased_at: datetime
    asked: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)


_UNSETTLED = sa.text("settled_at IS NULL")


class PropagationRow(SQLModel, table=True):
    """The ledger: one "no" at one place that has to learn of it. `state`: open, carried, already, withdrawn.

    Time runs from `known_at` to `due_at`. `op_id`: the unsubscribe that brings it.
    """

    __tablename__ = "propagation"
    __table_args__ = (
        sa.Index("ix_propagation_due_at", "due_at"),
        sa.Index("ix_propagation_person", "person_key"),
        sa.Index("ix_propagation_unsettled", "due_at", sqlite_where=_UNSETTLED, postgresql_where=_UNSETTLED),
    )
    event_id: int = Field(primary_key=True)
    account: str = Field(primary_key=True)
    container: str = Field(primary_key=True)
    identity: str = Field(primary_key=True)
    person_key: str
    known_at: datetime
    due_at: datetime
    state: str = "open"
    op_id: int | None = None
    grade: str = "unknown"
    settled_at: datetime | None = None


class PlanRow(SQLModel, table=True):
    """Changes that wait for a person, as one thing to approve or reject.

    `id` is a digest of what is in it and of the records it was computed on: it changes when they do. `seq`: the
    planning that gave it this id; `since_seq`: the one in which there was first something to wait for.
    """

    __tablename__ = "plan"
    account: str = Field(primary_key=True)
    container: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    hold: str = Field(primary_key=True)
    id: str = Field(index=True)
    count: int
    reason: str
    seq: int = Field(default=0, sa_type=sa.BigInteger)
    since_seq: int = Field(default=0, sa_type=sa.BigInteger)
    created_at: datetime
    release_at: datetime | None = None


class PlanPastRow(SQLModel, table=True):
    """An id that a plan had, so that whoever asks for it hears what became of it. `ended`: moved, approved, rejected.

    `seq`: the planning that gave it.
    """

    __tablename__ = "plan_past"
    id: str = Field(primary_key=True)
    account: str
    container: str
    kind: str
    hold: str
    count: int
    seq: int = Field(sa_type=sa.BigInteger)
    ended: str
    ended_at: datetime


class PlanMoveRow(SQLModel, table=True):
    """What moved in a plan that had been seen already, and in which planning. `what`: added, gone, changed."""

    __tablename__ = "plan_move"
    __table_args__ = (sa.Index("ix_plan_move_plan", "account", "container", "kind", "hold", "seq"),)
    id: int | None = Field(default=None, primary_key=True)
    account: str
    container: str
    kind: str
    hold: str
    identity: str
    what: str
    seq: int = Field(sa_type=sa.BigInteger)
    at: datetime


class PlanItemRow(SQLModel, table=True):
    """One held change. `state`: held, approved, rejected. `basis`: a digest of the records it was computed on.

    `first_contact`: the accounts whose first contact lasts while it waits for that.
    """

    __tablename__ = "plan_item"
    __table_args__ = (sa.Index("ix_plan_item_person", "person_key"),)
    account: str = Field(primary_key=True)
    container: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    identity: str = Field(primary_key=True)
    hold: str
    person_key: str
    fields: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    why: str
    basis: str = ""
    state: str = "held"
    first_contact: list[str] = Field(default_factory=list, sa_type=JsonColumn)
    created_at: datetime


class ClaimRow(SQLModel, table=True):
    """Somebody who said no and reads subscribed again at one place:

    a person decides. `state`: open, dismissed, granted. At most one of a cell and scope is open: `times` counts how
    often it happened meanwhile, and `fight` says that it happens as fast as we undo it.
    """

    __tablename__ = "claim"
    id: str = Field(primary_key=True)
    account: str
    container: str
    key: str
    identity: str
    person_key: str
    scope: str
    status_seq: int = Field(sa_type=sa.BigInteger)
    seen_at: datetime
    state: str = "open"
    times: int = 1
    fight: bool = False


class RenameRow(SQLModel, table=True):
    """An address of which a provider said that something was changed, or that we changed there. `retired_at`: its own
    time at which the address gave way to its `successor`; null as long as none was seen to.
    """

    __tablename__ = "rename"
    __table_args__ = (
        sa.Index("ix_rename_person", "person_key"),
        sa.Index("ix_rename_successor", "successor"),
    )
    account: str = Field(primary_key=True)
    container: str = Field(primary_key=True)
    identity: str = Field(primary_key=True)
    person_key: str
    opened_seq: int = Field(sa_type=sa.BigInteger)
    opened_at: datetime
    retired_at: str | None = None
    successor: str | None = None


class RunRow(SQLModel, table=True):
    """One recorded execution of a cycle. `result` only worsens: success, partial, failed."""

    __tablename__ = "run"
    __table_args__ = (sa.Index("ix_run_started_at", "started_at"),)
    id: str = Field(primary_key=True)
    account: str
    started_at: datetime
    ended_at: datetime | None = None
    result: str = "running"
    reason: str = ""
    counts: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)


class CampaignRow(SQLModel, table=True):
    __tablename__ = "campaign"
    account: str = Field(primary_key=True)
    campaign_id: str = Field(primary_key=True)
    name: str
    status: str | None = None
    observed_at: datetime


class CampaignSampleRow(SQLModel, table=True):
    """Counters of a campaign, appended when they changed. `day` is '' where a provider counts over all time."""

    __tablename__ = "campaign_sample"
    __table_args__ = (sa.Index("ix_campaign_sample_campaign", "account", "campaign_id", "day", "id"),)
    id: int | None = Field(default=None, primary_key=True)
    account: str
    campaign_id: str
    day: str = ""
    observed_at: datetime
    sent: int | None = Field(default=None, sa_type=sa.BigInteger)
    opened: int | None = Field(default=None, sa_type=sa.BigInteger)
    clicked: int | None = Field(default=None, sa_type=sa.BigInteger)
    bounced: int | None = Field(default=None, sa_type=sa.BigInteger)
    unsubscribed: int | None = Field(default=None, sa_type=sa.BigInteger)
    extra: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)


class DarkRow(SQLModel, table=True):
    """Opt-outs that a provider counts and nobody known explains. `what`: campaign, list.

    `total`, `known`: what was counted last; `latest`: how many the last reckoning added.
    """

    __tablename__ = "dark"
    account: str = Field(primary_key=True)
    what: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    name: str
    total: int = Field(sa_type=sa.BigInteger)
    known: int = Field(sa_type=sa.BigInteger)
    dark: int = Field(sa_type=sa.BigInteger)
    latest: int = Field(sa_type=sa.BigInteger)
    since: datetime


class CounterSampleRow(SQLModel, table=True):
    """Counters of one contact, appended when they changed: telemetry, never compared."""

    __tablename__ = "counter_sample"
    __table_args__ = (sa.Index("ix_counter_sample_cell", "account", "container", "key", "id"),)
    id: int | None = Field(default=None, primary_key=True)
    account: str
    container: str
    key: str
    observed_at: datetime
    counters: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)


class HygieneRow(SQLModel, table=True):
    """What a verifier said of one new lead, and whether additions wait for it. `state`: waiting, withheld, clear.

    `reason`: why they are kept back. `first_contact`: accounts whose first contact they belong to. `tried_at`: when the
    verifier was last asked; `trouble`: why that brought nothing; `refused`: as it does not take this one.
    The rest is its answer, as of `checked_at`, about the address and `checked_phone`.
    """

    __tablename__ = "hygiene"
    __table_args__ = (
        sa.Index("ix_hygiene_person", "person_key"),
        sa.Index("ix_hygiene_state", "state", "account"),
    )
    identity: str = Field(primary_key=True)
    person_key: str
    account: str
    phone: str
    state: str
    reason: str
    first_contact: list[str] = Field(default_factory=list, sa_type=JsonColumn)
    since: datetime
    tried_at: datetime | None = None
    trouble: str = ""
    refused: bool = False
    checked_at: datetime | None = None
    score: int | None = None
    word: str = ""
    checked_phone: str = ""
    phone_sound: bool = True
    phone_word: str = ""


class InboxRow(SQLModel, table=True):
    """A delivery as it came, before anybody looked into it. `state`: new, done, parked."""

    __tablename__ = "inbox"
    __table_args__ = (
        sa.UniqueConstraint("account", "delivery_id", name="uq_inbox_delivery"),
        sa.Index("ix_inbox_state", "state"),
    )
    id: str = Field(primary_key=True)
    account: str
    delivery_id: str
    route: list[str] = Field(default_factory=list, sa_type=JsonColumn)
    method: str
    headers: dict[str, str] = Field(default_factory=dict, sa_type=JsonColumn)
    query: list[list[str]] = Field(default_factory=list, sa_type=JsonColumn)
    body: bytes
    received_at: datetime
    seq: int = Field(sa_type=sa.BigInteger)
    state: str = "new"
    reason: str = ""


class LeadTestRow(SQLModel, table=True):
    """A lead that only tried whether we can be reached: shown for a while, and nothing ever follows from it."""

    __tablename__ = "lead_test"
    __table_args__ = (
        sa.UniqueConstraint("account", "delivery_id", name="uq_lead_test_delivery"),
        sa.Index("ix_lead_test_received_at", "received_at"),
    )
    id: str = Field(primary_key=True)
    account: str
    delivery_id: str
    person_key: str | None
    address: str
    campaign: str
    fields: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    attributes: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    method: str
    encoding: str
    received_at: datetime
    times: int = 1


class LetterRow(SQLModel, table=True):
    """A mail with a confirmation link that is to be sent to somebody who asked to be on lists of ours."""

    __tablename__ = "letter"
    __table_args__ = (sa.Index("ix_letter_address", "address"), sa.Index("ix_letter_due_at", "due_at"))
    id: str = Field(primary_key=True)
    person_key: str
    address: str
    lists: list[str] = Field(default_factory=list, sa_type=JsonColumn)
    fields: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    asked_at: datetime
    due_at: datetime
    attempts: int = 0


class TransitRow(SQLModel, table=True):
    """The address of somebody who was erased, for as long as an open call or look-up needs it, and no longer."""

    __tablename__ = "transit"
    account: str = Field(primary_key=True)
    identity: str = Field(primary_key=True)
    address: str


class WakeRow(SQLModel, table=True):
    """A person asks for a round now; the daemon takes it."""

    __tablename__ = "wake"
    id: str = Field(primary_key=True)
    accounts: list[str] = Field(default_factory=list, sa_type=JsonColumn)
    full: bool = False
    asked_at: datetime
    done_at: datetime | None = None
    outcome: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)


class NoticeRow(SQLModel, table=True):
    """What people were told of, so that nobody is told twice. `account` is empty where it is about none of them alone.

    `seen`: since when each part stands; `told`: which were told of, and when, or when they last went.
    """

    __tablename__ = "notice"
    about: str = Field(primary_key=True)
    account: str = Field(primary_key=True)
    seen: dict[str, str] = Field(default_factory=dict, sa_type=JsonColumn)
    told: dict[str, str] = Field(default_factory=dict, sa_type=JsonColumn)
    raised_at: datetime | None = None


class NoticeDueRow(SQLModel, table=True):
    """A notice that has yet to reach somebody by one channel. It names no person."""

    __tablename__ = "notice_due"
    channel: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    content: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    created_at: datetime
    attempts: int = 0
    not_before: datetime


class HolderRow(SQLModel, table=True):
    """Who works on this mirror. `token` grows with every holder, so that one who was paused cannot go on.

    `beat` grows with every renewal; `place` names the table itself: see `syncd.store.witness`.
    """

    __tablename__ = "holder"
    name: str = Field(primary_key=True)
    token: int = Field(sa_type=sa.BigInteger)
    beat: int = Field(default=0, sa_type=sa.BigInteger)
    place: str = ""
    who: str
    until: datetime
