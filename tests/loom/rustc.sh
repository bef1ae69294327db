#!/usr/bin/env bash
# The compiler with `--cfg wsflow_loom`, for the packages of this workspace alone: tests/loom.sh.
exec "$@" --cfg wsflow_loom
