"""CEL as Kubernetes speaks it: validation rules, admission policies, match conditions.

    environment = cel.Environment({"self": cel.declare_schema(schema, root=True)})
    program = environment.compile("self.spec.replicas <= 5", expect=cel.types.Bool)
    program.estimate.max, program.uses("oldSelf")
    program.evaluate({"self": obj}, cel.Budget())

An expression is parsed, type-checked and compiled to Python closures; plain JSON goes in. Nothing here does I/O or asks
for the time: even authorization checks are a callable in a value (`Authorizer`).
"""

from sampan.api.cel import types
from sampan.api.cel.declare import declare_schema, declare_struct
from sampan.api.cel.environment import Environment, Program
from sampan.api.cel.errors import BudgetExceeded, CompileError, EvaluationError
from sampan.api.cel.escaping import escape
from sampan.api.cel.functions import Library
from sampan.api.cel.library.authorization import Authorizer
from sampan.api.cel.meter import MATCH_CONDITIONS_BUDGET, PER_CALL_LIMIT, RUNTIME_BUDGET, Budget
from sampan.api.cel.sizes import CostEstimate
from sampan.api.cel.values import NONE, Made, Optional, to_json

__all__ = [
    "MATCH_CONDITIONS_BUDGET",
    "NONE",
    "PER_CALL_LIMIT",
    "RUNTIME_BUDGET",
    "Authorizer",
    "Budget",
    "BudgetExceeded",
    "CompileError",
    "CostEstimate",
    "Environment",
    "EvaluationError",
    "Library",
    "Made",
    "Optional",
    "Program",
    "declare_schema",
    "declare_struct",
    "escape",
    "to_json",
    "types",
]
