"""The command line of nlm: one module per command."""
