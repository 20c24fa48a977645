#!/bin/bash
# A worker with a cache, options of the script's own, and helpers of another file.
set -euo pipefail
source "$(dirname "$(readlink -f "$0")")/helpers.sh"
unset PROMETHEUS_MULTIPROC_DIR

MODEL="Qwen/Qwen3-0.6B"
EXTRA=()
while [[ $# -gt 0 ]]; do
    case $1 in
        --model)
            MODEL="$2"
            shift 2
            ;;
        -h|--help)
            cat <<USAGE
usage: $0 [--model NAME] [flags of the worker]
USAGE
            exit 0
            ;;
        *)
            EXTRA+=("$1")
            shift
            ;;
    esac
done

if [[ "${DYN_DEVICE:-cuda}" == "xpu" ]]; then
    BLOCK=(--block-size "${DYN_BLOCK_SIZE:-64}")
else
    BLOCK=()
fi
DEVICE="${DYN_DEVICE:-cuda}"
print_banner "$MODEL"

python3 -m dynamo.frontend &
DYN_SYSTEM_PORT=${DYN_SYSTEM_PORT:-8081} \
  python3 -m dynamo.vllm --model "$MODEL" "${BLOCK[@]}" \
    --kv-transfer-config "{\"kv_connector\":\"LMCacheConnectorV1\",\"kv_role\":\"kv_both\",\"kv_buffer_device\":\"$DEVICE\"}" \
    "${EXTRA[@]}"
