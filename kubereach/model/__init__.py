"""The words that every part uses: checks, events, outcomes, verdicts. Standard library only, no I/O."""
