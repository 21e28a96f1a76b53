"""The share of a processor that Lambda gives a function by its memory, by a control group of Linux.

1,769 MB are one processor; Lambda's own period is 20 ms. A group that has its quota outweighs what else runs here.
"""

import os
from pathlib import Path

ONE_CPU_MB = 1769
PERIOD_US = 20_000
# Version 1 of control groups has a hierarchy for each controller.
V1, V2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")


class Share:
    """A group with the share of `memory_mb`; to be closed when its processes have ended. `prefix` is a command that runs another
    one in it."""

    def __init__(self, memory_mb):
        quota = int(PERIOD_US * memory_mb / ONE_CPU_MB)
        root, settings = (V1, {"cpu.cfs_period_us": PERIOD_US, "cpu.cfs_quota_us": quota, "cpu.shares": 262_144})
        if not (V1 / "cpu.cfs_quota_us").exists():
            root, settings = V2, {"cpu.max": f"{quota} {PERIOD_US}", "cpu.weight": 10_000}
        self.folder = root / f"frazil-bench-{os.getpid()}"
        self.folder.mkdir()
        for name, value in settings.items():
            (self.folder / name).write_text(str(value))
        enter = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
        self.prefix = ["sh", "-c", enter, str(self.folder)]

    def close(self):
        self.folder.rmdir()
