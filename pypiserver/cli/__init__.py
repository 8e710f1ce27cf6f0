"""The command line: what was asked for, and what each command does."""
