"""What the API serves for kubectl alone: printed tables, OpenAPI, bodies in protobuf, port-forward's SPDY."""
