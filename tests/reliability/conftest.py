"""Fixtures of the tests with real faults."""
