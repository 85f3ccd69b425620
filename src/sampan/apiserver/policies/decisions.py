"""What a policy said of one write, and how a refusal reads.

Source: k8s.io/apiserver/pkg/admission/plugin/policy/validating/{policy_decision,dispatcher}.go; admission/errors.go
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sampan.api import errors
from sampan.apiserver.admission.chain import Attributes

Problem = Literal["no_error", "compile_error", "invalid_error", "out_of_budget"]
CODES = {"Unauthorized": 401, "Forbidden": 403, "RequestEntityTooLarge": 413, "Invalid": 422}


@dataclass(frozen=True, slots=True)
class Failure:
    """One validation that did not hold, or could not be evaluated. `index`: its place in the policy, `took`: seconds that
    it took, `problem`: what metrics call the kind of error."""

    message: str
    reason: str = ""
    index: int = 0
    took: float = 0.0
    problem: Problem = "no_error"


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
