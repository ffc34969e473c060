#!/bin/bash

echo "Validating service health..."

HEALTH_CHECK_URL="http://localhost:8000/actuator/health" 

MAX_RETRIES=10
RETRY_DELAY=15 

for i in $(seq 1 $MAX_RETRIES); do
  echo "Attempt $i/$MAX_RETRIES: $HEALTH_CHECK_URL..."
  HTTP_CODE=$(curl -s -o /dev/null -w "%{http_code}" $HEALTH_CHECK_URL)

  if [ "$HTTP_CODE" -eq 200 ]; then
    echo "Succeeded: $HTTP_CODE"
    exit 0
  else
    echo "Failed: $HTTP_CODE. Retrying in $RETRY_DELAY seconds..."
    sleep $RETRY_DELAY
  fi
done

echo "Failed after $MAX_RETRIES attempts."
exit 1
