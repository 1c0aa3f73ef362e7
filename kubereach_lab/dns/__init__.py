"""Cluster DNS: records made from Services and EndpointSlices, and the program that answers from them."""
