"""Suppression, kept by the database itself: whatever writes into the mirror, nobody who said no is added by it

Revision: 0003
Revises: 0002

Refused, in the transaction that tries it:

- a change other than an unsubscribe that would wait to be sent, or be under way, at a place that a "no" of its person
  reaches. The person is found by `person_key`, and by `identity` and `address` too, so that a wrong key opens nothing;
- a consent state that falls: a smaller epoch, a lower level in the same one, or a larger epoch without an event that
  says by its evidence why; a consent state that is taken away or given to somebody else;
- a consent event that is changed or taken away. Its flag `mass` may change: a person, or time, lets such a "no" spread.

One door, for erasure: while a row with the key `erasing` stands in `meta`, what names the person may be overwritten in
`consent_event` (person_key, identity, container, evidence) and in `consent` (person_key). Scopes, epochs, levels and
times stay, and no row goes. `syncd.store.people.erasing` opens it and closes it again within one transaction.
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

MARK = "suppression guard"
"""How every refusal begins; `syncd.store.session` knows them by it."""

ERASING = "EXISTS (SELECT 1 FROM meta m WHERE m.key = 'erasing')"

SAID_NO_THERE = """NEW.kind <> 'unsubscribe' AND NEW.state IN ('ready', 'inflight') AND EXISTS (
    SELECT 1 FROM consent s
    WHERE s.level >= 3
      AND s.person_key IN (
        SELECT NEW.person_key
        UNION SELECT e.person_key FROM consent_event e WHERE e.identity IN (NEW.identity, LOWER(TRIM(NEW.address)))
        UNION SELECT p.person_key FROM person p WHERE p.identity IN (NEW.identity, LOWER(TRIM(NEW.address))))
      AND (s.scope = 'global' OR EXISTS (
        SELECT 1 FROM link l WHERE l.scope = s.scope AND l.account = NEW.account AND l.container IN (NEW.container, '*')
          AND l.until IS NULL)))"""

UNFOUNDED = """NOT EXISTS (
    SELECT 1 FROM consent_event e
    WHERE e.person_key = NEW.person_key AND e.scope = NEW.scope AND e.epoch = NEW.epoch AND e.level <= NEW.level
      AND TRIM(e.evidence) <> '')"""

# An upsert, and what SQLite calls INSERT OR REPLACE, fire no trigger for the row that they take away.
FALLS_BY_INSERT = f"""EXISTS (
    SELECT 1 FROM consent k WHERE k.person_key = NEW.person_key AND k.scope = NEW.scope
      AND (NEW.epoch < k.epoch OR (NEW.epoch = k.epoch AND NEW.level < k.level)))
  OR (NEW.epoch > COALESCE((SELECT k.epoch FROM consent k WHERE k.person_key = NEW.person_key AND k.scope = NEW.scope), 0)
      AND {UNFOUNDED})"""

FALLS = f"""NEW.epoch < OLD.epoch OR (NEW.epoch = OLD.epoch AND NEW.level < OLD.level)
  OR (NEW.epoch > OLD.epoch AND {UNFOUNDED})"""

KEPT = ("id", "seq", "at", "scope", "epoch", "level", "source", "route", "inferred")
NAMING = ("person_key", "identity", "container", "evidence")
"""Columns of a consent event: what nothing may change, and what erasure may."""


def _moved(*columns: str) -> str:
    return " OR ".join(f"NEW.{name} DIFFERS FROM OLD.{name}" for name in columns)


STAYS = "consent that was given or refused stays: say yes or no by a command (syncd resubscribe, syncd unsubscribe)"

GUARDS = {
    "guard_op_insert": ("INSERT", "op", SAID_NO_THERE, "this person said no, and only an unsubscribe may be sent there"),
    "guard_op_update": ("UPDATE", "op", SAID_NO_THERE, "this person said no, and only an unsubscribe may be sent there"),
    "guard_consent_insert": ("INSERT", "consent", FALLS_BY_INSERT, STAYS),
    "guard_consent_update": (
        "UPDATE",
        "consent",
        f"{FALLS} OR NEW.scope <> OLD.scope OR (NEW.person_key <> OLD.person_key AND NOT {ERASING})",
        STAYS,
    ),
    "guard_consent_delete": ("DELETE", "consent", "TRUE", STAYS),
    "guard_event_insert": (
        "INSERT",
        "consent_event",
        "EXISTS (SELECT 1 FROM consent_event e WHERE e.id = NEW.id)",
        "what was said is never changed",
    ),
    "guard_event_update": (
        "UPDATE",
        "consent_event",
        f"{_moved(*KEPT)} OR (({_moved(*NAMING)}) AND NOT {ERASING})",
        "what was said is never changed",
    ),
    "guard_event_delete": ("DELETE", "consent_event", "TRUE", "what was said is never taken away"),
}
"""Name -> when, on which table, refused if, and what is said then."""

TRUNCATED = ("consent", "consent_event")


def upgrade() -> None:
    build = _postgres if op.get_bind().dialect.name == "postgresql" else _sqlite
    for name, guard in GUARDS.items():
        for statement in build(name, *guard):
            op.execute(statement)
    if op.get_bind().dialect.name == "postgresql":
        for table in TRUNCATED:
            # The function of its DELETE knows no row here, and needs none: it always refuses.
            function = "guard_consent_delete" if table == "consent" else "guard_event_delete"
            op.execute(
                f"CREATE TRIGGER guard_{table}_truncate BEFORE TRUNCATE ON {table} "
                f"FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
            )


def _sqlite(name: str, when: str, table: str, refused_if: str, said: str) -> list[str]:
    condition = refused_if.replace("DIFFERS FROM", "IS NOT")
    return [
        f"CREATE TRIGGER {name} BEFORE {when} ON {table} WHEN {condition} "
        f"BEGIN SELECT RAISE(ABORT, '{MARK}: {said}'); END"
    ]


def _postgres(name: str, when: str, table: str, refused_if: str, said: str) -> list[str]:
    condition = refused_if.replace("DIFFERS FROM", "IS DISTINCT FROM")
    row = "OLD" if when == "DELETE" else "NEW"
    return [
        f"""CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $guard$
BEGIN
  IF {condition} THEN
    RAISE EXCEPTION USING MESSAGE = '{MARK}: {said}', ERRCODE = 'check_violation';
  END IF;
  RETURN {row};
END $guard$""",
        f"CREATE TRIGGER {name} BEFORE {when} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()",
    ]


def downgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        for name in reversed(GUARDS):
            op.execute(f"DROP TRIGGER {name}")
        return
    for table in TRUNCATED:
        op.execute(f"DROP TRIGGER guard_{table}_truncate ON {table}")
    for name, (_, table, _, _) in reversed(GUARDS.items()):
        op.execute(f"DROP TRIGGER {name} ON {table}")
        op.execute(f"DROP FUNCTION {name}()")
