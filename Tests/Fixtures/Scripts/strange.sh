#!/bin/bash
# What a manifest cannot have.
docker run -d --name etcd quay.io/coreos/etcd
until curl -s http://localhost:2379/health; do
  sleep 1
done
((count++))
dynamo-frontend --http-port 8200 2>&1 | tee frontend.log &
port=8081
for model in $(ls /models); do
  dynamo-worker --model-name "$model" &
done
if [ -d /models/tiny ]; then
  dynamo-worker --model-path /models/tiny &
fi
cd /tmp
DYN_REQUEST_PLANE=nats nohup dynamo-worker --engine echo --model-name "${NAME%.gguf}" > worker.log &
(DYN_REQUEST_PLANE=tcp; export DYN_REQUEST_PLANE; dynamo-worker --engine echo --model-name second) &
dynamo-worker --engine echo --model-name third
dynamo-worker --engine echo --model-name fourth > >(sort)
python3 -m "$MODULE" --model x &
nats-server &
wait -n
