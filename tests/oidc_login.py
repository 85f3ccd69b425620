"""An exec credential plugin for kubectl, as people write them: logs in at an OpenID issuer and prints its token.

python oidc_login.py ISSUER CA_FILE CLIENT_ID SUBJECT
"""

from __future__ import annotations

import json
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

BACK = "https://127.0.0.1:1/back"


class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def main(issuer: str, ca_file: str, client_id: str, subject: str) -> None:
    context = ssl.create_default_context(cafile=ca_file)
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), Stay)

    def post(path: str, **fields: str) -> Any:
        return opener.open(issuer + path, urllib.parse.urlencode(fields).encode(), timeout=10)

    query = {"client_id": client_id, "redirect_uri": BACK, "response_type": "code", "scope": "openid email"}
    try:
        post("/oauth2/authorize?" + urllib.parse.urlencode(query), sub=subject)
        raise SystemExit("the issuer did not send us back")
    except urllib.error.HTTPError as redirect:
        where = urllib.parse.urlsplit(redirect.headers["Location"])
    code = urllib.parse.parse_qs(where.query)["code"][0]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK}
    with post("/oauth2/token", client_id=client_id, client_secret="any", **form) as reply:
        token = json.load(reply)["id_token"]
    credential = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": token}}
    print(json.dumps(credential))


if __name__ == "__main__":
    main(*sys.argv[1:])
