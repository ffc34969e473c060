//! Rules of what can be deployed and may still surprise: of our section and of Compose files.

super::rules! {
    MOVING_TAG, "moving-tag",
    "An image has no tag, or one that moves: `latest`, `stable`, `main` and the like.",
    "The same revision deploys another image each time, so that a rollback may bring back the wrong one.",
    "Name a version that is never pushed again, or a digest.",
    "image: registry.example.com/web:1.4.2";
    NO_RESTART_POLICY, "no-restart-policy",
    "A container has no `restart`.",
    "When its process ends it stays down, until the host boots or the next deployment starts it.",
    "Write `restart: unless-stopped`, or `restart: \"no\"` where it is meant.",
    "restart: unless-stopped";
    NO_HEALTH_CHECK, "no-health-check",
    "The file has no health check. Whether the image has a HEALTHCHECK cannot be known here.",
    "Without any, a release counts as healthy once it ran for 3 s without a restart, even if it answers nobody.",
    "Ask it over HTTP, gRPC or TCP under `health`, write a `healthcheck`, or allow this rule where the image has one.",
    "health:\n  http: /healthz";
    SECRET_IN_ENVIRONMENT, "secret-in-environment",
    "A value that looks like a secret is written into the file.",
    "Bundles stay in S3 and in git, and each person who may read one has the secret.",
    "Name where it lies: `ssm`, `secretsmanager`, `s3`, `kms` or a `command`. Or use an `env_file` in S3 or on the host, or a file of `secrets`.",
    "environment:\n  DB_PASSWORD: {ssm: /prod/db/password}";
    DOCKER_SOCKET, "docker-socket",
    "A container mounts the engine's socket, or a folder that holds it.",
    "What can talk to the engine can start a privileged container: it is root on the host.",
    "Leave it out, or put a proxy in between that lets only harmless questions through.",
    "";
    PRIVILEGED, "privileged",
    "A container is privileged.",
    "It has every capability and every device, so that it is root on the host.",
    "Name what it needs with `cap_add` and `devices`.",
    "cap_add: [NET_ADMIN]";
    NO_LOG_ROTATION, "no-log-rotation",
    "A container's log has no limit in this file. What the engine's own default is cannot be known here.",
    "With `json-file` and no `max-size`, which is what Docker does by itself, the log grows until the disk is full.",
    "Set `max-size`, take the driver `local`, or allow this rule where the hosts' daemon.json has a limit.",
    "logging: {driver: json-file, options: {max-size: 10m, max-file: \"3\"}}";
    APPLICATION_STOP, "application-stop",
    "balehook's hook stands under ApplicationStop.",
    "It stops the old release before the new one is there: nobody serves from then until ApplicationStart ends.",
    "Leave the event out: ApplicationStart replaces the container, and puts it back if the new one fails.",
    "hooks:\n  ApplicationStart: [{location: hooks/balehook, timeout: 300}]";
    NO_HOOK_OF_OURS, "no-balehook-hook",
    "The file has `x-balehook`, and no hook that runs balehook.",
    "The section is never read: the agent runs other scripts, and the deployment counts as successful.",
    "Name balehook's hook under ApplicationStart. It is known by its name, or by the word balehook in the script.",
    "hooks:\n  ApplicationStart: [{location: hooks/balehook, timeout: 300}]";
    NOTIFY_PLAIN_HTTP, "notify-plain-http",
    "A webhook of `notify` is called over plain HTTP.",
    "What is sent names hosts, images and errors, and its headers may hold a secret: each one on the way can read them.",
    "Write `https://`. A receiver on this host, `127.0.0.1`, is not meant.",
    "notify:\n  - {on: [failure], webhook: \"https://hooks.example.com/deployments\"}";
    SECRET_IN_NOTIFY, "secret-in-notify",
    "The address or a header of a webhook looks like a secret, and is written into the file.",
    "Bundles stay in S3 and in git, and each person who may read one can write to your channel.",
    "Take it from a variable of the agent's environment.",
    "notify:\n  - {on: [failure], webhook: \"${NOTIFY_URL}\"}";
    HOOK_TOO_SHORT, "hook-too-short",
    "A hook's `timeout` is shorter than what it waits for may take.",
    "At its end balehook undoes the deployment, and the agent kills the hook. Where the wait is certain it is an error.",
    "Raise the hook's `timeout`, or shorten the wait.",
    "ApplicationStart: [{location: hooks/balehook, timeout: 300}]";
}
