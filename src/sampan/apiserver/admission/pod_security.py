"""Pod Security Admission: pods must be as secure as the labels of their namespace say.

`enforce` refuses pods; `warn` and `audit` tell of pods, and of templates that would make such pods. Labels that cannot
be read are refused when they are set; where they are there all the same, what is enforced is the strictest.

Source: k8s.io/pod-security-admission/admission/admission.go; kubernetes/plugin/pkg/admission/security/podsecurity
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from sampan.api import errors
from sampan.api.kind import Obj
from sampan.api.pod_security.policy import LEVELS, PREFIX, PRIVILEGED, Policy, Standard, of_labels
from sampan.apiserver.admission.chain import Attributes, Plugin
from sampan.apiserver.admission.lookup import MAX_KNOWN, find
from sampan.apiserver.cache import Record

#: where kinds have their pods' template
TEMPLATES: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "podtemplates"): ("template",),
    ("", "replicationcontrollers"): ("spec", "template"),
    ("apps", "replicasets"): ("spec", "template"),
    ("apps", "deployments"): ("spec", "template"),
    ("apps", "statefulsets"): ("spec", "template"),
    ("apps", "daemonsets"): ("spec", "template"),
    ("batch", "jobs"): ("spec", "template"),
    ("batch", "cronjobs"): ("spec", "jobTemplate", "spec", "template"),
}
#: every other subresource of a pod is taken for the pod itself
IGNORED = frozenset({"exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"})
SECCOMP = ("seccomp.security.alpha.kubernetes.io/pod", "container.seccomp.security.alpha.kubernetes.io/")
MAX_PODS = 3000
SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Exemptions:
    users: frozenset[str] = field(default_factory=frozenset)
    namespaces: frozenset[str] = field(default_factory=frozenset)
    runtime_classes: frozenset[str] = field(default_factory=frozenset)


NOBODY = Exemptions()


class PodSecurity(Plugin):
    """`defaults`: what holds where a namespace has no label."""

    resources = frozenset({("", "namespaces"), ("", "pods"), *TEMPLATES})
    operations = frozenset({"CREATE", "UPDATE"})
    subresources = None

    def __init__(self, defaults: Policy = PRIVILEGED, exemptions: Exemptions = NOBODY) -> None:
        self.defaults = defaults
        self.exemptions = exemptions
        #: namespaces, as they are, to which everything is allowed
        self._privileged: dict[str, Record] = {}

    def concerns(self, attributes: Attributes) -> bool:
        if not super().concerns(attributes):
            return False
        if (attributes.group, attributes.resource) == ("", "pods"):
            return attributes.subresource not in IGNORED
        return not attributes.subresource

    async def validate(self, attributes: Attributes) -> None:
        """Raises 403 for a pod, 422 for a namespace."""
        if attributes.obj is None:
            return
        if (attributes.group, attributes.resource) == ("", "namespaces"):
            await self._namespace(attributes, attributes.obj)
            return
        known = attributes.api.namespaces.get(attributes.namespace)
        if known is not None and self._privileged.get(attributes.namespace) is known:
            return
        for exempt, what in (
            (attributes.namespace in self.exemptions.namespaces, "namespace"),
            (attributes.user.name in self.exemptions.users, "user"),
        ):
            if exempt:
                attributes.annotate(PREFIX + "exempt", what)
                return
        namespace = await find(attributes.api, attributes.api.namespaces, attributes.namespace)
        if namespace is None:
            raise errors.internal(f"failed to lookup namespace {attributes.namespace}")
        policy, problems = of_labels(namespace.labels, self.defaults)
        if problems:
            said = problems[0] if len(problems) == 1 else f"[{', '.join(map(str, problems))}]"
            attributes.annotate(PREFIX + "error", f"Failed to parse policy: {said}")
        if policy.privileged:
            if len(self._privileged) >= MAX_KNOWN:
                self._privileged.clear()
            self._privileged[attributes.namespace] = namespace
            return
        pod = (attributes.group, attributes.resource) == ("", "pods")
        template = attributes.obj if pod else self._template(attributes, attributes.obj)
        if template is None or (pod and attributes.old is not None and not _significant(template, attributes.old)):
            return
        self._evaluate(attributes, policy, template, enforce=pod)

    def _evaluate(self, attributes: Attributes, policy: Policy, template: Obj, *, enforce: bool) -> None:
        from sampan.api.pod_security.evaluate import violations

        meta, spec = template.get("metadata") or {}, template.get("spec") or {}
        if spec.get("runtimeClassName") in self.exemptions.runtime_classes:
            attributes.annotate(PREFIX + "exempt", "runtimeClass")
            return

        def said(standard: Standard) -> str:
            found = violations(standard, meta, spec)
            return f'violate PodSecurity "{standard}": {", ".join(map(str, found))}' if found else ""

        if enforce:
            attributes.annotate(PREFIX + "enforce-policy", str(policy.enforce))
        refused = said(policy.enforce) if enforce else ""
        audit = said(policy.audit)
        if audit:
            attributes.annotate(PREFIX + "audit-violations", "would " + audit)
        if refused:
            raise attributes.forbidden(refused.replace("violate", "violates", 1))
        warning = said(policy.warn)
        if warning:
            attributes.warn("would " + warning)

    @staticmethod
    def _template(attributes: Attributes, obj: Obj) -> Obj | None:
        found: Obj | None = obj
        for name in TEMPLATES[attributes.group, attributes.resource]:
            found = (found or {}).get(name)
        return found

    # -- namespaces ----------------------------------------------------------------------------------------------------

    async def _namespace(self, attributes: Attributes, namespace: Obj) -> None:
        policy, problems = of_labels(namespace["metadata"].get("labels"), self.defaults)
        name = namespace["metadata"]["name"]
        if attributes.old is None:
            if problems:
                raise errors.invalid("", "Namespace", name, problems)
            return
        before, old_problems = of_labels(attributes.old["metadata"].get("labels"), self.defaults)
        if problems and problems != old_problems:
            raise errors.invalid("", "Namespace", name, problems)
        new, old = policy.enforce, before.enforce
        relaxed = new.version == old.version and LEVELS.index(new.level) <= LEVELS.index(old.level)
        if new == old or new.level == "privileged" or relaxed or name in self.exemptions.namespaces:
            return
        for warning in await self._existing(attributes, name, new):
            attributes.warn(warning)

    async def _existing(self, attributes: Attributes, namespace: str, standard: Standard) -> list[str]:
        """Warnings of pods that are there and would not be let in any more."""
        from sampan.api.pod_security.evaluate import violations

        loop = asyncio.get_running_loop()
        deadline = loop.time() + SECONDS
        records = list(attributes.api.cached("", "pods").list(namespace))
        found: dict[str, list[str]] = {}
        checked = 0
        for record in records[:MAX_PODS]:
            pod = record.obj()
            checked += 1
            if pod["spec"].get("runtimeClassName") not in self.exemptions.runtime_classes:
                reasons = ", ".join(item.reason for item in violations(standard, pod["metadata"], pod["spec"]))
                if reasons:
                    found.setdefault(reasons, []).append(record.name)
            if loop.time() > deadline:
                break
            if checked % 50 == 0:
                await asyncio.sleep(0)
        out = []
        if checked < len(records):
            out.append(
                f"new PodSecurity enforce level only checked against the first {checked} of {len(records)} existing pods"
            )
        if found:
            out.append(
                f'existing pods in namespace "{namespace}" violate the new PodSecurity enforce level "{standard}"'
            )
        return [*out, *sorted(f"{_these(names)}: {reasons}" for reasons, names in found.items())]


def _these(names: list[str]) -> str:
    first, others = min(names), len(names) - 1
    if not others:
        return first
    return f"{first} (and {others} other {'pod' if others == 1 else 'pods'})"


def _significant(new: Obj, old: Obj) -> bool:
    """An update that can make a difference: images, seccomp annotations, ephemeral containers."""
    annotations, before = (obj["metadata"].get("annotations") or {} for obj in (new, old))
    if any(
        annotations.get(key) != before.get(key)
        for key in {*annotations, *before}
        if key == SECCOMP[0] or key.startswith(SECCOMP[1])
    ):
        return True
    for kind in ("containers", "initContainers"):
        after, earlier = new["spec"].get(kind) or (), old["spec"].get(kind) or ()
        if [item.get("image") for item in after] != [item.get("image") for item in earlier]:
            return True
    known = {item.get("name"): item.get("image") for item in old["spec"].get("ephemeralContainers") or ()}
    return any(
        item.get("name") not in known or known[item.get("name")] != item.get("image")
        for item in new["spec"].get("ephemeralContainers") or ()
    )
