"""Which foreign keys of the database refer to a table of ours, whoever made them, in any schema."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, Table, TextClause, inspect, text

from ..schema.tables import schema_in_use

Place = tuple[str | None, str]
"""The schema and the name of a table, as the database has them."""


@dataclass(frozen=True)
class Reference:
    """A foreign key."""

    place: Place
    referring: list[str]
    """Its columns."""
    referred: list[str]
    """The columns that they refer to, in the same order."""
    cascades: bool
    """Whether a new value of these is passed on."""


def place_of(connection: Connection, table: Table) -> Place:
    """Where `table` is: the schema may be the database's default, or one that is translated to."""
    schema = schema_in_use(table, connection)
    find = _PLACES.get(connection.dialect.name)
    if find is None:
        return schema, table.name
    quote = connection.dialect.identifier_preparer.quote
    quoted = ".".join(quote(name) for name in (schema, table.name) if name)
    given = {"schema": schema, "name": table.name, "quoted": quoted}
    row = connection.execute(find, {key: given[key] for key in find.compile().params}).first()
    return (schema, table.name) if row is None else (row[0], row[1])


def references_to(connection: Connection, place: Place) -> Iterator[Reference]:
    """The foreign keys that refer to the table there."""
    return _SEARCHES.get(connection.dialect.name, _inspected)(connection, place)


def _inspected(connection: Connection, place: Place) -> Iterator[Reference]:
    """A name may be spelled in another casing where it is referred to."""
    schema, name = place
    inspector = inspect(connection)
    columns = [each["name"] for each in inspector.get_columns(name, schema)]
    spelled = {column.lower(): column for column in columns}
    for (_, referring), keys in inspector.get_multi_foreign_keys(schema=schema).items():
        for key in keys:
            if key["referred_table"].lower() == name.lower():
                yield Reference(
                    (schema, referring),
                    key["constrained_columns"],
                    [spelled.get(each.lower(), each) for each in key["referred_columns"]],
                    key.get("options", {}).get("onupdate", "").upper() == "CASCADE",
                )


def _queried(query: TextClause) -> Callable[[Connection, Place], Iterator[Reference]]:
    """A search by a query of a row for each column, those of a foreign key one after another."""

    def search(connection: Connection, place: Place) -> Iterator[Reference]:
        found: dict[tuple[object, ...], Reference] = {}
        rows = connection.execute(query, {"schema": place[0], "name": place[1]})
        for schema, name, key, referring, referred, cascades in rows:
            reference = Reference((schema, name), [], [], bool(cascades))
            reference = found.setdefault((schema, name, key), reference)
            reference.referring.append(referring)
            reference.referred.append(referred)
        return iter(found.values())

    return search


_PLACES = {
    "postgresql": text(
        """
        SELECT nspname, relname FROM pg_catalog.pg_class
        JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
        WHERE pg_class.oid = to_regclass(CAST(:quoted AS TEXT))
        """
    ),
    "mysql": text("SELECT coalesce(:schema, database()), :name"),
}
_PLACES["mariadb"] = _PLACES["mysql"]

_SEARCHES = {
    "postgresql": _queried(
        text(
            """
            SELECT place.nspname, referring.relname, conname, from_.attname, to_.attname,
            confupdtype = 'c'
            FROM pg_catalog.pg_constraint
            JOIN pg_catalog.pg_class AS referred ON referred.oid = confrelid
            JOIN pg_catalog.pg_namespace AS owned ON owned.oid = referred.relnamespace
            JOIN pg_catalog.pg_class AS referring ON referring.oid = conrelid
            JOIN pg_catalog.pg_namespace AS place ON place.oid = referring.relnamespace
            CROSS JOIN LATERAL unnest(conkey, confkey) WITH ORDINALITY AS pair(one, other, at)
            JOIN pg_catalog.pg_attribute AS from_
            ON from_.attrelid = conrelid AND from_.attnum = pair.one
            JOIN pg_catalog.pg_attribute AS to_
            ON to_.attrelid = confrelid AND to_.attnum = pair.other
            WHERE contype = 'f' AND owned.nspname = CAST(:schema AS TEXT)
            AND referred.relname = CAST(:name AS TEXT)
            ORDER BY 1, 2, 3, pair.at
            """
        )
    ),
    "mysql": _queried(
        text(
            """
            SELECT pair.table_schema, pair.table_name, pair.constraint_name, pair.column_name,
            pair.referenced_column_name, rule.update_rule = 'CASCADE'
            FROM information_schema.key_column_usage AS pair
            JOIN information_schema.referential_constraints AS rule
            ON rule.constraint_schema = pair.constraint_schema
            AND rule.constraint_name = pair.constraint_name
            AND rule.table_name = pair.table_name
            WHERE pair.referenced_table_schema = :schema AND pair.referenced_table_name = :name
            ORDER BY pair.table_schema, pair.table_name, pair.constraint_name,
            pair.ordinal_position
            """
        )
    ),
}
_SEARCHES["mariadb"] = _SEARCHES["mysql"]
