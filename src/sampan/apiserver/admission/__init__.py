"""Admission: what may be refused or completed after authorization and before anything is stored. One file per plugin;
`order.py` lists them in upstream's order."""
