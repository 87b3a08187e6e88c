"""How a statement reaches the database, and what comes back when it is refused."""
