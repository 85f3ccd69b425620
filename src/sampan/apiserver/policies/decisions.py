"""What a policy said of one write, and how a refusal reads.

Source: k8s.io/apiserver/pkg/admission/plugin/policy/validating/{policy_decision,dispatcher}.go; admission/errors.go
"""

from __future__ import annotations

from dataclasses import dataclass

from sampan.api import errors
from sampan.apiserver.admission.chain import Attributes

CODES = {"Unauthorized": 401, "Forbidden": 403, "RequestEntityTooLarge": 413, "Invalid": 422}


@dataclass(frozen=True, slots=True)
class Failure:
    """One validation that did not hold, or could not be evaluated. `index`: its place in the policy."""

    message: str
    reason: str = ""
    index: int = 0


@dataclass(frozen=True, slots=True)
class Denied:
    policy: str
    binding: str
    failure: Failure

    def error(self, attributes: Attributes) -> errors.StatusError:
        by = f"ValidatingAdmissionPolicy '{self.policy}'"
        if self.binding:
            by += f" with binding '{self.binding}'"
        message = f"{by} denied request: {self.failure.message}"
        out = attributes.forbidden(message)
        out.reason = self.failure.reason or "Invalid"
        out.code = CODES.get(out.reason, 422)
        out.details = {**(out.details or {}), "causes": [{"message": message}]}
        return out
