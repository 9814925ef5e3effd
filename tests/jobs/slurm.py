"""Start a real Slurm of one node in a folder, and stop it again: two daemons, no accounting, no root of its own on the disk."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

PACKAGES = "slurmctld slurmd slurm-client"
NEEDED = ("slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo")
CPUS, GPUS = 8, 2

# config_overrides lets the node claim more cores than its machine has; KillWait is the time between TERM and KILL.
CONF = """
ClusterName=small
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
SlurmctldPort={ctld_port}
SlurmdPort={d_port}
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
KillWait=2
MinJobAge=300
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=32000 Gres=gpu:{gpus} State=UNKNOWN
PartitionName=cpu Nodes=ALL Default=YES State=UP
PartitionName=gpu Nodes=ALL State=UP
"""
# Slurm wants a device file per GPU, and asks nothing of it.
GRES = """
NodeName={host} Name=gpu File=/dev/null
NodeName={host} Name=gpu File=/dev/zero
"""


def lacking() -> str:
    """Say why there can be no Slurm here; empty if there can."""
    missing = [name for name in NEEDED if shutil.which(name, path=_path()) is None]
    if missing:
        return f"no {', '.join(missing)}: apt-get install {PACKAGES}"
    return "" if os.geteuid() == 0 else "slurmd starts jobs only as root"


@dataclass(frozen=True)
class Slurm:
    """A Slurm that runs; its commands find it by SLURM_CONF."""

    folder: Path

    def __call__(self, *command: str) -> str:
        """Run one of its commands and return what it printed."""
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.strip()

    def jobs(self, *states: str) -> list[str]:
        """Return the ids of its jobs in these states, pending and running ones unless others are named."""
        return self("squeue", "--noheader", "--format=%A", "--states", ",".join(states or ("PD", "R", "CG"))).split()

    def state(self, job: str) -> str:
        """Return the state of a job, such as RUNNING, CANCELLED or TIMEOUT."""
        return self._field(job, "JobState")

    def exit_code(self, job: str) -> int:
        """Return the code that a finished job ended with."""
        return int(self._field(job, "ExitCode").partition(":")[0])

    def _field(self, job: str, name: str) -> str:
        return dict(one.partition("=")[::2] for one in self("scontrol", "show", "job", job).split())[name]


def until(true: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"still not true after {seconds:.0f} s"
        time.sleep(0.1)


@contextmanager
def running(folder: Path) -> Iterator[Slurm]:
    """Start Slurm in a folder, wait until its node takes jobs, and stop it with all its jobs at the end."""
    names = {"folder": folder, "host": socket.gethostname().partition(".")[0], "cpus": CPUS, "gpus": GPUS}
    names |= dict(zip(("ctld_port", "d_port"), _free_ports(2), strict=True))
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "slurm.conf").write_text(CONF.format(**names))
    (folder / "gres.conf").write_text(GRES.format(**names))
    before = {name: os.environ.get(name) for name in ("SLURM_CONF", "PATH")}
    os.environ |= {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": _path()}
    slurm = Slurm(folder)
    try:
        with ExitStack() as daemons:
            for command in (["slurmctld", "-D", "-c"], ["slurmd", "-D"]):
                daemons.enter_context(_daemon(folder, command))
            until(lambda: slurm("sinfo", "--noheader", "--format=%T", "--partition=cpu") == "idle")
            yield slurm
            subprocess.run(["scancel", "--user=root"], check=False)
            until(lambda: not slurm.jobs())
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)


@contextmanager
def _daemon(folder: Path, command: list[str]) -> Iterator[None]:
    """Run a daemon as our child; it goes with us even if we are killed."""
    with (folder / f"{command[0]}.out").open("wb") as output:
        started = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", *command], stdout=output, stderr=output)
        try:
            yield
        finally:
            started.terminate()
            started.wait(20)


def _path() -> str:
    """Return PATH with the folders of daemons, which a user's often lacks."""
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def _free_ports(number: int) -> list[int]:
    with ExitStack() as opened:
        held = [opened.enter_context(socket.socket()) for _ in range(number)]
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
