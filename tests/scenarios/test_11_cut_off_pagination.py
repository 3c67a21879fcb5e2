"""11: whoever a listing missed because rows shifted is not gone; who is gone was absent twice and when asked for."""

from __future__ import annotations

from tests.scenes import JOINED, agreed, calls, configured, listing_hides, marks, memberships, names_of, standing
from tests.world import World


def rows_shift(world: World, email: str) -> None:
    """Somebody is taken off the list at Sales.Rocks while we read it: right after its first page."""
    real = world.sales._get_list_data

    def shifting(body):
        answer = real(body)
        if body["page"] == 1:
            world.sales._get_list_data = real  # type: ignore[method-assign]
            assert world.sales.remove_contact(world.sales_list, email) == 1
        return answer

    world.sales._get_list_data = shifting  # type: ignore[method-assign]


def test_11_rows_that_shifted_out_of_a_listing_are_gone_only_after_two_whole_ones_and_a_question(open_world):
    world = open_world(on_absence="unsubscribe", config=configured(sales="page_size = 2"))
    first, _, shifted, hidden, *_ = emails = agreed(world, 6)

    def at_sales() -> list[str]:
        return [memberships(world, email)["sales", world.sales_list] for email in emails]

    rows_shift(world, first)
    missing = "SELECT identity FROM cell WHERE account = 'sales' AND missing_count > 0"
    world.wait(300)
    world.round()
    assert world.rows(missing) == [], "a listing whose first page moved meanwhile says nothing of who is missing"
    assert shifted in emails
    assert at_sales() == ["subscribed"] * 6
    # The next whole listing shows who had shifted, and misses for the first time who is gone.
    before = marks(world)
    listing_hides(world, hidden.__eq__)
    world.wait(300)
    world.round()
    assert {row["identity"] for row in world.rows(missing)} == {first, hidden}
    assert at_sales() == ["subscribed"] * 6
    assert "getContact" not in names_of(calls(world, before)["salesrocks"])
    # Absent twice in a row are two of them: both are asked for, and one is there.
    world.wait(300)
    world.round()
    assert names_of(calls(world, before)["salesrocks"]).count("getContact") == 2
    assert at_sales() == ["removed"] + ["subscribed"] * 5
    assert standing(world, first)["crm"] == "unsubscribed", "here an absence is an opt-out"
    assert [standing(world, email) for email in emails[1:]] == [JOINED] * 5
    listing_hides(world)
    world.settle(2)
    assert at_sales() == ["removed"] + ["subscribed"] * 5
