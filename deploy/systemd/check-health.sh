#!/bin/sh
# Restart each service that systemd takes for running and that does not answer twice, 10 seconds apart. systemd itself
# restarts what has ended. The argument is the folder of the programs.
set -u
programs=$1

restart_unless() { # service, command ...
  service=$1
  shift
  systemctl is-active --quiet "$service" || return 0
  timeout 30 "$@" >/dev/null 2>&1 && return 0
  sleep "${PAUSE_SECONDS:-10}"
  timeout 30 "$@" >/dev/null 2>&1 && return 0
  echo "$service does not answer: it is restarted."
  systemctl restart "$service"
}

restart_unless kros-code-server.service "$programs/dagster" api grpc-health-check --port 4000
restart_unless kros-operator-code-server.service "$programs/dagster" api grpc-health-check --port 4001
restart_unless kros-webserver.service "$programs/python" -c \
  "import urllib.request as u; u.urlopen('http://127.0.0.1:3000/server_info', timeout=10)"
restart_unless kros-viewer.service "$programs/python" -c \
  "import urllib.request as u; u.urlopen('http://127.0.0.1:3001/server_info', timeout=10)"
restart_unless kros-daemon.service "$programs/dagster-daemon" liveness-check
