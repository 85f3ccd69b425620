"""Kinds that users define: from the OpenAPI schema in a CustomResourceDefinition to everything a kind does.

Pure, as all of `api` is. The schema (a plain dict, as it stands in the CRD) is compiled on first use into three things:
a reader that prunes and fills in defaults, a validator with upstream's messages, and nodes for server-side apply.
"""
