"""The Pod Security Standards: which pods are baseline, which are restricted, and what is wrong with the others."""
