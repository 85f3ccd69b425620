"""persistentvolume-binder-controller: claims get volumes, found or made; volumes that nobody claims any more are reclaimed.

    binder.py     the controller: what wakes it, and its turns
    claims.py     what becomes of a claim
    volumes.py    what becomes of a volume
    writes.py     binding and unbinding, phases
    matching.py   which volume is right for which claim
    provision.py  volumes made for claims, and the end of volumes
    host_path.py  the provisioner that is built in: directories of the host
    recycle.py    volumes emptied by a pod
    latest.py     what is known of objects that we have just written

DEVIATION: there is no persistentvolume-attach-detach-controller: volumes of CSI drivers that have to be attached to nodes
are not.
"""
