"""The statements of the store, a module for each part of the protocol."""
