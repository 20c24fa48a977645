#!/bin/bash
# Two workers on one device: each gets what a command computes, and the second one waits.
memory=$(nvidia-smi --query-gpu=memory.free,memory.total --format=csv,noheader,nounits | head -1)
if [ $? -ne 0 ]; then
  echo "no device" >&2
  exit 1
fi
total=$(echo "$memory" | cut -d, -f2)
GPU_MEM_FRACTION=$(python3 -c "print(round(4096 / $total, 3))")

cleanup() {
    kill $frontend $decode 2>/dev/null || true
    wait $frontend $decode 2>/dev/null || true
}
trap cleanup EXIT INT TERM

python3 -m dynamo.frontend &
frontend=$!

common=(--model Qwen/Qwen3-0.6B --enforce-eager)
transfer='{"kv_connector":"NixlConnector","kv_role":"kv_both"}'

DYN_SYSTEM_PORT=${DYN_SYSTEM_PORT1:-8081} CUDA_VISIBLE_DEVICES=0 \
python3 -m dynamo.vllm "${common[@]}" --disaggregation-mode decode --kv-transfer-config "$transfer" \
  --gpu-memory-utilization ${GPU_MEM_FRACTION} --max-model-len 16384 &
decode=$!

echo "waiting for the first worker"
sleep 10

DYN_SYSTEM_PORT=${DYN_SYSTEM_PORT2:-8082} VLLM_NIXL_SIDE_CHANNEL_PORT=20097 CUDA_VISIBLE_DEVICES=0 \
python3 -m dynamo.vllm "${common[@]}" --disaggregation-mode prefill --kv-transfer-config "$transfer" \
  --gpu-memory-utilization ${GPU_MEM_FRACTION} --max-model-len 16384 \
  --kv-events-config '{"publisher":"zmq","topic":"kv-events","endpoint":"tcp://*:20081","enable_kv_cache_events":true}'
