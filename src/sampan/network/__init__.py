"""Pod networking, the service proxy and the cluster's DNS."""
