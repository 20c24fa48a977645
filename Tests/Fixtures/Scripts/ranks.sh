#!/usr/bin/env bash
# Four ranks, counted by the shell itself.
export PYTHONHASHSEED=0
MODEL=Qwen/Qwen3-30B-A3B
RANKS=(0 1 2 3)
python3 -m dynamo.frontend --router-mode kv &
start_rank() {
  local rank=$1
}
for rank in {0..3}
do
    export VLLM_NIXL_SIDE_CHANNEL_PORT=$((20096 + rank))
    CUDA_VISIBLE_DEVICES=$rank python3 -m dynamo.vllm \
        --model $MODEL --data-parallel-rank $rank --data-parallel-size ${#RANKS[@]} \
        --enable-expert-parallel --enforce-eager \
        --kv-events-config '{"publisher":"zmq","topic":"kv-events","endpoint":"tcp://*:20080","enable_kv_cache_events":true}' &
done
wait
