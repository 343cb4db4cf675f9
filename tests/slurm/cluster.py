"""A real SLURM of one machine, in one folder: munge, controller and node daemons as the current user (root), nothing in /etc.

Each node is a slurmd of its own, so that jobs are placed, fail and are requeued as on several machines. Needs the programs of
Debian's packages slurmctld, slurmd, slurm-client and munge.
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
GPUS = 2  # of each node; not there, but for the scheduler


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


def wait(ready: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Return once ``ready``; TimeoutError when it does not come."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come within {seconds:.0f} s")
        time.sleep(0.2)


class Cluster:
    """One controller and some nodes with ``cpus`` CPUs each; ``environment`` makes every SLURM command talk to it."""

    def __init__(self, folder: Path, nodes: int = 3, cpus: int = 2, memory_mb: int = 32000) -> None:
        self.folder = folder
        self.nodes = [f"node{number}" for number in range(1, nodes + 1)]
        self.environment = os.environ | {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}:{SYSTEM}",
        }
        for name in ("bin", "state", "log"):
            (folder / name).mkdir(parents=True)
        # munge refuses a key that others could read, and a socket in a folder that others cannot enter.
        (folder / "munge").mkdir(mode=0o700)
        controller, *ports = _free_ports(1 + nodes)
        host = socket.gethostname().split(".")[0]
        listed = [
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port}"
            for name, port in zip(self.nodes, ports, strict=True)
        ]
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
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,bf_interval=2
KillWait=15
SlurmdTimeout=20
JobRequeue=0
GresTypes=gpu
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/completed
NodeName=DEFAULT CPUs={cpus} RealMemory={memory_mb} Gres=gpu:fake:{GPUS} State=UNKNOWN
"""
            + "\n".join(listed)
            + "\nPartitionName=DEFAULT Nodes=ALL MaxTime=24:00:00 State=UP\nPartitionName=cpu Default=YES\nPartitionName=gpu\n"
        )
        devices = []
        for number in range(GPUS):
            devices.append(folder / f"gpu{number}")
            os.mknod(devices[-1], 0o20666, os.makedev(1, 3))  # like /dev/null
        (folder / "gres.conf").write_text(f"Name=gpu Type=fake File={folder}/gpu[0-{GPUS - 1}]\n")
        # Snakemake's job step starts srun without any SLURM_* variable, so the configuration is named here again.
        srun = folder / "bin" / "srun"
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun", path=SYSTEM)} "$@"\n')
        srun.chmod(0o755)
        # The plugin takes a job for done when sacct answers UNKNOWN: it must not be asked for states.
        sacct = folder / "bin" / "sacct"
        sacct.write_text(f'#!/bin/sh\necho "$@" >> {folder}/sacct.asked\nexit 1\n')
        sacct.chmod(0o755)

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
        wait(lambda: self.call("scontrol", "ping").stdout.count("is UP") > 0, "slurmctld")
        for node in self.nodes:
            self.start_node(node)
        wait(lambda: self.states().count("idle") == len(self.nodes), "the nodes")

    def start_node(self, node: str) -> None:
        """Start a node's daemon."""
        self._daemon("slurmd", "-N", node)

    def states(self) -> list[str]:
        """The state of each node."""
        return self.call("sinfo", "--noheader", "-N", "--partition", "cpu", "--format", "%t").stdout.split()

    def _daemon(self, *command: str) -> None:
        subprocess.run(command, env=self.environment, check=True, capture_output=True, timeout=60)

    def jobs(self) -> dict[str, str]:
        """Job number -> state, of the jobs that SLURM still knows as waiting or running."""
        lines = self.call("squeue", "--noheader", "--format", "%A %T").stdout.split("\n")
        return dict(line.split() for line in lines if line)

    def asked_sacct(self) -> bool:
        """Whether anyone asked the program that does not work here for states of jobs; for accounts, the plugin always does."""
        asked = self.folder / "sacct.asked"
        return asked.exists() and "State" in asked.read_text()

    def running(self) -> str | None:
        """The number of a job that runs, if there is one."""
        return next((job for job, state in self.jobs().items() if state == "RUNNING"), None)

    def node_of(self, job: str) -> str:
        """Where a job runs."""
        return self.call("squeue", "--noheader", "--jobs", job, "--format", "%N").stdout.strip()

    def cancel_all(self) -> None:
        """Cancel what waits or runs, and return when it is gone."""
        for job in self.jobs():
            self.call("scancel", job)
        wait(lambda: not self.jobs(), "the end of the last job", 60)

    def stop(self) -> None:
        """Cancel what runs and end the daemons that `start` started."""
        self.cancel_all()
        for name in (*self.nodes, "slurmctld", "munged"):
            pid = self.folder / f"{name}.pid"
            if pid.exists():
                os.kill(int(pid.read_text()), signal.SIGTERM)
                wait(lambda pid=pid: not pid.exists(), f"the end of {name}")
