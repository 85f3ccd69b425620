"""May they: the stage after authentication. One file per authorizer; `chain.py` asks them in order."""
