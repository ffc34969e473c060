#!/bin/bash
sudo -u root aws ecr get-login-password --region eu-west-1 | docker login --username AWS --password-stdin 123456789012.dkr.ecr.eu-west-1.amazonaws.com
sudo -u root docker rm -f `docker ps -q -a`
sudo -u root docker rmi -f `docker images -q`
sleep 3
sudo -u root docker pull 123456789012.dkr.ecr.eu-west-1.amazonaws.com/pipeline-project:latest
if [[ $? != 0 ]]
then
    sudo -u root aws ecr get-login-password --region eu-west-1 | docker login --username AWS --password-stdin 123456789012.dkr.ecr.eu-west-1.amazonaws.com
    sudo -u root docker pull 123456789012.dkr.ecr.eu-west-1.amazonaws.com/pipeline-project:latest
fi
sudo -u root docker run -d -p 80:3000 --name pipeline-project 123456789012.dkr.ecr.eu-west-1.amazonaws.com/pipeline-project:latest
