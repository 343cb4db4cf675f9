"""One training on several processes: they are started from within its job, watched, and named when one of them fails.

The command line of the job and what is written stay those of one process. On one machine the processes are children of the job;
on several, SLURM's srun starts them in the allocation in which the job runs.
"""

from __future__ import annotations

import base64
import functools
import json
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from lightning_fabric.plugins.environments import TorchElasticEnvironment
from lightning_fabric.strategies import DDPStrategy

from agrepa.device import device
from agrepa.errors import AgrepaError, Interrupted, ParamsError
from agrepa.training.leaving import SIGNALS

if TYPE_CHECKING:
    from agrepa.params.training import Training

TIMEOUT = timedelta(minutes=15)
"""How long a process waits for the others before it takes one for dead: longer than the first one writes a state."""
GRACE = 20.0  # seconds in which all have to end once one has failed
REPORT = "agrepa/ended/{}"  # where in the store a process says how it ended


class BFloat16(MixedPrecision):
    """bfloat16 where autocast puts it: weights and what is given to the model stay in float32.

    Times, positions on the token axis and the target of the regression would lose their last digits by a conversion, and
    positions beyond 256 those before the point too.
    """

    def convert_input(self, data: Any) -> Any:
        return data


def fabric_of(training: Training) -> Fabric:
    """Fabric as the params ask for it, launched."""
    plugins: list[Any] = []
    if training.precision == "bf16-mixed":
        plugins.append(BFloat16("bf16-mixed", device(training.accelerator).type))
    strategy: str | DDPStrategy = "auto"
    if training.devices * training.nodes > 1:
        plugins.append(TorchElasticEnvironment())
        # A domain may be missing from a step, and a head is trained only while its layer is selected. There are no buffers.
        strategy = DDPStrategy(timeout=TIMEOUT, find_unused_parameters=True, broadcast_buffers=False)
    fabric = Fabric(
        accelerator=training.accelerator,
        devices=training.devices,
        num_nodes=training.nodes,
        strategy=strategy,
        plugins=plugins,
    )
    fabric.launch()
    return fabric


def gathered(mine: dict[str, float]) -> dict[str, float]:
    """The entries of all processes."""
    if not dist.is_initialized():
        return mine
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, mine)
    return {name: value for part in found for name, value in part.items()}


def in_every_process(entry: Callable[..., None]) -> Callable[..., None]:
    """Let a stage's entry point run in as many processes as ``training.devices`` and ``training.nodes`` say."""

    @functools.wraps(entry)
    def start(p: Any, **given: Any) -> None:
        if p.training.devices * p.training.nodes == 1:
            entry(p, **given)
        else:
            Processes(p.training).run((start, p, given))

    return start


class Processes:
    """The processes of one training, as the job sees them that started them.

    Raises ParamsError when the machine or the allocation has not what the params ask for.
    """

    def __init__(self, training: Training) -> None:
        self.devices, self.nodes = training.devices, training.nodes
        self.size = training.devices * training.nodes
        if device(training.accelerator).type == "cuda" and torch.cuda.device_count() < self.devices:
            raise ParamsError(
                f"training.devices is {self.devices} and torch finds {torch.cuda.device_count()} CUDA devices on this machine: "
                "lower it, or ask the queue for more"
            )
        if self.nodes > 1 and (shutil.which("srun") is None or "SLURM_JOB_ID" not in os.environ):
            raise ParamsError(
                f"training.nodes is {self.nodes} and this is no job of SLURM, whose srun starts the processes: submit it with an "
                "allocation of so many nodes, or set training.nodes: 1"
            )
        self.host = "127.0.0.1" if self.nodes == 1 else socket.gethostname()
        self.store = dist.TCPStore(self.host, 0, is_master=True, wait_for_workers=False)
        self.heard = ""

    def run(self, job: tuple[Callable[..., None], Any, dict[str, Any]]) -> None:
        """Run ``(entry, settings, arguments)`` in all of them and wait for their end.

        Raises Interrupted when they were asked to leave and did, and AgrepaError that names the process when one fails.
        """
        started = [subprocess.Popen(words, env=environment, stdin=subprocess.PIPE) for words, environment in self.commands()]

        def pass_on(number: int, _frame: Any) -> None:
            self.heard = signal.Signals(number).name
            for process in started:
                process.send_signal(number)

        before = {number: signal.signal(number, pass_on) for number in SIGNALS}
        try:
            for process in started:
                self._give(process, base64.b64encode(pickle.dumps(job)) + b"\n")
            self.judge(self.wait(started))
        finally:
            for process in started:
                process.kill()
                process.wait()
            for number, handler in before.items():
                signal.signal(number, handler)

    def commands(self) -> list[tuple[list[str], dict[str, str]]]:
        """Command line and environment of each child: a process of this machine, or the srun that starts all."""
        words = [sys.executable, "-m", "agrepa.training.rank"]
        shared = os.environ | {
            "WORLD_SIZE": str(self.size),
            "MASTER_ADDR": self.host,
            "MASTER_PORT": str(self.store.port),
            # torch's name for a store that is there already, at an address where no second one has to be opened.
            "TORCHELASTIC_USE_AGENT_STORE": "True",
            "TORCHELASTIC_RESTART_COUNT": "0",
        }
        if self.nodes > 1:
            asked = [f"--nodes={self.nodes}", f"--ntasks-per-node={self.devices}", f"--ntasks={self.size}"]
            return [(["srun", *asked, "--overlap", "--cpu-bind=none", "--kill-on-bad-exit=1", *words], shared)]
        return [(words, shared | {"RANK": str(i), "LOCAL_RANK": str(i), "GROUP_RANK": "0"}) for i in range(self.size)]

    @staticmethod
    def _give(process: subprocess.Popen[bytes], line: bytes) -> None:
        """Write to a child, which keeps its input open to notice when this process is gone."""
        assert process.stdin is not None
        try:
            process.stdin.write(line)
            process.stdin.flush()
        except BrokenPipeError:  # it has died, which is found out below
            pass

    def wait(self, started: list[subprocess.Popen[bytes]]) -> dict[int, int]:
        """Child -> its exit status. Once one has failed the others get GRACE; those that then still run are not in it."""
        ended: dict[int, int] = {}
        end = float("inf")
        while len(ended) < len(started) and time.monotonic() < end:
            time.sleep(0.1)
            for place, process in enumerate(started):
                if place not in ended and (status := process.poll()) is not None:
                    ended[place] = status
                    end = min(end, time.monotonic() + GRACE) if status else end
        return ended

    def judge(self, ended: dict[int, int]) -> None:
        """Raise what the ends of the children mean; nothing when all went well."""
        if not any(ended.values()):
            return
        said = {rank: json.loads(self.store.get(REPORT.format(rank))) for rank in range(self.size) if self._reported(rank)}
        if said and all(report["status"] == Interrupted.status for report in said.values()):
            raise Interrupted(said[min(said)]["text"])
        again = "its state is kept, run it again to go on"
        if self.heard:
            raise Interrupted(f"{self.heard} ended the training before it could finish a step: {again}")
        if self.nodes > 1:
            lost = {rank: "ended without a word (killed, or its node is gone)" for rank in range(self.size) if rank not in said}
        else:
            lost = {rank: _words(status) for rank, status in ended.items() if status and rank not in said}
        if lost:
            each = ", ".join(f"process {rank} of {self.size} {words}" for rank, words in lost.items())
            raise AgrepaError(f"{each}, so the training was ended; {again}")
        failed = {rank: report for rank, report in said.items() if report["status"] not in (0, Interrupted.status)}
        rank, first = min(failed.items(), key=lambda item: item[1]["time"])
        raise AgrepaError(first["text"] if first["expected"] else f"process {rank} of {self.size} failed: {first['text']}")

    def _reported(self, rank: int) -> bool:
        return bool(self.store.check([REPORT.format(rank)]))


def _words(status: int) -> str:
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
