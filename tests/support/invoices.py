"""A table of the application's, whose rows it stores by a session that is joined."""

from collections.abc import Iterator

import pytest
from sqlalchemy import String
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    mapped_column,
)

from support.databases import Database

INSERT = "INSERT INTO joined_invoices (id) VALUES"


class Base(DeclarativeBase):
    pass


class Invoice(Base):
    """A row of the application's."""

    __tablename__ = "joined_invoices"
    __table_args__ = {"mysql_engine": "InnoDB"}

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    note: Mapped[str | None] = mapped_column(String(50))


@pytest.fixture(autouse=True)
def invoice_table(db: Database) -> Iterator[None]:
    Base.metadata.drop_all(db.main)
    Base.metadata.create_all(db.main)
    yield
    Base.metadata.drop_all(db.main)


def invoices(db: Database) -> list[int]:
    return sorted(number for (number,) in db.read("SELECT id FROM joined_invoices"))
