"""A UserHarbor store on SQLAlchemy Core. The public names, and nothing else, live here."""

from .schema.tables import metadata
from .schema.user_model import register_user_model
from .sql.users import User
from .store import SQLAlchemyUserStore

__all__ = ["SQLAlchemyUserStore", "User", "metadata", "register_user_model"]
