"""What goes into a column and comes out of it: times, username keys, what no column can hold."""

from datetime import datetime, timezone

# Characters that the columns of the store's own tables hold.
USERNAME_LENGTH = 255
EMAIL_LENGTH = 320
PASSWORD_HASH_LENGTH = 512
TOKEN_HASH_LENGTH = 128
NAME_LENGTH = 255

EARLIEST = datetime(1000, 1, 2, tzinfo=timezone.utc)
LATEST = datetime(9999, 12, 30, tzinfo=timezone.utc)


def as_utc(value: datetime) -> datetime:
    """The instant of `value`, aware and in UTC. A naive `value` is UTC already.

    `ValueError` outside of what each database can hold and give back in any time zone.
    """
    aware = value if value.tzinfo is not None else value.replace(tzinfo=timezone.utc)
    if not EARLIEST <= aware <= LATEST:
        raise ValueError(f"{value} is not between {EARLIEST:%Y-%m-%d} and {LATEST:%Y-%m-%d}")
    utc = aware.astimezone(timezone.utc)
    # Of the class of EARLIEST: not every driver stores a subclass, as those of freezegun and
    # pendulum are.
    return EARLIEST.replace(
        year=utc.year,
        month=utc.month,
        day=utc.day,
        hour=utc.hour,
        minute=utc.minute,
        second=utc.second,
        microsecond=utc.microsecond,
    )


def as_naive_utc(value: datetime) -> datetime:
    """The instant of `value` in UTC, without a time zone. A naive `value` is UTC already."""
    if value.tzinfo is None:
        return value
    return value.astimezone(timezone.utc).replace(tzinfo=None)


def plain(text: str) -> str:
    """`text` as a `str`: not every driver stores a subclass, as an `Enum` of texts is, as it is."""
    return str.__str__(text)


def username_key(username: str) -> str:
    """What two spellings of one username have in common ("Straße", "STRASSE")."""
    return username.casefold()


def is_storable(value: str, length: int | None = None) -> bool:
    """Whether every database can hold `value`, in a column of `length` characters.

    SQLite would take all of what is refused here; the answers must not differ by database.
    """
    if (length is not None and len(value) > length) or "\0" in value:
        return False
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_storable_key(value: str, length: int | None = None) -> bool:
    """Whether every database can hold `value` as a new key, apart from each other key.

    To MySQL's and MariaDB's `utf8mb4_bin`, "jane " and "jane" are one key.
    """
    return is_storable(value, length) and not value.endswith(" ")
