"""All of authentication for one server, from its configuration: the chain, and what issues and reviews tokens.

Source of the order: kubernetes/pkg/kubeapiserver/authenticator/config.go
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sampan.api.frozen import frozen
from sampan.apiserver.authentication.account_tokens import AccountTokens
from sampan.apiserver.authentication.bearer import BearerTokens, TokenAuthenticator
from sampan.apiserver.authentication.bootstrap_tokens import BootstrapTokens
from sampan.apiserver.authentication.chain import Authentication
from sampan.apiserver.authentication.issuer import Issuer
from sampan.apiserver.authentication.keys import KeyRing, ring
from sampan.apiserver.authentication.x509 import Certificates

if TYPE_CHECKING:
    from sampan.apiserver.api import Api
    from sampan.apiserver.authentication.oidc import Oidc
    from sampan.apiserver.config import ApiServerConfig


@frozen
class Identity:
    authentication: Authentication
    tokens: BearerTokens
    issuer: Issuer
    keys: KeyRing
    account_tokens: AccountTokens
    oidc: Oidc | None = None

    async def close(self) -> None:
        if self.oidc is not None:
            await self.oidc.close()


def build(api: Api, config: ApiServerConfig) -> Identity:
    """Raises OSError, ValueError for files that cannot be read."""

    def clock() -> float:
        """The API's, also where that is changed later."""
        return api.clock()

    issuers = config.service_account_issuers
    audiences = config.api_audiences or issuers
    keys = ring(config.service_account_signing_key_file, config.service_account_key_files)
    authenticators: list[TokenAuthenticator] = []
    if config.token_auth_file:
        from sampan.apiserver.authentication.token_file import TokenFile

        authenticators.append(TokenFile(config.token_auth_file))
    account_tokens = AccountTokens(api, keys, issuers, audiences)
    authenticators.append(account_tokens)
    if config.bootstrap_token_auth:
        authenticators.append(BootstrapTokens(api))
    oidc = None
    if config.oidc is not None:
        # after ServiceAccounts: an unknown token may make it fetch keys
        from sampan.apiserver.authentication.oidc import Oidc

        oidc = Oidc(config.oidc, clock)
        authenticators.append(oidc)
    tokens = BearerTokens(authenticators, audiences, clock)
    issuer = Issuer(
        keys,
        issuers[0],
        audiences,
        max_seconds=config.service_account_max_token_expiration,
        extend=config.service_account_extend_token_expiration,
    )
    chain = Authentication([Certificates(clock), tokens], anonymous=config.anonymous_auth)
    return Identity(chain, tokens, issuer, keys, account_tokens, oidc)
