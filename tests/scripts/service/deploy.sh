#!/bin/bash
IMAGE=registry.example.com/team/api:2.0.1
if docker service inspect api >/dev/null 2>&1; then
  docker service update --with-registry-auth --image $IMAGE api
else
  docker service create --name api --replicas 3 --publish 8080:80 --env LEVEL=info --constraint node.role==worker --update-order start-first --limit-memory 256M --with-registry-auth $IMAGE
fi
