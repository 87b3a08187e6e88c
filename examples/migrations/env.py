"""Runs the migrations of fastapi_app.py on its database."""

from alembic import context
from fastapi_app import DATABASE_URL, Base
from sqlalchemy import create_engine

# Not the application's engine: with foreign keys on, SQLite would delete what refers to a table
# that a migration makes anew.
with create_engine(DATABASE_URL).connect() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata)
    with context.begin_transaction():
        context.run_migrations()
