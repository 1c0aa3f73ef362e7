"""After a failure: which layer is broken, where, and how that is known.

A path that failed is walked layer by layer, with probes of the kind that failed: the pods, what the EndpointSlices say
of them, each endpoint directly, then the ways of the service proxy and of the load balancer; and for names each replica
of the cluster's DNS. Nothing here knows what may be wrong with a cluster, only what must hold on each layer.
"""
