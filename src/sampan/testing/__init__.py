"""What users' tests import, and what puts a whole cluster into one event loop."""
