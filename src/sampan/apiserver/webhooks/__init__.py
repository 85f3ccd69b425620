"""Dynamic admission: programs outside that are asked about writes, over TLS.

`client.py` makes the calls (conversion webhooks of custom resources use it too), `review.py` speaks AdmissionReview,
`match.py` says whom a write concerns, `hooks.py` keeps the registered webhooks, `mutating.py` and `validating.py` ask
them, `plugins.py` are the two admission plugins."""
