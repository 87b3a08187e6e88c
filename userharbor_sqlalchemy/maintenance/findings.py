"""What `check()` yields."""

from dataclasses import dataclass
from typing import Literal

FindingCode = Literal[
    "table-missing",
    "column-missing",
    "column-differs",
    "not-unique",
    "folding-collation",
    "collation-unsaid",
    "index-missing",
    "foreign-key-missing",
    "key-missing",
    "usernames-collide",
    "email-with-capitals",
    "user-missing",
    "expired-tokens",
    "several-tokens",
    "foreign-keys-off",
    "costly-transactions",
]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a database; `str()` is a line that says what to do."""

    code: FindingCode
    """What is wrong, in a word for programs."""
    message: str
    """What is wrong, and what to do."""
    table: str | None = None
    """The name of the table, without its schema; None for a finding about the engine."""
    column: str | None = None
    """The name of the column, for a finding about one."""

    def __str__(self) -> str:
        where = ".".join(name for name in (self.table or "engine", self.column) if name)
        return f"{where}: {self.message}"
