"""Runs the migrations of fastapi_app.py on its database."""

from alembic import context
from fastapi_app import Base, engine

with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata)
    with context.begin_transaction():
        context.run_migrations()
