"""moto with what its CodeDeploy lacks: registered revisions, targets, and deployments that end. Its KMS signs digests too.

    codedeploy.py PORT CALLS REPOSITORY

Deployments of the group `broken` fail, all others succeed. CALLS gets one line for each call: its service and action; of S3 the method and the object.
GET /oidc is where GitHub gives a job its token.
"""
import json
import os
import sys
import threading

import boto3
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from moto.codedeploy.responses import CodeDeployResponse
from moto.core.responses import BaseResponse
from moto.kms.responses import KmsResponse
from moto.kms.utils import ECDSAPrivateKey, RSAPrivateKey
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

PORT, CALLS, REPOSITORY = int(sys.argv[1]), *sys.argv[2:]
LOG = "\n".join(
    [
        "[stderr]ApplicationStart of web failed at step 6 of 8: check health of web",
        "[stderr]  | cannot reach the database",
        "[stderr]balehook: error: web exited with code 3 (exit code 8)",
    ]
)


def is_broken(response):
    deployment = response.codedeploy_backend.get_deployment(response._get_param("deploymentId"))
    return deployment.deployment_group_name == "broken"


def get_deployment(response):
    deployment = response.codedeploy_backend.get_deployment(response._get_param("deploymentId")).to_dict()
    deployment["status"] = "Succeeded"
    if is_broken(response):
        deployment["status"] = "Failed"
        deployment["errorInformation"] = {"code": "HEALTH_CONSTRAINTS", "message": "too many individual instances failed"}
    return json.dumps({"deploymentInfo": deployment})


def list_deployment_targets(response):
    failed = ["i-0a", "i-0b", "i-0c", "i-0d"] if is_broken(response) else []
    assert response._get_param("targetFilters") == {"TargetStatus": ["Failed"]}, response._get_param("targetFilters")
    return json.dumps({"targetIds": failed})


def get_deployment_target(response):
    events = [
        {"lifecycleEventName": "ApplicationStop", "status": "Succeeded", "diagnostics": {"errorCode": "Success"}},
        {
            "lifecycleEventName": "ApplicationStart",
            "status": "Failed",
            "diagnostics": {
                "errorCode": "ScriptFailed",
                "scriptName": "hooks/balehook",
                "message": "Script at specified location: hooks/balehook failed with exit code 8",
                "logTail": LOG,
            },
        },
        {"lifecycleEventName": "ValidateService", "status": "Skipped"},
    ]
    target = {"targetId": response._get_param("targetId"), "status": "Failed", "lifecycleEvents": events}
    return json.dumps({"deploymentTarget": {"deploymentTargetType": "InstanceTarget", "instanceTarget": target}})


def register_application_revision(response):
    response.codedeploy_backend.get_application(response._get_param("applicationName"))
    return "{}"


for method in [get_deployment, list_deployment_targets, get_deployment_target, register_application_revision]:
    setattr(CodeDeployResponse, method.__name__, method)

asked, sign_asked = threading.local(), KmsResponse.sign


def sign(response):
    asked.digest = response._get_param("MessageType") == "DIGEST"
    return sign_asked(response)


def signs_digests(kind, signed):
    """MessageType DIGEST, by which cosign has KMS sign: moto takes the digest for the message."""
    sign_message = kind.sign

    def sign(key, message, algorithm):
        if not asked.digest:
            return sign_message(key, message, algorithm)
        return signed(key.private_key, message, Prehashed(getattr(hashes, algorithm[-7:].replace("_", ""))()), algorithm)

    kind.sign = sign


def signed_by_rsa(key, digest, hashed, algorithm):
    pss = padding.PSS(mgf=padding.MGF1(hashed._algorithm), salt_length=hashed.digest_size)
    return key.sign(digest, pss if "PSS" in algorithm else padding.PKCS1v15(), hashed)


KmsResponse.sign = sign
signs_digests(RSAPrivateKey, signed_by_rsa)
signs_digests(ECDSAPrivateKey, lambda key, digest, hashed, _: key.sign(digest, ec.ECDSA(hashed)))

call_action = BaseResponse.call_action


def log(service, call):
    if os.path.exists(CALLS):
        with open(CALLS, "a") as calls:
            print(service, call, file=calls)


def logged(response):
    log(response.service_name, response._get_action())
    return call_action(response)


BaseResponse.call_action = logged
moto = DomainDispatcherApplication(create_backend_app)


def application(environ, start_response):
    if "/s3/aws4_request" in environ.get("HTTP_AUTHORIZATION", ""):
        log("s3", f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
    if environ["PATH_INFO"] != "/oidc":
        return moto(environ, start_response)
    is_asked = environ["QUERY_STRING"] == "job=1&audience=sts.amazonaws.com"
    if not is_asked or environ.get("HTTP_AUTHORIZATION") != "bearer request-token":
        start_response("403 Forbidden", [])
        return [b"{}"]
    start_response("200 OK", [("Content-Type", "application/json")])
    return [b'{"count": 1, "value": "a.job.token"}']


def set_up():
    aws = {"endpoint_url": f"http://127.0.0.1:{PORT}", "region_name": "eu-west-1"}
    aws |= {"aws_access_key_id": "AKIATESTS", "aws_secret_access_key": "tests-secret"}
    where = {"LocationConstraint": "eu-west-1"}
    for bucket in ["releases", "my-releases"]:
        boto3.client("s3", **aws).create_bucket(Bucket=bucket, CreateBucketConfiguration=where)
    boto3.client("ecr", **aws).create_repository(repositoryName=REPOSITORY)
    codedeploy, role = boto3.client("codedeploy", **aws), "arn:aws:iam::123456789012:role/codedeploy"
    codedeploy.create_application(applicationName="web")
    for group in ["prod", "broken"]:
        codedeploy.create_deployment_group(applicationName="web", deploymentGroupName=group, serviceRoleArn=role)


server = make_server("127.0.0.1", PORT, application, threaded=True)
threading.Thread(target=server.serve_forever).start()
set_up()
# From here on calls are counted.
open(CALLS, "w").close()
