"""Links in pages and redirects that pass a proxy: those within the proxied server get the proxy's path before theirs.

Only the values of such attributes change; everything else of a page stays byte for byte as it is.

Source: k8s.io/apimachinery/pkg/util/proxy/transport.go (rewriteURL, rewriteHTML, the table of attributes)
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

_ATTRIBUTES = {
    "a": "href", "applet": "codebase", "area": "href", "audio": "src", "base": "href", "blockquote": "cite", "body": "background",
    "button": "formaction", "command": "icon", "del": "cite", "embed": "src", "form": "action", "frame": "longdesc src",
    "head": "profile", "html": "manifest", "iframe": "longdesc src", "img": "longdesc src usemap", "input": "src usemap formaction",
    "ins": "cite", "link": "href", "object": "classid codebase data usemap", "q": "cite", "script": "src", "source": "src",
    "video": "poster src",
}  # fmt: skip
_BY_TAG = {tag: frozenset(names.split()) for tag, names in _ATTRIBUTES.items()}
#: what is in them is no markup
_RAW = ("script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes", "noscript")
_TAG = re.compile(r"""<([a-zA-Z][^\s/>]*+)((?:[^>"']|"[^"]*"|'[^']*')*+)>""")
_ATTRIBUTE = re.compile(r"""(?<![^\s"'/])([^\s"'>/=]++)(\s*+=\s*+)("[^"]*"|'[^']*'|[^\s"'>]++)""")
_OTHER = re.compile(r"<(?:!--.*?-->|[!?/][^>]*>)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Links:
    """`prefix`: the proxy's path; `backend` and `host`: what the proxied server, and the client, call the host."""

    prefix: str
    backend: str
    host: str

    def url(self, target: str) -> str:
        """`target` as it is to be asked for through the proxy; unchanged where it leads elsewhere, or is relative."""
        try:
            parts = urlsplit(target)
        except ValueError:
            return target
        if not parts.path.startswith("/") or (parts.netloc and parts.netloc not in (self.backend, self.host)):
            return target
        if not parts.netloc or parts.netloc != self.host:
            parts = parts._replace(scheme="", netloc="")
        if not parts.path.startswith(self.prefix):
            parts = parts._replace(path=self.prefix + re.sub("/{2,}", "/", parts.path))
        return parts.geturl()

    def page(self, text: str) -> str:
        """A document in HTML."""
        out: list[str] = []
        at = 0
        while (start := text.find("<", at)) >= 0:
            out.append(text[at:start])
            found = _TAG.match(text, start) or _OTHER.match(text, start)
            if found is None:
                following = text[start + 1 : start + 2]
                if following.isalpha() or following in ("!", "?", "/"):
                    # it never ends: there is no more markup
                    at = start
                    break
                out.append("<")
                at = start + 1
                continue
            at = found.end()
            tag = found.group(1).lower() if found.re is _TAG else ""
            names = _BY_TAG.get(tag)
            out.append(self._tag(found.group(), names) if names else found.group())
            if tag in _RAW:
                closing = re.compile(f"</{tag}", re.IGNORECASE).search(text, at)
                end = closing.start() if closing else len(text)
                out.append(text[at:end])
                at = end
        out.append(text[at:])
        return "".join(out)

    def _tag(self, text: str, names: frozenset[str]) -> str:
        def changed(found: re.Match[str]) -> str:
            name, between, value = found.groups()
            if name.lower() not in names:
                return found.group()
            plain = html.unescape(value.strip("\"'"))
            rewritten = self.url(plain)
            return found.group() if rewritten == plain else f'{name}{between}"{html.escape(rewritten)}"'

        return _ATTRIBUTE.sub(changed, text)
