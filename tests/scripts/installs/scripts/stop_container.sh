#!/bin/bash 
set -e

containerid= `docker ps | aws -F " " '{print $1}'`
docker stop $containerid
docker rm -f $containerid
