"""A UserHarbor store on SQLAlchemy Core. The public names, and nothing else, live here."""

from .models import register_user_model
from .store import SQLAlchemyUserStore
from .tables import metadata
from .users import User

__all__ = ["SQLAlchemyUserStore", "User", "metadata", "register_user_model"]
