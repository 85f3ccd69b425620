"""The flags of `sampan apiserver` that say whose credentials are believed.

Source: kubernetes/pkg/kubeapiserver/options/authentication.go
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sampan.apiserver.config import SERVICE_ACCOUNT_ISSUER, OidcConfig
from sampan.cli.flags import boolean, duration, listed, pair

SIGNING_ALGS = tuple(kind + size for kind in ("ES", "PS", "RS") for size in ("256", "384", "512"))
LEAST_SECONDS, MOST_SECONDS = 3600, 1 << 32


def add_flags(out: argparse.ArgumentParser) -> None:
    yes = boolean
    out.add_argument("--anonymous-auth", type=yes, nargs="?", const=True, default=True, metavar="BOOL",
                     help="requests without credentials pass as system:anonymous (default: true)")  # fmt: skip
    out.add_argument("--token-auth-file", type=Path, help='file of static tokens: token,user,uid,"groups"')
    out.add_argument("--enable-bootstrap-token-auth", type=yes, nargs="?", const=True, default=False, metavar="BOOL",
                     help="believe tokens in Secrets of type bootstrap.kubernetes.io/token in kube-system")  # fmt: skip
    out.add_argument("--service-account-signing-key-file", type=Path, help="private key that signs tokens")
    out.add_argument("--service-account-key-file", type=Path, action="append", default=[],
                     help="keys that verify tokens; may be repeated (default: the signing key's public half)")  # fmt: skip
    out.add_argument("--service-account-issuer", action="append", default=[],
                     help=f"issuer of tokens; of several, the first issues (default: {SERVICE_ACCOUNT_ISSUER})")  # fmt: skip
    out.add_argument("--service-account-jwks-uri", default="", help="where the discovery document says the keys are")
    out.add_argument("--service-account-max-token-expiration", type=duration, default=0, metavar="DURATION",
                     help="longest validity of a token that is asked for")  # fmt: skip
    out.add_argument("--service-account-extend-token-expiration", type=yes, nargs="?", const=True, default=True,
                     metavar="BOOL", help="tokens that pods are given last a year (default: true)")  # fmt: skip
    out.add_argument("--api-audiences", type=listed, default=(), metavar="NAMES",
                     help="audiences of this API server (default: the issuers)")  # fmt: skip
    out.add_argument("--oidc-issuer-url", default="", help="https URL of an OpenID issuer")
    out.add_argument("--oidc-client-id", default="", help="audience its tokens must have")
    out.add_argument("--oidc-username-claim", default="sub", help="claim that names the user (default: %(default)s)")
    out.add_argument("--oidc-username-prefix", default="",
                     help="goes before user names; \"-\": nothing (default: the issuer and #, except for email)")  # fmt: skip
    out.add_argument("--oidc-groups-claim", default="", help="claim that lists the user's groups")
    out.add_argument("--oidc-groups-prefix", default="", help="goes before group names")
    out.add_argument("--oidc-required-claim", type=pair, action="append", default=[], metavar="KEY=VALUE",
                     help="claim that every token must have; may be repeated")  # fmt: skip
    out.add_argument("--oidc-signing-algs", type=listed, default=("RS256",), metavar="NAMES",
                     help="accepted algorithms (default: RS256)")  # fmt: skip
    out.add_argument("--oidc-ca-file", type=Path, help="CA that signed the issuer's certificate")


def settings(options: argparse.Namespace) -> dict[str, Any]:
    """The fields of ApiServerConfig. Raises ValueError for flags that do not go together."""
    longest = options.service_account_max_token_expiration
    if longest and not LEAST_SECONDS <= longest <= MOST_SECONDS:
        raise ValueError("the service-account-max-token-expiration must be between 1 hour and 2^32 seconds")
    return {
        "anonymous_auth": options.anonymous_auth,
        "token_auth_file": options.token_auth_file,
        "bootstrap_token_auth": options.enable_bootstrap_token_auth,
        "service_account_signing_key_file": options.service_account_signing_key_file,
        "service_account_key_files": tuple(options.service_account_key_file),
        "service_account_issuers": tuple(options.service_account_issuer) or (SERVICE_ACCOUNT_ISSUER,),
        "service_account_jwks_uri": options.service_account_jwks_uri,
        "service_account_max_token_expiration": longest,
        "service_account_extend_token_expiration": options.service_account_extend_token_expiration,
        "api_audiences": options.api_audiences,
        "oidc": _oidc(options),
    }


def _oidc(options: argparse.Namespace) -> OidcConfig | None:
    issuer, client = options.oidc_issuer_url, options.oidc_client_id
    if not issuer and not client:
        return None
    if not issuer or not client:
        raise ValueError("oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set")
    if not issuer.startswith("https://"):
        raise ValueError(f'oidc-issuer-url: Invalid value: "{issuer}": URL scheme must be https')
    for name in options.oidc_signing_algs:
        if name not in SIGNING_ALGS:
            raise ValueError(f'oidc: unsupported signing alg: "{name}"')
    return OidcConfig(
        issuer,
        client,
        options.oidc_username_claim,
        options.oidc_username_prefix,
        options.oidc_groups_claim,
        options.oidc_groups_prefix,
        tuple(options.oidc_required_claim),
        options.oidc_signing_algs,
        options.oidc_ca_file,
    )
