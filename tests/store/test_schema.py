import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from lab.base import StoreError
from lab.store import RunReader, RunWriter
from lab.store.schema import DATABASE, open_for_writing, transaction


def test_a_transaction_that_fails_leaves_nothing_and_the_next_one_works(tmp_path: Path) -> None:
    RunWriter(tmp_path, "a").finish()

    def fail(connection: sqlite3.Connection) -> None:
        with transaction(connection):
            connection.execute("INSERT INTO meta VALUES ('first', '1')")
            raise StoreError("a whole transaction", "a fault", "write it again")

    with closing(open_for_writing(tmp_path / "a" / DATABASE)) as connection:
        with pytest.raises(StoreError, match="a fault"):
            fail(connection)
        with transaction(connection):
            connection.execute("INSERT INTO meta VALUES ('second', '2')")
        keys = {row[0] for row in connection.execute("SELECT key FROM meta")}
    assert keys == {"name", "started", "sqlite", "second"}


def test_a_path_with_characters_of_a_uri_is_read(tmp_path: Path) -> None:
    root = tmp_path / "100 % of #1?mode=memory"
    with RunWriter(root, "a") as run:
        run.scalar(0, "loss", 1.0)
    assert RunReader(root / "a").scalars().value == (1.0,)
    assert list(tmp_path.iterdir()) == [root]
    assert (root / "a" / DATABASE).stat().st_size > 0
