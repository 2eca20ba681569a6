#!/bin/sh
# Render dagster.yaml for this container, and become its command. KROS_PARALLEL_DAYS decides, so it cannot be in the
# image. DAGSTER_PARTS names further parts, such as deploy/celery/run-launcher.yaml.
set -eu
# shellcheck disable=SC2086 - each word is a file
python -m kros_pipeline render dagster.yaml deploy/production.yaml ${DAGSTER_PARTS:-}
command="$*"
case $command in
  # Runs are processes of the code server's container. None is left when it starts again: Dagster does not notice that.
  "dagster api grpc "*" --port "*)
    port=${command#* --port }
    python -m kros_pipeline end-lost-runs --port "${port%% *}" &
    ;;
esac
exec "$@"
