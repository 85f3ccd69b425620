"""Is a container started, ready, alive? Asked again and again, by a command in it or over the network.

    probes = Probes(run, recorder, changed, status=statuses.get, clock=time.time)
    probes.add(pod)             # whenever there is something new to know of it
    probes.ready(uid, container_id)

Source: kubernetes pkg/kubelet/prober, pkg/probe
"""

from sampan.kubelet.probes.attempt import Outcome, ProbeError, attempt
from sampan.kubelet.probes.probes import Probes
from sampan.kubelet.probes.worker import Kind, Result

__all__ = ["Kind", "Outcome", "ProbeError", "Probes", "Result", "attempt"]
