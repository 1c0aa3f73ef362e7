"""Consumers of the run's events: its record, and the record's renderings."""
