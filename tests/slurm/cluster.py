"""A real SLURM of one machine, in one folder: munge, controller and node daemons as the current user (root), nothing in /etc.

Needs the programs of Debian's packages slurmctld, slurmd, slurm-client and munge.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PROGRAMS = ("munged", "mungekey", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
SYSTEM = "/usr/sbin:/usr/bin"


def missing() -> list[str]:
    """The programs that are not installed."""
    return [name for name in PROGRAMS if not shutil.which(name, path=f"{os.environ['PATH']}:{SYSTEM}")]


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


def _wait(ready: Callable[[], bool], what: str, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come up within {seconds:.0f} s")
        time.sleep(0.2)


class Cluster:
    """One controller and one node with ``cpus`` CPUs; ``environment`` makes every SLURM command talk to it."""

    def __init__(self, folder: Path, cpus: int = 4, memory_mb: int = 64000) -> None:
        self.folder = folder
        self.environment = os.environ | {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}:{SYSTEM}",
        }
        for name in ("bin", "state", "spool", "log"):
            (folder / name).mkdir(parents=True)
        # munge refuses a key that others could read, and a socket in a folder that others cannot enter.
        (folder / "munge").mkdir(mode=0o700)
        controller, node = _free_ports(2)
        host = socket.gethostname().split(".")[0]
        (folder / "slurm.conf").write_text(
            f"""
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,bf_interval=2
KillWait=5
JobRequeue=0
AccountingStorageType=accounting_storage/none
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={node} CPUs={cpus} RealMemory={memory_mb} State=UNKNOWN
PartitionName=cpu Default=YES Nodes=ALL MaxTime=24:00:00 State=UP
"""
        )
        # Snakemake's job step starts srun without any SLURM_* variable, so the configuration is named here again.
        srun = folder / "bin" / "srun"
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun", path=SYSTEM)} "$@"\n')
        srun.chmod(0o755)

    def call(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a SLURM command; its output is returned whatever its exit status."""
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, timeout=60)

    def start(self) -> None:
        """Bring the daemons up; CalledProcessError or TimeoutError when they do not come."""
        munge, socket_path = self.folder / "munge", self.folder / "munge.socket"
        self._daemon("mungekey", "--create", "--keyfile", str(munge / "key"))
        files = {"socket": socket_path, "key-file": munge / "key", "seed-file": munge / "seed"}
        files |= {"pid-file": self.folder / "munged.pid", "log-file": self.folder / "log" / "munged.log"}
        self._daemon("munged", "--force", *(word for name, path in files.items() for word in (f"--{name}", str(path))))
        self._daemon("slurmctld")
        _wait(lambda: self.call("scontrol", "ping").stdout.count("is UP") > 0, "slurmctld")
        self._daemon("slurmd", "-N", "node1")
        _wait(lambda: self.call("sinfo", "--noheader", "--format", "%t").stdout.strip() == "idle", "slurmd")

    def _daemon(self, *command: str) -> None:
        subprocess.run(command, env=self.environment, check=True, capture_output=True, timeout=60)

    def jobs(self) -> dict[str, str]:
        """Job number -> state, of the jobs that SLURM still knows as waiting or running."""
        lines = self.call("squeue", "--noheader", "--format", "%A %T").stdout.split("\n")
        return dict(line.split() for line in lines if line)

    def stop(self) -> None:
        """Cancel what runs and end the daemons that `start` started."""
        for job in self.jobs():
            self.call("scancel", job)
        _wait(lambda: not self.jobs(), "the end of the last job", 60)
        for name in ("slurmd", "slurmctld", "munged"):
            pid = self.folder / f"{name}.pid"
            if pid.exists():
                os.kill(int(pid.read_text()), signal.SIGTERM)
                _wait(lambda pid=pid: not pid.exists(), f"the end of {name}")
