"""The tables, the application's user model beneath them, and what their columns hold."""
