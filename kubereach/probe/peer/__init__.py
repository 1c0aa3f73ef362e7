"""The program in every pod: a backend (``serve``) and a prober (``probe``), standard library only, Python >= 3.8.

It is mounted into any image as a folder of plain files (one ConfigMap, so the folder has no folders in it), which
``python3 /kubereach`` runs. Whoever audits a pod reads there what runs in it. Where it starts: `__main__`, then `main`.

``serve`` answers HTTP, TCP and UDP with who it is: pod, node, the run's nonce, the client's address as it saw it and
the port that was hit. Everybody who reaches it gets that answer, so that the nonce is public; what changes a backend
takes the run's secret, which no answer contains. A malformed request, or one that is too large, costs its own
connection alone.

``probe`` takes requests as JSON lines on standard input, one request for a whole *series* of probes, and answers each
with one JSON line when its series is over; any number of series may be under way. `protocol` says what they contain.

Both sides are one thread with raw non-blocking sockets and epoll: many probes must be cheap, and a thread or a
coroutine for each costs several times as much. What blocks by nature (the system's resolver, a TLS handshake) runs in
threads of its own. The client closes first, so that TIME_WAIT stays with the client and servers do not run out of it.

Both have `protocol`, `sockets` (what the system offers), `identity` (who answered), `lateness` (of timers) and
`pattern` (the bytes of transfers).

A backend: `server` has listeners and connections, `handlers` what a request is answered with.

A prober: `prober` takes requests and knows whose turn it is, `series` is a request under way. `probes` begins, times
out and ends single probes; `exchange` is one of them on its socket, from one of `ports`; `answers` reads what came
back, and `outcomes` has the words for it. In threads (`background`): `flows`, `transfers`, `readiness` of the pod's own
backend, `resolver`, `tls`.

Whatever of kubereach is not in a pod imports of all this the `protocol` alone.
"""
