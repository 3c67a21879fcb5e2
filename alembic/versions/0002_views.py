"""The views: the stable way into the mirror, on both engines

Revision: 0002
Revises: 0001
"""

from __future__ import annotations

import re

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

LEVELS = """CASE {column} WHEN 0 THEN 'unknown' WHEN 1 THEN 'pending' WHEN 2 THEN 'subscribed' WHEN 3 THEN 'unsubscribed'
    WHEN 4 THEN 'complaint' ELSE 'erased' END"""

# An unsubscribe that is on its way, or has arrived, outweighs what once was held back at the same place.
STATE = """CASE WHEN p.state IN ('already', 'withdrawn') THEN p.state
    WHEN i.state IS NOT NULL AND COALESCE(o.state, 'refuted') IN ('refuted', 'superseded') THEN 'held' ELSE COALESCE(o.state, p.state) END"""
# What was accepted before this "no" was learnt, for an earlier one, took no time.
ACCEPTED = "CASE WHEN o.accepted_at < p.known_at THEN p.known_at ELSE o.accepted_at END"
READ_BACK = """CASE WHEN p.state = 'already' AND p.grade = 'verified' THEN p.settled_at WHEN o.state = 'verified' THEN o.closed_at END"""
GRADE = """CASE WHEN p.state = 'already' THEN p.grade WHEN o.state = 'verified' THEN 'verified'
    WHEN o.state IN ('accepted', 'done') THEN 'accepted' WHEN o.state IN ('inflight', 'unknown') THEN 'assumed'
    WHEN p.event_id IS NOT NULL THEN 'unknown' END"""

VIEWS = {
    "v_contacts": """
        SELECT c.identity AS email, MIN(p.fields) AS fields, COUNT(DISTINCT c.account) AS accounts, COUNT(*) AS records,
               MAX(c.observed_at) AS observed_at
        FROM cell c LEFT JOIN (SELECT identity, CAST(fields AS TEXT) AS fields FROM person) p ON p.identity = c.identity
        WHERE c.identity IS NOT NULL AND c.status <> 'absent'
          AND (c.person_key NOT LIKE 'erased@%' OR c.person_key LIKE 'erased@%.%') -- no pseudonym has a dot in its domain
        GROUP BY c.identity""",
    "v_memberships": """
        SELECT c.identity AS email, l.list AS list, c.account AS account, a.provider AS provider, c.container AS remote_list,
               COALESCE(c.remote_id, c.key) AS remote_id, c.address AS address, c.status AS status, c.grade AS grade,
               CASE WHEN n.whole_at IS NOT NULL AND n.whole_at > c.observed_at AND c.missing_count = 0 AND c.status NOT IN ('removed', 'absent')
                    THEN n.whole_at ELSE c.observed_at END AS observed_at,
               c.fields AS fields, c.raw AS raw
        FROM cell c
        JOIN account a ON a.name = c.account
        LEFT JOIN container n ON n.account = c.account AND n.container = c.container
        LEFT JOIN link l ON l.account = c.account AND (l.container = c.container OR l.container = '*') AND l.until IS NULL
        WHERE c.status <> 'absent' AND c.key NOT LIKE 'unread:%'""",
    "v_counters": """
        SELECT c.identity AS email, s.account AS account, a.provider AS provider, s.container AS remote_list,
               COALESCE(c.remote_id, c.key) AS remote_id, CAST(s.counters AS TEXT) AS counters, s.observed_at AS observed_at
        FROM cell c JOIN counter_sample s ON s.account = c.account AND s.container = c.container AND s.key = c.key
        JOIN account a ON a.name = c.account
        WHERE s.id = (SELECT MAX(t.id) FROM counter_sample t
                      WHERE t.account = c.account AND t.container = c.container AND t.key = c.key)""",
    "v_lists": """
        SELECT l.list AS list, n.account AS account, a.provider AS provider, n.container AS remote_list, n.name AS name, l.scope AS scope,
               n.rows AS listed, n.active AS active, n.whole_at AS whole_at, n.read_at AS read_at, n.doubt AS doubt,
               CAST(n.evidence AS TEXT) AS rests_on
        FROM container n JOIN account a ON a.name = n.account
        LEFT JOIN link l ON l.account = n.account AND l.container = n.container AND l.until IS NULL""",
    "v_campaigns": """
        SELECT k.account AS account, a.provider AS provider, k.campaign_id AS campaign_id, k.name AS name, k.status AS status,
               SUM(s.sent) AS sent, SUM(s.opened) AS opened, SUM(s.clicked) AS clicked, SUM(s.bounced) AS bounced,
               SUM(s.unsubscribed) AS unsubscribed, k.observed_at AS observed_at
        FROM campaign k JOIN account a ON a.name = k.account
        LEFT JOIN campaign_sample s ON s.account = k.account AND s.campaign_id = k.campaign_id
             AND s.id IN (SELECT MAX(id) FROM campaign_sample GROUP BY account, campaign_id, day)
        GROUP BY k.account, a.provider, k.campaign_id, k.name, k.status, k.observed_at""",
    "v_consent": f"""
        SELECT c.person_key AS person, e.identity AS email, c.scope AS scope, {LEVELS.format(column="c.level")} AS level, c.epoch AS epoch,
               c.since AS since, c.source AS source, e.route AS route, e.evidence AS evidence
        FROM consent c JOIN consent_event e ON e.id = c.event_id""",
    "v_runs": """
        SELECT id, account, started_at, ended_at, result, reason, counts FROM run""",
    "v_outbox": """
        SELECT o.id AS id, o.account AS account, a.provider AS provider, o.container AS remote_list, o.identity AS email, o.kind AS kind,
               o.state AS state, o.why AS why, o.attempts AS attempts, o.not_before AS not_before, o.created_at AS created_at,
               o.sent_at AS sent_at, o.receipt AS receipt, o.reason AS reason
        FROM op o JOIN account a ON a.name = o.account
        WHERE o.state IN ('ready', 'inflight', 'unknown', 'accepted')""",
    "v_parked": """
        SELECT CAST(o.id AS TEXT) AS id, 'change' AS what, o.account AS account, o.container AS remote_list, o.identity AS email,
               o.kind AS kind, o.reason AS reason, COALESCE(o.closed_at, o.sent_at) AS at
        FROM op o WHERE o.state IN ('parked', 'blocked')
           OR (o.state = 'ready' AND o.kind = 'unsubscribe' AND o.reason LIKE 'refused: %') -- never given up, and not taken
        UNION ALL
        SELECT 'look-up/' || k.account || '/' || k.container || '/' || k.identity, 'look-up', k.account, k.container, k.identity, NULL,
               k.given_up, k.wanted_at FROM lookup k WHERE k.given_up <> ''
        UNION ALL
        SELECT i.id, 'delivery', i.account, NULL, NULL, NULL, i.reason, i.received_at FROM inbox i WHERE i.state = 'parked'
        UNION ALL
        SELECT c.account || '/' || c.container || '/' || c.key, 'record', c.account, c.container, c.address, c.status,
               CASE WHEN c.key LIKE 'unread:%' THEN c.raw ELSE 'the address cannot be mailed' END, c.observed_at
        FROM cell c WHERE c.identity IS NULL AND c.status <> 'removed' AND c.key NOT LIKE 'sha256:%' AND c.key NOT LIKE 'md5:%'
        UNION ALL
        SELECT c.account || '/' || c.container || '/' || c.key, 'lead', c.account, c.container, c.address, c.status,
               'no list of ours takes leads of this campaign', c.observed_at
        FROM account a CROSS JOIN container n CROSS JOIN cell c -- in this order, which SQLite keeps: few campaigns are not linked
        WHERE a.provider = 'rokt' AND n.account = a.name AND c.account = n.account AND c.container = n.container
          AND c.status = 'subscribed'
          AND NOT EXISTS (SELECT 1 FROM link l WHERE l.account = n.account AND (l.container = n.container OR l.container = '*') AND l.until IS NULL)
          AND NOT EXISTS (SELECT 1 FROM consent s WHERE s.person_key = c.person_key AND s.scope = 'global' AND s.level >= 3)""",
    "v_propagation": f"""
        SELECT e.id AS event, e.identity AS email, e.scope AS scope, {LEVELS.format(column="e.level")} AS level, e.source AS source,
               e.route AS route, e.at AS learnt_at, p.account AS account, p.container AS remote_list, o.created_at AS decided_at,
               o.sent_at AS sent_at, o.ended_at AS answered_at, o.receipt AS receipt, o.closed_at AS closed_at, {STATE} AS state,
               e.person_key AS person, a.provider AS provider, p.identity AS known_as, p.known_at AS known_at,
               o.accepted_at AS accepted_at, {READ_BACK} AS read_back_at,
               SECONDS(p.known_at TO {ACCEPTED}) AS accepted_after_s,
               SECONDS(p.known_at TO {READ_BACK}) AS read_back_after_s, p.due_at AS deadline,
               CASE WHEN p.state <> 'withdrawn' THEN SECONDS(COALESCE({ACCEPTED}, {READ_BACK}, CLOCK) TO p.due_at) END AS time_left_s,
               {GRADE} AS grade,
               CASE WHEN p.settled_at IS NULL AND p.due_at < CLOCK AND {GRADE} IN ('unknown', 'assumed') AND {STATE} <> 'held'
                    THEN 1 ELSE 0 END AS overdue
        FROM consent_event e
        LEFT JOIN propagation p ON p.event_id = e.id
        LEFT JOIN op o ON o.id = p.op_id
        LEFT JOIN account a ON a.name = p.account
        LEFT JOIN plan_item i ON i.account = p.account AND i.container = p.container AND i.kind = 'unsubscribe'
             AND i.identity = p.identity AND i.state IN ('held', 'rejected')
        WHERE e.level >= 3""",
    "v_drift": """
        SELECT CASE WHEN k.fight THEN 'fight' ELSE 'claim' END AS kind, k.identity AS email, k.account AS account,
               k.container AS remote_list, CASE WHEN k.fight THEN 'said no, and somebody subscribes them again as often as it is undone'
                    ELSE 'said no and reads subscribed again' END AS detail, k.seen_at AS since
        FROM claim k WHERE k.state = 'open'
        UNION ALL
        SELECT 'reachable', c.identity, c.account, c.container, 'said no (' || s.scope || ') and reads ' || c.status, s.since
        FROM consent s CROSS JOIN cell c -- in this order, which SQLite keeps: few people said no
        WHERE s.level >= 3 AND c.person_key = s.person_key AND c.status IN ('subscribed', 'pending', 'bounced', 'unknown') AND c.missing_count = 0
          AND NOT EXISTS (SELECT 1 FROM exemption x WHERE x.person_key = c.person_key AND x.account = c.account
                          AND x.container = c.container AND x.identity = c.identity AND x.ended_seq IS NULL)
          AND (s.scope = 'global'
               OR EXISTS (SELECT 1 FROM link l WHERE l.scope = s.scope AND l.account = c.account
                          AND (l.container = c.container OR l.container = '*') AND (l.until IS NULL OR c.status_at <= l.until)))
          AND NOT EXISTS (SELECT 1 FROM cell w JOIN account a ON a.name = w.account -- Rokt was told, which holds for every campaign
                          WHERE a.provider = 'rokt' AND w.person_key = c.person_key AND w.account = c.account AND w.identity = c.identity
                          AND w.container = '*' AND w.status = 'unsubscribed' AND w.grade <> 'assumed' AND w.status_seq >= c.status_seq)
        UNION ALL
        SELECT 'two records', c.identity, c.account, c.container, 'several records claim one address; no field is written to them', MIN(c.observed_at)
        FROM cell c WHERE c.container = '*' AND c.identity IS NOT NULL AND c.status NOT IN ('removed', 'absent')
        GROUP BY c.identity, c.account, c.container HAVING COUNT(*) > 1
        UNION ALL
        SELECT 'dark', CAST(NULL AS TEXT), d.account, CASE WHEN d.what = 'list' THEN d.id END,
               CAST(d.dark AS TEXT) || ' opted out of ' || d.what || ' ' || d.id || ' whom nobody knows', d.since
        FROM dark d WHERE d.dark > 0
        UNION ALL
        SELECT CASE WHEN h.state = 'waiting' THEN 'unverified' ELSE 'unsound' END, h.identity, h.account, CAST(NULL AS TEXT),
               CASE WHEN h.state = 'withheld' THEN h.reason || ', so they are added nowhere else'
                    WHEN h.trouble = '' THEN 'waits to be verified before they are added elsewhere'
                    ELSE 'waits to be verified before they are added elsewhere: ' || h.trouble END, h.since
        FROM hygiene h WHERE h.state IN ('waiting', 'withheld')""",
}


SPELT = {
    "sqlite": (r"ROUND((julianday(\2) - julianday(\1)) * 86400.0, 3)", "strftime('%Y-%m-%d %H:%M:%f', 'now')"),
    "postgresql": (r"CAST(ROUND(CAST(EXTRACT(EPOCH FROM (\2) - (\1)) AS NUMERIC), 3) AS DOUBLE PRECISION)", "now()"),
}
"""How an engine says `SECONDS(a TO b)` and `CLOCK`."""


def upgrade() -> None:
    seconds, clock = SPELT[op.get_bind().dialect.name]
    for name, query in VIEWS.items():
        spelt = re.sub(r"SECONDS\((.+?) TO (.+?)\)(?= END|,| AS)", seconds, query, flags=re.DOTALL)
        op.execute(f"CREATE VIEW {name} AS {spelt.replace('CLOCK', clock)}")


def downgrade() -> None:
    for name in reversed(VIEWS):
        op.execute(f"DROP VIEW {name}")
