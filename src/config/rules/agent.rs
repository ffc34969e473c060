//! Rules of what the CodeDeploy agents read: the official part of the file, and the bundle around it.

super::rules! {
    AGENT_REFUSES, "agent-refuses",
    "A CodeDeploy agent refuses the file, or fails at Install because of it.",
    "No hook runs then, not even balehook's: the console shows the agent's own words alone.",
    "Write what the help shows.",
    "";
    NO_APPLICATION_START, "no-application-start",
    "`hooks` has no entry for ApplicationStart.",
    "ApplicationStart is the event that starts the application: the deployment succeeds and starts nothing.",
    "Add the event with balehook's hook.",
    "hooks:\n  ApplicationStart: [{location: hooks/balehook, timeout: 300}]";
    BYTE_ORDER_MARK, "byte-order-mark",
    "The file begins with a byte-order mark.",
    "The v1 agent then sees no key but `version`, and runs no hook.",
    "Save the file as UTF-8 without the mark.",
    "";
    FILE_NAME, "file-name",
    "The file is named appspec.yaml.",
    "The v1 agent looks for appspec.yml and runs no hooks of any other file.",
    "Rename it to appspec.yml.",
    "";
    IGNORED_KEY, "ignored-key",
    "A key stands where neither the agents nor balehook read it.",
    "It has no effect. Mostly it is a slip of the pen.",
    "Write the name that the help shows, or put the key where it belongs.",
    "";
    NOT_PORTABLE, "not-portable",
    "The v1 agent refuses a file with an alias (`*name`) or an unquoted date, wherever it stands.",
    "The v2 agent reads the same file, so the fault shows up on some hosts alone.",
    "Write the value out, and put dates in quotes.",
    "environment:\n  RELEASED: \"2020-01-01\"";
    OTHER_PLATFORM, "other-platform",
    "The file is for another platform of CodeDeploy: AWS Lambda, Amazon ECS or hosts with Windows.",
    "balehook runs on a Linux host from the hooks of a deployment of the platform EC2/On-premises.",
    "Write an appspec.yml for hosts: `/usr/share/balehook/appspec` has one of each mode.",
    "version: 0.0\nos: linux\nhooks:\n  ApplicationStart: [{location: hooks/balehook, timeout: 300}]";
    OCTAL_MODE, "octal-mode",
    "A mode with a leading zero is not quoted.",
    "The v1 agent reads it as an octal number and writes it in decimal: 0644 becomes 0420.",
    "Quote it, or leave the zero out.",
    "permissions:\n- object: /opt/app\n  mode: 644";
    EVENT_TIME, "event-time",
    "An entry of an event has no `timeout`, and others of that event have one.",
    "An entry without a timeout may take 3600 s, and CodeDeploy ends the whole event after that time.",
    "Write a `timeout` for each entry.",
    "AfterInstall:\n- {location: hooks/build, timeout: 300}\n- {location: hooks/balehook, timeout: 900}";
    DESTINATION, "destination",
    "A `destination` of `files` is not what it seems to be.",
    "It is always a folder, and the agents fill in no variables: files land in another place.",
    "Name the folder, in full.",
    "files:\n- source: conf/app.conf\n  destination: /etc/app";
    PERMISSIONS, "permissions",
    "One of the agents refuses an entry of `permissions`, or it applies to nothing.",
    "The deployment fails, or goes on without these permissions, depending on the host's agent.",
    "Write what both agents take, or set the permissions in a hook.",
    "permissions:\n- object: /opt/app\n  mode: 755\n  type: [directory]";
    HOOK_NAME, "hook-name",
    "A hook's path has letters that a shell takes for its own.",
    "The v1 agent gives the path to a shell, which then starts something else or nothing.",
    "Rename the file: letters, digits, `.`, `_` and `-`.",
    "";
    HOOK_START, "hook-start",
    "A hook's file is empty or does not begin with `#!`.",
    "The v2 agent starts it without a shell, and the kernel refuses it.",
    "Begin the file with `#!/bin/sh`.",
    "";
    HOOK_LINE_ENDS, "hook-line-ends",
    "A hook's first line ends in CRLF.",
    "The kernel looks for a program whose name ends in a carriage return, and finds none.",
    "Save the file with LF. In git, write `* text eol=lf` to .gitattributes.",
    "";
    HOOK_USER, "hook-user",
    "A hook of balehook runs as another user than root, or as another one than the hook before.",
    "That user can neither write balehook's state nor ask the engine, unless root allowed both.",
    "Leave `runas` out, or write the same user for each hook and prepare the host as the help says.",
    "";
    DOCKER_IN_HOOK, "docker-in-hook",
    "A script of another hook runs a command of docker that balehook runs now.",
    "Both would start or stop the same container, and the last one decides.",
    "Take the command out of the script, unless it is for another container.",
    "";
}
