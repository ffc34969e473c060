#!/bin/bash
cd /opt/codedeploy-agent/deployment-root/$DEPLOYMENT_GROUP_NAME/$DEPLOYMENT_ID/deployment-archive
docker build -t be:$TIME .
docker run -d --name be-container -p 80:8080 \
  --log-driver=awslogs \
  --log-opt awslogs-region=$AWS_REGION \
  --log-opt awslogs-group=my-logs \
  --log-opt awslogs-stream=my-be-stream \
  be:$TIME
docker image prune -f
