"""A UserHarbor store on SQLAlchemy Core. The public names, and nothing else, live here."""

from .maintenance.findings import Finding
from .maintenance.purge import Purged
from .schema.tables import metadata
from .schema.user_model import register_user_model
from .sql.users import User
from .store import SQLAlchemyUserStore

__version__ = "1.0.0"

__all__ = [
    "Finding",
    "Purged",
    "SQLAlchemyUserStore",
    "User",
    "metadata",
    "register_user_model",
]
