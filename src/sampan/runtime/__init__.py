"""The embedded container runtime: a CRI v1 server on a unix socket that knows nothing of the Kubernetes API."""
