"""What an API server is told: addresses, files, ranges, where it keeps its state."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sampan.store.open import EtcdTls

SERVICE_ACCOUNT_ISSUER = "https://kubernetes.default.svc.cluster.local"


@dataclass(frozen=True, slots=True)
class OidcConfig:
    """An issuer of identity tokens. `username_prefix` empty: the issuer and `#`, but none for the claim `email`; `-`:
    none."""

    issuer_url: str
    client_id: str
    username_claim: str = "sub"
    username_prefix: str = ""
    groups_claim: str = ""
    groups_prefix: str = ""
    required_claims: tuple[tuple[str, str], ...] = ()
    signing_algs: tuple[str, ...] = ("RS256",)
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class KubeletClientConfig:
    """How kubelets are reached. Without `ca_file` their certificates are believed as they are.

    DEVIATION: upstream prefers host names; here nobody may be able to resolve them, and kubeadm, too, asks for this order.
    """

    certificate_file: Path | None = None
    key_file: Path | None = None
    ca_file: Path | None = None
    address_types: tuple[str, ...] = ("InternalIP", "ExternalIP", "Hostname", "InternalDNS", "ExternalDNS")


@dataclass(frozen=True, slots=True)
class ApiServerConfig:
    """`store`: `memory`, `sqlite` (in `data_dir`) or `etcd=URL,...`. Without `cert_file` it serves plain HTTP, and
    everyone is anonymous: for tests only. `port` 0: any free one."""

    bind_hosts: tuple[str, ...] = ("127.0.0.1",)
    port: int = 6443
    cert_file: Path | None = None
    key_file: Path | None = None
    client_ca_file: Path | None = None
    store: str = "sqlite"
    data_dir: Path | None = None
    etcd_tls: EtcdTls | None = None
    service_cidr: str = "10.96.0.0/16"
    node_port_range: tuple[int, int] = (30000, 32767)
    advertise_address: str = "127.0.0.1"
    event_ttl: int = 3600
    #: between two bookmarks of a watch that asked for them
    bookmark_seconds: float = 60.0
    enable_admission_plugins: tuple[str, ...] = ()
    disable_admission_plugins: tuple[str, ...] = ()
    admission_control_config_file: Path | None = None
    authorization_modes: tuple[str, ...] = ("Node", "RBAC")
    kubelets: KubeletClientConfig = KubeletClientConfig()
    # -- who asks
    anonymous_auth: bool = True
    token_auth_file: Path | None = None
    bootstrap_token_auth: bool = False
    oidc: OidcConfig | None = None
    #: without one, a key is made in memory and its tokens end with the process
    service_account_signing_key_file: Path | None = None
    #: verify tokens; none: the signing key does
    service_account_key_files: tuple[Path, ...] = ()
    #: the first is put into tokens, all are believed
    service_account_issuers: tuple[str, ...] = (SERVICE_ACCOUNT_ISSUER,)
    service_account_jwks_uri: str = ""
    service_account_max_token_expiration: int = 0
    service_account_extend_token_expiration: bool = True
    #: empty: the issuers
    api_audiences: tuple[str, ...] = ()
