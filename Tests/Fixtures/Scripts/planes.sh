#!/bin/bash
# One frontend and one worker, on the request plane of a flag.
set -e
trap 'echo stopping; kill 0' EXIT

plane="tcp"
while [[ $# -gt 0 ]]; do
  case "$1" in
    --tcp) plane="tcp"; shift ;;
    --http) plane="http"; shift ;;
    --nats)
      plane="nats"
      shift
      ;;
    -h|--help) echo "usage: $0 [--tcp|--http|--nats]"; exit 0 ;;
    *) echo "no such option: $1" >&2; exit 1 ;;
  esac
done

export DYN_REQUEST_PLANE=$plane
echo "plane: $plane"

python3 -m dynamo.frontend &
# The worker's health is asked.
DYN_SYSTEM_PORT=${DYN_SYSTEM_PORT:-8081} \
DYN_HEALTH_CHECK_ENABLED=true \
  python3 -m dynamo.vllm --model Qwen/Qwen3-0.6B --enforce-eager
