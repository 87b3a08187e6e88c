"""A UserHarbor store on SQLAlchemy Core. The public names, and nothing else, live here."""

from .lookups import User
from .models import register_user_model
from .store import SQLAlchemyUserStore
from .tables import metadata

__all__ = ["SQLAlchemyUserStore", "User", "metadata", "register_user_model"]
