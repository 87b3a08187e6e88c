"""The core's own suite for stores."""

from userharbor.testing.user_store_contract import *
