#!/usr/bin/env bash
# What every CI system does for a deployment with balehook: build, push or save the image, assemble the bundle, deploy, wait.
#   deploy.sh review                   check the revision, and write plan.md: a comment for the pull request
#   deploy.sh release --via ecr|s3     build the image, bring it to ECR or to S3, assemble the bundle in build/bundle
#   deploy.sh deploy                   push that bundle, deploy it, and wait for the end
# In the revision, `image: built-by:ci` stands for the image. Settings are variables:
#   BUNDLE            the folder with appspec.yml (.)
#   CONTEXT           the folder with the Dockerfile (.)
#   COMMIT            the image's tag (the CI system's own variable, or git's HEAD)
#   REPOSITORY        with ecr: 123456789012.dkr.ecr.eu-west-1.amazonaws.com/web
#   RELEASES          s3://BUCKET[/PREFIX]: bundles, and with s3 images
#   APPLICATION, DEPLOYMENT_GROUP, DEPLOYMENT_CONFIG (the group's own)
#   BASE              review: the branch or commit that is compared with (none: nothing is compared)
#   BALEHOOK_URL, BALEHOOK_SHA256      the tar.gz of balehook; not needed where balehook is installed
#   AWS_ROLE_ARN      the role that the CI system's OIDC token is changed for; not needed where there are credentials
#   OIDC_TOKEN        that token, where the CI system gives it as a variable; GitHub's is asked for
# Needs bash, curl, git, tar, docker and the AWS CLI.
set -euo pipefail

# Version 1 of the AWS CLI knows the region by this name alone.
[ -z "${AWS_REGION:-}" ] || export AWS_DEFAULT_REGION=$AWS_REGION
out=$PWD/build
bundle=$out/bundle
mark=built-by:ci

say() { printf 'deploy.sh: %s\n' "$1" >&2; }
fail() { say "$1" && exit 1; }
# The value of a setting that must be there.
setting() { [ -n "${!1:-}" ] || fail "$1 is not set"; }

commit() {
    local commit=${COMMIT:-${GITHUB_SHA:-${CI_COMMIT_SHA:-${CIRCLE_SHA1:-${CODEBUILD_RESOLVED_SOURCE_VERSION:-}}}}}
    [ -n "$commit" ] || commit=$(git rev-parse HEAD)
    printf '%s' "$commit"
}

# balehook, for this job alone: of a checksum that stands in the CI system's settings, not beside the file.
program() {
    PATH=$out/balehook/bin:$PATH
    if command -v balehook >/dev/null; then return; fi
    setting BALEHOOK_URL
    setting BALEHOOK_SHA256
    mkdir -p "$out/balehook"
    curl --fail --silent --show-error --location --output "$out/balehook.tar.gz" "$BALEHOOK_URL"
    printf '%s  %s\n' "$BALEHOOK_SHA256" "$out/balehook.tar.gz" | sha256sum --check --quiet >&2 ||
        fail "$BALEHOOK_URL is not the file of BALEHOOK_SHA256: nothing is deployed"
    tar -xzf "$out/balehook.tar.gz" -C "$out/balehook" --strip-components 1
    say "$(balehook --version)"
}

# The CI system's OIDC token becomes credentials for an hour. The token itself is valid for minutes, a deployment may
# take longer. It goes through a file: arguments are seen by every process of the machine.
credentials() {
    [ -n "${AWS_ROLE_ARN:-}" ] && [ -z "${AWS_ACCESS_KEY_ID:-}" ] || return 0
    local token=${OIDC_TOKEN:-} keys
    if [ -z "$token" ] && [ -n "${ACTIONS_ID_TOKEN_REQUEST_URL:-}" ]; then
        token=$(printf 'header = "Authorization: bearer %s"\n' "$ACTIONS_ID_TOKEN_REQUEST_TOKEN" |
            curl --fail --silent --show-error --config - "$ACTIONS_ID_TOKEN_REQUEST_URL&audience=sts.amazonaws.com" |
            json value)
    fi
    [ -n "$token" ] || fail "AWS_ROLE_ARN is set, and there is no OIDC token: is the job allowed to ask for one?"
    (umask 077 && printf '%s' "$token" >"$out/token")
    keys=$(aws sts assume-role-with-web-identity --role-arn "$AWS_ROLE_ARN" --role-session-name "balehook-$(commit | cut -c 1-12)" \
        --web-identity-token "file://$out/token" --output text \
        --query 'Credentials.[AccessKeyId,SecretAccessKey,SessionToken]')
    rm -f "$out/token"
    read -r AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN <<<"$keys"
    export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN
    unset AWS_WEB_IDENTITY_TOKEN_FILE AWS_ROLE_ARN
}

# The text of a key in a JSON document.
json() { tr -d '\n' | sed -n "s/.*\"$1\" *: *\"\([^\"]*\)\".*/\1/p"; }

# Every problem of the revision, on its line where the CI system can show that; then the plan as a comment.
review() {
    local form=text base=() failed=0
    [ -z "${GITHUB_ACTIONS:-}" ] || form=github
    program
    balehook check --format "$form" --appspec "${BUNDLE:-.}" || failed=$?
    if [ -n "${BASE:-}" ]; then
        rm -rf "$out/base" && mkdir -p "$out/base"
        git archive "$BASE" | tar -x -C "$out/base"
        base=(--against "build/base/${BUNDLE:-.}")
    fi
    balehook plan --offline ${base[@]+"${base[@]}"} --format markdown --appspec "${BUNDLE:-.}" >"$out/plan.md" ||
        failed=$?
    cp "$out/plan.md" plan.md
    [ -z "${GITHUB_STEP_SUMMARY:-}" ] || cat plan.md >>"$GITHUB_STEP_SUMMARY"
    cat plan.md
    exit "$failed"
}

# The image of a commit is built once: a job that is run again deploys the same one.
to_ecr() {
    setting REPOSITORY
    local registry=${REPOSITORY%%/*} tag digest
    tag=$REPOSITORY:$(commit)
    digest=$(aws ecr batch-get-image --repository-name "${REPOSITORY#*/}" --image-ids "imageTag=$(commit)" \
        --query 'images[0].imageId.imageDigest' --output text)
    if [ "$digest" = None ]; then
        docker build --tag "$tag" "${CONTEXT:-.}"
        aws ecr get-login-password | docker login --username AWS --password-stdin "$registry"
        docker push "$tag"
        digest=$(docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$tag" | grep -F "$REPOSITORY@" | head -n 1)
        digest=${digest#*@}
    fi
    image=$REPOSITORY@$digest
    printf '{"ImageURI": "%s", "ImageDigest": "%s", "ImageTags": ["%s"]}\n' "$image" "$digest" "$(commit)" >"$out/imageDetail.json"
    printf '[{"name": "%s", "imageUri": "%s"}]\n' "${REPOSITORY##*/}" "$image" >"$out/imagedefinitions.json"
}

to_s3() {
    setting RELEASES
    local name id object key
    name=$(basename "$(cd "${CONTEXT:-.}" && pwd)" | tr '[:upper:]' '[:lower:]' | tr -c 'a-z0-9\n' -)
    name=${NAME:-$name}
    object=${RELEASES%/}/images/$name-$(commit).tar
    key=${object#s3://*/}
    id=$(aws s3api head-object --bucket "$(bucket)" --key "$key" --query Metadata.id --output text 2>/dev/null) || id=
    if [ -z "$id" ] || [ "$id" = None ]; then
        docker build --tag "$name:$(commit)" "${CONTEXT:-.}"
        docker save --output "$out/image.tar" "$name:$(commit)"
        # The image's ID is its config's digest, also where the engine of this machine calls the image by another one.
        id=sha256:$(tar -xOf "$out/image.tar" manifest.json | sed -n 's|.*"Config":"\(blobs/sha256/\)\{0,1\}\([0-9a-f]\{64\}\).*|\2|p')
        [ ${#id} -eq 71 ] || fail "docker save wrote an archive whose manifest.json names no config"
        aws s3 cp --only-show-errors --metadata "id=$id" "$out/image.tar" "$object"
        rm -f "$out/image.tar"
    fi
    image="{archive: \"$object\", reference: \"$name:$(commit)\", id: \"$id\"}"
}

bucket() { printf '%s' "${RELEASES#s3://}" | cut -d / -f 1; }

# The image of a CodePipeline source action, or of a build before this one.
from_detail() {
    local uri digest
    uri=$(json ImageURI <"$1")
    digest=$(json ImageDigest <"$1")
    [ -n "$uri" ] || fail "$1 has no ImageURI"
    case $uri in
    *@sha256:*) image=$uri ;;
    *) [ -n "$digest" ] || fail "$1 has no ImageDigest, and a tag is not deployed" && image=${uri%:*}@$digest ;;
    esac
}

# `aws deploy push` leaves out links to folders and puts in .git, and a file older than 1980 fails it: links are followed,
# and every file is written anew.
assemble() {
    rm -rf "$bundle" && mkdir -p "$bundle"
    (cd "${BUNDLE:-.}" && tar --exclude=./.git --exclude=./build --dereference --create --file - .) | tar -x -m -C "$bundle"
    grep -q "$mark" "$bundle/appspec.yml" || fail "appspec.yml has no \`image: $mark\`, which the image would stand in for"
    sed -i "s|$mark|$image|" "$bundle/appspec.yml"
    balehook check --appspec "$bundle"
    say "the bundle is in $bundle; its image is $image"
}

release() {
    program
    credentials
    case "${1:-} ${2:-}" in
    '--via ecr') to_ecr ;;
    '--via s3') to_s3 ;;
    --image-detail\ ?*) from_detail "$2" ;;
    *) fail "release --via ecr, release --via s3 or release --image-detail imageDetail.json" ;;
    esac
    assemble
}

# Bundles are named by their commit; CodeDeploy is given the ETag and the version, so that nothing else can be deployed.
deploy() {
    setting RELEASES && setting APPLICATION && setting DEPLOYMENT_GROUP
    credentials
    local object said location options=() id
    object=${RELEASES%/}/bundles/$APPLICATION-$(commit).zip
    said=$(aws deploy push --application-name "$APPLICATION" --s3-location "$object" --source "$bundle" --description "commit $(commit)")
    location=$(printf '%s\n' "$said" | sed -n 's/.*--s3-location \([^ ]*\).*/\1/p')
    [ -z "${DEPLOYMENT_CONFIG:-}" ] || options=(--deployment-config-name "$DEPLOYMENT_CONFIG")
    id=$(aws deploy create-deployment --application-name "$APPLICATION" --deployment-group-name "$DEPLOYMENT_GROUP" \
        --s3-location "$location" --description "commit $(commit)" ${options[@]+"${options[@]}"} --query deploymentId --output text)
    say "deployment $id of $location"
    if ! aws deploy wait deployment-successful --deployment-id "$id"; then
        explain "$id"
        exit 1
    fi
    say "deployment $id has succeeded"
}

# What the console shows of the instances that failed, the first three.
explain() {
    local target targets event
    aws deploy get-deployment --deployment-id "$1" --output text --query \
        "deploymentInfo.join(' ', [join('', ['deployment is ', status]), errorInformation.code, errorInformation.message][?@ != null])" >&2
    targets=$(aws deploy list-deployment-targets --deployment-id "$1" --target-filters TargetStatus=Failed --query targetIds --output text)
    # shellcheck disable=SC2016 # JMESPath
    event='deploymentTarget.instanceTarget.lifecycleEvents[?status==`Failed`] | [-1] | [lifecycleEventName, diagnostics.errorCode, diagnostics.scriptName, diagnostics.message, diagnostics.logTail][?@ != null] | join(`"\n"`, @)'
    for target in $(printf '%s\n' "$targets" | tr '\t' '\n' | grep -v '^None$' | head -n 3); do
        say "instance $target failed:"
        aws deploy get-deployment-target --deployment-id "$1" --target-id "$target" --output text --query "$event" >&2
    done
}

mkdir -p "$out"
case ${1:-} in
review) review ;;
release) release "${@:2}" ;;
deploy) deploy ;;
*) sed -n '2,20s/^# \{0,1\}//p' "$0" >&2 && exit 64 ;;
esac
