"""What others need to believe our ServiceAccount tokens: the OpenID discovery document and the keys.

RBAC says who may read them: `system:service-account-issuer-discovery`.

Source: kubernetes/pkg/serviceaccount/openidmetadata.go; pkg/routes/openidmetadata.go
"""

from __future__ import annotations

import orjson

from sampan.apiserver.authentication.identity import Identity

CONFIGURATION, JWKS = "/.well-known/openid-configuration", "/openid/v1/jwks"


def serve(identity: Identity, path: str, jwks_uri: str) -> tuple[str, bytes] | None:
    """Media type and document; None: not one of these. An issuer that is no https URL has none."""
    issuer = identity.issuer.issuer
    if not issuer.startswith("https://") or "?" in issuer or "#" in issuer:
        return None
    if path == JWKS:
        return "application/jwk-set+json", identity.keys.jwks
    if path != CONFIGURATION:
        return None
    document = {
        "issuer": issuer,
        "jwks_uri": jwks_uri,
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": sorted({key.algorithm for key in identity.keys.verifying.values()}),
    }
    return "application/json", orjson.dumps(document)
