"""Lists at accounts, and what each page of the latest whole listing held."""

from __future__ import annotations

import pytest

from syncd.domain.records import Container, ContainerId
from syncd.store import containers
from syncd.store.containers import Link, PageDigest
from syncd.store.session import Engine, reading, writing
from tests.store.factories import NOW, R1, observe, rows, seen


def save(engine: Engine, *found: Container) -> None:
    with writing(engine) as connection:
        containers.save_containers(connection, "rocs", found)


def load(engine: Engine) -> dict[str, object]:
    with reading(engine) as connection:
        return {row.container: row for row in containers.load_containers(connection, "rocs")}


def test_lists_are_kept_and_what_was_read_of_them_stays(engine: Engine):
    save(engine, Container(R1, "News", 5, {"code": "n"}))
    with writing(engine) as connection:
        containers.update_container(connection, "rocs", "R1", rows=7, whole_seq=9, whole_at=NOW)
    save(engine, Container(R1, "Newsletter", 6, {"code": "n"}), Container(ContainerId("R2"), "Offers"))
    one, two = load(engine).values()
    assert (one.name, one.active, one.remote, one.rows, one.whole_seq, one.whole_at) == (  # type: ignore[attr-defined]
        "Newsletter", 6, {"code": "n"}, 7, 9, NOW,
    )  # fmt: skip
    assert (two.rows, two.whole_seq, two.doubt, two.present) == (0, 0, "", True)  # type: ignore[attr-defined]


def test_a_list_that_is_gone_keeps_its_rows_and_is_doubted(engine: Engine):
    save(engine, Container(R1, "News"), Container(ContainerId("R2"), "Offers"))
    save(engine, Container(ContainerId("R2"), "Offers"))
    gone = load(engine)["R1"]
    assert (gone.present, bool(gone.doubt)) == (False, True)  # type: ignore[attr-defined]
    save(engine, Container(R1, "News"), Container(ContainerId("R2"), "Offers"))
    assert load(engine)["R1"].present is True  # type: ignore[attr-defined]


def test_a_container_that_only_deliveries_name_is_made_once(engine: Engine):
    for name in ("everything", "another name"):
        with writing(engine) as connection:
            containers.ensure_container(connection, "rocs", "*", name)
    assert [row.name for row in load(engine).values()] == ["everything"]  # type: ignore[attr-defined]


def test_links_are_replaced_when_they_differ(engine: Engine):
    first = [Link("news", "rocs", "R1", "news"), Link("offers", "rocs", "R2", "offers")]
    ended = [first[0], first[1]._replace(until=NOW)]
    for links, changed in (
        (first, True), (list(reversed(first)), False), (ended, True), (ended, False), (first[:1], True), ([], True),
        ([], False),
    ):  # fmt: skip
        with writing(engine) as connection:
            assert containers.save_links(connection, links) is changed
        assert sorted(tuple(row) for row in rows(engine, containers.link)) == sorted(links)


def pages(engine: Engine) -> dict[int, PageDigest]:
    with reading(engine) as connection:
        digests = containers.load_pages(connection, "rocs", R1)
        keys = containers.load_page_keys(connection, "rocs", R1, list(digests))
    return {number: PageDigest(entry.digest, keys[number]) for number, entry in digests.items()}


@pytest.mark.parametrize(
    ("fresh", "last", "left"),
    [
        pytest.param({}, 3, {1: b"a", 2: b"b", 3: b"c"}, id="nothing differs"),
        pytest.param({2: b"x"}, 3, {1: b"a", 2: b"x", 3: b"c"}, id="one page differs"),
        pytest.param({}, 2, {1: b"a", 2: b"b"}, id="shorter by a page"),
        pytest.param({4: b"d"}, 4, {1: b"a", 2: b"b", 3: b"c", 4: b"d"}, id="longer by a page"),
        pytest.param({1: b"x"}, 1, {1: b"x"}, id="one page is left, and differs"),
    ],
)
def test_pages_that_differ_are_replaced_and_those_past_the_end_dropped(engine: Engine, fresh, last: int, left):
    def digests(of):
        return {number: PageDigest(digest, (f"{digest!r}-1", "ключ")) for number, digest in of.items()}

    with writing(engine) as connection:
        containers.save_pages(connection, "rocs", R1, digests({1: b"a", 2: b"b", 3: b"c"}), 3)
    with writing(engine) as connection:
        containers.save_pages(connection, "rocs", R1, digests(fresh), last)
    assert pages(engine) == digests(left)


def test_pages_of_one_container_are_not_those_of_another(engine: Engine):
    with writing(engine) as connection:
        containers.save_pages(connection, "rocs", ContainerId("R2"), {1: PageDigest(b"z", ())}, 1)
    assert pages(engine) == {}
    with reading(engine) as connection:
        assert containers.load_page_keys(connection, "rocs", R1, []) == {}


def test_how_many_a_container_holds_is_counted_or_told(engine: Engine):
    save(engine, Container(R1, "News", 5), Container(ContainerId("R2"), "Offers"))
    with writing(engine) as connection:
        containers.update_container(connection, "rocs", "R2", rows=7)
    observe(engine, seen("1"), seq=5)
    with reading(engine) as connection:
        assert containers.sizes(connection) == {("rocs", "R1"): 5, ("rocs", "R2"): 7}
        assert containers.subscribed(connection, "rocs", "R1") == 1
        assert containers.subscribed(connection, "rocs", "R2") == 0
