"""pytest's side: what is collected, chosen, run and taken down. It alone wires target, world, diagnosis and reports."""
