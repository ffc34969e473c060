#!/bin/bash
aws ecr get-login-password --region eu-west-1 | docker login --username AWS --password-stdin 123456789012.dkr.ecr.eu-west-1.amazonaws.com
docker pull 123456789012.dkr.ecr.eu-west-1.amazonaws.com/order-service:"$DEPLOYMENT_GROUP_NAME"-latest
docker run --restart always --log-opt max-size=10m --log-opt max-file=5 -d -p 8000:8000 --name order-service 123456789012.dkr.ecr.eu-west-1.amazonaws.com/order-service:"$DEPLOYMENT_GROUP_NAME"-latest
