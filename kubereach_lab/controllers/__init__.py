"""The controllers: each makes one kind of object so, as its spec says."""
