"""The delivery kit: follow a log with a cursor, deliver with retry, bisect, dead-letter.

`follower` delivers a source's records to an outlet by a `retry.Policy`; `delivery` runs one in a
thread. `sources` reads the log, `outlet` wraps exporters. `http` and `http_client` are the policy
and the transport of HTTP senders. Exporters may import all of it.
"""
