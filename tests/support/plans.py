"""How a database means to do a statement, and whether it would read a table from end to end."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event

Plan = list[dict[str, Any]]


def _scanned_by_sqlite(plan: Plan) -> bool:
    return any(step["detail"].startswith("SCAN") for step in plan)


def _scanned_by_postgresql(plan: Plan) -> bool:
    return any(_is_scan(top["Plan"]) for row in plan for top in row["QUERY PLAN"])


def _is_scan(node: dict[str, Any]) -> bool:
    kind = node["Node Type"]
    whole_index = kind in ("Index Scan", "Index Only Scan") and "Index Cond" not in node
    return kind == "Seq Scan" or whole_index or any(map(_is_scan, node.get("Plans", [])))


def _scanned_by_mysql(plan: Plan) -> bool:
    """What a subquery has found, it may read from end to end."""
    return any(
        step["type"] in ("ALL", "index")
        and step["select_type"] != "INSERT"
        and not str(step["table"]).startswith("<")
        for step in plan
    )


_EXPLAINING: dict[str, tuple[str, Callable[[Plan], bool]]] = {
    "sqlite": ("EXPLAIN QUERY PLAN", _scanned_by_sqlite),
    "postgresql": ("EXPLAIN (FORMAT JSON)", _scanned_by_postgresql),
    "mysql": ("EXPLAIN FORMAT=TRADITIONAL", _scanned_by_mysql),
}
_EXPLAINING["mariadb"] = _EXPLAINING["mysql"]


class Plans:
    """What `explained` saw."""

    def __init__(self) -> None:
        self.explained: set[str] = set()
        """The statements."""
        self.scans: list[tuple[str, Plan]] = []
        """Those that read a table, or an index, from end to end."""


@contextmanager
def explained(engine: Engine) -> Iterator[Plans]:
    """Have each statement on `engine` explained before it is issued, with its values."""
    plans = Plans()
    explain, is_scan = _EXPLAINING[engine.name]

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *_: object) -> None:
        # SQLite's write lock is taken with a statement that is about no row. What is asked of the
        # database's own tables is not ours.
        if statement.startswith(("SELECT", "INSERT", "UPDATE", "DELETE")) and not any(
            each in statement for each in ("0 = 1", "pg_catalog", "sqlite_master")
        ):
            cursor.execute(f"{explain} {statement}", parameters)
            columns = [column[0] for column in cursor.description]
            plan = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
            plans.explained.add(statement)
            if is_scan(plan):
                plans.scans.append((statement, plan))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield plans
    finally:
        event.remove(engine, "before_cursor_execute", note)
