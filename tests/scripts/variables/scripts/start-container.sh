export AWS_ACCOUNT_ID=123456789012
export AWS_REGION=eu-west-1
export IMAGE_NAME=my_solution
export IMAGE_TAG=my-app
export HOST_PORT=5020
export CONTAINER_PORT=5021

sudo apt-get update
sudo apt-get install -y docker.io
sudo systemctl start docker
sudo docker login -u AWS -p $(aws ecr get-login-password --region $AWS_REGION) $AWS_ACCOUNT_ID.dkr.ecr.$AWS_REGION.amazonaws.com
sudo docker pull $AWS_ACCOUNT_ID.dkr.ecr.$AWS_REGION.amazonaws.com/$IMAGE_NAME:$IMAGE_TAG
sudo docker run -d -p $HOST_PORT:$CONTAINER_PORT $AWS_ACCOUNT_ID.dkr.ecr.$AWS_REGION.amazonaws.com/$IMAGE_NAME:$IMAGE_TAG
