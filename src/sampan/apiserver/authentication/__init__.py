"""Who asks: the first stage after routing. One file per kind of credential; `chain.py` asks them in upstream's order."""
