"""ValidatingAdmissionPolicy: rules in CEL that the API server evaluates itself.

`variables.py` says what expressions may use, `conditions.py` evaluates match conditions (webhooks have them too),
`compiled.py` reads policies and bindings, `params.py` finds their parameters, `evaluate.py` decides, `enforce.py` acts on
it, `plugin.py` is the admission plugin, `typecheck.py` finds mistakes that only types show, and
`status.py` writes them into `status.typeChecking`."""
