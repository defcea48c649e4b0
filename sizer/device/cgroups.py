"""What a Linux container may use: the memory limit and the CPU quota of its control groups."""

from __future__ import annotations

from collections.abc import Iterator

from sizer.device.edge import Edge

# cgroup v1 writes "no limit" as the largest number of pages.
NO_LIMIT = 2**60


def _own_groups(edge: Edge, controller: str) -> Iterator[str]:
    """Folders of this process's cgroup (v2, then v1 of one controller), walking up to the root."""
    for line in edge.read("/proc/self/cgroup").splitlines():
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0" and not controllers:
            mounts = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
        elif controller in controllers.split(","):
            mounts = (f"/sys/fs/cgroup/{controller}", f"/sys/fs/cgroup/{controllers}")
        else:
            continue
        parts = [part for part in path.split("/") if part and part != ".."]
        for mount in dict.fromkeys(mounts):
            yield from ("/".join([mount, *parts[:depth]]) for depth in range(len(parts), -1, -1))


def memory_limit(edge: Edge) -> tuple[int | None, int | None]:
    """The tightest memory limit of the cgroups around this process, and what that one uses now."""
    limits = []
    for folder in _own_groups(edge, "memory"):
        for limit_file, used_file in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            limit = edge.number(f"{folder}/{limit_file}")
            if limit is not None and 0 < limit < NO_LIMIT:
                limits.append((limit, edge.number(f"{folder}/{used_file}")))
    return min(limits, key=lambda pair: pair[0], default=(None, None))


def usable_cores(edge: Edge, threads: int | None) -> float | None:
    """Logical CPUs that affinity and the cgroup's quota leave."""
    import os

    allowed = [float(threads)] if threads else []
    if hasattr(os, "sched_getaffinity") and str(edge.root) == "/":
        allowed.append(float(len(os.sched_getaffinity(0))))
    for folder in _own_groups(edge, "cpu"):
        quota, _, period = edge.read(f"{folder}/cpu.max").partition(" ")
        if quota.isdigit() and period.isdigit() and int(period):
            allowed.append(int(quota) / int(period))
        old_quota, old_period = edge.number(f"{folder}/cpu.cfs_quota_us"), edge.number(f"{folder}/cpu.cfs_period_us")
        if old_quota and old_quota > 0 and old_period:
            allowed.append(old_quota / old_period)
    return min(allowed, default=None)
