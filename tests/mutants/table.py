"""Bugs to plant: what is broken, how, and the tests that must notice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """`old` stands exactly once in `path` and becomes `new`; one of `tests` must fail then.

    `behind`: what else goes, in the same file, where one check stands behind another.
    """

    bug: str
    path: str
    old: str
    new: str
    tests: tuple[str, ...]
    behind: tuple[tuple[str, str], ...] = ()

    @property
    def edits(self) -> tuple[tuple[str, str], ...]:
        return ((self.old, self.new), *self.behind)


FENCE, GUARD, ABSENCE, BAD = (
    f"tests/system/test_{name}.py::test_" for name in ("fence", "guard", "absence", "bad_input")
)
HEIRS = "tests/system/test_heirs.py::test_"
MANY = "tests/system/test_many.py::test_"
FORMER = "tests/system/test_former_addresses.py::test_"
HANDED_ON = "tests/system/test_handed_on.py::test_"
LINKED = "tests/reconcile/test_connection.py::test_"
UNLINKED = "tests/system/test_links.py::test_"
CARRIER = "tests/test_carrier.py::test_"
DOOR, LOST = (f"tests/receiver/test_{name}.py::test_" for name in ("deliveries", "nothing_is_lost"))
OUTBOX, PEOPLE, SESSION = (f"tests/store/test_{name}.py::test_" for name in ("outbox", "people", "session"))

MUTANTS = (
    # What was promised must be on the disk.
    Mutant(
        "synchronous=NORMAL",
        "syncd/store/session.py",
        "PRAGMA synchronous=FULL",
        "PRAGMA synchronous=NORMAL",
        (f"{SESSION}sqlite_promises_that_what_was_committed_outlives_a_power_cut",),
    ),
    Mutant(
        "2xx before the commit",
        "syncd/receiver/deliveries.py",
        "            delivery_id, new = ingest.accept(lane, self._context, delivery)\n        except",
        "            asyncio.get_running_loop().call_later(0.2, ingest.accept, lane, self._context, delivery)\n"
        '            delivery_id, new = "later", True\n        except',
        (f"{DOOR}a_lead_is_durable_before_it_is_answered_and_the_daemon_is_woken",),
    ),
    Mutant(
        "2xx although the mirror is in trouble",
        "syncd/receiver/deliveries.py",
        "            delivery_id, new = ingest.accept(lane, self._context, delivery)\n        except",
        "            try:\n"
        "                delivery_id, new = ingest.accept(lane, self._context, delivery)\n"
        "            except DeliveryError:\n                raise\n"
        '            except Exception:\n                delivery_id, new = "lost", True\n        except',
        (f"{LOST}no_trouble_of_the_database_is_ever_answered_with_2xx",),
    ),
    # The outbox: what may have been sent is looked up, and sent once.
    Mutant(
        "the outbox is done before the answer",
        "syncd/sync/push.py",
        "        begun = outbox.begin(connection, [op.id for op in batch], began, context.now())\n",
        "        begun = outbox.begin(connection, [op.id for op in batch], began, context.now())\n"
        "        for op in batch:\n"
        "            outbox.finish(connection, op.id, OpState.DONE, began, context.now())\n",
        (f"{FENCE}an_unsubscribe_at_rocketresponder_cut_by_a_kill_is_looked_up_and_not_sent_again",),
    ),
    Mutant(
        "an addition is repeated without reading",
        "syncd/sync/answers.py",
        "            if self._may_be_told_twice(op):\n",
        "            if True:\n",
        (f"{FENCE}an_addition_that_timed_out_after_it_was_made_ends_as_one_row",),
    ),
    Mutant(
        "the carrier repeats a write",
        "syncd/carrier.py",
        "        if not request.repeatable:\n            return await self._once(request)",
        "        if False:\n            return await self._once(request)",
        (f"{CARRIER}a_write_is_never_repeated_whatever_the_answer",),
    ),
    Mutant(
        "after a restart what was under way is sent again",
        "syncd/store/outbox.py",
        ".values(state=OpState.UNKNOWN.value, ended_seq=seq, settled_seq=0,",
        ".values(state=OpState.READY.value, ended_seq=seq, settled_seq=0,",
        (f"{OUTBOX}after_a_restart_whatever_was_under_way_is_unknown",),
    ),
    Mutant(
        "unsubscribes go last",
        "syncd/store/outbox.py",
        "PRIORITY = {ChangeKind.UNSUBSCRIBE: 0,",
        "PRIORITY = {ChangeKind.UNSUBSCRIBE: 3,",
        (f"{OUTBOX}unsubscribes_go_first_then_corrections_then_the_rest_oldest_first",),
    ),
    Mutant(
        "a refused unsubscribe is given up",
        "syncd/sync/answers.py",
        "        if op.change.kind is ChangeKind.UNSUBSCRIBE:\n            self._postpone(",
        "        if False:\n            self._postpone(",
        (f"{BAD}an_unsubscribe_that_always_fails_is_never_given_up_and_holds_nobody_back",),
    ),
    # The fence: what a reading can say.
    Mutant(
        "no fence",
        "syncd/store/outbox.py",
        "    return {Identity(value) for value in found}",
        "    return {Identity(value) for value in found if False}",
        (f"{OUTBOX}a_reading_from_before_the_end_of_a_write_is_not_believed",),
    ),
    Mutant(
        "a replica that lagged refutes a write",
        "syncd/store/people.py",
        "        settled_seq=row.settled_seq,",
        "        settled_seq=0,",
        (f"{FENCE}a_replica_that_lagged_while_we_read_back_adds_nobody_twice",),
    ),
    Mutant(
        "a lagging reading counts at once",
        "syncd/reconcile/close.py",
        "            elif verdict is False and now < settled_at:\n",
        "            elif verdict is False and now < settled_at - timedelta(days=1):\n",
        ("tests/reconcile/test_close.py::test_a_contradiction_counts_only_after_the_provider_had_time_to_settle",),
    ),
    Mutant(
        "an answer that cannot be read is an empty list",
        "syncd/providers/salesrocks/answers.py",
        '        raise MalformedError(f"{call}: the answer holds no list of rows", call=call) from None',
        "        return []",
        ("tests/providers/salesrocks/test_reading.py",),
    ),
    Mutant(
        "an empty list is believed",
        "syncd/reconcile/whole.py",
        "    if evidence.rows == 0 and lost > 0:",
        "    if evidence.rows == 0:\n        return None\n    if evidence.rows == 0 and lost > 0:",
        (f"{ABSENCE}an_empty_list_where_many_were_known_is_held_and_nothing_follows_but_what_others_say",),
    ),
    Mutant(
        "an absence counts at first",
        "syncd/reconcile/learn.py",
        "ABSENCES_NEEDED = 2",
        "ABSENCES_NEEDED = 1",
        (
            "tests/reconcile/test_decide.py",
            f"{ABSENCE}somebody_whom_a_listing_missed_because_rows_shifted_is_not_absent",
        ),
    ),
    Mutant(
        "one listing counts as two",
        "syncd/store/mirror.py",
        "            .values(missing_seq=seq, missing_count=1)",
        "            .values(missing_seq=seq, missing_count=2)",
        ("tests/store/test_mirror.py::test_a_record_that_is_not_listed_any_more_is_missing_once_then_twice",),
    ),
    # Consent: a "no" stands.
    Mutant(
        "no last look at consent",
        "syncd/sync/push.py",
        "_let_through(connection, lane, context, _still_allowed(connection, lane, context, batch))",
        "_let_through(connection, lane, context, batch)",
        (f"{FENCE}a_no_that_comes_between_the_decision_and_the_call_is_heeded",),
    ),
    Mutant(
        "a newer reading covers a no that nobody took note of",
        "syncd/sync/seen.py",
        "    _take_note(connection, context, _covered(readings, known))\n",
        "",
        (f"{FENCE}a_no_that_something_newer_covers_before_it_was_thought_about_is_kept",),
    ),
    Mutant(
        "who joins is added in spite of a no",
        "syncd/reconcile/spread.py",
        "    if not entry.spread or person.suppressed(entry.scope) or _said_no_before(",
        "    if not entry.spread or _said_no_before(",
        ("tests/reconcile/test_spread.py::test_nobody_who_said_no_is_added",),
        behind=(("return said or bool(suppressing(person, topology, account.name, container))", "return said"),),
    ),
    Mutant(
        "a claim is granted at once",
        "syncd/reconcile/suppress.py",
        "(stands(c) or _untold(c, account))]\n",
        "(stands(c) or _untold(c, account))]\n"
        "            reachable = [cell for cell in reachable if not 0 < cell.said_no_seq < cell.status_seq]\n",
        (f"{FENCE}somebody_subscribed_again_by_a_foreign_program_is_unsubscribed_again_and_a_claim_waits",),
    ),
    Mutant(
        "the newest fact replaces what a person said",
        "syncd/store/people.py",
        "        joined = state.join(\n",
        "        joined = (lambda newest: newest)(\n",
        (f"{PEOPLE}order_and_repetition_of_events_never_matter",),
    ),
    Mutant(
        "a no said twice on a day is taken for a repetition",
        "syncd/sync/ingest.py",
        "    again = delivery.route == UNSUBSCRIBES\n",
        "    again = False\n",
        (f"{DOOR}an_unsubscribe_said_again_on_the_same_day_counts_again",),
    ),
    Mutant(
        "addresses are lower-cased and nothing more",
        "syncd/domain/identity.py",
        "    if not _PLAIN.fullmatch(text):\n",
        "    if not text:\n",
        ("tests/domain/test_identity.py::test_spellings_of_one_address_share_an_identity",),
    ),
    Mutant(
        "a no reaches one spelling of a mailbox",
        "syncd/domain/identity.py",
        '    base = local.partition("+")[0].replace(".", "")',
        "    base = local",
        ("tests/domain/test_identity.py::test_a_tag_or_a_dot_never_leads_around_a_no",),
    ),
    Mutant(
        "the mirror lets a no be written over",
        "alembic/versions/0003_suppression.py",
        '    "guard_consent_insert": ("INSERT", "consent", FALLS_BY_INSERT, STAYS),\n',
        '    "guard_consent_insert": ("INSERT", "consent", f"1 = 0 AND ({FALLS_BY_INSERT})", STAYS),\n',
        ("tests/store/test_suppression.py::test_nor_by_putting_a_row_in_the_place_of_another",),
    ),
    Mutant(
        "what was said no to since the backup is forgotten",
        "syncd/store/carry.py",
        "    return _carry_consent(connection, kept, now) + _carry_deliveries(connection, kept)",
        "    return _carry_deliveries(connection, kept)",
        (
            "tests/scenarios/test_20_lost_base.py::test_20_a_mirror_put_back_from_yesterday_sends_nothing_but_a_no_and_has_forgotten_none",
        ),
    ),
    Mutant(
        "who was erased comes back with a backup",
        "syncd/store/carry.py",
        "    _carry_erasures(connection, kept)\n    scrub",
        "    scrub",
        ("tests/system/test_erasure.py::test_an_older_backup_brings_neither_the_erased_back_nor_a_no_away",),
    ),
    Mutant(
        "who comes back is let in whatever they said elsewhere",
        "syncd/reconcile/exempt.py",
        "    return cell.reverted and confirmed and all(seq < last_no for seq in _noes(person, cell))",
        "    return cell.reverted and confirmed",
        ("tests/reconcile/test_exempt.py::test_a_no_of_which_nobody_can_say_whether_it_came_first_makes_it_wait",),
    ),
    Mutant(
        "a next no does not end an exemption",
        "syncd/reconcile/exempt.py",
        "no.scope in reaching and no.seq > exemption.seq),",
        "no.scope in reaching and no.seq < exemption.seq),",
        ("tests/reconcile/test_exempt.py::test_a_later_no_that_reaches_the_cell_ends_it",),
    ),
    # Who goes by another address.
    Mutant(
        "a mass flip that a kill cut in two is taken for two small ones",
        "syncd/sync/plan.py",
        "if journal.get_value(connection, _BEHIND) is None:",
        "if True:",
        (f"{MANY}a_mass_flip_is_known_as_one_after_a_kill_in_between",),
    ),
    Mutant(
        "somebody is decided about before all was learnt that was said",
        "syncd/sync/plan.py",
        "return Planned(elsewhere=True) if planning.learning else _plan_urgent(context)",
        "return _plan_urgent(context)",
        (f"{MANY}nobody_is_decided_about_while_what_was_said_is_still_taken_note_of",),
    ),
    Mutant(
        "a no that is seen on the way to a change of address is not learnt",
        "syncd/sync/answers.py",
        "people.put_on_agenda(self.connection, shown.people | shown.newcomers, self.now, urgent=True)",
        "pass",
        (f"{FORMER}a_no_that_is_seen_on_the_way_to_a_change_of_address_is_one_of_the_new_one_too",),
    ),
    Mutant(
        "a no from the former mailbox stays with it",
        "syncd/sync/learning.py",
        "[person.key] if noes(knowing) and any(heirs(person)) else []",
        "[]",
        (f"{HEIRS}a_no_under_the_address_before_is_one_of_the_address_they_go_by",),
    ),
    Mutant(
        "a no does not go beyond the next address",
        "syncd/sync/heirs.py",
        "                left.append((known[theirs], scopes & noes(known[theirs])))\n",
        "",
        (f"{HANDED_ON}each_no_under_the_first_address_reaches_the_last_one_however_often_it_took_one_back",),
    ),
    Mutant(
        "an address that gave way is taken to have said no",
        "syncd/reconcile/learn.py",
        " or reading_of(person, topology, cell, now) is not Reading.NO",
        " or reading_of(person, topology, cell, now) is Reading.WAITS",
        ("tests/system/test_rename.py::test_the_new_address_inherits_every_no_of_the_person",),
    ),
    # The guard.
    Mutant(
        "no guard",
        "syncd/reconcile/guard.py",
        "        return count > self.max_count and count > self.max_share * size",
        "        return False",
        (f"{GUARD}more_additions_than_both_limits_wait_as_a_whole_and_everything_else_goes_on",),
    ),
    Mutant(
        "the limit is off by one",
        "syncd/reconcile/guard.py",
        "        return count > self.max_count and",
        "        return count >= self.max_count and",
        (f"{GUARD}as_many_additions_as_the_count_allows_go",),
    ),
    Mutant(
        "the guard holds what people said themselves",
        "syncd/reconcile/guard.py",
        "    return wish.change.kind is ChangeKind.UNSUBSCRIBE and not wish.explicit\n",
        "    return wish.change.kind is ChangeKind.UNSUBSCRIBE\n",
        ("tests/reconcile/test_guard.py",),
    ),
    Mutant(
        "first contact adds at once",
        "syncd/reconcile/guard.py",
        "    if wish.protected or (wish.first_contact and hold_first_contact):",
        "    if wish.protected or (wish.first_contact and not hold_first_contact):",
        ("tests/system/test_first_contact.py::test_a_no_goes_out_at_once_and_additions_wait_in_plans_with_ids",),
    ),
    # One sick account, one process.
    Mutant(
        "an account that fails keeps the others from their work",
        "syncd/sync/cycle.py",
        "            outcome.readable = False\n            # Said",
        "            for other in done.accounts.values():\n                other.readable = False\n            # Said",
        (
            f"{BAD}an_answer_that_cannot_be_read_says_so_stays_at_its_account_and_teaches_nothing",
            f"{BAD}for_a_long_wait_the_account_is_left_alone_and_the_others_go_on",
        ),
    ),
    Mutant(
        "a second daemon gets the mirror",
        "syncd/store/journal.py",
        "    if row.until > now and row.who != who and",
        "    if row.until < now and row.who != who and",
        ("tests/store/test_journal.py::test_a_second_taker_is_refused_until_the_first_has_let_it_expire",),
    ),
    Mutant(
        "the token lives on the wall clock",
        "syncd/carrier.py",
        "        ended_before = self._logins_ended\n        clock = asyncio.get_running_loop().time",
        "        ended_before = self._logins_ended\n        clock = lambda: self._now().timestamp()",
        (f"{CARRIER}a_token_is_renewed_a_little_before_its_end_on_the_monotonic_clock",),
    ),
    # Where nobody can be read.
    Mutant(
        "a delivery without an answer is repeated",
        "syncd/reconcile/close.py",
        "    if op.kind is ChangeKind.UNSUBSCRIBE or topology.accounts[op.account].capabilities.facts.deduplicates:",
        "    if op.kind:",
        (f"{LINKED}a_delivery_nobody_answered_is_parked_with_what_to_do_next",),
    ),
    Mutant(
        "who came under a link is forgotten with it",
        "syncd/reconcile/person.py",
        "entry.holds(*cell.place[:2]) or entry.brought(cell)",
        "entry.holds(*cell.place[:2])",
        (f"{LINKED}nobody_is_delivered_of_a_list_that_was_unlinked_and_a_no_still_arrives",),
    ),
    Mutant(
        "an addition outlives the link that it came by",
        "syncd/sync/push.py",
        "not joins(person, topology, account, change.container, change.identity)",
        "not change",
        (f"{UNLINKED}an_addition_that_is_about_to_be_sent_when_its_campaign_is_unlinked_is_not",),
    ),
    Mutant(
        "what was delivered counts as somebody's own joining",
        "syncd/reconcile/spread.py",
        "cell.status is Status.SUBSCRIBED and cell.route != OWN_ANSWER",
        "cell.status is Status.SUBSCRIBED",
        (f"{LINKED}what_was_delivered_makes_nobody_join_elsewhere",),
    ),
    # The border.
    Mutant(
        "the signature is that of the body written anew",
        "syncd/providers/rocs/webhook.py",
        "hmac.new(secret, content, sha256)",
        "hmac.new(secret, msgspec.json.encode(msgspec.json.decode(content)), sha256)",
        ("tests/providers/rocs/test_webhook.py::test_the_signature_is_that_of_the_raw_body",),
    ),
    Mutant(
        "the request is logged",
        "syncd/carrier.py",
        "                label=request.label,\n                status=progress.status,",
        "                label=request.label,\n                url=request.url,\n"
        "                status=progress.status,",
        (f"{CARRIER}messages_and_log_lines_hold_no_url_no_body_no_header",),
    ),
    Mutant(
        "tracebacks show variables",
        "syncd/telemetry.py",
        "show_locals=False",
        "show_locals=True",
        ("tests/test_telemetry.py::test_a_traceback_shows_no_variables_and_no_person",),
    ),
)
