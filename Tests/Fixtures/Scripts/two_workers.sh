#!/bin/bash
# Two workers with KV events behind a KV router, started in a loop.
trap 'kill $(jobs -p)' EXIT INT TERM
export PYTHONHASHSEED=0
export NATS_SERVER="${NATS_SERVER:-nats://localhost:4222}"
readonly MODEL="Qwen/Qwen3-0.6B"
block=64
first_port=${DYN_SYSTEM_PORT1:-8081}

python3 -m dynamo.frontend --router-mode kv --http-port "${DYN_HTTP_PORT:-8000}" > /dev/null 2>&1 &
frontend=$!

for i in 0 1; do
  CUDA_VISIBLE_DEVICES=$i DYN_SYSTEM_PORT=$((8081 + i)) \
  VLLM_NIXL_SIDE_CHANNEL_PORT=$((20096 + $i)) \
  python3 -m dynamo.vllm --model $MODEL --block-size "$block" --enforce-eager \
    --kv-events-config "{\"publisher\":\"zmq\",\"topic\":\"kv-events\",\"endpoint\":\"tcp://*:$((20080 + i))\",\"enable_kv_cache_events\":true}" &
done
wait
