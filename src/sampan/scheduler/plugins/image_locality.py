"""ImageLocality: nodes that have the pod's images, large ones above all, save pulling them.

Source: plugins/imagelocality/image_locality.go
"""

from __future__ import annotations

import numpy as np

from sampan.scheduler.framework import MAX_SCORE, Cycle, Plugin, Scores, Slots

MIN, MAX_CONTAINER = 23 * 1024 * 1024, 1000 * 1024 * 1024


class ImageLocality(Plugin):
    name = "ImageLocality"
    weight = 1
    local_score = True

    def score(self, cycle: Cycle, slots: Slots) -> Scores | None:
        kept = cycle.memo(self.name)
        if kept is None:
            kept = cycle.keep(self.name, (self._sums(cycle),))
        sums = kept[0]
        if sums is None:
            return None
        return self._scaled(cycle, sums[slots])

    def score_one(self, cycle: Cycle, slot: int) -> int:
        kept = cycle.memo(self.name)
        if kept is not None and kept[0] is None:
            return 0
        return super().score_one(cycle, slot)

    @staticmethod
    def _scaled(cycle: Cycle, sums: Scores) -> Scores:
        most = MAX_CONTAINER * len(cycle.shape.images)
        out: Scores = MAX_SCORE * (np.clip(sums, MIN, most) - MIN) // (most - MIN)
        return out

    @staticmethod
    def _sums(cycle: Cycle) -> Scores | None:
        """Bytes there already, each image weighed by how far it has spread."""
        cluster = cycle.cluster
        known = [cluster.images[name] for name in cycle.shape.images if name in cluster.images]
        if not known:
            return None
        sums = np.zeros(len(cluster.valid), np.int64)
        for size, there in known:
            sums[list(there)] += int(size * (len(there) / len(cluster)))
        return sums
