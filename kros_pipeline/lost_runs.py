"""End the runs that a code server took with it when it ended.

Dagster's default launcher starts a run as a process of the code server, and never looks after it again. If both are
killed (no memory, a power cut), the run stays STARTED until its maximum runtime, and holds a slot of the pool: the next
day waits for two hours. A supervisor that starts the code server knows that no process of the last one is left. So the
runs are ended then, as failed: Dagster queues them again. A run that was being terminated is canceled, and stays so.
"""

import json
import socket
import time

import dagster as dg

_STARTED_BY_CODE_SERVER = ".dagster/grpc_info"  # the default launcher's tag; a run from the command line has none
_UNFINISHED = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
_START_SECONDS = 120.0
_RECONNECT_SECONDS = 10.0  # until the daemon knows the new server: a retry that it cannot queue is not tried again


def wait_for_code_server(port: int) -> None:
    """Wait until the code server of this machine, and the daemon's connection to it, are there; two minutes at most."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            time.sleep(1)
            continue
        time.sleep(_RECONNECT_SECONDS)
        return


def end_lost_runs(instance: dg.DagsterInstance, server_started_at: float, port: int) -> list[str]:
    """Report the unfinished runs of earlier code servers at a port as ended, and return their ids.

    `server_started_at` is a Unix time: runs that were launched since then belong to the server that is there now. The
    runs of a code server at another port go on, and so does every run that another launcher started elsewhere.
    """
    if not isinstance(instance.run_launcher, dg.DefaultRunLauncher):
        return []
    lost = []
    for run in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED)):
        if _port_of_server(run) != port:
            continue
        if (instance.get_run_stats(run.run_id).launch_time or 0.0) < server_started_at:
            if run.status is dg.DagsterRunStatus.CANCELING:
                instance.report_run_canceled(
                    run, "The code server ended, and this run, which was being terminated, too."
                )
            else:
                instance.report_run_failed(run, "The code server ended, and this run with it.")
            lost.append(run.run_id)
    return lost


def _port_of_server(run: dg.DagsterRun) -> int | None:
    """Return the port of the code server that started a run; None for a run that none started."""
    port = json.loads(run.tags.get(_STARTED_BY_CODE_SERVER, "{}")).get("port")
    return port if isinstance(port, int) else None
