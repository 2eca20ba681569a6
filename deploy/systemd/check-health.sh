#!/bin/sh
# Restart each service that systemd takes for running and that does not answer twice, 10 seconds apart. systemd itself
# restarts what has ended. The argument is the folder of the programs. A metrics server that hangs is not restarted:
# Prometheus gets no numbers then, and KrosMetricsAbsent fires.
#
# Only root may restart a service. The questions are asked as the service's user: Dagster's programs load classes that
# dagster.yaml names, which kros can write. Of kros.env, no other user than kros gets a variable.
set -u
programs=$1

ask_as() { # user, command ...
  user=$1
  shift
  if [ "$user" = kros ]; then
    runuser -u kros -- timeout 30 "$@" >/dev/null 2>&1
  else
    env -i PATH="$PATH" runuser -u "$user" -- timeout 30 "$@" >/dev/null 2>&1
  fi
}

restart_unless() { # service, user, command ...
  service=$1
  shift
  systemctl is-active --quiet "$service" || return 0
  ask_as "$@" && return 0
  sleep "${PAUSE_SECONDS:-10}"
  ask_as "$@" && return 0
  echo "$service does not answer: it is restarted."
  systemctl restart --no-block "$service" # a worker may take 10 minutes to end; the others are looked at meanwhile
}

restart_unless kros-code-server.service kros "$programs/dagster" api grpc-health-check --port 4000
restart_unless kros-operator-code-server.service kros "$programs/dagster" api grpc-health-check --port 4001
restart_unless kros-webserver.service kros "$programs/python" -c \
  "import urllib.request as u; u.urlopen('http://127.0.0.1:3000/server_info', timeout=10)"
restart_unless kros-viewer.service kros "$programs/python" -c \
  "import urllib.request as u; u.urlopen('http://127.0.0.1:3001/server_info', timeout=10)"
restart_unless kros-daemon.service kros "$programs/dagster-daemon" liveness-check
restart_unless kros-browse.service kros-browse "$programs/python" -c \
  "import socket; s = socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect('/run/kros-browse/socket'); \
s.sendall(b'HEAD / HTTP/1.0\r\n\r\n'); assert s.recv(5) == b'HTTP/'"

# A worker is asked through Redis. While that is away, a restart would only end the worker's runs.
if runuser -u kros -- timeout 30 "$programs/python" -c \
  "import os, redis; redis.from_url(os.environ['DAGSTER_CELERY_BROKER'], socket_timeout=10).ping()" >/dev/null 2>&1; then
  restart_unless kros-worker.service kros "$programs/celery" --app dagster_celery.app inspect ping --timeout 10 \
    --destination "archive@$(uname -n)"
fi
