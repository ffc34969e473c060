#!/bin/bash
set -e
TAG=$(cat build.txt)
aws s3 cp s3://my-releases/web-$TAG.tar /tmp/web.tar
aws s3 cp s3://my-secrets/web.env /opt/web/web.env
docker load -i /tmp/web.tar && rm -f /tmp/web.tar
docker stop web 2>/dev/null || true; docker rm web 2>/dev/null || true
docker run -d --name web --env-file /opt/web/web.env -e API_TOKEN=abc123 -p 80:8080 web:$TAG
until curl -sf http://localhost/healthz; do sleep 2; done
docker volume rm old
