"""The test of the suites themselves: on a healthy lab every check passes, on a faulty one exactly the checks fail
that the fault concerns, and the report names the layer that is at fault."""
