#!/bin/sh
# Prepare Dagster's instance, as often as it takes: the other units wait for this one. If it failed, systemd would never
# start what waited for it, and the archive would stand still after a power cut in which the database comes up later.
# The argument is the folder of the programs.
set -u
programs=$1
pause=${PAUSE_SECONDS:-10}

# shellcheck disable=SC2086 - each word is a file
until "$programs/python" -m kros_pipeline prepare dagster.yaml deploy/production.yaml ${DAGSTER_PARTS:-}; do
  echo "Dagster's instance is not prepared, see above. It is tried again in $pause seconds." \
    "After a change of /etc/kros/kros.env: systemctl restart kros-prepare kros.target" >&2
  sleep "$pause"
done
