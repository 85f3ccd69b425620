"""ValidatingAdmissionPolicy and MutatingAdmissionPolicy: rules in CEL that the API server evaluates itself.

`variables.py` says what expressions may use, `conditions.py` evaluates match conditions (webhooks have them too),
`compiled.py` reads policies and bindings (`validations.py` and `mutations.py` what only one kind has), `params.py` finds
their parameters, `invocations.py` which of them a write concerns. `evaluate.py` decides and `enforce.py` acts on it;
`patching.py` makes a new object and `mutate.py` has it made. `plugin.py` are the admission plugins, `typecheck.py` finds
mistakes that only types show, and `status.py` writes them into `status.typeChecking`."""
