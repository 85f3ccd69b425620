"""What is wrong with a kubeconfig's cluster and user, in client-go's words.

Source: client-go/tools/clientcmd/validation.go, client-go/rest/url_utils.go, client-go/transport/transport.go,
client-go/plugin/pkg/client/auth/exec/exec.go
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

Obj = dict[str, Any]
EXEC_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
INTERACTIVE = ("Never", "IfAvailable", "Always")


def url(cluster: Obj, user: Obj) -> str:
    """Of the server; without a scheme: HTTPS where something says so."""
    server: str = str(cluster["server"]).rstrip("/")
    if "://" in server:
        return server
    secure = ("certificate-authority", "certificate-authority-data", "insecure-skip-tls-verify")
    certified = ("client-certificate", "client-certificate-data")
    is_secure = any(cluster.get(name) for name in secure) or any(user.get(name) for name in certified)
    return f"{'https' if is_secure else 'http'}://{server}"


def wrong_cluster(name: str, cluster: Obj, base: Path) -> list[str]:
    if not cluster.get("server"):
        return [f'no server found for cluster "{name}"']
    out = []
    file, data = cluster.get("certificate-authority"), cluster.get("certificate-authority-data")
    if file and data:
        out.append(
            f"certificate-authority-data and certificate-authority are both specified for {name}. "
            "certificate-authority-data will override."
        )
    out += _unreadable("certificate-authority", cluster, name, base)
    if cluster.get("insecure-skip-tls-verify") and (file or data):
        out.append("specifying a root certificates file with the insecure flag is not allowed")
    return out


def wrong_user(name: str, user: Obj, base: Path) -> list[str]:
    out = []
    methods = [word for word, keys in (("token", ("token",)), ("basicAuth", ("username", "password")))
               if any(user.get(key) for key in keys)]  # fmt: skip
    certificate, key = user.get("client-certificate"), user.get("client-key")
    certificate_data, key_data = user.get("client-certificate-data"), user.get("client-key-data")
    if certificate or certificate_data:
        if certificate and certificate_data:
            out.append(
                f"client-cert-data and client-cert are both specified for {name}. client-cert-data will override."
            )
        if key and key_data:
            out.append(f"client-key-data and client-key are both specified for {name}; client-key-data will override")
        if not key and not key_data:
            out.append(
                f"client-key-data or client-key must be specified for {name} to use the clientCert authentication method."
            )
        out += _unreadable("client-certificate", user, name, base, "client-cert")
        out += _unreadable("client-key", user, name, base)
    if user.get("exec"):
        out += _wrong_exec(name, user["exec"])
    elif provider := user.get("auth-provider"):
        named = provider.get("name", "") if isinstance(provider, dict) else provider
        out.append(f'no Auth Provider found for name "{named}": they are no more, use an exec plugin')
    if len(methods) > 1:
        listed = " ".join(methods)
        out.append(f"more than one authentication method found for {name}; found [{listed}], only one is allowed")
    if not user.get("as") and any(user.get(key) for key in ("as-uid", "as-groups", "as-user-extra")):
        out.append(f"requesting uid, groups or user-extra for {name} without impersonating a user")
    return out


def _unreadable(key: str, entry: Obj, name: str, base: Path, shown: str = "") -> list[str]:
    if not entry.get(key):
        return []
    file = base / entry[key]
    try:
        file.open("rb").close()
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        return [f"unable to read {shown or key} {file} for {name} due to open {file}: {why}"]
    return []


def _wrong_exec(name: str, plugin: Any) -> list[str]:
    to_use = f"must be specified for {name} to use exec authentication plugin"
    if not isinstance(plugin, dict) or not plugin.get("command"):
        return [f"command {to_use}"]
    out = []
    version = plugin.get("apiVersion")
    if not version:
        out.append(f"apiVersion {to_use}")
    elif version not in EXEC_VERSIONS:
        out.append(f'exec plugin: invalid apiVersion "{version}"')
    if any(not isinstance(each, dict) or not each.get("name") for each in plugin.get("env") or ()):
        out.append(f"env variable name {to_use}")
    mode = plugin.get("interactiveMode")
    if not mode and version == EXEC_VERSIONS[0]:
        out.append(f"interactiveMode {to_use}")
    elif mode and mode not in INTERACTIVE:
        out.append(f'invalid interactiveMode for {name}: "{mode}"')
    return out
