from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import update

from cluster import schema
from cluster.news import Standing
from cluster.runs import Run
from cluster.store import Store


def test_a_look_finds_what_is_new_and_what_was_late_of_any_run(
    store: Store, submit: Callable[..., Run]
) -> None:
    assert store.news.last() == 0
    runs = [submit(key) for key in "abc"]
    assert store.news.last() == 3
    assert [event.run_id for event in store.news.look(1).events] == [run.id for run in runs[1:]]
    assert [event.seq for event in store.news.look(2, late={1, 7}).events] == [1, 3]
    assert store.news.look(3).events == []


def test_a_look_tells_how_far_runs_are_that_are_worked_on(
    store: Store, submit: Callable[..., Run], take: Callable[..., Run]
) -> None:
    submit("waits later")
    assert store.news.look(0).standings == []
    run = take()
    store.leases.progress(run, 2, 8)
    (found,) = store.news.look(0).standings
    assert (found.run_id, found.stage, found.shards_done, found.shards_total) == (
        run.id,
        "validating",
        2,
        8,
    )
    assert 0 <= found.elapsed_ms < 60_000
    store.leases.finish(run, "succeeded", digest="ab")
    assert store.news.look(0).standings == []


def test_what_is_left_follows_from_the_pace_so_far() -> None:
    assert Standing("r", "running", 2, 8, 1000).eta_ms == 3000
    assert Standing("r", "running", 8, 8, 1000).eta_ms == 0
    assert Standing("r", "running", 0, 8, 1000).eta_ms is None


def test_a_look_tells_which_keys_are_good(store: Store) -> None:
    good, revoked, expired = (
        store.keys.add(name * 64, owner="a", note="", scopes=[], days=1) for name in "abc"
    )
    store.keys.revoke(revoked)
    with store._database.write() as connection:
        table = schema.api_keys
        connection.execute(update(table).where(table.c.id == expired).values(expires_ms=1))
    assert store.news.look(0).keys is None
    assert store.news.look(0, keys={good, revoked, expired, "x"}).keys == frozenset({good})


def test_a_run_and_its_events_are_read_at_one_moment(
    store: Store, submit: Callable[..., Run]
) -> None:
    run = submit()
    found, events = store.news.of_run(run.id, after=0)
    assert (found, [event.kind for event in events]) == (run, ["submitted"])
    assert store.news.of_run(run.id, after=events[0].seq)[1] == []
