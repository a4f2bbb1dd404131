"""Models for the tests: every kind of field and key."""
