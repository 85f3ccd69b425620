"""The node agent: what the API says shall run here, made to run through CRI, and what became of it told to the API."""
